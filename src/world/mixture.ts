import { seededRandom } from '../lib/random.ts';
import { between, type Draw, weighted } from './draw.ts';
import { arithmetic } from './families/arithmetic.ts';
import { canon } from './families/canon.ts';
import { copying } from './families/copying.ts';
import { denseKinds, densePairs, denseRecall, denseRepeat } from './families/dense.ts';
import { chatNouns, chatSentences, fewShotLabels, inlineBlocks, labelEpisode, renderEpisode } from './families/few-shot-labels.ts';
import { fewShotRules } from './families/few-shot-rules.ts';
import { kinds } from './families/kinds.ts';
import { reading } from './families/reading.ts';
import { style } from './families/style.ts';
import { summary } from './families/summary.ts';
import { systemRules } from './families/system-rules.ts';
import { tracking } from './families/tracking.ts';
import { translation } from './families/translation.ts';
import { writing } from './families/writing.ts';
import type { Split, WorldDocument } from './types.ts';

type Maker = (draw: Draw) => WorldDocument;
/** The twelve families and `kinds`, each as the mixture asks for them. */
export const FAMILIES = {
  'few-shot-labels': fewShotLabels,
  'few-shot-rules': (draw: Draw) => fewShotRules(draw),
  'system-rules': (draw: Draw) => systemRules(draw),
  reading: (draw: Draw) => reading(draw),
  canon: (draw: Draw) => canon(draw),
  summary: (draw: Draw) => summary(draw),
  arithmetic: (draw: Draw) => arithmetic(draw),
  tracking: (draw: Draw) => tracking(draw),
  style: (draw: Draw) => style(draw),
  translation,
  writing: (draw: Draw) => writing(draw),
  copying,
  kinds,
} as const satisfies Readonly<Record<string, Maker>>;

/** Short and long forms of families and the dense sequences: what the first phases of a run are made of, and long texts for the last. */
const STARTERS = {
  repeat: denseRepeat,
  recall: denseRecall,
  exactPlain: (draw: Draw) => densePairs(draw, 'exact', 1),
  kindPlain: (draw: Draw) => densePairs(draw, 'kind', 1),
  exact: (draw: Draw) => densePairs(draw, 'exact'),
  burst: (draw: Draw) => densePairs(draw, 'burst'),
  kind: (draw: Draw) => densePairs(draw, 'kind'),
  facts: denseKinds,
  chatNouns,
  chatSentences,
  inline: inlineBlocks,
  longLabels: (draw: Draw) => renderEpisode(labelEpisode(draw, { shots: between(draw, 12, 24) })),
  longReading: (draw: Draw) => reading(draw, { facts: between(draw, 8, 16), more: between(draw, 2, 5) }),
  longTalk: (draw: Draw) => systemRules(draw, { rules: 1, turns: between(draw, 4, 6) }),
} as const satisfies Readonly<Record<string, Maker>>;
const MAKERS: Readonly<Record<string, Maker>> = { ...STARTERS, ...FAMILIES };
type Source = keyof typeof STARTERS | keyof typeof FAMILIES;

/** A phase of training: from how many tokens on, tokens in a row, shares of the documents. Rows of all phases in a step hold 1,536 tokens. */
export interface Phase {
  readonly from: number;
  readonly length: 128 | 256 | 512;
  /** Share of the documents in which what the assistant does not say is learned too, at a low weight. */
  readonly restShare: number;
  readonly shares: readonly (readonly [source: Source, share: number])[];
}
const MIXTURE: Phase['shares'] = [
  ['few-shot-labels', 0.22],
  ['few-shot-rules', 0.11],
  ['system-rules', 0.14],
  ['reading', 0.13],
  ['canon', 0.05],
  ['summary', 0.07],
  ['arithmetic', 0.1],
  ['tracking', 0.04],
  ['style', 0.04],
  ['translation', 0.05],
  ['writing', 0.04],
  ['copying', 0.02],
  ['kinds', 0.03],
  ['kind', 0.02],
  ['recall', 0.01],
  ['facts', 0.01],
];
/** Late in a run: labels from shots stand at 98 %, what has many words to learn by heart (Vesh) or many constraints (stories) does not yet. At 36 M tokens of
 *  the mixture above: Vesh 45 %, story constraints 28 %, both asked for 70. Labels keep a sixth of the documents, since in-context learning can fade while the
 *  loss still falls (Singh et al. 2023, arXiv:2311.08360). */
const LATE_MIXTURE: Phase['shares'] = [
  ['few-shot-labels', 0.18],
  ['few-shot-rules', 0.11],
  ['system-rules', 0.14],
  ['reading', 0.13],
  ['canon', 0.04],
  ['summary', 0.06],
  ['arithmetic', 0.11],
  ['tracking', 0.04],
  ['style', 0.04],
  ['translation', 0.12],
  ['writing', 0.06],
  ['copying', 0.01],
  ['kinds', 0.03],
  ['kind', 0.02],
  ['recall', 0.01],
  ['facts', 0.01],
];
const LONG: Phase['shares'] = [
  ['longLabels', 0.02],
  ['longReading', 0.03],
  ['longTalk', 0.02],
];
/** The order of things is the recipe's: dense sequences, bare nouns in chat, sentences, then everything. */
export const SCHEDULE: readonly Phase[] = [
  {
    from: 0,
    length: 128,
    restShare: 0,
    shares: [
      ['repeat', 0.3],
      ['recall', 0.25],
      ['exactPlain', 0.1],
      ['kindPlain', 0.2],
      ['facts', 0.15],
    ],
  },
  {
    from: 3e6,
    length: 128,
    restShare: 0,
    shares: [
      ['repeat', 0.05],
      ['recall', 0.05],
      ['exact', 0.08],
      ['burst', 0.1],
      ['kind', 0.22],
      ['chatNouns', 0.3],
      ['facts', 0.1],
      ['kinds', 0.1],
    ],
  },
  {
    from: 4.5e6,
    length: 256,
    restShare: 0,
    shares: [
      ['kind', 0.12],
      ['burst', 0.06],
      ['chatNouns', 0.22],
      ['chatSentences', 0.3],
      ['inline', 0.1],
      ['facts', 0.05],
      ['kinds', 0.15],
    ],
  },
  {
    from: 6e6,
    length: 256,
    restShare: 0,
    shares: [
      ['few-shot-labels', 0.26],
      ['few-shot-rules', 0.14],
      ['system-rules', 0.15],
      ['reading', 0.14],
      ['arithmetic', 0.12],
      ['copying', 0.03],
      ['kind', 0.04],
      ['facts', 0.02],
      ['kinds', 0.04],
      ['canon', 0.02],
      ['summary', 0.02],
      ['translation', 0.02],
    ],
  },
  { from: 11e6, length: 256, restShare: 0.15, shares: MIXTURE },
  { from: 40e6, length: 512, restShare: 0.15, shares: [...MIXTURE, ...LONG] },
  { from: 52e6, length: 512, restShare: 0.15, shares: [...LATE_MIXTURE, ...LONG] },
];
export const phaseAt = (tokens: number): Phase => SCHEDULE.findLast(({ from }) => from <= tokens) ?? SCHEDULE[0];

/** One document out of a phase. */
export const documentOf = (phase: Phase, draw: Draw): WorldDocument => MAKERS[weighted(draw, phase.shares)](draw);

/** `count` documents of a family, the same for the same seed. Tests and samples ask for the held-out side. */
export function documents(family: keyof typeof FAMILIES, seed: number, count: number, split: Split = 'train'): WorldDocument[] {
  const draw: Draw = { random: seededRandom(seed), split };
  const make: Maker = FAMILIES[family];
  return Array.from({ length: count }, () => make(draw));
}
