// One gradient back up: the loss of the labelled rows chunk by chunk, then backward() through the layers, one kernel call a line. Both run once for a shape
// and record plans, which every micro-batch replays. The names are those of model.ts with a d in front; dx is the gradient of the residual stream.
import { gatherRows, linearForward, type Matrix, PIECES } from './calls.ts';
import {
  attentionBackward,
  type Columns,
  crossEntropy,
  type Dropout,
  embedBackward,
  linearBackwardInput,
  linearBackwardWeight,
  loraBackward,
  rmsnormBackward,
  rmsnormBackwardGain,
  ropeBackward,
  swigluBackward,
  type TokenRuns,
} from './calls-backward.ts';
import { aligned, type Call, createTensor, destroyBuffer, type Gpu, type Plan, tensorBytes } from './gpu.ts';
import { type Activations, type LowRankActivations, logitColumns } from './model.ts';
import { GROUPS, type GroupName, type LoadedPatch, trainingTensor } from './patch.ts';
import type { Linear, ModelConfig, Tensor } from './types.ts';
import { LINEARS, linearName } from './weights.ts';

/** Bytes that one chunk of logits may take: 64 rows at least, whatever it takes. */
const LOGITS_BYTES = 32 * 1024 * 1024;

/** How the labelled rows of M tokens are cut: chunks of `rows`, their places `stride` apart in lists, so that each begins where a binding may. About a quarter
 *  of the tokens each, so that prompts without labels cost no logits. No batch of M tokens or fewer has chunks of more than `most` rows or more places. */
export function lossChunks(M: number, config: Pick<ModelConfig, 'V'>): { count: number; rows: number; stride: number; most: number } {
  const fitting = Math.floor(LOGITS_BYTES / (4 * logitColumns(config)) / 64) * 64;
  const most = Math.max(64, Math.min(fitting, Math.ceil(M / 4 / 64) * 64));
  const count = Math.ceil(M / most);
  const rows = Math.ceil(M / count / 8) * 8;
  return { count, rows, stride: Math.ceil(rows / 64) * 64, most: Math.min(most, Math.ceil(M / 8) * 8) };
}

/** What backward needs besides the kept activations. M tokens, chunks of R rows, P = places for all of them (`lossChunks`). */
export interface Gradients {
  /** (M, C): of the residual stream; of a normed input. */
  readonly dx: Tensor;
  readonly dxn: Tensor;
  /** (M, F), then h in its place; (M, 2 F) */
  readonly dh: Tensor;
  readonly dgu: Tensor;
  /** (M, NH * HS); (M, NH); (M, (NH + 2 NKV) * HS) */
  readonly dO: Tensor;
  readonly delta: Tensor;
  readonly dqkv: Tensor;
  /** (M, ranks of the widest low-rank group) */
  readonly dLow: Tensor;
  /** (P) u32: the labelled tokens in order, and what each is to predict (i32); 0xffffffff and -1 in places without one. */
  readonly rows: Tensor;
  readonly targets: Tensor;
  /** (M) u32: each token's place among them, 0xffffffff where it has no label. */
  readonly places: Tensor;
  /** (R, C): the chunk's rows of hidden; (P, C) */
  readonly labelled: Tensor;
  readonly dLabelled: Tensor;
  /** (R, logitColumns), then their gradient; (R); (R); (R, PIECES, 2) */
  readonly logits: Tensor;
  readonly losses: Tensor;
  readonly lse: Tensor;
  readonly partials: Tensor;
  /** (M), (M + 1), (M) u32: positions by token, for the embedding's gradient. */
  readonly runs: TokenRuns;
}

function shapes(
  config: ModelConfig,
  M: number,
  ranks: number,
  R: number,
): Record<Exclude<keyof Gradients, 'runs'> | keyof TokenRuns, readonly number[]> {
  const { C, NH, NKV, HS, F } = config;
  const { count, stride } = lossChunks(M, config);
  const P = count * stride;
  return {
    dx: [M, C],
    dxn: [M, C],
    dh: [M, F],
    dgu: [M, 2 * F],
    dO: [M, NH * HS],
    delta: [M, NH],
    dqkv: [M, (NH + 2 * NKV) * HS],
    dLow: [M, Math.max(ranks, 4)],
    rows: [P],
    targets: [P],
    places: [M],
    labelled: [R, C],
    dLabelled: [P, C],
    logits: [R, logitColumns(config)],
    losses: [R],
    lse: [R],
    partials: [R, PIECES, 2],
    order: [M],
    starts: [M + 1],
    ids: [M],
  };
}
const WORDS: ReadonlySet<string> = new Set(['rows', 'targets', 'places', 'order', 'starts', 'ids']);

/** Bytes of createGradients. */
export function gradientBytes(config: ModelConfig, M: number, ranks: number): number {
  return Object.values(shapes(config, M, ranks, lossChunks(M, config).most)).reduce(
    (sum, shape) => sum + aligned(tensorBytes(shape, 'f32')),
    0,
  );
}
function gather(of: (name: keyof ReturnType<typeof shapes>) => Tensor): Gradients {
  return {
    dx: of('dx'),
    dxn: of('dxn'),
    dh: of('dh'),
    dgu: of('dgu'),
    dO: of('dO'),
    delta: of('delta'),
    dqkv: of('dqkv'),
    dLow: of('dLow'),
    rows: of('rows'),
    targets: of('targets'),
    places: of('places'),
    labelled: of('labelled'),
    dLabelled: of('dLabelled'),
    logits: of('logits'),
    losses: of('losses'),
    lse: of('lse'),
    partials: of('partials'),
    runs: { order: of('order'), starts: of('starts'), ids: of('ids') },
  };
}
/** For up to M tokens; a smaller batch uses their first numbers (`gradientsOf`). `ranks` is the width of the patch's widest low-rank group. */
export function createGradients(gpu: Gpu, config: ModelConfig, M: number, ranks: number): Gradients {
  const wanted = shapes(config, M, ranks, lossChunks(M, config).most);
  return gather((name) => createTensor(gpu, name, 'activations', wanted[name], WORDS.has(name) ? 'u32' : 'f32'));
}
/** The gradients of a batch of M tokens within larger ones. */
export function gradientsOf(all: Gradients, config: ModelConfig, M: number, ranks: number): Gradients {
  const wanted = shapes(config, M, ranks, lossChunks(M, config).rows);
  const flat: Record<keyof typeof wanted, Tensor> = { ...all, ...all.runs };
  return gather((name) => ({ ...flat[name], shape: wanted[name] }));
}
export function destroyGradients(gpu: Gpu, { runs, ...rest }: Gradients): void {
  for (const { buffer } of [...Object.values(rest), ...Object.values(runs)]) destroyBuffer(gpu, 'activations', buffer);
}

export interface BackwardOptions {
  readonly config: ModelConfig;
  readonly patch: LoadedPatch;
  readonly acts: Activations;
  readonly lowRank: LowRankActivations;
  readonly grads: Gradients;
  readonly shape: { readonly B: number; readonly T: number };
  /** [seed, micro-batches since the start of the fit, the bits of 1 / targets of the step, 0] */
  readonly micro: Tensor;
  /** [loss, gradient norm, clip coefficient, 0] */
  readonly report: Tensor;
  /** Records what backward reads of a layer once more, where only its input was kept. */
  readonly again?: ((plan: Plan, layer: number) => void) | undefined;
}

/** The gradient of a tensor that the patch trains in place of the base's; undefined where the base's own is frozen. */
function trained(patch: LoadedPatch, name: string, matrix: Matrix): Matrix | undefined {
  if (!patch.replaced.has(name)) return undefined;
  return matrix.map(({ tensor, first }) => ({ tensor: trainingTensor(patch, tensor, 'g'), first }));
}
const one = (tensor: Tensor): Matrix => [{ tensor, first: 0 }];

/** Records the loss of chunk `i` of the labelled rows into report[0], and its gradient into dLabelled and into a trained head's. */
export function chunkLoss(plan: Plan, i: number, { config, patch, acts, grads, micro, report }: BackwardOptions): void {
  const record = (...calls: readonly Call[]): void => {
    for (const call of calls) plan.add(call);
  };
  const { labelled, logits, losses, lse, partials } = grads;
  const [R, C] = labelled.shape;
  const { stride } = lossChunks(acts.hidden.shape[0], config);
  const part = (tensor: Tensor, width: number): Tensor => ({
    ...tensor,
    offset: tensor.offset + 4 * i * stride * width,
    shape: [R, ...tensor.shape.slice(1)],
  });
  const { head } = patch.weights;
  const dHead = trained(patch, config.tied ? 'model.embed_tokens.weight' : 'lm_head.weight', head);

  record(gatherRows(labelled, acts.hidden, part(grads.rows, 1)));
  record(...linearForward(logits, labelled, head));
  record(...crossEntropy(report, logits, losses, lse, partials, part(grads.targets, 1), micro, config.V));
  record(...linearBackwardInput(part(grads.dLabelled, C), { tensor: logits, column: 0 }, head, false));
  if (dHead !== undefined) record(...linearBackwardWeight(dHead, { tensor: logits, column: 0 }, labelled));
}

/** How far down a layer's gradient must go, in the order of its backward. */
type Depth = 'nothing' | 'down' | 'gateUp' | 'mlpNorm' | 'o' | 'qkv' | 'attentionNorm' | 'below';
const DEPTHS: readonly Depth[] = ['nothing', 'down', 'gateUp', 'mlpNorm', 'o', 'qkv', 'attentionNorm', 'below'];

/** For each layer, the last thing in its backward that is trained, or 'below' where a lower layer or the embedding is. */
function depths(config: ModelConfig, patch: LoadedPatch): Depth[] {
  let below = patch.replaced.has('model.embed_tokens.weight');
  return Array.from({ length: config.L }, (_, layer): Depth => {
    if (below) return 'below';
    let deepest: Depth = 'nothing';
    for (const depth of DEPTHS) {
      const group = GROUPS.find(({ name }) => name === depth);
      const here =
        group === undefined
          ? depth !== 'nothing' && depth !== 'below' && patch.replaced.has(normName(layer, depth))
          : patch.groups[layer][group.name] !== undefined || group.linears.some((linear) => patch.replaced.has(linearName(layer, linear)));
      if (here) deepest = depth;
    }
    below = deepest !== 'nothing';
    return deepest;
  });
}
function normName(layer: number, norm: Depth): string {
  return `model.layers.${layer}.${norm === 'mlpNorm' ? 'post_attention_layernorm' : 'input_layernorm'}.weight`;
}

/** Records dLabelled -> the gradients of everything trained below the head, from the last layer to the first one that needs it. */
export function backward(plan: Plan, { config, patch, acts, lowRank, grads, shape, micro, again }: BackwardOptions): void {
  const record = (...calls: readonly Call[]): void => {
    for (const call of calls) plan.add(call);
  };
  const { F, NH, NKV, HS } = config;
  const { dx, dxn, dh, dgu, dO, delta, dqkv } = grads;
  const { weights } = patch;
  const dropout: Dropout | undefined = patch.dropout > 0 ? { micro, rate: patch.dropout } : undefined;
  const gradient = (tensor: Tensor): Tensor => trainingTensor(patch, tensor, 'g');
  const goals = depths(config, patch);

  record(gatherRows(dxn, grads.dLabelled, grads.places));
  const dFinalNorm = trained(patch, 'model.norm.weight', one(weights.finalNorm));
  if (dFinalNorm !== undefined) record(rmsnormBackwardGain(dFinalNorm[0].tensor, dxn, acts.x, acts.rstd));
  record(rmsnormBackward(dx, dxn, acts.x, acts.rstd, weights.finalNorm, false));

  for (let layer = config.L - 1; layer >= 0; layer--) {
    const a = acts.layers[layer];
    const { linears, attentionNorm, mlpNorm } = weights.layers[layer];
    const reaches = (depth: Depth): boolean => DEPTHS.indexOf(goals[layer]) >= DEPTHS.indexOf(depth);
    const goesBelow = (depth: Depth): boolean => DEPTHS.indexOf(goals[layer]) > DEPTHS.indexOf(depth);

    /** Backward of the linears that read `x`, each with its columns of dy: `dInput` (=), where anything further down needs it, then their own gradients.
     *  `between` is recorded when dInput is done. */
    const group = (
      name: GroupName,
      dInput: Tensor,
      x: Tensor,
      dy: Tensor,
      columns: Partial<Record<Linear, number>>,
      between?: Call,
    ): void => {
      const own = GROUPS.find((candidate) => candidate.name === name)!.linears;
      const at = (linear: Linear): Columns => ({ tensor: dy, column: columns[linear] ?? 0 });
      const low = patch.groups[layer][name];
      const h = lowRank[layer][name];
      const dLow = { ...grads.dLow, shape: [x.shape[0], low?.ranks ?? 0] };
      const lora =
        low === undefined || h === undefined
          ? undefined
          : loraBackward(
              gradient,
              dLow,
              dy,
              h,
              x,
              low,
              low.sites.map(({ place }) => columns[LINEARS[place % 7]] ?? 0),
              dropout,
            );
      if (lora !== undefined) record(lora.hidden);
      if (goesBelow(name)) {
        own.forEach((linear, i) => {
          const site = low?.sites.find(({ place }) => LINEARS[place % 7] === linear);
          record(...linearBackwardInput(dInput, at(linear), linears[linear], i > 0, site && { site, dh: dLow, dropout }));
        });
      }
      if (between !== undefined) record(between);
      if (lora !== undefined) record(lora.factors);
      for (const linear of own) {
        const dw = trained(patch, linearName(layer, linear), linears[linear]);
        if (dw !== undefined) record(...linearBackwardWeight(dw, at(linear), x));
      }
    };
    const norm = (name: 'mlpNorm' | 'attentionNorm', x: Tensor, rstd: Tensor, w: Tensor): void => {
      const dw = trained(patch, normName(layer, name), one(w));
      if (dw !== undefined) record(rmsnormBackwardGain(dw[0].tensor, dxn, x, rstd));
      if (goesBelow(name)) record(rmsnormBackward(dx, dxn, x, rstd, w));
    };

    if (!reaches('down')) break;
    if (layer < config.L - 1) again?.(plan, layer); // the last layer's is still there
    group('down', dh, dh, dx, {}, swigluBackward(dgu, dh, a.gate, a.up)); // which leaves h in dh
    if (!reaches('gateUp')) break;
    group('gateUp', dxn, a.xn2, dgu, { gate_proj: 0, up_proj: F });
    if (!reaches('mlpNorm')) break;
    norm('mlpNorm', a.x2, a.rstd2, mlpNorm);
    if (!reaches('o')) break;
    group('o', dO, a.o, dx, {});
    if (!reaches('qkv')) break;
    record(
      ...attentionBackward(dqkv, dqkv, delta, dO, a.o, a.lse, a.q, a.k, a.v, { B: shape.B, TQ: shape.T, TK: shape.T, offset: 0 }, config),
    );
    record(ropeBackward(dqkv, weights.angles, shape.T, config));
    group('qkv', dxn, a.xn1, dqkv, { q_proj: 0, k_proj: NH * HS, v_proj: (NH + NKV) * HS });
    if (!reaches('attentionNorm')) break;
    norm('attentionNorm', a.x, a.rstd1, attentionNorm);
  }
  const dTable = trained(patch, 'model.embed_tokens.weight', weights.embedding);
  if (dTable !== undefined) record(...embedBackward(dTable, dx, grads.runs));
}
