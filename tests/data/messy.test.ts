// Hand-written traps of ../shared/data/messy and real files of ../shared/data: what each must give stands in messy/expected.json.
import { describe, expect, it } from 'vitest';
import { mapColumns } from '../../src/data/columns.ts';
import { dataFindings } from '../../src/data/dataset.ts';
import { importBytes } from '../../src/data/import-text.ts';
import { splitRows } from '../../src/data/split.ts';
import type { Example, ImportResult } from '../../src/data/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { proposeMetric, proposeTask } from '../../src/metrics/propose.ts';
import { dataBytes, haveData } from '../support/shared-data.ts';

interface Read {
  readonly result: ImportResult;
  readonly usable: readonly Example[];
  readonly rows: readonly Example[];
}
function read(name: string): Read {
  const result = importBytes(dataBytes(name), name.replace(/.*\//, ''));
  const rows = result.table === undefined ? result.examples : mapColumns(result.table, result.roles ?? []).examples;
  return { result, rows, usable: rows.filter(({ targets }) => targets.length > 0) };
}
const pair = ({ messages, targets }: Example): string[] => [messages.at(-1)?.content ?? '', ...targets];

describe.skipIf(!haveData('messy/expected.json'))('the messy files', () => {
  it('give the usable rows that are expected of each', () => {
    const expected: Record<string, { format: string; usable_rows: number; skipped_rows: number }> = JSON.parse(
      new TextDecoder().decode(dataBytes('messy/expected.json')),
    );
    const got: Record<string, number> = {};
    for (const name of Object.keys(expected)) {
      try {
        got[name] = read(`messy/${name}`).usable.length;
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'data/empty') throw error;
        got[name] = 0;
      }
    }
    expect(got).toEqual(Object.fromEntries(Object.entries(expected).map(([name, { usable_rows }]) => [name, usable_rows])));
  });
  it('keep quotes, line breaks and outer spaces of cells, and no mark in the header', () => {
    const { result, usable } = read('messy/bom_crlf_quotes.csv');
    expect(result.table?.header).toEqual(['instruction', 'response']);
    expect(usable.map(pair)).toEqual([
      ['Say "hello", politely', '"Good morning,"\nshe said.'],
      ['List two fruits', 'apple\nplum'],
      ['Trailing spaces  ', '  kept  '],
      ['Comma, inside', 'yes, here'],
      ['Quote at end "', 'ok ""double""'],
    ]);
  });
  it('are decoded whatever wrote them', () => {
    expect(read('messy/excel_unicode_text.txt').usable.map(pair)[1]).toEqual(['Was kostet das?', 'Das kostet 3 €.']);
    const { result, usable } = read('messy/semicolon_cp1252.csv');
    expect(result.encoding).toBe('Windows-1252');
    expect(usable.map(pair)).toContainEqual(['Zu teuer; leider', 'Klage']);
    expect(usable.map(pair)[0]).toEqual(['Preis: 3,50 €', 'Frage']);
  });
  it('name the lines that were left out', () => {
    const { result } = read('messy/noisy.jsonl');
    expect(result.findings.map(({ line }) => line)).toEqual([6, 8, 11, 12, 13, 15]);
    expect(read('messy/ragged_no_header.csv').result.findings.map(({ line }) => line)).toEqual([3, 4]);
  });
  it('keep every accepted answer, and tools as text', () => {
    expect(read('messy/squad_v2_impossible.json').usable.map(({ targets }) => targets)).toContainEqual(['Aun', 'river Aun']);
    const chat = read('messy/chat_tools.jsonl').usable;
    expect(chat[0].messages.map(({ role }) => role).slice(0, 4)).toEqual(['system', 'user', 'assistant', 'tool']);
    expect(chat[3].messages.map(({ role, content }) => [role, content])).toEqual([
      ['system', 'Use French.'],
      ['user', 'Hello'],
    ]);
    expect(read('messy/qa_pairs.txt').usable.map(pair)[1]).toEqual(['Where is the mill?', 'By the river.\nIt is old.']);
  });
  it('report copies and conflicts, and never put copies on two sides', () => {
    const { rows } = read('messy/duplicates.csv');
    const split = splitRows(rows, 1, { train: 0.5, validation: 0.5, test: 0 });
    const train = new Set(split.train.map(({ id }) => id));
    const found = dataFindings(rows, 'classification', (id) => (train.has(id) ? 'train' : 'validation'));
    const of = (code: string) => found.find((finding) => finding.code === code);
    expect(of('data/copies')?.rowIds).toHaveLength(5);
    expect(of('data/conflict')?.text).toMatch(/^1 input has different answers/);
    expect(of('data/both-sides')).toBeUndefined();
  });
  it('keep hostile texts as plain text', () => {
    const rows = read('messy/hostile_text.csv').rows.map(pair);
    expect(rows[0]).toEqual(['<img src=x onerror=alert(1)>', '<script>document.title="hacked"</script>']);
    expect(rows).toContainEqual(['__proto__', 'constructor']);
  });
  it('read 700 kB in one line without a pause', () => {
    const start = performance.now();
    expect(read('messy/one_huge_line.json').rows).toHaveLength(2500);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe.skipIf(!haveData('README.md'))('real files', () => {
  it.each([
    ['classification/banking77.csv', 2000, 'classification', 'exact-match'],
    ['qa/nq_open.jsonl', 1800, 'question-answering', 'token-f1'],
    ['instructions/user_oriented_alpaca.json', 126, undefined, undefined],
    ['creative/shakespeare_chat.jsonl', 600, undefined, undefined],
    ['summarization/scitldr_a.jsonl', 700, 'summarization', undefined],
    ['reasoning/bbh/navigate.json', 150, 'classification', 'exact-match'],
    ['qa/xquad.de.json', 262, 'question-answering', 'token-f1'],
    ['chat/identity.sharegpt.json', 250, undefined, undefined],
    ['classification/query_wellformedness.tsv', 1500, undefined, undefined],
    ['rewriting/wikisplit.tsv', 1500, 'rewriting', 'rouge-l'],
    ['reasoning/gsm8k.jsonl', 1000, undefined, undefined],
    ['translation/xquad_questions.en-zh.tsv', 597, undefined, undefined],
  ])('%s gives %i rows', (name, count, task, metric) => {
    const { usable } = read(name);
    expect(usable).toHaveLength(count);
    if (task !== undefined) expect(proposeTask(usable)).toBe(task);
    if (metric !== undefined) expect(proposeMetric(usable).metricId).toBe(metric);
  });
});
