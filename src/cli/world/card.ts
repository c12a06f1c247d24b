import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { formatRow, type Row } from '../acceptance/row.ts';
import { lastLine } from '../acceptance/table.ts';

/** Beside what decides the weights, these only measure or pack them. */
const NOT_RECIPE = /^src\/(world\/(exam|samples|checkers)|cli\/world\/(card|bundle))\.ts$/;

/** SHA-256 over all that decides the weights: the world, the vocabulary, the trainer. */
export function recipeHash(root: string): string {
  const hash = createHash('sha256');
  const add = (entry: string): void => {
    const full = path.join(root, entry);
    if (statSync(full).isDirectory()) for (const name of readdirSync(full).sort()) add(path.join(entry, name));
    else if (/\.(ts|py|json)$/.test(entry) && !NOT_RECIPE.test(entry))
      hash.update(entry).update('\0').update(readFileSync(full)).update('\0');
  };
  for (const entry of ['src/lib/random.ts', 'src/world', 'src/cli/world', 'src/cli/train-bundled.ts', 'src/cli/python']) add(entry);
  return hash.digest('hex').slice(0, 16);
}

/** What is known of the weights, as card.json holds it beside them. */
export interface Card {
  readonly name: string;
  /** The file with the weights, vocabulary and chat template: all that a reader needs. */
  readonly file: string;
  readonly licence: 'MIT';
  /** Weights from the middle of a training run: what they cannot do yet is not held against them. */
  readonly interim: boolean;
  readonly parameters: number;
  /** Of `file`. */
  readonly bytes: number;
  readonly matrices: string;
  /** `recipe` is that of the last step; `history` says what was changed under way, and how these weights
   *  were chosen. */
  readonly training: { readonly seed: number; readonly tokens: number; readonly recipe: string; readonly history?: string | undefined };
  /** What `npm run acceptance` measured. */
  readonly acceptance?: { readonly seed: number; readonly items: number; readonly rows: readonly Row[] } | undefined;
}

const CardFile = v.looseObject({
  name: v.string(),
  file: v.string(),
  interim: v.boolean(),
  training: v.looseObject({ tokens: v.number() }),
});
export type CardSummary = v.InferOutput<typeof CardFile>;
export const CARD_FILE = 'card.json';
/** @throws where a folder has no card, or one of another form */
export function readCard(folder: string): CardSummary {
  return v.parse(CardFile, JSON.parse(readFileSync(path.join(folder, CARD_FILE), 'utf8')));
}

const INTERIM = (million: string): string => `
**These are interim weights, after ${million} million tokens of training.** The training goes on, and better weights will take their place under the same
name. Much of what is listed below works only in part so far: the table at the end has the numbers.
`;

/** The model card, in plain words. */
export function modelCard({ name, interim, parameters, bytes, matrices, training, acceptance }: Card): string {
  const million = (training.tokens / 1e6).toFixed(0);
  const table =
    acceptance === undefined
      ? 'Not yet measured.'
      : `\`npm run acceptance -- --seed ${acceptance.seed} --items ${acceptance.items}\`, in Maquette's own engine:

\`\`\`
${acceptance.rows.map(formatRow).join('\n')}
${lastLine(acceptance.rows)}
\`\`\``;
  return `# ${name}

A language model of ${(parameters / 1e6).toFixed(2)} million weights (${(bytes / 1e6).toFixed(2)} MB as ${matrices.toUpperCase()}) that comes with Maquette, so that everything can be tried
without a download. It was made by the project from texts that the project's own generator wrote (\`src/world\`); no other text trained it. MIT licence.
${interim ? INTERIM(million) : ''}
## What it is for
It knows one small invented world, the Vale: 150 people, 60 places, 288 things of 24 kinds. It was trained, in short English sentences of that world, to
answer questions about a passage, follow a rule in the system prompt, learn labels from a few examples in the prompt, count gains and losses in steps, sum
up short stories, rewrite in a few styles, write couplets, and translate to and from an invented language.

## What it cannot do
It knows nothing of the real world and understands little of sentences that the Vale does not have; on ordinary data it scores about 0. Numbers above 48,
texts over some 300 words and other languages are outside of what it has seen. What it says of the Vale's people is invented. Load a larger model for your
own data.

## In other programs
llama.cpp and what is built on it load the file: its vocabulary splits texts as the one called smollm there, and the chat template in the file puts in the
spaces that this vocabulary wants in front of a text and behind line breaks, opening brackets and quotation marks. Use the template with a full Jinja engine
(\`--jinja\`). Answers are the same words, with those spaces left in. The tokenizer.json beside it puts them in and takes them out by itself.

## How it was made
Seed ${training.seed}, ${million} million tokens, none seen twice; recipe ${training.recipe} (a hash of the generator, the vocabulary and the trainer). PyTorch on one CPU thread,
bfloat16, Muon for matrices and AdamW for the rest (\`src/cli/python\`).${training.history === undefined ? '' : ` ${training.history}`}${interim ? ' The newest weights of the run.' : ''}

## Measured
${table}
`;
}
