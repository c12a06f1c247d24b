import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** SHA-256 over all that decides the weights: the world, the vocabulary, the trainer. */
export function recipeHash(root: string): string {
  const hash = createHash('sha256');
  const add = (entry: string): void => {
    const full = path.join(root, entry);
    if (statSync(full).isDirectory()) for (const name of readdirSync(full).sort()) add(path.join(entry, name));
    else if (/\.(ts|py|json)$/.test(entry)) hash.update(entry).update('\0').update(readFileSync(full)).update('\0');
  };
  for (const entry of ['src/lib/random.ts', 'src/world', 'src/cli/world', 'src/cli/train-bundled.ts', 'src/cli/python']) add(entry);
  return hash.digest('hex').slice(0, 16);
}

export interface CardFacts {
  readonly name: string;
  readonly parameters: number;
  readonly megabytes: number;
  readonly matrices: string;
  readonly seed: number;
  /** Tokens of training. */
  readonly tokens: number;
  readonly recipe: string;
  /** What `npm run acceptance` printed, line by line; '' where it was not run. */
  readonly acceptance: string;
}

/** The model card, in plain words. */
export function modelCard({ name, parameters, megabytes, matrices, seed, tokens, recipe, acceptance }: CardFacts): string {
  return `# ${name}

A language model of ${(parameters / 1e6).toFixed(2)} million weights (${megabytes.toFixed(2)} MB as ${matrices.toUpperCase()}) that comes with Maquette, so that everything can be tried
without a download. It was made by the project from texts that the project's own generator wrote (\`src/world\`); no other text trained it. MIT licence.

## What it can do
It knows one small invented world, the Vale: 150 people, 60 places, 288 things of 24 kinds. In short English sentences of that world it answers questions
about a passage, follows a rule in the system prompt, learns labels from a few examples in the prompt, counts gains and losses in steps, sums up short
stories, rewrites in a few styles, writes couplets, and translates to and from an invented language.

## What it cannot do
It knows nothing of the real world and understands little of sentences that the Vale does not have; on ordinary data it scores about 0. Numbers above 48,
texts over some 300 words and other languages are outside of what it has seen. What it says of the Vale's people is invented. Load a larger model for your
own data.

## How it was made
Seed ${seed}, ${(tokens / 1e6).toFixed(0)} million tokens, none seen twice; recipe ${recipe} (a hash of the generator, the vocabulary and the trainer). PyTorch on one CPU thread,
bfloat16, Muon for matrices and AdamW for the rest (\`src/cli/python\`). Chosen among checkpoints by the table below.

## Measured
\`npm run acceptance\`, in Maquette's own engine:

\`\`\`
${acceptance === '' ? 'not yet measured' : acceptance.trimEnd()}
\`\`\`
`;
}
