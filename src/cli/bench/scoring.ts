// Scoring as a Board does it: many rows side by side against one at a time, on stories260k, and how long a submit takes there.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { cpuUsage } from 'node:process';
import { createEngine } from '../../engine/engine.ts';
import { BUDGET_SECONDS, type Gpu } from '../../engine/gpu.ts';
import { type Engine, greedy } from '../../engine/types.ts';
import { openHuggingFace } from '../../formats/hf-source.ts';
import type { ModelSource } from '../../formats/types.ts';
import { median } from '../../lib/stats.ts';
import { diskSource } from '../conformance/folder.ts';
import { randomTensors, randomTokens, SHAPES } from './shapes.ts';

const FOLDER = '../shared/fixtures/stories260k';
const FILES = ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
const PROMPT = 16;
const MADE = 32;
const ROUNDS = 3;

export interface Scoring {
  /** Side by side and one at a time, the best of the rounds each, since other programs may be at work; and how many times more, in each round. */
  readonly rowsPerSecond: { readonly together: number; readonly alone: number };
  readonly ratios: readonly number[];
  /** Time of all cores of this process a row, one at a time over side by side, the median of the rounds: what a busy machine leaves as it is. */
  readonly cpuRatio: number;
  /** Of side by side: rows that differ from those made alone. */
  readonly different: number;
  /** The longest submit, ms. */
  readonly longestSubmit: number;
}

/** Scores `rows` prompts of 16 tokens, 32 tokens each, in `rounds` rounds after one that is not timed. */
export async function measureScoring(gpu: Gpu, engine: Engine, rows: number, rounds: number): Promise<Scoring> {
  const prompts = Array.from({ length: rows }, (_, i) => randomTokens(`row ${i}`, PROMPT, engine.config.V));
  const options = greedy(MADE, []);
  const alone = async (some: readonly Uint32Array[]): Promise<number[][]> => {
    const made: number[][] = [];
    for (const prompt of some) {
      const ids: number[] = [];
      for await (const id of engine.generate(prompt, options)) ids.push(id);
      made.push(ids);
    }
    return made;
  };
  const together = async (): Promise<number[][]> => {
    const made: number[][] = [];
    for await (const { row, tokens } of engine.generateMany(prompts, options)) made[row] = [...tokens];
    return made;
  };
  const seconds = async (work: () => Promise<unknown>): Promise<{ readonly wall: number; readonly cpu: number }> => {
    const [start, before] = [performance.now(), cpuUsage()];
    await work();
    const { user, system } = cpuUsage(before);
    return { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
  };
  const [each, all] = [await alone(prompts), await together()];
  const different = each.filter((ids, row) => ids.join() !== all[row]?.join()).length;
  const submits = watchSubmits(gpu);
  // One at a time, a quarter of the rows says how many a second.
  const few = prompts.slice(0, Math.ceil(rows / 4));
  const rates: { readonly alone: number; readonly together: number; readonly cpu: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const [many, single] = [await seconds(together), await seconds(() => alone(few))];
    rates.push({ together: rows / many.wall, alone: few.length / single.wall, cpu: ((single.cpu / few.length) * rows) / many.cpu });
  }
  const longestSubmit = await submits.stop();
  return {
    ratios: rates.map((rate) => rate.together / rate.alone),
    rowsPerSecond: { together: Math.max(...rates.map((rate) => rate.together)), alone: Math.max(...rates.map((rate) => rate.alone)) },
    cpuRatio: median(rates.map(({ cpu }) => cpu)),
    different,
    longestSubmit,
  };
}

/** Times every submit from its start, or the end of the one before it, to its own end. */
function watchSubmits({ device }: Gpu): { readonly stop: () => Promise<number> } {
  const { queue } = device;
  const submit = queue.submit.bind(queue);
  let [longest, idleSince] = [0, 0];
  const waiting: Promise<void>[] = [];
  queue.submit = (buffers) => {
    const start = performance.now();
    submit(buffers);
    waiting.push(
      queue.onSubmittedWorkDone().then(() => {
        const now = performance.now();
        longest = Math.max(longest, now - Math.max(start, idleSince));
        idleSince = now;
      }),
    );
  };
  return {
    async stop() {
      queue.submit = submit;
      await Promise.all(waiting);
      return longest;
    },
  };
}

/** Prints one line. stories260k lies beside the checkout; where it does not, random weights of its sizes are as fast. */
export async function scoring(gpu: Gpu, print: (line: string) => void): Promise<void> {
  const there = existsSync(path.join(FOLDER, 'model.safetensors'));
  const { config } = SHAPES.find(({ name }) => name === 'A')!;
  const source: Pick<ModelSource, 'config' | 'tensors'> = there
    ? await openHuggingFace(FILES.map((file) => diskSource(path.join(FOLDER, file))))
    : { config, tensors: () => randomTensors(config) };
  const engine = await createEngine(gpu, source, { storage: 'f32' });
  await engine.tune(() => false); // as after a first answer
  const rows = 64;
  const { ratios, rowsPerSecond, cpuRatio, different, longestSubmit } = await measureScoring(gpu, engine, rows, ROUNDS);
  const { kernels } = engine;
  engine.dispose();
  print(
    [
      `scoring ${rows} rows, ${there ? 'stories260k' : 'random weights of the sizes of stories260k'}, prompts of ${PROMPT} tokens, ${MADE} made, no stop:`,
      `${(rowsPerSecond.together / rowsPerSecond.alone).toFixed(1)} times the rows/s of one at a time`,
      `(best of ${ROUNDS} each; by round ${ratios.map((ratio) => ratio.toFixed(1)).join(', ')}; by CPU time ${cpuRatio.toFixed(1)}),`,
      `${rowsPerSecond.together.toFixed(1)} against ${rowsPerSecond.alone.toFixed(1)} rows/s,`,
      different === 0 ? 'the same tokens,' : `${different} ROWS DIFFER,`,
      `longest submit ${longestSubmit.toFixed(0)} ms (planned for ${BUDGET_SECONDS * 1000}); kernels ${kernels}`,
    ].join(' '),
  );
}
