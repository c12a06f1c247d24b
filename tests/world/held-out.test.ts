// Pairings that the tests hold out are in no training document: looked for in the texts themselves, over a long stream of every phase that has them.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/lib/random.ts';
import { isHeld, isHeldPair } from '../../src/world/draw.ts';
import { heldStart } from '../../src/world/families/arithmetic.ts';
import { heldTogether } from '../../src/world/families/few-shot-labels.ts';
import { HELD_THINGS, kindOf, LABELS, NOUNS } from '../../src/world/lexicon.ts';
import { documentOf, SCHEDULE } from '../../src/world/mixture.ts';
import type { WorldDocument } from '../../src/world/types.ts';
import { VESH_ADJECTIVES, VESH_NOUNS } from '../../src/world/vesh.ts';

const DOCUMENTS = 30_000;
const nouns = new Set(NOUNS);
const labels = new Set(LABELS);
const things = new Set(HELD_THINGS);

const stream = new Map<string, WorldDocument[]>();
for (const phase of SCHEDULE.slice(-3)) {
  const draw = { random: seededRandom(2027), split: 'train' } as const;
  for (let i = 0; i < DOCUMENTS / 3; i++) {
    const document = documentOf(phase, draw);
    stream.set(document.family, [...(stream.get(document.family) ?? []), document]);
  }
}
const of = (family: string): readonly WorldDocument[] => stream.get(family) ?? [];
const said = ({ turns }: WorldDocument, role: string): string[] => turns.flatMap((turn) => (turn.role === role ? [turn.content] : []));
const everything = ({ turns }: WorldDocument): string => turns.map(({ content }) => content).join('\n');
const pairs = <T>(list: readonly T[]): (readonly [T, T])[] => list.flatMap((a, i) => list.slice(i + 1).map((b) => [a, b] as const));

/** Fails with the pairings found that are held out, and where fewer than `enough` were found at all. */
function expectNone(found: readonly (readonly [what: string, held: boolean])[], enough: number): void {
  expect(found.length).toBeGreaterThan(enough);
  expect(found.filter(([, held]) => held).map(([what]) => what)).toEqual([]);
}

describe('in a stream of training', () => {
  it('no two kinds and no two labels of an episode are held out, in chat and in blocks inside one turn', () => {
    const found = of('few-shot-labels').flatMap((document) => {
      const user = said(document, 'user').join('\n');
      const answers = [...said(document, 'assistant'), ...[...user.matchAll(/Label: (\S+)/g)].map(([, label]) => label)];
      const shown = [...new Set(answers.filter((answer) => labels.has(answer)))];
      // "Ana saw a robin" has one noun: "saw" is a verb there.
      const inputs = user.replace(/Label:.*/g, '').replace(/ saw (an?|the) /g, ' ');
      const kinds = [...new Set((inputs.match(/\b[a-z]+\b/g) ?? []).filter((word) => nouns.has(word)).map(kindOf))];
      return [
        ...pairs(shown).map(([a, b]) => [`labels ${a} and ${b}`, heldTogether('label', a, b)] as const),
        ...pairs(kinds).map(([a, b]) => [`kinds ${a} and ${b}`, heldTogether('kind', a, b)] as const),
      ];
    });
    expectNone(found, 10_000);
  });

  it('no story sums up a held-out course of events and thing', () => {
    const found = of('summary').flatMap(({ facts, gold }) =>
      facts.kind === 'story'
        ? (gold.match(/\b[a-z]+\b/g) ?? [])
            .filter((word) => things.has(word))
            .map((thing) => [`${facts.plot} ${thing}`, isHeldPair('summary', String(facts.plot), thing)] as const)
        : [],
    );
    expectNone(found, 500);
  });

  it('no sentence to be rewritten has a held-out verb and thing', () => {
    const forms = /(\w+)ed (?:the|an?) \w+ (\w+)(?: in| today|\.)|did"?: "?(\w+)(?:", "|\n- )what"?: "?\w+ (\w+)/g;
    const found = of('style').flatMap((document) =>
      [...everything(document).matchAll(forms)].map(([, a, b, c, d]) => [a ?? c, b ?? d] as const),
    );
    expectNone(
      found.map(([verb, thing]) => [`${verb} ${thing}`, isHeldPair('style', verb, thing)] as const),
      1000,
    );
    for (const [, thing] of found) expect(things.has(thing), thing).toBe(true);
  });

  it('no Vesh is translated with a held-out noun and adjective, and rare nouns come with their word', () => {
    const found: [string, boolean][] = [];
    for (const document of of('translation')) {
      const text = everything(document);
      for (const [, adjective, word] of text.matchAll(/\bthe (\w+) (\w+)/gi)) {
        if (!VESH_ADJECTIVES.includes(adjective)) continue;
        const noun = VESH_NOUNS.includes(word) ? word : word.replace(/s$/, '');
        found.push([`${adjective} ${noun}`, isHeldPair('translation', noun, adjective)]);
      }
      for (const word of text.match(/\b[a-z]+\b/g) ?? []) {
        const noun = VESH_NOUNS.find((one) => one === word || `${one}s` === word);
        if (noun !== undefined && isHeld('translation', noun)) expect(text).toContain(`In Vesh ${noun} is`);
      }
    }
    expectNone(found, 500);
  });

  it('no story or verse has held-out words together, or a held-out thing and rhyme', () => {
    const found = of('writing').flatMap(({ facts, checks }): (readonly [string, boolean])[] => {
      const words = checks.flatMap((check) => (check.rule === 'contains' ? [check.text] : []));
      return facts.kind === 'verse'
        ? words.map((thing) => [`${thing} on rhyme ${facts.rhyme}`, isHeldPair('writing', thing, String(facts.rhyme))] as const)
        : pairs(words).map(([a, b]) => [`${a} and ${b}`, isHeldPair('writing', a, b)] as const);
    });
    expectNone(found, 500);
  });

  it('nothing is counted from a held-out first number and thing', () => {
    const counted = [...of('arithmetic'), ...of('system-rules')].flatMap((document) =>
      said(document, 'user').filter((one) => /How many/.test(one)),
    );
    const found = counted.flatMap((text) => {
      const [, start, word] = /(\d+) ([a-z]+)/.exec(text) ?? [];
      if (start === undefined || !text.includes('How many')) return [];
      const thing = nouns.has(word) ? word : word.replace(/s$/, '');
      return [[`${start} ${thing}`, heldStart(thing, Number(start))] as const];
    });
    expectNone(found, 1000);
  });
});
