// Generation: prompts go into the cache in chunks, short ones several together, then all live rows get one token a step, side by side, several steps in one
// submit. A row that ends makes room for the next prompt.
// A row's numbers do not depend on its neighbours (every kernel sums a row in an order of its own), and its random numbers come from its own seed.
import { AppError } from '../lib/error.ts';
import { hashText } from '../lib/random.ts';
import { gatherRows, rmsnormForward } from './calls.ts';
import { drawsOf, drawThreads, drawToken, optionNumbers, takeLargest } from './calls-decode.ts';
import { BUDGET_SECONDS, type Plan, upload } from './gpu.ts';
import { BURST, type Inference, PREFILL_TOKENS, paddedRows, rowsSideBySide, type Workspace } from './inference.ts';
import { type Activations, finalNorm, firstRows, head } from './model.ts';
import type { LoadedPatch } from './patch.ts';
import type { ModelConfig, Sampling } from './types.ts';
import type { ModelWeights } from './weights.ts';

/** Lengths of a prompt's last chunk come in steps of this, so that there are few plans. */
const CHUNK_STEP = 16;

/** One prompt at work. */
interface Row {
  readonly row: number;
  readonly slot: number;
  readonly prompt: Uint32Array;
  readonly seed: number;
  /** Tokens in the cache; the next one stands there. */
  length: number;
  next: number;
  made: number;
  readonly room: number;
}
export interface Token {
  readonly row: number;
  readonly id: number;
  /** This was the row's last. */
  readonly ended: boolean;
}

/** Tokens of all rows as they come; each row's in order. After an abort nothing more is yielded.
 *  @throws 'text/empty', 'text/too-long' before anything is yielded */
export async function* decode(
  inference: Inference,
  weights: ModelWeights,
  prompts: readonly Uint32Array[],
  options: Sampling,
  patch: LoadedPatch | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Token> {
  const { config } = inference;
  for (const prompt of prompts) checkPrompt(config, prompt);
  if (options.maxTokens <= 0 || prompts.length === 0) return;
  const longest = Math.max(...prompts.map((prompt) => Math.min(prompt.length + options.maxTokens, config.context)));
  const slots = Math.min(paddedRows(prompts.length), rowsSideBySide(config, longest));
  await inference.reserveCache(slots, longest);
  const workspace = await inference.reserve(Math.max(PREFILL_TOKENS, slots), slots, patch);
  upload(inference.gpu, workspace.options, optionNumbers(options));
  const decoder: Decoder = { inference, weights, workspace, options, patch, signal, steps: 1, stepSeconds: 0 };

  const free = Array.from({ length: slots }, (_, slot) => slots - 1 - slot);
  const live: Row[] = [];
  const waiting = prompts.map((prompt, row): Omit<Row, 'slot'> => {
    const room = Math.min(options.maxTokens, config.context - prompt.length);
    return { row, prompt, seed: hashText(`${options.seed} ${row}`), length: prompt.length, next: 0, made: 0, room };
  });
  while (live.length > 0 || waiting.length > 0) {
    while (free.length > 0 && waiting.length > 0) {
      const rows = waiting.splice(0, together(waiting, free.length)).map((row) => ({ ...row, slot: free.pop()! }));
      const ids = await prefill(decoder, rows);
      if (ids === undefined || signal?.aborted) return;
      for (const [i, row] of rows.entries()) {
        const token = take(row, ids[i], options);
        if (token.ended) free.push(row.slot);
        else live.push(row);
        yield token;
        if (signal?.aborted) return;
      }
    }
    if (live.length === 0) continue;
    const steps = await burst(decoder, live);
    if (steps === undefined || signal?.aborted) return;
    const before = [...live];
    for (const ids of steps) {
      for (const [i, row] of before.entries()) {
        if (!live.includes(row)) continue; // it ended earlier in this burst, and what came after is thrown away
        row.length++;
        const token = take(row, ids[i], options);
        if (token.ended) {
          live.splice(live.indexOf(row), 1);
          free.push(row.slot);
        }
        yield token;
        if (signal?.aborted) return;
      }
    }
  }
}

/** How many of the waiting prompts, at most `most`, go through the network in one batch: as many as fit when each takes as long as the longest. */
function together(waiting: readonly Omit<Row, 'slot'>[], most: number): number {
  let longest = 0;
  for (let rows = 1; rows <= Math.min(most, waiting.length); rows++) {
    longest = Math.max(longest, chunkLength(waiting[rows - 1].prompt.length));
    if (paddedRows(rows) * longest > PREFILL_TOKENS) return Math.max(1, rows - 1);
  }
  return Math.min(most, waiting.length);
}
function chunkLength(tokens: number): number {
  return Math.ceil(tokens / CHUNK_STEP) * CHUNK_STEP;
}

function take(row: Row, id: number, { stopIds }: Sampling): Token {
  row.next = id;
  row.made++;
  return { row: row.row, id, ended: stopIds.includes(id) || row.made >= row.room };
}

function checkPrompt({ context }: ModelConfig, prompt: Uint32Array): void {
  if (prompt.length === 0) throw new AppError('text/empty', 'There is no text to go on from.', { fix: 'Write something first.' });
  if (prompt.length >= context) {
    throw new AppError(
      'text/too-long',
      `The prompt has ${prompt.length} tokens, and this model reads at most ${context}, its answer included.`,
      {
        fix: 'Shorten the text, the system prompt or the examples before it.',
        facts: { tokens: prompt.length, context },
      },
    );
  }
}

interface Decoder {
  readonly inference: Inference;
  readonly weights: ModelWeights;
  readonly workspace: Workspace;
  readonly options: Sampling;
  readonly patch: LoadedPatch | undefined;
  readonly signal: AbortSignal | undefined;
  /** Steps of the next submit, more each time so that the first tokens come early; and what a step took in the last one. */
  steps: number;
  stepSeconds: number;
}

/** Writes prompts' keys and values into their rows' slots and picks the first token of each: several prompts that are one chunk each, or one that may be more.
 *  Undefined after an abort. */
async function prefill(decoder: Decoder, rows: readonly Row[]): Promise<number[] | undefined> {
  const { inference, weights, workspace, patch, signal } = decoder;
  const [first] = rows;
  let start = 0;
  for (; start + PREFILL_TOKENS < first.prompt.length; start += PREFILL_TOKENS) {
    upload(inference.gpu, workspace.acts.tokens, first.prompt.subarray(start, start + PREFILL_TOKENS));
    upload(inference.gpu, workspace.acts.rows, Uint32Array.of(start, first.slot));
    const plan = await inference.plan('prefill', { B: 1, T: PREFILL_TOKENS }, patch, true, () => undefined);
    if (!(await plan.run({ signal }))) return undefined;
  }
  const T = Math.max(...rows.map(({ prompt }) => chunkLength(prompt.length - start)));
  const batch = padded(rows);
  const B = batch.length;
  const tokens = new Uint32Array(B * T);
  batch.forEach(({ prompt }, b) => {
    tokens.set(prompt.subarray(start), b * T);
  });
  upload(inference.gpu, workspace.acts.tokens, tokens);
  upload(inference.gpu, workspace.acts.rows, Uint32Array.from(batch.flatMap(({ slot }) => [start, slot])));
  upload(
    inference.gpu,
    workspace.index,
    Uint32Array.from(batch, ({ prompt }, b) => b * T + prompt.length - start - 1),
  );
  upload(inference.gpu, workspace.draws, drawsOf(batch.map(({ seed, made }) => ({ seed, drawn: made }))));
  const plan = await inference.plan(`prefill end, ${pickOf(decoder)}`, { B, T }, patch, true, (recording, acts) => {
    const x = firstRows(workspace.gathered, B);
    const hidden = firstRows(acts.hidden, B);
    recording.add(gatherRows(x, acts.x, firstRows(workspace.index, B)));
    recording.add(rmsnormForward(hidden, firstRows(acts.rstd, B), x, weights.finalNorm, inference.config.normEps));
    recordPick(recording, decoder, { ...acts, hidden }, B);
  });
  const read = await inference.runAndRead(plan, workspace.history, 4 * B, signal);
  return read && [...new Uint32Array(read)];
}

/** Some more tokens for every live row, a list a step: as many as the GPU is expected to make in one submit. Undefined after an abort. */
async function burst(decoder: Decoder, live: readonly Row[]): Promise<number[][] | undefined> {
  const { inference, weights, workspace, patch, signal } = decoder;
  const batch = padded(live);
  const B = batch.length;
  upload(
    inference.gpu,
    workspace.acts.tokens,
    Uint32Array.from(batch, (row) => row.next),
  );
  upload(inference.gpu, workspace.acts.rows, Uint32Array.from(batch.flatMap((row) => [row.length, row.slot])));
  upload(inference.gpu, workspace.draws, drawsOf(batch.map(({ seed, made }) => ({ seed, drawn: made }))));
  const plan = await inference.plan(`decode, ${pickOf(decoder)}`, { B, T: 1 }, patch, true, (recording, acts) => {
    finalNorm(recording, inference.config, weights, acts);
    recordPick(recording, decoder, acts, B);
  });
  // No row may run past its room: where the longest is done, others may take its place.
  const room = Math.min(...live.map((row) => row.room - row.made));
  const times = Math.max(1, Math.min(BURST, room, decoder.steps, Math.floor(BUDGET_SECONDS / Math.max(plan.seconds, decoder.stepSeconds))));
  const began = performance.now();
  const read = await inference.runAndRead(plan, workspace.history, 4 * times * B, signal, times);
  decoder.stepSeconds = (performance.now() - began) / 1000 / times;
  decoder.steps = Math.min(BURST, 2 * times);
  return read && Array.from({ length: times }, (_, step) => [...new Uint32Array(read, 4 * step * B, B)]);
}

/** The batch that rows are run in: the first one is there again where there are fewer rows than the batch has, and writes the same numbers to the same
 *  places. */
function padded(rows: readonly Row[]): Row[] {
  return Array.from({ length: paddedRows(rows.length) }, (_, i) => rows[i] ?? rows[0]);
}

function pickOf({ options }: Decoder): string {
  return options.temperature > 0 ? 'drawn' : 'largest';
}
/** Records the head and what ends a step of the first `rows` rows. */
function recordPick(plan: Plan, { inference, weights, workspace, options }: Decoder, acts: Activations, rows: number): void {
  const logits = firstRows(workspace.logits, rows);
  head(plan, weights, logits, acts.hidden);
  const { V } = inference.config;
  const end = {
    tokens: firstRows(acts.tokens, rows),
    rows: firstRows(acts.rows, rows),
    history: workspace.history,
    draws: firstRows(workspace.draws, rows),
    value: firstRows(workspace.value, rows),
    id: firstRows(workspace.id, rows),
  };
  const calls =
    options.temperature > 0 ? drawToken(end, logits, workspace.options, V, drawThreads(inference.gpu)) : takeLargest(end, logits, V);
  for (const call of calls) plan.add(call);
}
