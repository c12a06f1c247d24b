// The model that comes with the site, read by llama.cpp: the ids of a chat by the template in the file, and the ids of its answers.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { continueGreedily } from '../../src/cli/conformance/bench.ts';
import { type Case, differentIds, exact } from '../../src/cli/conformance/case.ts';
import { parseGguf } from '../../src/formats/gguf.ts';
import { stringAt } from '../../src/formats/gguf-metadata.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { messagesOf } from '../../src/world/document.ts';
import { exam } from '../../src/world/exam.ts';
import { check, rendererOf, type World } from './world.ts';

const FILE = path.resolve('public/models/vale-micro/vale-micro.gguf');
const Answer = v.object({ tokenize: v.array(v.array(v.number())), greedy: v.array(v.array(v.number())) });
/** System prompts, shots, line breaks, brackets, quotation marks and digits. */
const EXAMS = ['labels sentence k=4', 'system one', 'system two', 'style', 'arithmetic 2 steps', 'rules k=4'];
const EACH = 4;
const SEED = 2026;

export function valeCases(world: World): Case[] {
  return [
    check(world, 'llama.cpp/vale-micro: ids of chats by the template in the file, and greedy ids', ['llama'], async () => {
      const model = await world.bench.open(FILE, 'f32');
      const chats = EXAMS.flatMap((name) => exam(name, SEED, EACH)).map(messagesOf);
      const renderer = rendererOf(model.source);
      const template = stringAt(parseGguf(new Uint8Array(readFileSync(FILE))).metadata, 'tokenizer.chat_template') ?? '';
      const filled = { addGenerationPrompt: true, bosToken: '<bos>', eosToken: '<end>' };
      const prompts: Uint32Array[] = [];
      const ours: number[][] = [];
      for (const messages of chats) {
        const prompt = await renderer.prompt(messages);
        prompts.push(prompt);
        ours.push(await continueGreedily(model.engine, prompt, 8, renderer.stopIds));
      }
      const theirs = await world.llamaCpp(
        {
          model: FILE,
          tokenize: chats.map((messages) => renderTemplate(template, { messages, ...filled })),
          greedy: prompts.map((ids, i) => ({ ids: [...ids], count: ours[i].length })),
        },
        Answer,
      );
      const others = chats.filter((_, i) => differentIds([...prompts[i]], theirs.tokenize[i]) > 0).length;
      const answers = chats.filter((_, i) => differentIds(ours[i], theirs.greedy[i]) > 0).length;
      return {
        measurements: [
          exact(`of ${chats.length} chats, those with other ids`, others),
          // llama.cpp rounds activations to 8 bits too, so a near tie may fall the other way.
          exact(`of ${chats.length} answers ${answers} are others; more than ${ALLOWED} are too many`, Math.max(0, answers - ALLOWED)),
        ],
      };
    }),
  ];
}
const ALLOWED = 2;
