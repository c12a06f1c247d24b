import { assistant, conversation, user } from '../document.ts';
import { between, capital, chance, type Draw, fill, isHeldPair, listed, pick, sample, withArticle, word, zipf } from '../draw.ts';
import { ADJECTIVES, COLOURS, HELD_THINGS, JOBS, NAMES, PETS, PLACES, PLAIN, RHYME_WORDS, RHYMES } from '../lexicon.ts';
import type { Check, WorldDocument } from '../types.ts';

const FAMILY = 'writing';

/** Most words of a story could be others: they weigh less than an answer that is right or wrong. */
const FREE = 0.5;

const OPENINGS = [
  '{p} was {b} in {l}.',
  'In {l} lived {p}, {b}.',
  'Once there was {b} called {p}, in {l}.',
  'There was a time when {p} worked as {b} in {l}.',
];
/** Middles bring one must-use word each. */
const MIDDLES = [
  'One day {p} found {a}.',
  '{p} had {a} and liked it a lot.',
  'By the road lay {a}.',
  'A friend came with {a}.',
  'Nobody had seen such {a} before.',
  '{p} dreamed of {a}.',
  'Then {a} came to the door.',
  'At the market there was {a}.',
];
const LINKS = [
  'It rained all day.',
  '{p} walked for a long time.',
  'The people of {l} talked about it.',
  'That was odd.',
  '{p} asked everybody.',
  'Time passed.',
  'At night it was quiet.',
];
const ENDS = {
  happy: ['So all was well.', 'In the end {p} was happy.', 'They all laughed.'],
  sad: ['So {p} went home alone.', 'In the end {p} was sad.', 'It was lost for ever.'],
} as const;
const ASKS = [
  'Write a story with the words {w}. Use {k} sentences and a {e} end.',
  'A story, {k} sentences, {e} end, with {w}.',
  'Tell me a {e} story of {k} sentences. Use {w}.',
  'Use {w} in a story of {k} sentences with a {e} end.',
];

/** Family K: stories and couplets under constraints that a program can check. Several answers are right; gold is one of them. */
export function writing(draw: Draw, options: { readonly kind?: 'story' | 'verse' } = {}): WorldDocument {
  return (options.kind ?? (chance(draw, 0.4) ? 'verse' : 'story')) === 'verse' ? verse(draw) : story(draw);
}

const THINGS: readonly string[] = [...HELD_THINGS, ...PETS];
/** Words of which no two (training), or the first two (tests), are a held-out pairing. */
function constraintWords(draw: Draw, count: number): string[] {
  for (;;) {
    const chosen = Array.from({ length: count }, () => zipf(draw, THINGS, 40));
    if (new Set(chosen).size < count) continue;
    const held = chosen.some((a, i) => chosen.slice(i + 1).some((b) => isHeldPair(FAMILY, a, b)));
    if (held === (draw.split === 'held')) return chosen;
  }
}

function story(draw: Draw): WorldDocument {
  const uses = between(draw, 2, 3);
  const sentences = uses + 2 + between(draw, 0, 2);
  const chosen = constraintWords(draw, uses);
  const end = pick(draw, ['happy', 'sad'] as const);
  const p = word(draw, FAMILY, NAMES);
  const l = word(draw, FAMILY, PLACES);
  const b = `${withArticle(`${zipf(draw, ADJECTIVES, 20)} ${zipf(draw, JOBS, 10)}`)}`;
  const values = { p, l, b };
  const middles = sample(draw, MIDDLES, uses).map((template, i) => fill(template, { ...values, a: withArticle(chosen[i]) }));
  const links = sample(draw, LINKS, sentences - uses - 2).map((template) => fill(template, values));
  // First what has to come in, in the order asked, then as many others as are asked for: where a link may stand anywhere, the likeliest next sentence is a
  // link again and again, and a greedy answer ends before its words are used (at 45 M tokens 10 of 12 such stories did).
  const told = [fill(zipf(draw, OPENINGS, 1), values), ...middles, ...links, fill(zipf(draw, ENDS[end], 1), values)].join(' ');
  const asked = fill(zipf(draw, ASKS, 1), { w: listed(chosen), k: sentences, e: end });
  const checks: Check[] = [{ rule: 'sentences', count: sentences }, ...chosen.map((text): Check => ({ rule: 'contains', text }))];
  return conversation(FAMILY, [user(asked), assistant(told, FREE)], { kind: 'story', words: uses, sentences, end }, checks);
}

const LINES = [
  'The {j} {n} of {l}',
  'My {n}, so {j},',
  '{b} in {l}',
  'Oh see how the {n}',
  'The {n} of {p}',
  'One {j} {n}',
  'And the {n} of {l}',
  'They say that {a}',
];
const VERSE_ASKS = [
  'Write two lines of verse about {a}.',
  'Two lines about {a}, with rhyme.',
  'A short verse about {a}.',
  'Make a rhyme about {a}.',
];
function verse(draw: Draw): WorldDocument {
  let n = zipf(draw, THINGS, 40);
  let group = draw.random.below(RHYMES.length);
  // Which thing is rhymed on which sound is what the tests hold out.
  while (isHeldPair(FAMILY, n, String(group)) !== (draw.split === 'held')) {
    n = zipf(draw, THINGS, 40);
    group = draw.random.below(RHYMES.length);
  }
  const ends = sample(draw, RHYMES[group], 2);
  const lines = sample(draw, LINES, 2).map((line, i) => {
    const j = pick(draw, [...PLAIN, ...COLOURS]);
    const values = {
      n,
      j,
      a: withArticle(n),
      b: capital(withArticle(`${j} ${n}`)),
      l: word(draw, FAMILY, PLACES),
      p: word(draw, FAMILY, NAMES),
    };
    return `${fill(line, values)} ${ends[i]}`;
  });
  const checks: Check[] = [
    { rule: 'contains', text: n },
    { rule: 'rhyme', groups: RHYME_WORDS },
  ];
  return conversation(
    FAMILY,
    // Half of a couplet is bound: the second line rhymes with the first.
    [user(fill(zipf(draw, VERSE_ASKS, 1), { a: withArticle(n) })), assistant(`${lines.join(',\n')}.`)],
    { kind: 'verse', rhyme: group },
    checks,
  );
}
