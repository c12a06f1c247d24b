// Which of several kernels for one job suits this device: measured once, on the loaded model's own matrices, and remembered by whoever keeps settings.
// A variant rewrites a call of calls.ts into another that gives the same numbers (within a kernel's tolerance).
import type { ModelConfig } from '../formats/types.ts';
import { linearForward } from './calls.ts';
import { linearBackwardInput } from './calls-backward.ts';
import type { Gpu } from './device.ts';
import { type Call, createTensor, destroyBuffer, download, elements, Plan, upload } from './gpu.ts';
import type { Tensor, Tuning } from './types.ts';
import type { ModelWeights } from './weights.ts';

interface Variant {
  readonly name: string;
  /** The call as this variant makes it; the same one where it has nothing to say. */
  readonly rewrite: (call: Call) => Call;
  /** Only where a thread can ask its neighbours for what they have; 'software': and memory costs more than registers. */
  readonly quads?: 'any' | 'software';
}
interface Family {
  readonly name: string;
  readonly variants: readonly [Variant, ...Variant[]];
  /** Rows of x in the linears that it is measured on; none where it is not measured. */
  readonly rows: readonly number[];
  /** What it is measured on: a linear, or the gradient of its input. */
  readonly of: 'forward' | 'backward';
}

/** The calls of linear_forward, whatever they start from and whatever part they have. */
const TILE = /^linear_forward(?!_few|_wide|_quad|_three|_swiglu)/;
const BACKWARD_TILE = /^linear_backward_input(?!_quad)/;

/** linear_forward, a tile of 8 rows a thread, as linear_forward_few, one row a thread: the same sums in the same order, so the same bits. */
function asFew(call: Call): Call {
  const [M, N, ...others] = call.params ?? [];
  if (!TILE.test(call.kernel) || typeof M !== 'number' || typeof N !== 'number') return call;
  const [stride4, column4, , ...part] = others;
  return {
    ...call,
    kernel: call.kernel.replace('linear_forward', 'linear_forward_few'),
    params: [M, N, stride4, column4, 1, ...part],
    grid: [Math.ceil(N / 4 / 32), M],
    // A tile of 8 rows was counted, at a third of what a row alone costs.
    flops: (3 * call.flops * M) / Math.max(M, 8),
  };
}
/** Linears of fewer rows than this take one row a thread. llama.cpp's pull request 24811: up to 8 rows are faster so on an M2 Pro. */
function tileFrom(rows: number): Variant {
  const few = (call: Call): boolean => typeof call.params?.[0] === 'number' && call.params[0] < rows;
  return { name: `from ${rows}`, rewrite: (call) => (few(call) ? asFew(call) : call) };
}

/** linear_forward in tiles of 8 columns a thread, not 4. */
function asWide(call: Call): Call {
  const [, N, , , tall] = call.params ?? [];
  if (!TILE.test(call.kernel) || typeof N !== 'number' || typeof tall !== 'number') return call;
  const x = Math.ceil(N / 8 / (64 / tall));
  return { ...call, kernel: call.kernel.replace('linear_forward', 'linear_forward_wide'), grid: [x, call.grid[1] ?? 1] };
}

/** linear_forward in tiles of 16 rows by 8 columns, four of them side by side a quad; fewer rows in tiles of 8. */
function asQuad(call: Call): Call {
  const [M, N, stride4, column4, tall, ...part] = call.params ?? [];
  if (!TILE.test(call.kernel) || typeof M !== 'number' || typeof N !== 'number' || tall === undefined) return call;
  if (M <= 8) return asWide(call);
  const [rows, columns] = [Math.ceil(M / 16), Math.ceil(N / 32)];
  const high = columns === 1 ? 16 : rows >= 8 ? 8 : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
  return {
    ...call,
    kernel: call.kernel.replace('linear_forward', 'linear_forward_quad'),
    overrides: {},
    params: [M, N, stride4, column4, high, call.overrides?.K ?? 0, ...part],
    grid: [Math.ceil(columns / (16 / high)), Math.ceil(rows / high)],
  };
}
/** linear_backward_input in the same tiles. */
function asBackwardQuad(call: Call): Call {
  const [M, , K] = call.params ?? [];
  if (!BACKWARD_TILE.test(call.kernel) || typeof M !== 'number' || typeof K !== 'number') return call;
  const kernel = call.kernel.replace('linear_backward_input', 'linear_backward_input_quad');
  return { ...call, kernel, grid: [Math.ceil((Math.ceil(M / 16) * Math.ceil(K / 32) * 4) / 32)] };
}

/** Attention, 16 queries or keys a quad. */
function asQuadAttention(call: Call): Call {
  const kernel = `${call.kernel}_quad`;
  const grid = (rows: number, heads: number, tokens: number): readonly [number] => [
    Math.ceil((rows * heads * Math.ceil(tokens / 16) * 4) / 32),
  ];
  const [B, TQ, TK, , , , , NH, NKV, HS] = (call.params ?? []).map(Number);
  if (call.kernel === 'attention_forward') return { ...call, kernel, grid: grid(B, call.overrides?.NH ?? 1, TQ) };
  const constants = { HS };
  if (call.kernel === 'attention_backward_dq') return { ...call, kernel, constants, grid: grid(B, NH, TQ) };
  if (call.kernel === 'attention_backward_dkv') return { ...call, kernel, constants, grid: grid(B, NKV, TK) };
  return call;
}

/** What is chosen on a device, in the order in which it rewrites a call. */
export const FAMILIES: readonly Family[] = [
  { name: 'tile of 8 rows', variants: [tileFrom(3), tileFrom(5), tileFrom(9), tileFrom(17)], rows: [4, 8, 16], of: 'forward' },
  {
    name: 'tile columns',
    variants: [
      { name: '8', rewrite: asWide },
      { name: '4', rewrite: (call) => call },
      { name: 'quads of 8', rewrite: asQuad, quads: 'any' },
    ],
    rows: [8, 64, 256],
    of: 'forward',
  },
  {
    name: 'backward tile',
    variants: [
      { name: '8 rows', rewrite: (call) => call },
      { name: 'quads of 16', rewrite: asBackwardQuad, quads: 'any' },
    ],
    rows: [64, 256],
    of: 'backward',
  },
  {
    name: 'attention',
    variants: [
      { name: 'each for itself', rewrite: (call) => call },
      { name: 'quads', rewrite: asQuadAttention, quads: 'software' },
    ],
    rows: [],
    of: 'forward',
  },
];
/** The families with the variants that this device can run. The first of each is what runs until one is chosen: a quad on software, which runs the four threads
 *  of a subgroup in one register and reads memory for one after the other. */
export function familiesOf({ lanes }: Pick<Gpu, 'lanes'>): readonly Family[] {
  return FAMILIES.map(({ variants: [first, ...others], ...family }) => {
    const able = others.filter(({ quads }) => quads === undefined || (quads === 'any' ? lanes >= 4 : lanes === 4));
    const quad = lanes === 4 ? able.find(({ quads }) => quads) : undefined;
    return { ...family, variants: quad === undefined ? [first, ...able] : [quad, first, ...able.filter((one) => one !== quad)] };
  });
}

/** What runs on a device until others are chosen. */
export function untuned(gpu: Pick<Gpu, 'lanes'>): Tuning['chosen'] {
  return Object.fromEntries(familiesOf(gpu).map(({ name, variants }) => [name, variants[0].name]));
}

/** Makes plans that are recorded from now on use these variants; names that this device does not know are those of the first. */
export function useVariants(gpu: Gpu, chosen: Tuning['chosen']): void {
  const variants = familiesOf(gpu).map(({ name, variants: all }) => all.find((variant) => variant.name === chosen[name]) ?? all[0]);
  gpu.rewrite = (call) => variants.reduce((made, { rewrite }) => rewrite(made), call);
}
/** "tile of 8 rows from 3" */
export function variantNames(chosen: Tuning['chosen']): string {
  return FAMILIES.map(({ name, variants }) => `${name} ${chosen[name] ?? variants[0].name}`).join(', ');
}

/** Another variant than the first must be faster by this much: what a busy machine makes of two equal ones is less. */
const CLEARLY = 0.92;
/** One submit of a measurement; and how often each variant is measured, in turns. */
const SUBMIT_SECONDS = 0.008;
const ROUNDS = 6;

/** The fastest variant of each family on a linear of this model. Undefined where `stop` said so: nobody waits for it, so it looks before every submit. */
export async function chooseVariants(
  gpu: Gpu,
  { C, F }: ModelConfig,
  model: ModelWeights,
  stop: () => boolean,
): Promise<Tuning['chosen'] | undefined> {
  const chosen: Record<string, string> = {};
  /** What was chosen of the families after the one that is measured. */
  let after = (call: Call): Call => call;
  for (const { name, variants, rows, of } of familiesOf(gpu).toReversed()) {
    const seconds = variants.map(() => 0);
    for (const M of rows) {
      const [x, y] = [createTensor(gpu, 'measure x', 'activations', [M, C]), createTensor(gpu, 'measure y', 'activations', [M, F])];
      try {
        const weights = model.layers[0].linears.gate_proj;
        const calls = of === 'forward' ? linearForward(y, x, weights) : linearBackwardInput(x, { tensor: y, column: 0 }, weights, false);
        const ways = variants.map(({ rewrite }) => calls.map((call) => after(rewrite(call))));
        const [input, output] = of === 'forward' ? [x, y] : [y, x];
        upload(gpu, input, sample(elements(input.shape)));
        const each = await measureCalls(gpu, ways, output, stop);
        if (each === undefined) return undefined;
        // A share of the first's, so that every M counts alike.
        for (const [i, s] of each.entries()) seconds[i] += s / each[0];
      } finally {
        for (const tensor of [x, y]) destroyBuffer(gpu, 'activations', tensor.buffer);
      }
    }
    const best = seconds.indexOf(Math.min(...seconds));
    const winner = variants[seconds[best] < CLEARLY * seconds[0] ? best : 0];
    chosen[name] = winner.name;
    const before = after;
    after = (call) => before(winner.rewrite(call));
  }
  return chosen;
}

/** Numbers of either sign, below 1. */
function sample(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => ((i * 7919) % 1009) / 504.5 - 1);
}
/** Of numbers that different kernels made of the same ones: what f32 rounds differently is less. */
const CLOSE = 1e-3;
function agree(a: Float32Array, b: Float32Array): boolean {
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return a.every((value, i) => Math.abs(value - b[i]) <= CLOSE * largest);
}

/** Seconds of each list of calls: the best of some submits of many, in turns; infinite where `output` is not what the first list makes it. Lists that are equal
 *  share their time. */
async function measureCalls(
  gpu: Gpu,
  lists: readonly (readonly Call[])[],
  output: Tensor,
  stop: () => boolean,
): Promise<number[] | undefined> {
  const keys = lists.map((calls) => calls.map(({ kernel, grid }) => `${kernel} ${grid.join(' ')}`).join());
  const best = new Map<string, number>();
  const wrong = new Set<string>();
  const plans: { readonly key: string; readonly plan: Plan; times: number }[] = [];
  const run = async ({ plan, times }: { plan: Plan; times: number }): Promise<number> => {
    const start = performance.now();
    await plan.repeat(times);
    await gpu.device.queue.onSubmittedWorkDone();
    return (performance.now() - start) / 1000 / times;
  };
  try {
    for (const [i, calls] of lists.entries()) {
      if (plans.some(({ key }) => key === keys[i])) continue;
      const plan = new Plan(gpu, 'measure');
      for (const call of calls) plan.addAsIs(call);
      plans.push({ key: keys[i], plan, times: 1 });
      await plan.prepare();
    }
    let expected: Float32Array | undefined;
    for (const { key, plan } of plans) {
      if (stop()) return undefined;
      plan.repeat(1);
      const made = await download(gpu, output);
      expected ??= made;
      if (!agree(expected, made)) wrong.add(key);
    }
    for (let round = 0; round <= ROUNDS; round++) {
      for (const one of plans) {
        if (stop()) return undefined;
        let seconds = await run(one);
        // The first round says how many fill a submit.
        for (; round === 0 && seconds * one.times < SUBMIT_SECONDS / 2 && one.times < 256; seconds = await run(one)) {
          one.times = Math.min(256, one.times * Math.max(2, Math.min(8, Math.floor(SUBMIT_SECONDS / (seconds * one.times)))));
          if (stop()) return undefined;
        }
        if (round > 0) best.set(one.key, Math.min(best.get(one.key) ?? Number.POSITIVE_INFINITY, seconds));
      }
    }
  } finally {
    for (const { plan } of plans) plan.dispose();
  }
  return keys.map((key) => (wrong.has(key) ? Number.POSITIVE_INFINITY : best.get(key)!));
}
