// The text and the arithmetic of a real model: ids as llama.cpp makes them, logits and greedy ids as transformers computes them in float32.
import * as v from 'valibot';
import { continueTogether } from '../../src/cli/conformance/bench.ts';
import { type Case, differentIds, exact, type Outcome, worstDifference } from '../../src/cli/conformance/case.ts';
import { diskSource } from '../../src/cli/conformance/folder.ts';
import type { StoragePlan } from '../../src/engine/types.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { specialText } from '../../src/text/tokenizer.ts';
import { CHATS } from './texts.ts';
import { check, forward, found, ourLogits, rendererOf, type Truth, type World } from './world.ts';

const F32 = 2e-3;
const F16 = 5e-2;
/** Where the truth's two largest logits are nearer than this, another order of summation may choose the other. */
const MARGIN = 0.01;
const GREEDY = 32;
/** The conversations whose numbers are compared: short ones, since every logit of every position is. */
const COMPARED = ['plain', 'digits', 'system'];

/** The SmolLM2 file's own text of each conversation, and our ids of it. */
async function conversations(world: World) {
  const source = await openGguf(diskSource(found(world, 'gguf')));
  const { chatTemplate } = source.tokenizer;
  if (chatTemplate === undefined) throw new Error('The GGUF file has no chat template.');
  const renderer = rendererOf(source);
  const out: { what: string; text: string; ids: Uint32Array }[] = [];
  for (const { what, messages } of CHATS) {
    const text = renderTemplate(chatTemplate, {
      messages,
      addGenerationPrompt: true,
      bosToken: specialText(source.tokenizer, 'bos_token'),
      eosToken: specialText(source.tokenizer, 'eos_token'),
    });
    out.push({ what, text, ids: await renderer.prompt(messages) });
  }
  return out;
}

export function idCases(world: World): Case[] {
  let asked: Promise<{ ours: Awaited<ReturnType<typeof conversations>>; theirs: number[][] }> | undefined;
  const both = async () => {
    const ours = await conversations(world);
    const job = { model: found(world, 'gguf'), tokenize: ours.map(({ text }) => text) };
    const { tokenize } = await world.llamaCpp(job, v.object({ tokenize: v.array(v.array(v.number())) }));
    return { ours, theirs: tokenize };
  };
  return CHATS.map(({ what }, i) =>
    check(world, `ids/${what}`, ['gguf', 'llama'], async () => {
      asked ??= both();
      const { ours, theirs } = await asked;
      return { measurements: [exact(`${theirs[i].length} ids of llama.cpp`, differentIds(ours[i].ids, theirs[i]))] };
    }),
  );
}

export function numberCases(world: World): { readonly f32: Case[]; readonly f16: Case[]; readonly asIs: Case[] } {
  let asked: Promise<{ rows: Uint32Array[]; truth: Truth }> | undefined;
  const wanted = async () => {
    const rows = (await conversations(world)).filter(({ what }) => COMPARED.includes(what)).map(({ ids }) => ids);
    return { rows, truth: await forward(world, found(world, 'gguf'), rows, { greedy: GREEDY }) };
  };
  const logits = async (storage: StoragePlan, tolerance: number): Promise<Outcome> => {
    asked ??= wanted();
    const { rows, truth } = await asked;
    const got = await ourLogits(await world.bench.open(found(world, 'gguf'), storage), rows);
    return {
      measurements: got.map((numbers, i) => ({
        what: `logits of ${COMPARED[i]}, ${rows[i].length} tokens, transformers`,
        difference: worstDifference(numbers, truth.logits[i]),
        tolerance,
      })),
    };
  };
  return {
    f32: [
      check(world, 'numbers/logits f32', ['gguf', 'python'], () => logits('f32', F32)),
      check(world, 'numbers/greedy f32', ['gguf', 'python'], async () => {
        asked ??= wanted();
        const { rows, truth } = await asked;
        const { engine } = await world.bench.open(found(world, 'gguf'), 'f32');
        const got = await continueTogether(engine, rows, GREEDY, []);
        return {
          measurements: truth.greedy.map((want, i) => {
            const close = truth.margins[i].findIndex((margin) => margin < MARGIN);
            const compared = close < 0 ? GREEDY : close;
            return exact(
              `${compared} of ${GREEDY} greedy ids of ${COMPARED[i]}`,
              differentIds(got[i].slice(0, compared), want.slice(0, compared)),
            );
          }),
        };
      }),
    ],
    f16: [check(world, 'numbers/logits f16', ['gguf', 'python'], () => logits('f16', F16))],
    asIs: [check(world, 'numbers/logits as it is', ['gguf', 'python'], () => logits('as-is', F32))],
  };
}
