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
const TOKENS = 32;
const SCHEDULES = ['software', 'gpu'] as const;
const QUANTIZATIONS = ['q0f32', 'q4f32_1'] as const;

/** For one model and library: loading is cut off after the first, measuring takes about the second. */
const LOAD_SECONDS = Number(process.env.MAQUETTE_BENCH_LOAD_SECONDS ?? 300);
const SECONDS = Number(process.env.MAQUETTE_BENCH_SECONDS ?? 60);

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
    { name: 'vale-micro', random: false },
    { name: 'smollm2-135m', random: true },
  ];
  const summary: string[] = [];
  for (const { name, random } of models) {
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
      const slow: string[] = [];
      for (const { schedule, file } of found) {
        const page = await browser.newPage();
        page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
        await page.goto(address);
        await page.waitForFunction(() => 'bothRuntimes' in globalThis);
        const started = performance.now();
        const loaded = await within(LOAD_SECONDS, bring(page, site, random ? name : undefined, quantization, readFileSync(file)));
        const seconds = (performance.now() - started) / 1000;
        // Two tokens of each are the warm-up.
        const times = loaded
          ? await within(
              LOAD_SECONDS + SECONDS,
              page.evaluate(([n, made, s]) => bothRuntimes.times(n, made, s), [ROUNDS, TOKENS, SECONDS] as const),
            )
          : undefined;
        await page.close();
        if (times === undefined) {
          const why = loaded ? `no times within ${LOAD_SECONDS + SECONDS} s` : `not loaded within ${LOAD_SECONDS} s`;
          slow.push(`${schedule}: ${why}`);
          console.log(`${what}, web-llm ${schedule}: ${why}, left out`);
          continue;
        }
        measured.push({ what, schedule, times });
        console.log(`${what}, web-llm ${schedule}: ${told(times)}; both loaded in ${seconds.toFixed(0)} s`);
      }
      // The faster of the two is the one against which ours is ahead by less.
      const [faster] = measured.toSorted((a, b) => ratio(a.times) - ratio(b.times));
      if (faster === undefined) continue;
      const others = found.length === 1 ? ', the only one here' : slow.length > 0 ? `; ${slow.join('; ')}` : ', the faster of two';
      summary.push(`${what} ${ratio(faster.times).toFixed(2)} (against ${faster.schedule}${others})`);
    }
  }
  console.log(`ours / web-llm, decoded tokens a second: ${summary.length === 0 ? 'nothing was measured' : summary.join('; ')}`);
  await close();
  rmSync(outDir, { recursive: true, force: true });
});

/** What it comes to; undefined where it takes longer. What goes on then ends with its page. */
async function within<T>(seconds: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), seconds * 1000);
  });
  work.catch(() => undefined); // where its page is closed before it is done
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}

function told(times: DecodeTimes): string {
  const { ours, theirs, adapter, made, prompt } = times;
  const rate = (ms: readonly number[]): string => (1000 / median(ms)).toPrecision(3);
  const cost = (median(adapter.map((ms, i) => ms / theirs[i])) - 1) * 100;
  const rounds = `${ours.length} ${ours.length === 1 ? 'round' : 'rounds'} of ${made} ${made === 1 ? 'token' : 'tokens'} after ${prompt}`;
  const fewer =
    made < TOKENS || ours.length < ROUNDS
      ? `: fewer than ${ROUNDS} of ${TOKENS}, since a token takes web-llm ${(median(theirs) / 1000).toPrecision(2)} s here`
      : '';
  return [
    `ours ${rate(ours)}, web-llm ${rate(theirs)} tokens/s; ours is ${ratio(times).toFixed(2)} times as fast`,
    `LoRA r = 8 on all linears inside web-llm ${cost >= 0 ? '+' : ''}${cost.toFixed(0)} %${ours.length < 3 ? ', of too few rounds to tell' : ''} (${rounds}${fewer})`,
  ].join('; ');
}

/** The model into both runtimes: that of the site, or random weights of a shape. */
async function bring(
  page: Page,
  site: ModelSource,
  shape: string | undefined,
  quantization: 'q0f32' | 'q4f32_1',
  gz: Buffer,
): Promise<true> {
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
    return true;
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
  return true;
}
