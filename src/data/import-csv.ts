import Papa from 'papaparse';
import { looksLikeHeader } from './columns.ts';
import { counted, type FindingList, placeOf, sentence } from './findings.ts';
import type { RawTable } from './types.ts';

const DELIMITERS = [',', '\t', ';', '|'];
/** After so many quotes that do not close, no quote of the rest is taken for one. */
const REPAIRS = 200;

export interface ReadTable {
  readonly table: RawTable;
  readonly delimiter: string;
  /** Rows met under the header, blank ones aside, and those left out. */
  readonly read: number;
  readonly leftOut: number;
}
interface RawRow {
  readonly cells: readonly string[];
  readonly line: number;
}

/** A paste from a spreadsheet has a tab in nearly every line; everything else is for the library to tell. */
function delimiterOf(text: string): string {
  const lines = text
    .slice(0, 200_000)
    .split('\n', 200)
    .filter((line) => line.trim() !== '');
  if (lines.length > 0 && lines.filter((line) => line.includes('\t')).length >= 0.9 * lines.length) return '\t';
  const { meta } = Papa.parse<string[]>(lines.join('\n'), { delimitersToGuess: DELIMITERS, skipEmptyLines: true });
  return DELIMITERS.includes(meta.delimiter) ? meta.delimiter : ',';
}

/** Rows with the line on which each begins, up to the first whose quotes do not close where its cell ends (`broken`: its line). Always arrays, never
 *  objects: a header named "__proto__" is only a text. */
function parseRows(text: string, delimiter: string, firstLine: number, quotes: boolean): { rows: RawRow[]; broken: number | undefined } {
  const rows: RawRow[] = [];
  let cursor = 0;
  let line = firstLine;
  let broken: number | undefined;
  Papa.parse<string[]>(text, {
    delimiter,
    newline: '\n',
    quoteChar: quotes ? '"' : '\u0000',
    step({ data, errors, meta }, parser) {
      if (quotes && errors.some(({ type }) => type === 'Quotes')) {
        broken = line;
        parser.abort();
        return;
      }
      rows.push({ cells: data, line });
      for (let at = text.indexOf('\n', cursor); at >= 0 && at < meta.cursor; at = text.indexOf('\n', at + 1)) line++;
      cursor = meta.cursor;
    },
  });
  return { rows, broken };
}

/** All rows. A quote left open would swallow the lines after it: its line is read again with quotes as ordinary letters, and named. */
function readRows(text: string, delimiter: string, findings: FindingList, fileName?: string): RawRow[] {
  const all: RawRow[] = [];
  let rest = text;
  let line = 1;
  for (let repair = 0; rest !== ''; repair++) {
    const { rows, broken } = parseRows(rest, delimiter, line, repair < REPAIRS);
    for (const row of rows) all.push(row);
    if (broken === undefined) return all;
    // Spreadsheets quote only cells with line breaks in what they copy; other quotes there are part of the text.
    if (delimiter !== '\t') {
      const text = `${placeOf(broken, fileName)} has a quote that does not close where its cell ends; it was read as an ordinary letter.`;
      findings.add('warn', 'data/open-quote', text, broken);
    }
    for (; line < broken; line++) rest = rest.slice(rest.indexOf('\n') + 1);
    const end = rest.indexOf('\n');
    all.push(...parseRows(end < 0 ? rest : rest.slice(0, end), delimiter, broken, false).rows);
    rest = end < 0 ? '' : rest.slice(end + 1);
    line++;
  }
  return all;
}

/** The number of cells that most rows have, the larger where two are as common. */
function commonWidth(rows: readonly RawRow[]): number {
  const counts = new Map<number, number>();
  for (const { cells } of rows) counts.set(cells.length, (counts.get(cells.length) ?? 0) + 1);
  return [...counts].reduce((best, next) => (next[1] > best[1] || (next[1] === best[1] && next[0] > best[0]) ? next : best), [0, 0])[0];
}

/** Two columns of one name stay two: the later one gets a number, and that is said. */
function uniqueNames(names: readonly string[], findings: FindingList, line: number): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    if (times === 1) return name;
    findings.add(
      'warn',
      'data/same-name',
      `More than one column is named "${name}"; number ${times} is shown as "${name} (${times})".`,
      line,
    );
    return `${name} (${times})`;
  });
}

/** A table out of CSV, TSV or semicolon text, lines ending in "\n". Rows with more or fewer cells than the header are named and left out. */
export function readTable(text: string, findings: FindingList, fileName?: string): ReadTable {
  const delimiter = delimiterOf(text);
  const rows = readRows(text, delimiter, findings, fileName).filter(({ cells }) => cells.some((cell) => cell.trim() !== ''));
  const hasHeader =
    rows.length > 0 &&
    looksLikeHeader(
      rows[0].cells,
      rows.slice(1, 201).map(({ cells }) => cells),
    );
  const body = hasHeader ? rows.slice(1) : rows;
  const width = hasHeader ? rows[0].cells.length : commonWidth(rows);
  const header = hasHeader
    ? uniqueNames(
        rows[0].cells.map((name, i) => name.trim() || `Column ${i + 1}`),
        findings,
        rows[0].line,
      )
    : Array.from({ length: width }, (_, i) => `Column ${i + 1}`);
  const kept: RawRow[] = [];
  for (const { cells, line } of body) {
    const fits = cells.length === width || (cells.length > width && cells.slice(width).every((cell) => cell.trim() === ''));
    if (fits) kept.push({ cells: cells.slice(0, width), line });
    else {
      const other = hasHeader
        ? `the header has ${counted(width, 'column').replace(/ columns?$/, '')}`
        : `most lines have ${counted(width, 'column').replace(/ columns?$/, '')}`;
      findings.add(
        'bad',
        'data/columns',
        `${placeOf(line, fileName)} has ${counted(cells.length, 'column')}; ${other}. It was left out.`,
        line,
      );
    }
  }
  return {
    table: { header, rows: kept.map(({ cells }) => cells), lines: kept.map(({ line }) => line) },
    delimiter,
    read: body.length,
    leftOut: body.length - kept.length,
  };
}

/** "commas", "tabs" ... for a sentence about how a table was read. */
export const delimiterName = (delimiter: string): string =>
  sentence({ ',': 'commas', '\t': 'tabs', ';': 'semicolons', '|': 'bars' }[delimiter] ?? `"${delimiter}"`);
