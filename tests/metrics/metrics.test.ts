import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Example } from '../../src/data/types.ts';
import { normalizeAnswer } from '../../src/metrics/normalize.ts';
import { proposeMetric, proposeTask } from '../../src/metrics/propose.ts';
import { metricById, metricDeclarations, metrics } from '../../src/metrics/registry.ts';

const row = (input: string, ...targets: string[]): Example => ({ id: input, messages: [{ role: 'user', content: input }], targets });
const score = (id: string, prediction: string, ...targets: string[]): number => metricById(id).score(prediction, row('q', ...targets));

describe('normalizeAnswer', () => {
  it("does what SQuAD's script does", () => {
    expect(normalizeAnswer('  The Quick, brown  fox!')).toBe('quick brown fox');
    expect(normalizeAnswer('a cat and an apple')).toBe('cat and apple');
    expect(normalizeAnswer('Denver Broncos.')).toBe('denver broncos');
    expect(normalizeAnswer('theatre')).toBe('theatre');
    expect(normalizeAnswer('señora')).toBe('señora');
  });
  it('leaves something of an answer that is an article or a sign', () => {
    expect(normalizeAnswer('A')).toBe('a');
    expect(normalizeAnswer('+')).toBe('+');
    expect(score('exact-match', 'The', 'A')).toBe(0);
    expect(score('exact-match', 'a.', 'A')).toBe(1);
  });
});

describe('exact match', () => {
  it('takes any of the accepted answers', () => {
    expect(score('exact-match', 'the Aun.', 'Aun', 'river Aun')).toBe(1);
    expect(score('exact-match', 'River Aun', 'Aun', 'river Aun')).toBe(1);
    expect(score('exact-match', 'the big river Aun', 'Aun', 'river Aun')).toBe(0);
    expect(score('exact-match', '', 'Aun')).toBe(0);
  });
});

describe('contains', () => {
  it('finds whole words only', () => {
    expect(score('contains', 'It is the river Aun, I think.', 'river Aun')).toBe(1);
    expect(score('contains', 'It is Aunt Mary', 'Aun')).toBe(0);
    expect(score('contains', '', 'Aun')).toBe(0);
  });
});

describe('token F1', () => {
  it('is the harmonic mean of precision and recall over words', () => {
    expect(score('token-f1', 'Denver Broncos', 'The Denver Broncos')).toBe(1);
    expect(score('token-f1', 'the Broncos won', 'Denver Broncos')).toBeCloseTo(0.5, 12); // P 1/2, R 1/2
    expect(score('token-f1', 'in Paris in France', 'Paris')).toBeCloseTo(0.4, 12); // P 1/4, R 1
    expect(score('token-f1', 'x x', 'x')).toBeCloseTo(2 / 3, 12); // a word counts as often as the answer has it
    expect(score('token-f1', 'London', 'Paris', 'London city')).toBeCloseTo(2 / 3, 12);
  });
});

describe('ROUGE-L', () => {
  const reference = 'police killed the gunman';
  it("gives Lin's worked example (2004, section 3.1)", () => {
    expect(score('rouge-l', 'police kill the gunman', reference)).toBeCloseTo(3 / 4, 12);
    expect(score('rouge-l', 'the gunman kill police', reference)).toBeCloseTo(2 / 4, 12);
    expect(score('rouge-l', 'the gunman police killed', reference)).toBeCloseTo(2 / 4, 12);
  });
  it("gives Lin's second example: a subsequence of words, not a run (section 3.2)", () => {
    expect(score('rouge-l', 'w1 w2 w6 w7 w8', 'w1 w2 w3 w4 w5')).toBeCloseTo(2 / 5, 12);
    expect(score('rouge-l', 'w1 w3 w8 w9 w5', 'w1 w2 w3 w4 w5')).toBeCloseTo(3 / 5, 12);
  });
  it('counts the signs of scripts without spaces', () => {
    expect(score('rouge-l', '吾輩は猫', '吾輩は猫である')).toBeCloseTo(8 / 11, 12);
    expect(score('rouge-l', '...', 'word')).toBe(0);
  });
});

describe('every metric', () => {
  it('gives 1 for the answer itself, never leaves 0 to 1, and is binary where it says so', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (target, prediction) => {
        fc.pre(/[\p{L}\p{N}]/u.test(target));
        for (const metric of metrics) {
          expect(metric.score(target, row('q', target))).toBe(1);
          const value = metric.score(prediction, row('q', target));
          expect(value >= 0 && value <= 1).toBe(true);
          if (metric.binary) expect([0, 1]).toContain(value);
        }
      }),
    );
  });
  it('does not score a row without an answer', () => {
    for (const metric of metrics) expect(() => metric.score('x', row('q'))).toThrow(expect.objectContaining({ code: 'metric/no-answer' }));
  });
  it('is declared as plain data', () => {
    expect(structuredClone(metricDeclarations())).toHaveLength(metrics.length);
    expect(() => metricById('bleu')).toThrow(expect.objectContaining({ code: 'metric/unknown' }));
  });
});

describe('proposals', () => {
  const repeat = (n: number, make: (i: number) => Example): Example[] => Array.from({ length: n }, (_, i) => make(i));
  it('proposes exact match for a few short labels', () => {
    const rows = repeat(20, (i) => row(`Message number ${i} about something`, ['repair', 'order', 'praise'][i % 3]));
    expect(proposeTask(rows)).toBe('classification');
    expect(proposeMetric(rows)).toEqual({
      metricId: 'exact-match',
      why: 'The 20 answers are 3 short labels, so a reply is right or wrong: exact match.',
    });
  });
  it('proposes token F1 for several accepted or short answers', () => {
    const several = repeat(10, (i) => row(`Which river is number ${i}?`, `Aun ${i}`, `river Aun ${i}`));
    expect(proposeTask(several)).toBe('question-answering');
    expect(proposeMetric(several).metricId).toBe('token-f1');
    const short = repeat(10, (i) => row(`Who lives at number ${i}? A man called Oren${i} does.`, `Oren${i}`));
    expect(proposeTask(short)).toBe('question-answering');
    expect(proposeMetric(short).metricId).toBe('token-f1');
  });
  it('proposes exact match for numbers and ROUGE-L for long answers', () => {
    expect(proposeMetric(repeat(10, (i) => row(`What is ${i} and 2?`, String(i + 2)))).metricId).toBe('exact-match');
    const long = repeat(8, (i) =>
      row(
        `note ${i} the wheel came late and is bent`,
        `Dear customer, wheel number ${i} came late and it is bent, we will send a new one.`,
      ),
    );
    expect(proposeMetric(long).metricId).toBe('rouge-l');
    expect(proposeMetric([]).metricId).toBe('exact-match');
  });
  it('tells conversations, extraction, summaries and rewriting apart', () => {
    const chat: Example[] = repeat(4, (i) => ({
      id: String(i),
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello' },
        { role: 'user', content: `Tell me about ${i}` },
      ],
      targets: [`It is ${i}`],
    }));
    expect(proposeTask(chat)).toBe('chat');
    expect(proposeTask(repeat(9, (i) => row(`Order ${i}: send it to Mill Lane ${i} by Friday`, `Mill Lane ${i}`)))).toBe('extraction');
    const text = 'The committee met on Monday and spoke about the bridge, its cost and the delay of the works. '.repeat(5);
    expect(proposeTask(repeat(5, (i) => row(`${text} ${i}`, `The committee spoke about the bridge and what it costs, ${i}.`)))).toBe(
      'summarization',
    );
    expect(proposeTask(repeat(5, (i) => row(`wheel ${i} came late and it is bent`, `Wheel ${i} came late, and it is bent.`)))).toBe(
      'rewriting',
    );
    expect(proposeTask([])).toBe('other');
  });
});
