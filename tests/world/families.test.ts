import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/lib/random.ts';
import { passes } from '../../src/world/checkers.ts';
import { isHeld, isHeldPair } from '../../src/world/draw.ts';
import { EXAMS, exam } from '../../src/world/exam.ts';
import { heldTogether } from '../../src/world/families/few-shot-labels.ts';
import { KIND_NAMES, KINDS, LABELS, NAMES, NOUNS, PLACES } from '../../src/world/lexicon.ts';
import { documentOf, documents, FAMILIES, phaseAt, SCHEDULE } from '../../src/world/mixture.ts';
import type { FamilyId, WorldDocument } from '../../src/world/types.ts';

const names = Object.keys(FAMILIES) as (keyof typeof FAMILIES)[];
const text = (document: WorldDocument): string => document.turns.map(({ content }) => content).join('\n');
const wordsOf = (document: WorldDocument): Set<string> => new Set(text(document).match(/[A-Za-z]+/g) ?? []);
/** Words of all documents together, for questions of the kind "was it ever said". */
const said = (list: readonly WorldDocument[]): Set<string> => new Set(list.flatMap((document) => [...wordsOf(document)]));
const systemTurn = (document: WorldDocument): string => document.turns.find(({ role }) => role === 'system')?.content ?? '';

describe.each(names)('family %s', (family) => {
  it('gives the same 1,000 documents for the same seed', () => {
    expect(documents(family, 11, 1000)).toEqual(documents(family, 11, 1000));
  });
  it('gives other documents for another seed', () => {
    expect(documents(family, 1, 20).map(text)).not.toEqual(documents(family, 2, 20).map(text));
  });
  it.each(['train', 'held'] as const)('answers itself: every gold passes its own checkers (%s)', (split) => {
    const failed = documents(family, 5, 400, split).filter((document) => !passes(document, document.gold));
    expect(failed.map((document) => [text(document), document.checks])).toEqual([]);
  });
  it('ends in an assistant turn that is graded, and is short enough for a row of 512 tokens', () => {
    for (const document of documents(family, 6, 400)) {
      const last = document.turns[document.turns.length - 1];
      expect(last.role).toBe('assistant');
      expect(last.content).toBe(document.gold);
      expect(last.weight).toBeGreaterThan(0);
      expect(text(document).length).toBeLessThan(1800);
    }
  });
});

describe('the lexicon', () => {
  it('has 24 kinds of 12 nouns, no word twice in a list', () => {
    expect(KINDS.map(({ nouns }) => nouns.length)).toEqual(KIND_NAMES.map(() => 12));
    for (const list of [NOUNS, NAMES, PLACES, LABELS]) expect(new Set(list).size).toBe(list.length);
    expect([NAMES.length, PLACES.length]).toEqual([150, 60]);
    expect(LABELS.length).toBeGreaterThanOrEqual(390);
  });
  it('has every word said by the assistant in some family', () => {
    const heard = new Set(
      names.flatMap((family) =>
        documents(family, 3, 6000).flatMap(({ turns }) =>
          turns.filter(({ role }) => role === 'assistant').flatMap(({ content }) => content.match(/[A-Za-z]+/g) ?? []),
        ),
      ),
    );
    expect([...NOUNS, ...KIND_NAMES, ...NAMES, ...PLACES, ...LABELS].filter((word) => !heard.has(word))).toEqual([]);
  });
});

describe('the schedule', () => {
  it('rises, fills its steps, and never gives up few-shot learning or longer rows once it has them', () => {
    for (const [i, phase] of SCHEDULE.entries()) {
      expect(1536 % phase.length).toBe(0);
      if (i > 0) expect(phase.from).toBeGreaterThan(SCHEDULE[i - 1].from);
      if (i > 0) expect(phase.length).toBeGreaterThanOrEqual(SCHEDULE[i - 1].length);
    }
    for (const { from, shares } of SCHEDULE.filter((phase) => phase.from >= 6e6)) {
      const all = shares.reduce((sum, [, share]) => sum + share, 0);
      const labels = shares.find(([source]) => source === 'few-shot-labels')?.[1] ?? 0;
      expect(labels / all, `from ${from}`).toBeGreaterThan(0.15);
      expect(shares.some(([source]) => source === 'few-shot-rules')).toBe(true);
    }
  });
  it('asks more of Vesh and of stories late, before the rate falls', () => {
    const share = (tokens: number, name: string): number => phaseAt(tokens).shares.find(([source]) => source === name)?.[1] ?? 0;
    for (const name of ['translation', 'writing']) expect(share(70e6, name)).toBeGreaterThan(share(50e6, name));
  });
});

describe('what is held out', () => {
  /** Families whose tests use names and places that training does not show there. */
  const byWord: readonly (readonly [FamilyId & keyof typeof FAMILIES, readonly string[]])[] = [
    ['reading', [...NAMES, ...PLACES]],
    ['tracking', NAMES],
    ['arithmetic', NAMES],
    ['summary', [...NAMES, ...PLACES]],
    ['style', [...NAMES, ...PLACES]],
    ['few-shot-rules', NOUNS],
    ['few-shot-labels', NOUNS],
  ];
  it.each(byWord)('%s never shows its held-out words in training, and tests do', (family, list) => {
    const held = list.filter((word) => isHeld(family, word));
    expect(held.length).toBeGreaterThan(list.length / 25);
    const shown = said(documents(family, 21, 3000));
    expect(held.filter((word) => shown.has(word))).toEqual([]);
    if (family !== 'few-shot-labels') expect(held.some((word) => said(documents(family, 21, 200, 'held')).has(word))).toBe(true);
  });

  it('few-shot labels: pairs of labels and pairs of kinds of the tests are in no training document of any phase', () => {
    const random = seededRandom(77);
    let pairs = 0;
    for (const phase of SCHEDULE)
      for (let i = 0; i < 3000; i++) {
        const document = documentOf(phase, { random, split: 'train' });
        if (document.family !== 'few-shot-labels' && document.family !== 'dense-pairs') continue;
        const shots = document.turns.filter(({ role }) => role === 'assistant' || role === 'text').map(({ content }) => content.trim());
        const labels = [...new Set(shots.filter((word) => LABELS.includes(word)))];
        for (const [a, one] of labels.entries())
          for (const other of labels.slice(a + 1)) {
            expect(heldTogether('label', one, other), `${one} and ${other}`).toBe(false);
            pairs++;
          }
        const inputs = document.turns.filter(({ role }) => role === 'user' || role === 'text').map(({ content }) => content.trim());
        const kinds = KINDS.filter(({ nouns }) => inputs.some((input) => nouns.includes(input))).map(({ name }) => name);
        for (const [a, one] of kinds.entries())
          for (const other of kinds.slice(a + 1)) expect(heldTogether('kind', one, other), `${one} and ${other}`).toBe(false);
      }
    expect(pairs).toBeGreaterThan(1000);
    const tested = exam('labels noun k=4', 1, 300).map(({ turns }) => [
      ...new Set(turns.filter(({ role }) => role === 'assistant').map(({ content }) => content)),
    ]);
    for (const [one, other] of tested.filter(({ length }) => length === 2)) expect(heldTogether('label', one, other)).toBe(true);
  });

  it('system rules: which word goes with which rule', () => {
    const rule = (document: WorldDocument): string => String(document.facts.rules);
    const word = (document: WorldDocument): string | undefined =>
      document.checks.flatMap((check) => (check.rule === 'starts-with' || check.rule === 'ends-with' ? [check.text] : []))[0];
    for (const split of ['train', 'held'] as const) {
      const single = documents('system-rules', 31, 3000, split).filter((document) => ['start', 'end'].includes(rule(document)));
      expect(single.length).toBeGreaterThan(500);
      for (const document of single) expect(isHeldPair('system-rules', rule(document), word(document) ?? '')).toBe(split === 'held');
    }
  });

  it('few-shot rules: combinations that the tests call new are not in training', () => {
    const rules = (list: readonly WorldDocument[]): Set<unknown> => new Set(list.map(({ facts }) => facts.rule));
    const shown = rules(documents('few-shot-rules', 41, 3000));
    const fresh = rules(exam('rules new k=4', 1, 300));
    expect(fresh.size).toBe(6);
    expect([...fresh].filter((rule) => shown.has(rule))).toEqual([]);
  });

  it('canon: which wording asks for which fact', () => {
    const asked = (split: 'train' | 'held'): Set<string> =>
      new Set(
        documents('canon', 51, 6000, split).map(({ turns }) =>
          turns[0].content.replace(/^(Do you know\? |I forgot\. |Tell me, )/, '').toLowerCase(),
        ),
      );
    const shown = asked('train');
    expect([...asked('held')].filter((question) => shown.has(question))).toEqual([]);
  });

  it('a system rule is obeyed by chance in at most 5 % of the plain answers', () => {
    const silent = exam('system one silent', 1, 500);
    expect(silent.every((document) => systemTurn(document) === '')).toBe(true);
    // The plain answer, which a model without the rule gives, is contained in the gold but does not pass.
    const plain = silent.filter((document) =>
      document.checks.some((check) => check.rule === 'contains' && passes({ ...document, checks: document.checks }, check.text)),
    );
    expect(plain.length / silent.length).toBeLessThan(0.05);
  });
});

describe('exams', () => {
  it.each(Object.keys(EXAMS))('%s gives the same questions for the same seed and passes itself', (name) => {
    const questions = exam(name, 9, 60);
    expect(questions).toEqual(exam(name, 9, 60));
    expect(questions.filter((document) => !passes(document, document.gold)).map(text)).toEqual([]);
  });
  it('a swap of the labels in the shots swaps the answer', () => {
    for (const document of exam('labels noun k=4 swapped', 2, 100)) {
      const label = new Map<string, string>();
      document.turns.forEach(({ role, content }, i) => {
        if (role === 'assistant' && i < document.turns.length - 1) label.set(kind(document.turns[i - 1].content), content);
      });
      expect(label.get(kind(document.turns[document.turns.length - 2].content))).toBe(document.gold);
    }
  });
});
const kind = (noun: string): string => KINDS.find(({ nouns }) => nouns.includes(noun))?.name ?? '';
