// Which of several kernels for one job suits this device: measured once, on the loaded model's own matrices, and remembered by whoever keeps settings.
// A variant rewrites a call of calls.ts into another that gives the same numbers (within a kernel's tolerance).
import type { ModelConfig } from '../formats/types.ts';
import { linearForward } from './calls.ts';
import type { Gpu } from './device.ts';
import { type Call, createTensor, destroyBuffer, Plan } from './gpu.ts';
import type { Tuning } from './types.ts';
import type { ModelWeights } from './weights.ts';

interface Variant {
  readonly name: string;
  /** The call as this variant makes it; the same one where it has nothing to say. */
  readonly rewrite: (call: Call) => Call;
}
interface Family {
  readonly name: string;
  readonly variants: readonly Variant[];
  /** Rows of x in the linears that it is measured on. */
  readonly rows: readonly number[];
}

/** The calls of linear_forward, whatever they start from and whatever part they have. */
const TILE = /^linear_forward(?!_few|_wide|_three|_swiglu)/;

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

/** What is chosen on a device, in the order in which it rewrites a call. The first variant of each is what runs until then. */
export const FAMILIES: readonly Family[] = [
  { name: 'tile of 8 rows', variants: [3, 5, 9, 17].map(tileFrom), rows: [4, 8, 16] },
  {
    name: 'tile columns',
    variants: [
      { name: '8', rewrite: asWide },
      { name: '4', rewrite: (call) => call },
    ],
    rows: [8, 64, 256],
  },
];

/** What the first variants are called. */
export const untuned: Tuning['chosen'] = Object.fromEntries(FAMILIES.map(({ name, variants }) => [name, variants[0].name]));

/** Makes plans that are recorded from now on use these variants; unknown names are those of the first. */
export function useVariants(gpu: Gpu, chosen: Tuning['chosen']): void {
  const variants = FAMILIES.map(({ name, variants: all }) => all.find((variant) => variant.name === chosen[name]) ?? all[0]);
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
  for (const { name, variants, rows } of FAMILIES.toReversed()) {
    const seconds = variants.map(() => 0);
    for (const M of rows) {
      const [x, y] = [createTensor(gpu, 'measure x', 'activations', [M, C]), createTensor(gpu, 'measure y', 'activations', [M, F])];
      try {
        const calls = linearForward(y, x, model.layers[0].linears.gate_proj);
        const ways = variants.map(({ rewrite }) => calls.map((call) => after(rewrite(call))));
        const each = await measureCalls(gpu, ways, stop);
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

/** Seconds of each list of calls: the best of some submits of many, in turns. Lists that are equal share their time. */
async function measureCalls(gpu: Gpu, lists: readonly (readonly Call[])[], stop: () => boolean): Promise<number[] | undefined> {
  const keys = lists.map((calls) => calls.map(({ kernel, grid }) => `${kernel} ${grid.join(' ')}`).join());
  const best = new Map<string, number>();
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
  return keys.map((key) => best.get(key)!);
}
