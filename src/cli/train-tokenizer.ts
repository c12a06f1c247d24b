// npm run build:cli; node dist-cli/train-tokenizer.mjs DIR [--documents N] [--seed S]: learns the bundled model's vocabulary from texts of the Vale and
// writes tokenizer.json and the other small files of the model into DIR. Says how many of the words that the assistant says are one token.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { hashText, seededRandom } from '../lib/random.ts';
import { SPECIALS } from '../world/layout.ts';
import { ADJECTIVES, JOBS, KIND_NAMES, LABELS, NAMES, NOUNS, PLACES, VERBS } from '../world/lexicon.ts';
import { documentOf, SCHEDULE } from '../world/mixture.ts';
import { encoder, learnMerges, pretokens } from './world/bpe.ts';
import { GENERATION_CONFIG, MICRO_CONFIG, TOKENIZER_CONFIG, tokenizerJson } from './world/tokenizer-files.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { documents: { type: 'string', default: '60000' }, seed: { type: 'string', default: '1' } },
});
const folder = positionals[0];
if (folder === undefined) {
  console.error('Where to? train-tokenizer DIR [--documents N] [--seed S]');
  process.exit(2);
}

/** How often each piece of text is met, and how often the assistant says it. */
const met = new Map<string, number>();
const said = new Map<string, number>();
const add = (counts: Map<string, number>, piece: string, n: number): void => void counts.set(piece, (counts.get(piece) ?? 0) + n);
const draw = { random: seededRandom(hashText(`tokenizer/${values.seed}`)), split: 'train' } as const;
const phase = SCHEDULE[SCHEDULE.length - 1];
for (let i = Number(values.documents); i > 0; i--) {
  for (const { role, content } of documentOf(phase, draw).turns)
    for (const piece of pretokens(content, role === 'text')) {
      add(met, piece, role === 'assistant' ? 2 : 1);
      if (role === 'assistant') add(said, piece, 1);
    }
}
// Rare words of the lexicon count as if met a little oftener, so that they come whole before the pieces of words that nobody says; kinds of things, which
// many answers are, oftener still.
const floor = Number(values.documents) / 600;
for (const word of [...NOUNS, ...NOUNS, ...LABELS, ...LABELS, ...NAMES, ...PLACES, ...ADJECTIVES, ...JOBS, ...VERBS])
  add(met, ` ${word}`, floor);
for (const word of KIND_NAMES) add(met, ` ${word}`, 8 * floor);

const bpe = learnMerges(met, MICRO_CONFIG.vocab_size - SPECIALS.length - 256);
mkdirSync(folder, { recursive: true });
const write = (name: string, value: object): void => writeFileSync(path.join(folder, name), `${JSON.stringify(value, null, 1)}\n`);
write('tokenizer.json', tokenizerJson(bpe));
write('tokenizer_config.json', TOKENIZER_CONFIG);
write('config.json', MICRO_CONFIG);
write('generation_config.json', GENERATION_CONFIG);

const encode = encoder(new Map([...SPECIALS, ...bpe.tokens].map((token, id) => [token, id])), bpe.merges);
let whole = 0;
let all = 0;
const split: [string, number][] = [];
for (const [piece, count] of said) {
  if (!/\p{L}/u.test(piece)) continue;
  all += count;
  if (encode(piece, true).length === 1) whole += count;
  else split.push([piece, count]);
}
console.log(
  `${SPECIALS.length + bpe.tokens.length} tokens; ${((100 * whole) / all).toFixed(1)} % of the words that the assistant says are one token`,
);
console.log(
  `said most often in several: ${split
    .sort((a, b) => b[1] - a[1])
    .slice(0, 60)
    .map(([piece, count]) => `${piece.trim()} ${count}`)
    .join(', ')}`,
);
const lists: Record<string, readonly string[]> = {
  nouns: NOUNS,
  kinds: KIND_NAMES,
  labels: LABELS,
  names: NAMES,
  places: PLACES,
  adjectives: ADJECTIVES,
  jobs: JOBS,
  verbs: VERBS,
};
for (const [name, list] of Object.entries(lists)) {
  const broken = list.filter((word) => encode(word, false).length !== 1);
  console.log(`${name}: ${list.length - broken.length} of ${list.length} whole; not: ${broken.slice(0, 40).join(' ')}`);
}
