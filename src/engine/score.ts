// Log-probabilities and logits of given tokens: rows go through the network in batches, hidden rows through the head in chunks, so that all logits are
// never held.
import { logProbability } from './calls.ts';
import { upload } from './gpu.ts';
import { type Inference, logitRows, MAX_TOKENS, type Workspace } from './inference.ts';
import { type Activations, finalNorm, firstRows, head, logitColumns } from './model.ts';
import type { LoadedPatch } from './patch.ts';
import type { Tensor } from './types.ts';
import type { ModelWeights } from './weights.ts';

type Shape = readonly [B: number, T: number];
/** T is padded to a multiple of this, so that there are few plans. */
const LENGTH_STEP = 16;

/** (B, T) log-probabilities in nats of each token given those before it; column 0 is 0. */
export async function score(
  inference: Inference,
  weights: ModelWeights,
  tokens: Uint32Array,
  [B, T]: Shape,
  patch: LoadedPatch | undefined,
): Promise<Float32Array> {
  const { config } = inference;
  const out = new Float32Array(B * T);
  for await (const { first, count, padded, workspace } of batches(inference, tokens, [B, T], patch)) {
    const M = count * padded;
    const targets = new Uint32Array(M).fill(0xffffffff);
    for (let b = 0; b < count; b++) targets.set(tokens.subarray((first + b) * T + 1, (first + b + 1) * T), b * padded);
    upload(inference.gpu, workspace.targets, targets);
    const plan = await inference.plan('score', { B: count, T: padded }, patch, false, (recording, acts) => {
      finalNorm(recording, config, weights, acts);
      for (const { at, rows, hidden } of chunks(acts, logitRows(config))) {
        const logits = firstRows(workspace.logits, rows);
        head(recording, weights, logits, hidden);
        const y = part(workspace.scores, at, rows);
        for (const call of logProbability(y, firstRows(workspace.partial, rows), logits, part(workspace.targets, at, rows), config.V))
          recording.add(call);
      }
    });
    const scores = new Float32Array((await inference.runAndRead(plan, workspace.scores, 4 * M))!);
    for (let b = 0; b < count; b++) out.set(scores.subarray(b * padded, b * padded + T - 1), (first + b) * T + 1);
  }
  return out;
}

/** (B, T, V) logits. For tests and short inputs. */
export async function allLogits(
  inference: Inference,
  weights: ModelWeights,
  tokens: Uint32Array,
  [B, T]: Shape,
  patch: LoadedPatch | undefined,
): Promise<Float32Array> {
  const { config } = inference;
  const { V } = config;
  const columns = logitColumns(config);
  const out = new Float32Array(B * T * V);
  for await (const { first, count, padded, workspace } of batches(inference, tokens, [B, T], patch)) {
    const shape = { B: count, T: padded };
    const network = await inference.plan('hidden', shape, patch, false, (plan, acts) => finalNorm(plan, config, weights, acts));
    await network.run();
    const acts = { ...workspace.acts, hidden: firstRows(workspace.acts.hidden, count * padded) };
    for (const { at, rows, hidden } of chunks(acts, logitRows(config))) {
      const logits = firstRows(workspace.logits, rows);
      const plan = await inference.barePlan(`head ${at} ${rows}`, patch, (recording) => head(recording, weights, logits, hidden));
      const numbers = new Float32Array((await inference.runAndRead(plan, logits, 4 * rows * columns))!);
      for (let i = 0; i < rows; i++) {
        const [b, t] = [Math.floor((at + i) / padded), (at + i) % padded];
        if (t < T) out.set(numbers.subarray(i * columns, i * columns + V), ((first + b) * T + t) * V);
      }
    }
  }
  return out;
}

/** Rows in batches of at most MAX_TOKENS, each with its tokens uploaded. */
async function* batches(
  inference: Inference,
  tokens: Uint32Array,
  [B, T]: Shape,
  patch: LoadedPatch | undefined,
): AsyncGenerator<{ readonly first: number; readonly count: number; readonly padded: number; readonly workspace: Workspace }> {
  const padded = Math.ceil(T / LENGTH_STEP) * LENGTH_STEP;
  const most = Math.max(1, Math.min(B, Math.floor(MAX_TOKENS / padded)));
  for (let first = 0; first < B; first += most) {
    const count = Math.min(most, B - first);
    const M = count * padded;
    const workspace = await inference.reserve(most * padded, Math.min(logitRows(inference.config), most * padded), patch);
    const ids = new Uint32Array(M);
    for (let b = 0; b < count; b++) ids.set(tokens.subarray((first + b) * T, (first + b + 1) * T), b * padded);
    upload(inference.gpu, workspace.acts.tokens, ids);
    upload(
      inference.gpu,
      workspace.acts.rows,
      Uint32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? 0 : i >> 1)),
    );
    yield { first, count, padded, workspace };
  }
}

function* chunks(
  acts: Pick<Activations, 'hidden'>,
  most: number,
): Iterable<{ readonly at: number; readonly rows: number; readonly hidden: Tensor }> {
  const M = acts.hidden.shape[0];
  for (let at = 0; at < M; at += most) {
    const rows = Math.min(most, M - at);
    yield { at, rows, hidden: part(acts.hidden, at, rows) };
  }
}
/** Rows [at, at + rows) of a tensor. */
function part(tensor: Tensor, at: number, rows: number): Tensor {
  const width = tensor.shape.slice(1).reduce((product, n) => product * n, 1);
  return { ...tensor, offset: tensor.offset + 4 * at * width, shape: [rows, ...tensor.shape.slice(1)] };
}
