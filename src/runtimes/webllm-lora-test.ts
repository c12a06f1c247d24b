// Do adapters inside this model's library give what our engine gives on this device? Asked once for each library, before the first adapter: which kernels a
// library holds, and what a driver makes of ours, is known only by running them.
import downSource from '../../shaders/webllm_lora_down.wgsl?raw';
import upSource from '../../shaders/webllm_lora_up.wgsl?raw';
import { AppError } from '../lib/error.ts';
import { hashText, seededRandom } from '../lib/random.ts';
import type {
  WebllmAdapter,
  WebllmEnd,
  WebllmFactors,
  WebllmLoaded,
  WebllmSampling,
  WebllmSelfTest,
  WebllmSelfTestCheck,
  WebllmSelfTestPlan,
} from './types.ts';
import type { PassHits, WebllmAdapters } from './webllm-lora.ts';
import type { Target } from './webllm-lora-targets.ts';
import { mendRules } from './wgsl-mend.ts';

/** What the test drives. */
interface Runtime {
  readonly loaded: WebllmLoaded;
  readonly adapters: WebllmAdapters;
  lastLogits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  generate(
    prompt: Uint32Array,
    options: WebllmSampling,
    pick: (logits: Float32Array, options: WebllmSampling, drawn: number) => number,
    onToken: (id: number) => void,
    signal: AbortSignal,
  ): Promise<WebllmEnd>;
}

/** Part of the key under which results are remembered: another number where this test, or the reading of kernels, gives another result. Texts of kernels, ours
 *  and those that mend TVM's, need no number: they are in the key themselves. */
const VERSION = 2;
const SEED = 86;
const RANK = 4;
/** RMS of B's numbers; those of A keep the size of x, so that a linear's output moves by about a fifth of its input's size: no kernel's share goes unseen. */
const B_SIZE = 0.1;
/** Of a logit, between two programs that sum in another order. */
const TOLERANCE = 5e-3;
/** The adapter must move the logits by more than what could be taken for rounding. */
const LEAST = 20 * TOLERANCE;
const SHORT = 9;
/** A long prompt ends this far within its second chunk. */
const BEYOND = 24;
const LONGEST = 320;

/** Random factors on every linear, and prompts for each way in which a library runs a pass. The same for the same model. */
export function selfTestPlan(targets: readonly Target[], loaded: WebllmLoaded, base: string): WebllmSelfTestPlan {
  const random = seededRandom(SEED);
  const uniform = (count: number, rms: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: count }, () => (random.next() * 2 - 1) * Math.sqrt(3) * rms);
  const factors = targets.flatMap(({ inputs, blocks }) =>
    blocks.map(
      ({ module, begin, end }): WebllmFactors => ({
        module,
        rank: RANK,
        a: uniform(RANK * inputs, 1 / Math.sqrt(inputs)),
        b: uniform((end - begin) * RANK, B_SIZE),
        scale: 1,
      }),
    ),
  );
  const tokens = (count: number): Uint32Array<ArrayBuffer> =>
    Uint32Array.from({ length: Math.min(count, loaded.context) }, () => Math.floor(random.next() * loaded.vocabulary));
  return {
    adapter: { base, factors },
    cases: [
      { name: 'one token', tokens: tokens(1) },
      { name: 'short prompt', tokens: tokens(SHORT) },
      { name: 'long prompt', tokens: tokens(Math.min(loaded.chunk + BEYOND, LONGEST)) },
    ],
  };
}

/** The same with B = 0: it must change nothing. */
function zeroed({ base, factors }: WebllmAdapter): WebllmAdapter {
  return { base, factors: factors.map((own) => ({ ...own, b: new Float32Array(own.b.length) })) };
}

const ZERO = 'self-test: zero';
const CHANCE = 'self-test: random';

/** Runs the plan's cases in web-llm; `logits` are our engine's answers to them. What was in use before is in use again afterwards.
 *  @throws 'webllm/self-test-logits', AbortError, and what passes of web-llm throw but 'webllm/unknown-kernel' */
export async function runSelfTest(
  runtime: Runtime,
  plan: WebllmSelfTestPlan,
  logits: readonly Float32Array[],
  signal: AbortSignal,
): Promise<WebllmSelfTest> {
  const { adapters, loaded } = runtime;
  if (logits.length !== plan.cases.length || logits.some(({ length }) => length !== loaded.vocabulary))
    throw new AppError('webllm/self-test-logits', `The self-test needs ${plan.cases.length} rows of ${loaded.vocabulary} logits.`, {
      why: `It was given ${logits.length}, of ${logits.map(({ length }) => length).join(', ')}.`,
      fix: 'Compute the logits with the model that is in web-llm.',
    });
  const before = adapters.inUse;
  const checks: WebllmSelfTestCheck[] = [];
  try {
    adapters.add(ZERO, zeroed(plan.adapter));
    adapters.add(CHANCE, plan.adapter);
    for (const [n, { name, tokens }] of plan.cases.entries()) {
      const passes: PassHits[] = [];
      adapters.onPass = (hits) => void (hits.expected > 0 && passes.push(hits));
      const run = (id: string | undefined): Promise<Float32Array> => {
        adapters.use(id === undefined ? [] : [{ id, strength: 1 }]);
        return runtime.lastLogits(tokens, signal);
      };
      const base = await run(undefined);
      const differs = (what: string, a: Float32Array, b: Float32Array, allowed: number): void => {
        const found = largestDifference(a, b);
        checks.push({ ok: found <= allowed, name: `${name}, ${what}`, found, allowed });
      };
      differs('zero adapter', await run(ZERO), base, 0);
      const random = await run(CHANCE);
      differs('random adapter against our engine', random, logits[n], TOLERANCE);
      const moved = largestDifference(random, base);
      checks.push({ ok: moved >= LEAST, name: `${name}, random adapter against none`, found: moved, allowed: LEAST });
      if (name === 'short prompt') {
        differs(
          'random adapter, its last token by itself, against our engine',
          await decoded(runtime, tokens, signal),
          logits[n],
          TOLERANCE,
        );
        differs('adapter taken off', await run(undefined), base, 0);
      }
      const odd = passes.find(({ exact }) => !exact) ?? passes[0];
      checks.push({
        ok: odd?.exact === true,
        name: `${name}, kernels joined in each pass`,
        found: odd?.hits ?? 0,
        allowed: adapters.targets.length,
      });
    }
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'webllm/unknown-kernel') throw error;
    const { kernel, why } = error.facts;
    return { ok: false, checks, unknown: { kernel: String(kernel), why: String(why) } };
  } finally {
    adapters.onPass = undefined;
    adapters.remove(ZERO);
    adapters.remove(CHANCE);
    adapters.use(before);
  }
  return checks.every(({ ok }) => ok) ? { ok: true, checks } : { ok: false, checks };
}

/** Logits after all tokens, the last of which is a pass of its own, as those of an answer are. */
async function decoded(runtime: Runtime, tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array> {
  let last: Float32Array = new Float32Array();
  const options: WebllmSampling = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens: 2, stops: [] };
  const pick = (logits: Float32Array): number => {
    last = logits;
    return tokens[tokens.length - 1];
  };
  await runtime.generate(tokens.subarray(0, -1), options, pick, () => undefined, signal);
  return last;
}

/** Infinite where one is no number. */
function largestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}

/** Under which a result is remembered. @param library SHA-256 of the model library, in hex; @param device the GPU as the browser names it; @param browser its
 *  user agent; @param kernels all that this app puts into the library's passes, or changes in its kernels */
export function selfTestKey(
  library: string,
  device: string,
  browser: string,
  kernels = `${mendRules}\n${downSource}\n${upSource}`,
): string {
  return `${VERSION} ${hashText(kernels).toString(16)} | web-llm 0.2.86 | ${library} | ${device} | ${browser}`;
}
