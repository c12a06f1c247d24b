import { assistant, conversation, user } from '../document.ts';
import { between, type Draw, fill, listed, pick, sample, words, zipf } from '../draw.ts';
import { HELD_THINGS, NAMES } from '../lexicon.ts';
import type { WorldDocument } from '../types.ts';
import { gap, STEP_PHRASES } from './arithmetic.ts';

const FAMILY = 'tracking';
const DIRECT = ['Only the name.', 'Answer with the name only.', 'Just the name.', 'No steps.', 'Answer only.'];
const SWAPS = ['{p} and {q} swap.', '{p} swaps with {q}.', 'Then {p} and {q} swap.', '{p} and {q} trade.'];

/** Family H: three people, three things, some swaps; who holds what? */
export function tracking(draw: Draw, options: { readonly steps?: number; readonly how?: 'direct' | 'steps' } = {}): WorldDocument {
  const steps = options.steps ?? between(draw, 1, 5);
  const how = options.how ?? pick(draw, ['direct', 'steps'] as const);
  const people = words(draw, FAMILY, NAMES, 3);
  const things = sample(draw, HELD_THINGS.slice(0, 60), 3);
  const holds = [...things];
  const story = [`${listed(people.map((person, i) => `${person} has the ${things[i]}`))}.`];
  const swaps: (readonly [number, number])[] = [];
  for (let i = 0; i < steps; i++) {
    const [a, b] = sample(draw, [0, 1, 2], 2);
    story.push(fill(zipf(draw, SWAPS, 1), { p: people[a], q: people[b] }));
    [holds[a], holds[b]] = [holds[b], holds[a]];
    swaps.push([a, b]);
  }
  const asked = draw.random.below(3);
  story.push(`Who has the ${holds[asked]}?`);
  // The steps follow the one thing that is asked for: who has it, then each swap and who has it after that. What everybody holds after each swap needs two
  // look-ups a word and was not learned in 45 M tokens (0 of 100 chains).
  let holder = things.indexOf(holds[asked]);
  const work = [`${people[holder]};`];
  for (const [a, b] of swaps) {
    holder = holder === a ? b : holder === b ? a : holder;
    work.push(`${people[a]} and ${people[b]}: ${people[holder]};`);
  }
  const phrase = zipf(draw, how === 'steps' ? STEP_PHRASES : DIRECT, 1);
  return conversation(
    FAMILY,
    [
      user(story.join(' ') + gap(draw) + phrase),
      assistant(how === 'steps' ? `${work.join(' ')}\nAnswer: ${people[asked]}` : people[asked]),
    ],
    { steps, how, answer: people[asked] },
    [{ rule: 'ends-with', text: people[asked] }],
  );
}
