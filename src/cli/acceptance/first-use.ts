// Row "use": the task that the site opens with, split, asked and trained as the site does it, with the defaults of every setting. A system prompt, shots and
// LoRA have to differ on it.
import { splitRows, USUAL_SHARES } from '../../data/split.ts';
import { drawShots } from '../../methods/compose.ts';
import { lora } from '../../methods/lora.ts';
import { emptyPrompt, type Prompt } from '../../methods/types.ts';
import { obeys } from '../../world/checkers.ts';
import { SAMPLE_TASKS, sampleRows } from '../../world/samples.ts';
import type { Bench, Count } from './bench.ts';
import { fact, type Row, reported, share } from './row.ts';
import { answerRows, asExample, train } from './tuning.ts';

/** Of the site's split and shots, and how many shots it offers. */
const SITE = { seed: 7, shots: 4 };
const LIMIT = 240; // seconds

export async function firstUse(bench: Bench): Promise<Row[]> {
  const task = SAMPLE_TASKS.find(({ opening }) => opening === true);
  if (task === undefined) throw new Error('No sample task opens the site.');
  const documents = sampleRows(task);
  const split = splitRows(documents.map(asExample), SITE.seed, USUAL_SHARES);
  // Rows of validation and test: nothing is chosen by these scores, and more rows tell more.
  const asked = [...split.validation, ...split.test];
  const system: Prompt = { ...emptyPrompt, system: task.prompt };
  const shots: Prompt = { ...emptyPrompt, shots: drawShots(split.train, SITE.shots, SITE.seed) };
  const none = await answerRows(bench, asked, emptyPrompt);
  const told = await answerRows(bench, asked, system);
  const shown = await answerRows(bench, asked, shots);
  const kept = ({ replies }: { readonly replies: readonly string[] }): Count => ({
    right: replies.filter((reply, i) => obeys(documents[Number(asked[i].id)].checks[0], reply)).length,
    n: replies.length,
  });
  const config = lora.read({}, bench.engine.config);
  const { patch, steps, seconds } = await train(bench, split, SITE.seed, (env) => lora.fit(env, config));
  const trained = await answerRows(bench, asked, emptyPrompt, patch);
  bench.engine.disposePatch(patch);
  return [
    share('use', `${task.id}: rule kept with the prompt`, kept(told), 0.8),
    share('use', 'rule kept without it', kept(none), 0.05, 'at most'),
    share('use', 'right without anything', none.right, 0.05, 'at most'),
    reported('use', 'right with the system prompt', told.right),
    reported('use', `right with ${SITE.shots} shots`, shown.right),
    share('use', `right after LoRA, ${steps} steps`, trained.right, 0.5),
    fact('use', 'time of that training, validations included', seconds <= LIMIT, `<= ${LIMIT} s`, `${seconds.toFixed(0)} s`),
  ];
}
