import { AppError } from '../lib/error.ts';
import { proposeRoles } from './columns.ts';
import { decodeText, tidyText } from './decode-text.ts';
import { counted, type FindingList, findingList, placeOf, sentence } from './findings.ts';
import { readTable } from './import-csv.ts';
import { listItems, type RowKind, rowOfJson, rowsInside } from './import-jsonl.ts';
import { type Draft, draftOf, withIds } from './rows.ts';
import type { ImportResult } from './types.ts';

function nothing(what: string): AppError {
  return new AppError('data/empty', what, { fix: 'Choose a file with at least one row, or paste rows here. Ten are enough to start.' });
}

/** Line (from 1) of each of ascending positions in a text. */
function lineCounter(text: string): (position: number) => number {
  let line = 1;
  let at = 0;
  return (position) => {
    for (let next = text.indexOf('\n', at); next >= 0 && next < position; next = text.indexOf('\n', at)) {
      line++;
      at = next + 1;
    }
    return line;
  };
}

interface JsonPiece {
  readonly text: string;
  readonly line: number;
}
type Parsed = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };
function parse(text: string): Parsed {
  try {
    const value: unknown = JSON.parse(text);
    return { ok: true, value };
  } catch (error) {
    return {
      ok: false,
      why: error instanceof Error ? error.message.replace(/ in JSON at .*| \(line .*/s, '').replace(/\.$/, '') : String(error),
    };
  }
}

/** Rows collected from JSON values, with a finding for each that is none. */
function collector(findings: FindingList, fileName?: string) {
  const drafts: Draft[] = [];
  const kinds = new Map<RowKind, number>();
  let read = 0;
  let without = 0;
  let firstWithout = 0;
  return {
    broken(line: number, why: string): void {
      read++;
      findings.add('bad', 'data/not-json', `${placeOf(line, fileName)} is not valid JSON (${why}). It was left out.`, line);
    },
    add(value: unknown, line: number, noun = ''): void {
      read++;
      const row = rowOfJson(value);
      if (!row.ok) {
        findings.add('bad', 'data/no-row', `${placeOf(line, fileName)}${noun} ${row.why}. It was left out.`, line);
        return;
      }
      drafts.push(row.draft);
      kinds.set(row.kind, (kinds.get(row.kind) ?? 0) + 1);
      if (row.draft.targets.length === 0 && without++ === 0) firstWithout = line;
    },
    result(): ImportResult {
      if (without > 0) {
        const text = `${sentence(counted(without, 'row has', 'rows have'))} no answer, the first on line ${firstWithout}: never trained on, never scored.`;
        findings.add('warn', 'data/no-answer', text, firstWithout);
      }
      const kind = [...kinds].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'prompt-completion';
      if (kinds.size > 1)
        findings.add('note', 'data/mixed', `The rows come in ${counted(kinds.size, 'form')}; each was read as what it is.`);
      return { kind, examples: withIds(drafts), findings: findings.list(), read, leftOut: read - drafts.length };
    },
  };
}

function importLines(text: string, findings: FindingList, fileName?: string): ImportResult {
  const rows = collector(findings, fileName);
  text.split('\n').forEach((raw, i) => {
    const line = raw.trim();
    if (line === '') return;
    const parsed = parse(line);
    const repaired = parsed.ok ? parsed : parse(line.replace(/,$/, ''));
    if (repaired.ok) rows.add(repaired.value, i + 1);
    else rows.broken(i + 1, parsed.ok ? '' : parsed.why);
  });
  return rows.result();
}

function importList(text: string, findings: FindingList, fileName?: string): ImportResult {
  const lineAt = lineCounter(text);
  const pieces: JsonPiece[] = [...listItems(text)].map(({ start, end }) => ({ text: text.slice(start, end), line: lineAt(start) }));
  const pairs = pieces.map((piece) => parse(piece.text));
  const table = listTable(pairs, pieces);
  if (table !== undefined) return { ...table, findings: findings.list() };
  const rows = collector(findings, fileName);
  pairs.forEach((parsed, i) => {
    if (parsed.ok) rows.add(parsed.value, pieces[i].line);
    else rows.broken(pieces[i].line, parsed.why);
  });
  return rows.result();
}

/** A list of lists of texts is a table without a header. */
function listTable(items: readonly Parsed[], pieces: readonly JsonPiece[]): Omit<ImportResult, 'findings'> | undefined {
  const rows: string[][] = [];
  for (const item of items) {
    if (!item.ok || !Array.isArray(item.value) || !item.value.every((cell) => typeof cell === 'string' || typeof cell === 'number'))
      return undefined;
    rows.push(item.value.map(String));
  }
  const width = rows[0]?.length ?? 0;
  if (width === 0 || rows.some((row) => row.length !== width)) return undefined;
  const table = { header: Array.from({ length: width }, (_, c) => `Column ${c + 1}`), rows, lines: pieces.map(({ line }) => line) };
  return { kind: 'table', examples: [], table, roles: proposeRoles(table), read: rows.length, leftOut: 0 };
}

/** An object around the rows (SQuAD, BIG-Bench), or one row alone. Lines inside are not known any more: a row is named by its number. */
function importObject(value: unknown, findings: FindingList, fileName?: string): ImportResult {
  const rows = collector(findings, fileName);
  if (rowOfJson(value).ok) {
    rows.add(value, 1);
    return rows.result();
  }
  const inside = rowsInside(value);
  if (inside === undefined) rows.add(value, 1);
  else if (inside.length > 0 && inside.every(Array.isArray)) return importList(JSON.stringify(inside), findings, fileName);
  else {
    inside.forEach((item, i) => {
      rows.add(item, 1, `, row ${i + 1},`);
    });
  }
  return rows.result();
}

const QUESTION = /^(?:q|question|input|user|prompt)\s*:\s*/i;
const ANSWER = /^(?:a|answer|output|assistant|completion)\s*:\s*/i;
/** "Q: ..." and "A: ..." lines; a line without a mark goes on where the last one stopped. */
function importPairs(text: string, findings: FindingList): ImportResult {
  const pairs: { question: string[]; answer: string[]; line: number }[] = [];
  let part: string[] | undefined;
  text.split('\n').forEach((raw, i) => {
    const line = raw.trimEnd();
    if (QUESTION.test(line)) {
      part = [line.replace(QUESTION, '')];
      pairs.push({ question: part, answer: [], line: i + 1 });
    } else if (ANSWER.test(line) && pairs.length > 0) {
      part = pairs[pairs.length - 1].answer;
      part.push(line.replace(ANSWER, ''));
    } else part?.push(line);
  });
  const drafts = pairs.map(({ question, answer }) => draftOf({ input: question.join('\n').trim(), answers: [answer.join('\n').trim()] }));
  const without = pairs.filter(({ answer }) => answer.join('').trim() === '');
  if (without.length > 0) {
    const text = `${sentence(counted(without.length, 'row has', 'rows have'))} no answer, the first on line ${without[0].line}: never trained on, never scored.`;
    findings.add('warn', 'data/no-answer', text, without[0].line);
  }
  return { kind: 'prompt-completion', examples: withIds(drafts), findings: findings.list(), read: pairs.length, leftOut: 0 };
}

function importTable(text: string, findings: FindingList, fileName?: string): ImportResult {
  const { table, delimiter, read, leftOut } = readTable(text, findings, fileName);
  if (table.rows.length === 0 && read === 0) throw nothing('There is a header and no rows.');
  return { kind: 'table', examples: [], table, roles: proposeRoles(table), findings: findings.list(), read, leftOut, delimiter };
}

/**
 * Rows out of a file or a paste, by what stands in it, whatever its name: JSON Lines, a JSON list or object, "Q:/A:" text, else a table.
 * What cannot be read is named with its line and left out. @throws 'data/empty' where there is no row at all
 */
export function importText(content: string, fileName?: string): ImportResult {
  const text = tidyText(content);
  const start = text.trimStart();
  if (start === '') throw nothing(fileName === undefined ? 'There is nothing in this paste.' : `${fileName} is empty.`);
  const findings = findingList();
  if (start[0] === '[' || start[0] === '{') {
    // Several lines of which the first is a whole value: JSON Lines, whatever the file is called.
    const first = parse(start.split('\n', 1)[0].replace(/,\s*$/, ''));
    if (first.ok && /\n\s*\S/.test(start)) return importLines(text, findings, fileName);
    if (start[0] === '[') return importList(text, findings, fileName);
    const whole = parse(start);
    return whole.ok ? importObject(whole.value, findings, fileName) : importLines(text, findings, fileName);
  }
  if (/^\s*["\d].*\n\s*\{/.test(text) || /^\s*(?:\/\/|#).*\n\s*\{/.test(text)) return importLines(text, findings, fileName);
  if (QUESTION.test(start) && /^(?:a|answer|output|assistant|completion)\s*:/im.test(start)) return importPairs(text, findings);
  return importTable(text, findings, fileName);
}

/** As `importText`, from a file's bytes. @throws 'data/not-text', 'data/empty' */
export function importBytes(bytes: Uint8Array, fileName?: string): ImportResult {
  const { text, encoding } = decodeText(bytes);
  return { ...importText(text, fileName), encoding };
}
