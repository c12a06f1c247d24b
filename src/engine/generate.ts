// Generation: prompts go into the cache in chunks, then all live rows get one token a step, side by side; greedy ones
// several steps in one submit. A row that ends makes room for the next prompt.
// A row's numbers do not depend on its neighbours (every kernel sums a row in an order of its own), and its random numbers come from its own seed.
import { AppError } from '../lib/error.ts';
import { hashText, type Random, seededRandom } from '../lib/random.ts';
import { argmax, decodeAdvance, gatherRows, rmsnormForward } from './calls.ts';
import { type Plan, upload } from './gpu.ts';
import { BURST, type Inference, PREFILL_TOKENS, rowsSideBySide, type Workspace } from './inference.ts';
import { type Activations, finalNorm, firstRows, head, logitColumns } from './model.ts';
import type { LoadedPatch } from './patch.ts';
import { sampleToken } from './sampling.ts';
import type { ModelConfig, Sampling } from './types.ts';
import type { ModelWeights } from './weights.ts';

/** Lengths of a prompt's last chunk come in steps of this, so that there are few plans. */
const CHUNK_STEP = 16;

/** Tokens come to the reader at least this often, and Stop throws no more than this away. */
const BURST_SECONDS = 0.1;

/** One prompt at work. */
interface Row {
  readonly row: number;
  readonly slot: number;
  readonly random: Random;
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
  const slots = Math.min(prompts.length, rowsSideBySide(config, longest));
  await inference.reserveCache(slots, longest);
  const workspace = await inference.reserve(Math.max(PREFILL_TOKENS, slots), slots, patch);
  const decoder: Decoder = { inference, weights, workspace, options, patch, signal };

  const free = Array.from({ length: slots }, (_, slot) => slots - 1 - slot);
  const live: Row[] = [];
  let waiting = 0;
  while (live.length > 0 || waiting < prompts.length) {
    while (free.length > 0 && waiting < prompts.length) {
      const prompt = prompts[waiting];
      const room = Math.min(options.maxTokens, config.context - prompt.length);
      const random = seededRandom(hashText(`${options.seed} ${waiting}`));
      const row: Row = { row: waiting++, slot: free.pop()!, random, length: prompt.length, next: 0, made: 0, room };
      const ids = await prefill(decoder, row, prompt);
      if (ids === undefined || signal?.aborted) return;
      const token = take(row, ids, options);
      if (token.ended) free.push(row.slot);
      else live.push(row);
      yield token;
      if (signal?.aborted) return;
    }
    if (live.length === 0) continue;
    const steps = await burst(decoder, live);
    if (steps === undefined || signal?.aborted) return;
    const before = [...live];
    for (const ids of steps) {
      for (const [i, row] of before.entries()) {
        if (!live.includes(row)) continue; // it ended earlier in this burst, and what came after is thrown away
        row.length++;
        const token = take(row, [ids[i]], options);
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

function take(row: Row, [id]: readonly number[], { stopIds }: Sampling): Token {
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
}

/** Writes a prompt's keys and values into the row's slot and picks its first token. Undefined after an abort. */
async function prefill(decoder: Decoder, row: Row, prompt: Uint32Array): Promise<number[] | undefined> {
  const { inference, weights, workspace, patch, signal } = decoder;
  for (let start = 0; start < prompt.length; start += PREFILL_TOKENS) {
    const chunk = prompt.subarray(start, start + PREFILL_TOKENS);
    const T = Math.ceil(chunk.length / CHUNK_STEP) * CHUNK_STEP;
    const padded = new Uint32Array(T);
    padded.set(chunk);
    upload(inference.gpu, workspace.acts.tokens, padded);
    upload(inference.gpu, workspace.acts.rows, Uint32Array.of(start, row.slot));
    if (start + PREFILL_TOKENS < prompt.length) {
      const plan = await inference.plan('prefill', { B: 1, T }, patch, true, () => undefined);
      if (!(await plan.run({ signal }))) return undefined;
      continue;
    }
    upload(inference.gpu, workspace.index, Uint32Array.of(chunk.length - 1));
    const plan = await inference.plan(kindOf('prefill end', decoder), { B: 1, T }, patch, true, (recording, acts) => {
      const x = firstRows(workspace.gathered, 1);
      const hidden = firstRows(acts.hidden, 1);
      recording.add(gatherRows(x, acts.x, firstRows(workspace.index, 1)));
      recording.add(rmsnormForward(hidden, firstRows(acts.rstd, 1), x, weights.finalNorm, inference.config.normEps));
      recordPick(recording, decoder, { ...acts, hidden }, 1);
    });
    return pick(decoder, plan, [row]);
  }
  return undefined;
}

/** Some more tokens for every live row, a list a step. Greedy rows get as many as the GPU makes in BURST_SECONDS before the host sees them, the others one.
 *  Undefined after an abort. */
async function burst(decoder: Decoder, live: readonly Row[]): Promise<number[][] | undefined> {
  const { inference, weights, workspace, patch, options, signal } = decoder;
  const B = live.length;
  upload(
    inference.gpu,
    workspace.acts.tokens,
    Uint32Array.from(live, (row) => row.next),
  );
  upload(inference.gpu, workspace.acts.rows, Uint32Array.from(live.flatMap((row) => [row.length, row.slot])));
  const plan = await inference.plan(kindOf('decode', decoder), { B, T: 1 }, patch, true, (recording, acts) => {
    finalNorm(recording, inference.config, weights, acts);
    recordPick(recording, decoder, acts, B);
    if (!(options.temperature > 0)) recording.add(decodeAdvance(acts.tokens, acts.rows, workspace.history, firstRows(workspace.token, B)));
  });
  if (options.temperature > 0) {
    const ids = await pick(decoder, plan, live);
    return ids && [ids];
  }
  // No row may run past its room: its keys would go where another row's are.
  const room = Math.min(...live.map((row) => row.room - row.made));
  const times = Math.max(1, Math.min(BURST, room, Math.floor(BURST_SECONDS / plan.seconds)));
  upload(inference.gpu, workspace.history, Uint32Array.of(0));
  const read = await inference.runAndRead(plan, workspace.history, 4 * (1 + times * B), signal, times);
  return read && Array.from({ length: times }, (_, step) => [...new Uint32Array(read, 4 * (1 + step * B), B)]);
}

function kindOf(name: string, { options }: Decoder): string {
  return options.temperature > 0 ? `${name}, logits` : `${name}, argmax`;
}
function recordPick(plan: Plan, { inference, weights, workspace, options }: Decoder, acts: Activations, rows: number): void {
  const logits = firstRows(workspace.logits, rows);
  head(plan, weights, logits, acts.hidden);
  if (options.temperature > 0) return;
  const { token, value, id } = workspace;
  for (const call of argmax(firstRows(token, rows), firstRows(value, rows), firstRows(id, rows), logits, inference.config.V))
    plan.add(call);
}
/** Runs a plan that ends in recordPick. Greedy rows read back four bytes each, the others their logits. */
async function pick(decoder: Decoder, plan: Plan, rows: readonly Row[]): Promise<number[] | undefined> {
  const { inference, workspace, options, signal } = decoder;
  if (!(options.temperature > 0)) {
    const ids = await inference.runAndRead(plan, workspace.token, 4 * rows.length, signal);
    return ids && [...new Uint32Array(ids)];
  }
  const columns = logitColumns(inference.config);
  const logits = await inference.runAndRead(plan, workspace.logits, 4 * columns * rows.length, signal);
  return logits && rows.map((row, i) => sampleToken(new Float32Array(logits, 4 * columns * i, inference.config.V), options, row.random));
}
