import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dataFindings } from '../../src/data/dataset.ts';
import { importText } from '../../src/data/import-text.ts';
import { proposeMetric, proposeTask } from '../../src/metrics/propose.ts';
import { metricById } from '../../src/metrics/registry.ts';

const read = (file: string): string => readFileSync(new URL(`../../public/samples/${file}`, import.meta.url), 'utf8');
const index: readonly { id: string; name: string; description: string; task: string; metric: string; file: string; rows: number }[] =
  JSON.parse(read('index.json'));

describe('the sample tasks', () => {
  it('are three', () => expect(index.map(({ id }) => id)).toEqual(['bicycle-shop', 'house-style-notes', 'passage-questions']));
  it.each(index)('$file has forty clean rows, and what it calls itself is what is proposed for it', ({ file, rows, task, metric }) => {
    const result = importText(read(file), file);
    expect(result.examples).toHaveLength(rows);
    expect(rows).toBe(40);
    expect(result.findings).toEqual([]);
    expect(result.examples.every(({ targets }) => targets.length === 1)).toBe(true);
    const problems = dataFindings(result.examples, 'question-answering', () => 'train');
    expect(problems).toEqual([]);
    expect(proposeTask(result.examples)).toBe(task);
    expect(proposeMetric(result.examples).metricId).toBe(metric);
    expect(metricById(metric).id).toBe(metric);
  });
});
