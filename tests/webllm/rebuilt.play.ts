// `npm run nightly`: libraries that were just built anew answer as the committed ones do, on the same weights.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { serveHarness } from '../browser/harness/serve.ts';
import { LIBRARIES } from './kernels.ts';
import { beside, packed } from './mlc-files.ts';

const root = path.resolve(import.meta.dirname, '../..');
const REBUILT = process.env.MAQUETTE_REBUILT ?? '';
/** The same program, built by other versions of compilers perhaps: sums may come in another order. */
const TOLERANCE = 1e-3;
const FOLDER = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model\.safetensors$/;
const MODELS: Readonly<Record<string, readonly [folder: string | undefined, files: RegExp]>> = {
  llama: [path.join(root, 'tests/fixtures/models/llama'), FOLDER],
  stories260k: [beside('stories260k'), FOLDER],
  'vale-micro': [path.join(root, 'public/models/vale-micro'), /\.gguf$/],
};

let address = '';
let close = async (): Promise<void> => undefined;
let outDir = '';
test.beforeAll(async () => {
  outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-rebuilt-'));
  ({ address, close } = await serveHarness(outDir, path.join(root, 'tests/webllm/both-page/index.html')));
});
test.afterAll(async () => {
  await close();
  rmSync(outDir, { recursive: true, force: true });
});

for (const [name, committed] of Object.entries(LIBRARIES)) {
  test(name, async ({ page }) => {
    test.setTimeout(1_200_000);
    const [, model = '', quantization] = /^(.+)-(q0f32|q4f32_1)/.exec(name) ?? [];
    const [folder, files] = MODELS[model] ?? [];
    test.skip(folder === undefined, 'its model lies beside the project and is not here');
    const rebuilt = path.join(REBUILT, `${name}.wasm.gz`);
    expect(existsSync(rebuilt), `${rebuilt} was built`).toBe(true);
    if (folder === undefined || files === undefined || (quantization !== 'q0f32' && quantization !== 'q4f32_1')) return;
    await page.goto(address);
    await page.waitForFunction(() => 'bothRuntimes' in globalThis);
    const answers: { readonly last: readonly number[]; readonly ids: readonly number[] }[] = [];
    for (const library of [committed, rebuilt]) {
      const gzip = readFileSync(library).toString('base64');
      const shards = await packed(folder, files, gzip, quantization);
      const prompt = Array.from({ length: 40 }, (_, i) => 3 + ((i * 37) % 250));
      const config = readFileSync(path.join(folder, 'tokenizer_config.json'), 'utf8');
      answers.push(
        await page.evaluate(
          async ([all, words, ids]) => {
            await bothRuntimes.open(all, words);
            await bothRuntimes.loadOwn();
            const tokens = Uint32Array.from(ids);
            const last = Array.from(await bothRuntimes.theirLogits(tokens));
            const answered = await bothRuntimes.answer(tokens, 16, []);
            await bothRuntimes.close();
            return { last, ids: answered.theirs };
          },
          [shards, config, prompt] as const,
        ),
      );
    }
    const [was, is] = answers;
    expect(new Set(was.last).size).toBeGreaterThan(100);
    expect(Math.max(...was.last.map((logit, i) => Math.abs(logit - is.last[i])))).toBeLessThan(TOLERANCE);
    expect(is.ids).toEqual(was.ids);
  });
}
