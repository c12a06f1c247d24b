// The model in public/models as others meet it: its files agree with each other, our importer reads it, and llama.cpp, where it is installed, its weights.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openBench } from '../../src/cli/acceptance/bench.ts';
import { COMPARED } from '../../src/cli/acceptance/rows.ts';
import { DEFAULT_SEED, readScores } from '../../src/cli/acceptance/table.ts';
import { readCard } from '../../src/cli/world/card.ts';
import { greedy } from '../../src/engine/types.ts';
import { BUNDLED_PRE } from '../../src/formats/gguf-tokenizer.ts';
import { messagesOf } from '../../src/world/document.ts';
import { exam } from '../../src/world/exam.ts';
import { testGpu } from '../support/gpu.ts';

const root = path.resolve(import.meta.dirname, '../..');
const folder = path.join(root, 'public/models/vale-micro');
const vocabulary = path.join(root, 'src/cli/world/model');
const card = readCard(folder);
const llama = path.join(root, 'tests/llama');

describe('the shipped model', () => {
  it('is one GGUF file with the small files of its vocabulary beside it, 6 MB at most in all', () => {
    expect(card.file).toBe(`${card.name}.gguf`);
    const bytes = readdirSync(folder).map((name) => statSync(path.join(folder, name)).size);
    expect(bytes.reduce((a, b) => a + b)).toBeLessThan(6e6);
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
      expect(JSON.parse(readFileSync(path.join(folder, name), 'utf8')), name).toEqual(
        JSON.parse(readFileSync(path.join(vocabulary, name), 'utf8')),
      );
  });
  it('has a card that says in plain words whether its weights are interim, and after how many tokens', () => {
    const text = readFileSync(path.join(folder, 'README.md'), 'utf8');
    expect(text).toContain(`${(card.training.tokens / 1e6).toFixed(0)} million tokens`);
    expect(text.includes('These are interim weights')).toBe(card.interim);
  });
  it('has the float32 answers that row 14 compares with, of the same weights', () => {
    const scores = readScores(folder);
    expect(scores?.seed).toBe(DEFAULT_SEED);
    expect(scores?.tokens).toBe(card.training.tokens);
    for (const name of COMPARED) expect(scores?.right[name], name).toHaveLength(scores?.items ?? 0);
  });

  it('is refused by llama.cpp for its vocabulary alone, whose marks that program does not space: by ids it gives the same labels', {
    timeout: 240_000,
  }, async ({ skip }) => {
    if (!existsSync(path.join(llama, 'node_modules/node-llama-cpp'))) skip('llama.cpp is not installed in tests/llama');
    const bench = await openBench(await testGpu(), folder, DEFAULT_SEED, 1);
    const questions = await Promise.all(exam('labels noun k=4', DEFAULT_SEED, 8).map((one) => bench.renderer.prompt(messagesOf(one))));
    const ours: number[][] = questions.map(() => []);
    for await (const { row, tokens } of bench.engine.generateMany(questions, greedy(4, bench.renderer.stopIds))) ours[row] = [...tokens];
    bench.dispose();
    const ask = (model: string) => {
      const job = { model, greedy: questions.map((ids) => ({ ids: [...ids], count: 4 })) };
      return spawnSync(process.execPath, ['llama.mjs'], { cwd: llama, input: JSON.stringify(job), encoding: 'utf8' });
    };
    const model = path.join(folder, card.file);
    expect(ask(model).stderr).toContain(`unknown pre-tokenizer type: '${BUNDLED_PRE}'`);

    // The same bytes under a name of as many letters that llama.cpp knows.
    const work = mkdtempSync(path.join(tmpdir(), 'shipped-model-'));
    const bytes = readFileSync(model);
    const at = bytes.indexOf(BUNDLED_PRE, bytes.indexOf('tokenizer.ggml.pre'));
    bytes.write('superbpe', at, 'latin1');
    const renamed = path.join(work, card.file);
    writeFileSync(renamed, bytes);
    const run = ask(renamed);
    rmSync(work, { recursive: true });
    expect(run.status, run.stderr).toBe(0);
    const theirs: { greedy: number[][] } = JSON.parse(run.stdout);
    // llama.cpp rounds activations to 8 bits too, so a near tie may fall the other way.
    const same = ours.filter((ids, i) => ids.every((id, place) => id === theirs.greedy[i][place])).length;
    expect(same).toBeGreaterThanOrEqual(7);
  });
});
