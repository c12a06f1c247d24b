import { assistant, conversation, system, user } from '../document.ts';
import { between, chance, type Draw, fill, isHeld, isHeldPair, listed, pick, sample, weighted, withArticle, zipf } from '../draw.ts';
import { ADJECTIVES, KINDS, LABELS, NAMES, PLACES, SYLLABLES } from '../lexicon.ts';
import type { Turn, WorldDocument } from '../types.ts';

const FAMILY = 'few-shot-labels';

/** How inputs show their class: the noun alone, or a sentence around it. */
export type InputForm = 'noun' | 'sentence';
/** `exact`: the query repeats a shot; `burst`: few nouns a class; `kind`: every noun new, so that only its kind tells. */
export type Level = 'exact' | 'burst' | 'kind';

export interface LabelEpisode {
  readonly labels: readonly string[];
  readonly kinds: readonly string[];
  /** In order; the last one is the query. */
  readonly items: readonly { readonly input: string; readonly klass: number }[];
  readonly layout: 'chat' | 'inline';
  readonly head: string;
  readonly form: InputForm | 'mixed';
}

/** The first is the common one; rare wordings are obeyed less, which is what a search for wordings finds. */
const HEADS = [
  'Labels: {or}.',
  'Labels: {or}.',
  'Labels: {comma}.',
  'Answer with one label: {or}.',
  'Sort each text: {or}.',
  'Classify as {or}.',
  'Choose {or}.',
  'Which class is it, {or}?',
  'Name the class. The classes are {and}.',
];
const SENTENCES = [
  '{p} saw {a} near {l}.',
  'There is {a} in {l}.',
  'The {j} {n} was near the door.',
  '{p} wants {a} for the house.',
  '{p} found {a} by the river.',
  'We looked at the {n} with {p}.',
  'The {n} of {p} is {j}.',
  '{p} and {q} talk about {a}.',
  'In {l} they like the {n}.',
  '{p} gave the {n} to {q}.',
  'This {n} looks {j} today.',
  '{p} keeps {b} in {l}.',
  'Nobody in {l} has {a}.',
  'The {j} {n} came from {l}.',
  'Look at my {n}.',
  '{p} dreams of {b}.',
  'I asked {p} about the {n}.',
  'Do you know the {n} of {l}?',
  '{p} sold {a} to {q}.',
  'My {n} is {j}, said {p}.',
  'A story about {a} and {p}.',
  'The {n} is what {p} likes.',
];
/** Ways to say it that training never shows in this family. */
const HELD_SENTENCES = ['In the morning {p} met {q} with {a}.', 'It was the {j} {n} that {p} wanted.', 'Near {l} lay {a}.'];

export function sentence(draw: Draw, noun: string, avoid: readonly string[], template: string): string {
  const other = (list: readonly string[]): string => {
    for (let tries = 0; tries < 20; tries++) {
      const one = zipf(draw, list, 20);
      if (!avoid.includes(one)) return one;
    }
    return list[0];
  };
  const adjective = other(ADJECTIVES);
  return fill(template, {
    n: noun,
    a: withArticle(noun),
    b: withArticle(`${adjective} ${noun}`),
    j: adjective,
    p: other(NAMES),
    q: other(NAMES),
    l: other(PLACES),
  });
}

/** `count` classes that training may show together, or for tests two that it may not. */
function together(draw: Draw, axis: 'kind' | 'label', pool: readonly string[], count: number): string[] {
  for (;;) {
    const chosen: string[] = [];
    for (let tries = 0; chosen.length < count && tries < 400; tries++) {
      const one = pool[draw.random.below(pool.length)];
      if (chosen.includes(one)) continue;
      if (
        draw.split === 'held'
          ? chosen.every((other) => heldTogether(axis, one, other))
          : !chosen.some((other) => heldTogether(axis, one, other))
      )
        chosen.push(one);
    }
    if (chosen.length === count) return chosen;
  }
}
/** Kinds and labels that training never shows in one few-shot episode: a fifth of the pairs of kinds, a tenth of the pairs of labels. */
export const heldTogether = (axis: 'kind' | 'label', a: string, b: string): boolean => isHeldPair(axis, a, b, axis === 'kind' ? 5 : 10);

const KIND_NAMES = KINDS.map(({ name }) => name);
const nounsOf = new Map(KINDS.map(({ name, nouns }) => [name, nouns.filter((noun) => !isHeld(FAMILY, noun))]));
/** The nouns of a kind that few-shot episodes may show in training. */
export const shownNouns = (kind: string): readonly string[] => nounsOf.get(kind) ?? [];
export const drawKinds = (draw: Draw, count: number): string[] => together(draw, 'kind', KIND_NAMES, count);
export const drawLabels = (draw: Draw, count: number): string[] => together(draw, 'label', LABELS, count);
/** A word without a meaning, of several tokens. */
export const nonsense = (draw: Draw): string => Array.from({ length: between(draw, 2, 3) }, () => pick(draw, SYLLABLES)).join('');

export interface EpisodeOptions {
  readonly form?: InputForm | 'mixed';
  readonly layout?: 'chat' | 'inline';
  readonly shots?: number;
  readonly classes?: number;
  readonly level?: Level;
  /** Share of labels that are words of several tokens without a meaning. */
  readonly nonsense?: number;
  /** Shots as many of each class as of the other (tests), not drawn one by one (training). */
  readonly balanced?: boolean;
  readonly head?: string;
  /** Sentences in wordings that training lacks. */
  readonly newWordings?: boolean;
  /** The query's noun is one that no episode of training has shown. */
  readonly newNoun?: boolean;
}

export function labelEpisode(draw: Draw, options: EpisodeOptions = {}): LabelEpisode {
  const classes =
    options.classes ??
    (draw.split === 'held'
      ? 2
      : weighted(draw, [
          [2, 0.6],
          [3, 0.25],
          [4, 0.15],
        ] as const));
  const kinds = drawKinds(draw, classes);
  const labels = drawLabels(draw, classes).map((label) => (options.nonsense && chance(draw, options.nonsense) ? nonsense(draw) : label));
  const form =
    options.form ??
    weighted(draw, [
      ['noun', 0.35],
      ['sentence', 0.55],
      ['mixed', 0.1],
    ] as const);
  const layout = options.layout ?? 'chat';
  const shots = options.shots ?? between(draw, 0, layout === 'inline' ? 8 : form === 'noun' ? 12 : 8);
  const level =
    options.level ??
    weighted(draw, [
      ['exact', 0.1],
      ['burst', 0.2],
      ['kind', 0.7],
    ] as const);
  const pools = kinds.map((kind) => sample(draw, shownNouns(kind), level === 'exact' ? 1 : level === 'burst' ? 3 : 12));
  const order = options.balanced ? balanced(draw, shots, classes) : Array.from({ length: shots + 1 }, () => draw.random.below(classes));
  const wordings = options.newWordings ? HELD_SENTENCES : SENTENCES;
  const template = chance(draw, 0.3) ? pick(draw, wordings) : undefined;
  const used = kinds.map(() => 0);
  const items = order.map((klass, i) => {
    const fresh =
      options.newNoun === true && i === shots
        ? KINDS.find(({ name }) => name === kinds[klass])?.nouns.filter((n) => isHeld(FAMILY, n))
        : undefined;
    const noun = fresh && fresh.length > 0 ? pick(draw, fresh) : pools[klass][used[klass]++ % pools[klass].length];
    const bare = form === 'noun' || (form === 'mixed' && chance(draw, 0.5));
    return { klass, input: bare ? noun : sentence(draw, noun, labels, template ?? pick(draw, wordings)) };
  });
  const named = draw.random.shuffle(labels);
  const wording = options.head ?? zipf(draw, HEADS, 0);
  const head = fill(wording, { or: listed(named, 'or'), and: listed(named), comma: named.join(', ') });
  return { labels, kinds, items, layout, head, form };
}

/** Classes of `shots` shots, as evenly as they come, and of the query. */
function balanced(draw: Draw, shots: number, classes: number): number[] {
  const start = draw.random.below(classes);
  const order = Array.from({ length: shots }, (_, i) => (start + i) % classes);
  return [...draw.random.shuffle(order), draw.random.below(classes)];
}

/** The conversation of an episode. `swap` gives each shot the label of the next class, so that the right answer changes with them. */
export function renderEpisode(episode: LabelEpisode, swap = false): WorldDocument {
  const { labels, items, layout, head } = episode;
  const label = (klass: number): string => labels[swap ? (klass + 1) % labels.length : klass];
  const seen = new Set<number>();
  // The first label of a class cannot be known from the shots, unless it is the only one left of two.
  const weights = items.map(({ klass }, i) => {
    const known = i > 0 && (seen.has(klass) || labels.length === 2);
    seen.add(klass);
    return known ? 1 : 0.3;
  });
  const turns: Turn[] = head === '' ? [] : [system(head)];
  if (layout === 'chat') {
    for (const [i, { input, klass }] of items.entries()) turns.push(user(input), assistant(label(klass), weights[i], 0.25));
  } else {
    const lines = items.map(({ input, klass }, i) => `Input: ${input}\nLabel:${i < items.length - 1 ? ` ${label(klass)}\n` : ''}`);
    const last = items[items.length - 1];
    turns.push(user(lines.join('')), assistant(label(last.klass), weights[items.length - 1], 0.25));
  }
  return conversation(FAMILY, turns, { shots: items.length - 1, classes: labels.length, layout, form: episode.form });
}

/** Family A in the mixture: chat turns and blocks inside one turn, some labels of several tokens, some episodes without the labels named. */
export function fewShotLabels(draw: Draw): WorldDocument {
  const layout = chance(draw, 0.18) ? 'inline' : 'chat';
  const silent = chance(draw, 0.06);
  return renderEpisode(labelEpisode(draw, { layout, nonsense: chance(draw, 0.35) ? 0.5 : 0, ...(silent ? { head: '' } : {}) }));
}
/** Short forms for the first phases of a run. */
export const chatNouns = (draw: Draw): WorldDocument => renderEpisode(labelEpisode(draw, { form: 'noun', head: HEADS[0] }));
export const chatSentences = (draw: Draw): WorldDocument => renderEpisode(labelEpisode(draw, { form: 'sentence', head: HEADS[0] }));
export const inlineBlocks = (draw: Draw): WorldDocument => renderEpisode(labelEpisode(draw, { layout: 'inline', head: HEADS[0] }));
