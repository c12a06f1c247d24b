// The model in public/models as others meet it: its files agree with each other, our importer reads it, and llama.cpp, where it is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openBench } from '../../src/cli/acceptance/bench.ts';
import { COMPARED } from '../../src/cli/acceptance/rows.ts';
import { DEFAULT_SEED, readScores } from '../../src/cli/acceptance/table.ts';
import { diskSource } from '../../src/cli/conformance/folder.ts';
import { readCard } from '../../src/cli/world/card.ts';
import { greedy } from '../../src/engine/types.ts';
import { readGgufHeader } from '../../src/formats/gguf.ts';
import { stringAt } from '../../src/formats/gguf-metadata.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
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

  it('is read by llama.cpp, which makes the same ids of a chat by the template in the file and answers with the same ids', {
    timeout: 240_000,
  }, async ({ skip }) => {
    if (!existsSync(path.join(llama, 'node_modules/node-llama-cpp'))) skip('llama.cpp is not installed in tests/llama');
    const chats = [
      ...exam('labels noun k=4', DEFAULT_SEED, 8),
      ...exam('system one', DEFAULT_SEED, 8),
      ...exam('style', DEFAULT_SEED, 8),
    ].map(messagesOf);
    const bench = await openBench(await testGpu(), folder, DEFAULT_SEED, 1);
    const questions = await Promise.all(chats.map((messages) => bench.renderer.prompt(messages)));
    const ours: number[][] = questions.map(() => []);
    for await (const { row, tokens } of bench.engine.generateMany(questions, greedy(8, bench.renderer.stopIds))) ours[row] = [...tokens];
    bench.dispose();
    const model = path.join(folder, card.file);
    // The template as another program finds and fills it in.
    const { metadata } = await readGgufHeader(diskSource(model));
    const template = stringAt(metadata, 'tokenizer.chat_template') ?? '';
    const filled = { addGenerationPrompt: true, bosToken: '<bos>', eosToken: '<end>' };
    const job = {
      model,
      tokenize: chats.map((messages) => renderTemplate(template, { messages, ...filled })),
      greedy: questions.map((ids, i) => ({ ids: [...ids], count: ours[i].length })),
    };
    const run = spawnSync(process.execPath, ['llama.mjs'], { cwd: llama, input: JSON.stringify(job), encoding: 'utf8' });
    expect(run.status, run.stderr).toBe(0);
    const theirs: { tokenize: number[][]; greedy: number[][] } = JSON.parse(run.stdout);
    expect(theirs.tokenize).toEqual(questions.map((ids) => [...ids]));
    // llama.cpp rounds activations to 8 bits too, so a near tie may fall the other way.
    const same = ours.filter((ids, i) => ids.every((id, place) => id === theirs.greedy[i][place])).length;
    expect(same).toBeGreaterThanOrEqual(22);
  });
});
