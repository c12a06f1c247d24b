// Rows as a person and as the network sees them.
import { dataFindings } from '../../src/data/dataset.ts';
import { importBytes, importText } from '../../src/data/import-text.ts';
import { powerNote, proposeShares } from '../../src/data/split.ts';
import type { Example, ImportResult } from '../../src/data/types.ts';
import { longestAnswer, longestTrainAnswer } from '../../src/experiments/runner.ts';
import { AppError } from '../../src/lib/error.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import { proposeMetric, proposeTask } from '../../src/metrics/propose.ts';
import type { DataReport, DataRow, EngineApi, RowPreview, TokenChip } from '../../src/rpc/contract.ts';
import type { Encoded, PromptRenderer } from '../../src/text/types.ts';
import { type Loaded, needLoaded, type Session } from './session.ts';
import { longestAnswerOf, readTaskData, rowLimitOf } from './task-data.ts';

export function importData(content: string | Uint8Array, fileName?: string): ImportResult {
  return typeof content === 'string' ? importText(content, fileName) : importBytes(content, fileName);
}

export function propose(rows: readonly Example[]): Awaited<ReturnType<EngineApi['propose']>> {
  const { metricId, why } = proposeMetric(rows);
  return { type: proposeTask(rows), metricId, why, shares: proposeShares(rows.filter(({ targets }) => targets.length > 0).length) };
}

/** A row as training encodes it: its first answer under a prompt. */
export function encodeRow(renderer: PromptRenderer, example: Example, prompt: Prompt): Promise<Encoded> {
  return renderer.withAnswer(composeMessages(prompt, example.messages), example.targets[0] ?? '');
}

/** Token counts are kept by row: a report is asked for after every edit, and few rows change. */
const counted = new WeakMap<Loaded, Map<string, number>>();
const KEPT = 100_000;
async function tokensOf(loaded: Loaded, example: Example): Promise<number> {
  const counts = counted.get(loaded) ?? new Map<string, number>();
  counted.set(loaded, counts);
  const key = JSON.stringify([example.messages, example.targets[0]]);
  let tokens = counts.get(key);
  if (tokens === undefined) {
    tokens =
      example.targets.length > 0
        ? (await encodeRow(loaded.renderer, example, emptyPrompt)).tokens.length
        : (await loaded.renderer.prompt(example.messages)).length;
    if (counts.size >= KEPT) counts.clear();
    counts.set(key, tokens);
  }
  return tokens;
}

export async function dataReport(session: Session, taskId: string): Promise<DataReport> {
  const data = await readTaskData(taskId);
  const { task, record, dataset } = data;
  const { loaded } = session;
  const sides = new Map<string, DataRow['split']>();
  for (const side of ['train', 'validation', 'test'] as const) for (const { id } of dataset[side]) sides.set(id, side);
  const sideOf = (id: string): DataRow['split'] => sides.get(id) ?? 'unused';
  const limit = loaded === undefined ? undefined : rowLimitOf(task, loaded.engine.config.context);
  const rows: DataRow[] = [];
  const findings = dataFindings(record.rows, task.type, sideOf);
  const refused: string[] = [];
  for (const [i, example] of record.rows.entries()) {
    const row: DataRow = { id: example.id, number: i + 1, split: sideOf(example.id) };
    if (loaded === undefined) {
      rows.push(row);
      continue;
    }
    try {
      rows.push({ ...row, tokens: await tokensOf(loaded, example) });
    } catch (error) {
      // A template may refuse a row (a role it does not know): that is said of the row, and the others are counted.
      if (!(error instanceof AppError) || !error.code.startsWith('template/') || error.code === 'template/timeout') throw error;
      rows.push(row);
      refused.push(example.id);
    }
  }
  if (refused.length > 0) {
    findings.push({
      severity: 'bad',
      code: 'data/refused-by-template',
      text: `The chat template of this model takes ${refused.length === 1 ? 'one row' : `${refused.length} rows`} not as ${refused.length === 1 ? 'it is' : 'they are'}: a role or an order of turns that it does not know.`,
      rowIds: refused,
    });
  }
  const side = (name: DataRow['split']): number => rows.filter((row) => row.split === name).length;
  return {
    rows,
    counts: { train: side('train'), validation: side('validation'), test: side('test'), unused: side('unused') },
    findings,
    tooLong: limit === undefined ? [] : rows.filter(({ tokens }) => tokens !== undefined && tokens > limit).map(({ id }) => id),
    ...(limit === undefined ? {} : { limit }),
    ...(loaded === undefined
      ? {}
      : {
          longestTrainAnswer: longestTrainAnswer(loaded.renderer, dataset.train),
          proposedAnswer: longestAnswer(loaded.renderer, dataset.train, emptyPrompt),
        }),
    longestAnswer: loaded === undefined ? (task.longestAnswer ?? 0) : longestAnswerOf(data, loaded.renderer, emptyPrompt),
    proposedShares: proposeShares(rows.length - side('unused')),
    powerNote: powerNote(dataset.validation.length, task.shares),
  };
}

export async function previewRow(session: Session, taskId: string, rowId: string, prompt: Prompt): Promise<RowPreview> {
  const { engine, renderer, tokenizer } = needLoaded(session);
  const { task, record } = await readTaskData(taskId);
  const example = record.rows.find(({ id }) => id === rowId);
  if (example === undefined) {
    throw new AppError('data/row-missing', 'This row is not in the task any more.', { fix: 'Choose another row.', facts: { rowId } });
  }
  const limit = rowLimitOf(task, engine.config.context);
  if (example.targets.length === 0) {
    const ids = await renderer.prompt(composeMessages(prompt, example.messages));
    return {
      rowId,
      tokens: chips(ids, limit, () => 'context', tokenizer.tokenText),
      trained: 0,
      limit,
      notes: ['This row has no answer: it is never trained on and never scored.', ...lengthNotes(ids.length, limit)],
    };
  }
  const { tokens, mask, answerAlone, rewritesTurns } = await encodeRow(renderer, example, prompt);
  const notes: string[] = [];
  if (answerAlone) notes.push('The answer is encoded on its own, because the tokenizer joins its beginning with the end of the prompt.');
  if (rewritesTurns) notes.push('The chat template rewrites earlier turns, so only the last turn is trained.');
  if (example.targets.length > 1) notes.push(`Trained is the first of its ${example.targets.length} accepted answers.`);
  const last = mask.lastIndexOf(1);
  return {
    rowId,
    tokens: chips(tokens, limit, (i) => (i === last ? 'stop' : mask[i] === 1 ? 'trained' : 'context'), tokenizer.tokenText),
    trained: mask.reduce((sum, bit) => sum + bit, 0),
    limit,
    notes: [...notes, ...lengthNotes(tokens.length, limit)],
  };
}

function chips(ids: Uint32Array, limit: number, kind: (i: number) => TokenChip['kind'], text: (id: number) => string): TokenChip[] {
  return Array.from(ids, (id, i) => ({ id, text: text(id), kind: i >= limit ? 'cut' : kind(i) }));
}
function lengthNotes(length: number, limit: number): string[] {
  return length <= limit
    ? []
    : [`${length} tokens are ${length - limit} over the limit of ${limit}, so the whole row is left out of training.`];
}
