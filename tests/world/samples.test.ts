import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { importText } from '../../src/data/import-text.ts';
import { KNOWN_PEOPLE } from '../../src/world/canon.ts';
import { passes } from '../../src/world/checkers.ts';
import { entryOf, linesOf, newFacts, SAMPLE_TASKS, sampleRows } from '../../src/world/samples.ts';

const read = (name: string): string => readFileSync(new URL(`../../public/samples/${name}`, import.meta.url), 'utf8');

describe('the list of samples', () => {
  it('is what the generator makes of its tasks, one of which opens the site', () => {
    expect(JSON.parse(read('vale.json'))).toEqual(SAMPLE_TASKS.map(entryOf));
    expect(SAMPLE_TASKS.filter(({ opening }) => opening)).toHaveLength(1);
  });
  it('covers the kinds of task that people come with', () => {
    expect(new Set(SAMPLE_TASKS.map(({ task }) => task))).toEqual(
      new Set(['question-answering', 'summarization', 'classification', 'rewriting', 'creative-writing']),
    );
  });
});

describe.each(SAMPLE_TASKS.map((task) => [task.id, task] as const))('sample task %s', (_, task) => {
  const rows = sampleRows(task);
  it('has 60 to 400 rows, no question twice, each answered', () => {
    expect(rows).toHaveLength(task.rows);
    expect(rows.length).toBeGreaterThanOrEqual(60);
    expect(rows.length).toBeLessThanOrEqual(400);
    expect(new Set(rows.map(({ turns }) => turns[0].content)).size).toBe(rows.length);
    for (const row of rows) expect(passes(row, row.gold)).toBe(true);
  });
  it('lies in public/samples as the generator makes it, and is read without findings', () => {
    const text = read(`${task.id}.jsonl`);
    expect(text).toBe(linesOf(task));
    const { examples, findings } = importText(text, `${task.id}.jsonl`);
    expect(findings).toEqual([]);
    expect(examples.map(({ targets }) => targets)).toEqual(rows.map(({ gold }) => [gold]));
  });
  it('is the same for the same seed', () => {
    expect(sampleRows(task)).toEqual(rows);
    expect(sampleRows(task, 2)).not.toEqual(rows);
  });
});

describe('new facts', () => {
  it('are about people of whom nothing is known by heart, one value each', () => {
    const facts = newFacts(48);
    expect(new Set(facts.map(({ person }) => person)).size).toBe(48);
    expect(facts.filter(({ person }) => KNOWN_PEOPLE.includes(person))).toEqual([]);
    const task = SAMPLE_TASKS.find(({ id }) => id === 'vale-new-people');
    const answers = new Map<string, string>();
    for (const { turns, gold } of task === undefined ? [] : sampleRows(task)) {
      const name = facts.find(({ person }) => turns[0].content.includes(person))?.person;
      if (name === undefined) continue;
      expect(answers.get(name) ?? gold).toBe(gold);
      answers.set(name, gold);
    }
    expect(answers.size).toBe(48);
  });
});
