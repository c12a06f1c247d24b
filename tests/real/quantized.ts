// SmolLM2's own Q4_1 held as it is, and rounded to 8 bits: its memory, what it says of a text, and LoRA trained on it.
import type { OpenModel } from '../../src/cli/conformance/bench.ts';
import { type Case, exact, LOSS_BASE, type Measurement } from '../../src/cli/conformance/case.ts';
import type { StoragePlan } from '../../src/engine/types.ts';
import { planModel } from '../../src/engine/weights.ts';
import { ZED } from './texts.ts';
import { trainLora } from './train.ts';
import { check, found, type World } from './world.ts';

/** Bytes that the base may take on the GPU. */
const MOST_BYTES = 100e6;
/** Share by which perplexity may rise on 8 bits: rounding of the 4-bit file again. */
const EIGHT_BIT = 0.01;
const TEXT =
  'The river rises in the hills north of the town and runs south for forty miles before it meets the sea. In spring the water is high and cold, and the farmers along its banks watch it with care.';
const STEPS = { rank: 4, alpha: 8, learningRate: 1e-2, epochs: 2, batch: 1, microBatch: 1, schedule: 'constant', warmup: 0 };

interface Said {
  /** Mean negative log-probability of the text, nats a token. */
  readonly nll: number;
  /** Of two steps on one row. */
  readonly losses: readonly number[];
}

/** In the order of the plans that are open: f32 first, then as it is, then 8 bits. */
export function quantizedCases(world: World): Record<'f32' | 'as-is' | '8-bit', Case[]> {
  const said = new Map<StoragePlan, Said>();
  const open = (plan: StoragePlan): Promise<OpenModel> => world.bench.open(found(world, 'gguf'), plan);
  const say = async (plan: StoragePlan): Promise<Said> => {
    const model = await open(plan);
    const tokens = Uint32Array.from(model.tokenizer().encode(TEXT, { addSpecial: true }));
    const scores = await model.engine.score(tokens, [1, tokens.length]);
    const { losses } = await trainLora(model, ZED.slice(0, 1), STEPS);
    const own = { nll: -scores.reduce((a, b) => a + b, 0) / (tokens.length - 1), losses };
    said.set(plan, own);
    return own;
  };
  const same = async (plan: StoragePlan, share: number): Promise<Measurement[]> => {
    const [truth, own] = [said.get('f32'), await say(plan)];
    if (truth === undefined) throw new Error('The numbers of the f32 base are missing.');
    const losses = own.losses.map((loss, i) => Math.abs(loss / truth.losses[i] - 1));
    return [
      {
        what: `perplexity ${Math.exp(own.nll).toFixed(3)}, ${Math.exp(truth.nll).toFixed(3)} on f32`,
        difference: Math.abs(Math.exp(own.nll - truth.nll) - 1),
        tolerance: share,
      },
      { what: `${losses.length} losses of LoRA`, difference: Math.max(...losses), tolerance: Math.max(share, 20 * LOSS_BASE) },
    ];
  };
  return {
    f32: [
      check(world, 'quantized/f32 to compare with', ['gguf'], async () => {
        const { nll, losses } = await say('f32');
        return { measurements: [exact('numbers that are not finite', [nll, ...losses].filter((n) => !Number.isFinite(n)).length)] };
      }),
    ],
    'as-is': [
      check(world, 'quantized/memory as it is', ['gguf'], async () => {
        const { engine, source } = await open('as-is');
        const { weights } = engine.memory;
        const planned = planModel(engine.config, 'as-is', source.tensorInfos).weights;
        return {
          measurements: [
            { what: `${(weights / 1e6).toFixed(1)} MB on the GPU`, difference: weights, tolerance: MOST_BYTES },
            exact('bytes beyond the plan', Math.abs(weights - planned)),
          ],
        };
      }),
      check(world, 'quantized/text and LoRA as it is', ['gguf'], async () => ({ measurements: await same('as-is', 1e-4) })),
    ],
    '8-bit': [check(world, 'quantized/text and LoRA on 8 bits', ['gguf'], async () => ({ measurements: await same('8-bit', EIGHT_BIT) }))],
  };
}
