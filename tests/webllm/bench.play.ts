// `npm run bench:webllm`: what a decoded token costs in our engine and in web-llm, on the same weights, in turn. Run by src/cli/bench-webllm.mjs.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Page, test } from '@playwright/test';
import { memorySource } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/formats/open-model.ts';
import type { ModelSource } from '../../src/formats/types.ts';
import { median } from '../../src/lib/stats.ts';
import { serveHarness } from '../browser/harness/serve.ts';
import type { DecodeTimes } from './both-page/types.ts';
import { packed } from './mlc-files.ts';

const root = path.resolve(import.meta.dirname, '../..');
const MODEL = path.join(root, 'public/models/vale-micro');
const LIBRARIES = process.env.MAQUETTE_BENCH_LIBRARIES ?? '';
const ONLY = process.env.MAQUETTE_BENCH_ONLY?.split(',');
const ROUNDS = Number(process.env.MAQUETTE_BENCH_ROUNDS ?? 4);
const SCHEDULES = ['software', 'gpu'] as const;
const QUANTIZATIONS = ['q0f32', 'q4f32_1'] as const;

interface Measured {
  readonly what: string;
  readonly schedule: string;
  readonly times: DecodeTimes;
}
const ratio = ({ ours, theirs }: DecodeTimes): number => median(ours.map((own, i) => theirs[i] / own));

const libraryFile = (model: string, quantization: string, schedule: string): string | undefined => {
  const name = `${model}-${quantization}-${schedule}.wasm.gz`;
  return [path.join(LIBRARIES, name), path.join(MODEL, 'webllm', name)].find((file) => existsSync(file));
};

test('decoding in both runtimes', async ({ browser }) => {
  test.setTimeout(0);
  const outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-bench-'));
  const { address, close } = await serveHarness(outDir, path.join(root, 'tests/webllm/both-page/index.html'));
  const site = await openModel([memorySource('vale-micro.gguf', new Uint8Array(readFileSync(path.join(MODEL, 'vale-micro.gguf'))))]);
  const models = [
    { name: 'vale-micro', made: 32, random: false },
    { name: 'smollm2-135m', made: 4, random: true },
  ];
  const summary: string[] = [];
  for (const { name, made, random } of models) {
    for (const quantization of QUANTIZATIONS) {
      const what = `${name} ${quantization}`;
      if (ONLY !== undefined && !ONLY.some((wanted) => what.includes(wanted))) continue;
      const found = SCHEDULES.flatMap((schedule) => {
        const file = libraryFile(name, quantization, schedule);
        return file === undefined ? [] : [{ schedule, file }];
      });
      if (found.length === 0) {
        console.log(
          `${what}: no library here. npm run bench:webllm -- --build makes those that are missing (it needs Python and emscripten).`,
        );
        continue;
      }
      const measured: Measured[] = [];
      for (const { schedule, file } of found) {
        const page = await browser.newPage();
        page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
        await page.goto(address);
        await page.waitForFunction(() => 'bothRuntimes' in globalThis);
        await bring(page, site, random ? name : undefined, quantization, readFileSync(file));
        const times = await page.evaluate(([rounds, tokens]) => bothRuntimes.times(rounds, tokens), [ROUNDS, made] as const);
        await page.close();
        measured.push({ what, schedule, times });
        const rate = (ms: readonly number[]): string => (1000 / median(ms)).toFixed(2);
        const cost = (median(times.adapter.map((ms, i) => ms / times.theirs[i])) - 1) * 100;
        console.log(
          `${what}, web-llm ${schedule}: ours ${rate(times.ours)}, web-llm ${rate(times.theirs)} tokens/s; ours is ${ratio(times).toFixed(2)} times as fast; LoRA r = 8 on all linears inside web-llm ${cost >= 0 ? '+' : ''}${cost.toFixed(0)} % (${ROUNDS} rounds of ${made} tokens)`,
        );
      }
      // The faster of the two is the one against which ours is ahead by less.
      const [faster] = measured.toSorted((a, b) => ratio(a.times) - ratio(b.times));
      if (faster !== undefined)
        summary.push(
          `${what} ${ratio(faster.times).toFixed(2)} (against ${faster.schedule}${measured.length === 1 ? ', the only one here' : ''})`,
        );
    }
  }
  console.log(`ours / web-llm, decoded tokens a second: ${summary.length === 0 ? 'nothing was measured' : summary.join('; ')}`);
  await close();
  rmSync(outDir, { recursive: true, force: true });
});

/** The model into both runtimes: that of the site, or random weights of a shape. */
async function bring(
  page: Page,
  site: ModelSource,
  shape: string | undefined,
  quantization: 'q0f32' | 'q4f32_1',
  gz: Buffer,
): Promise<void> {
  const { tokenizer } = site;
  const gzip = gz.toString('base64');
  if (shape === undefined) {
    const files = await packed(MODEL, /\.gguf$/, gzip, quantization);
    const config = JSON.stringify({ ...tokenizer.config, chat_template: tokenizer.chatTemplate });
    await page.evaluate(
      async ([model, own]) => {
        await bothRuntimes.open(model, own);
        await bothRuntimes.loadOwn();
      },
      [files, config] as const,
    );
    return;
  }
  await page.evaluate(
    async ([named, stopIds, numbers, words, packedLibrary]) => {
      await bothRuntimes.make(named, stopIds, numbers, words);
      const bytes = Uint8Array.from(atob(packedLibrary), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
      await bothRuntimes.load(new Uint8Array(await new Response(stream).arrayBuffer()));
    },
    [shape, site.config.stopIds, quantization, tokenizer, gzip] as const,
  );
}
