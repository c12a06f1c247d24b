import { AppError } from '../lib/error.ts';
import { contains } from './contains.ts';
import { exactMatch } from './exact-match.ts';
import { rougeL } from './rouge-l.ts';
import { tokenF1 } from './token-f1.ts';
import type { Metric, MetricDeclaration } from './types.ts';

/** In the order in which the interface lists them. */
export const metrics: readonly Metric[] = [exactMatch, tokenF1, rougeL, contains];

/** @throws 'metric/unknown' */
export function metricById(id: string): Metric {
  const found = metrics.find((metric) => metric.id === id);
  if (found === undefined) {
    throw new AppError('metric/unknown', `There is no metric called "${id}".`, {
      fix: `Choose one of ${metrics.map((metric) => metric.name).join(', ')}.`,
      facts: { id },
    });
  }
  return found;
}

export function metricDeclarations(): MetricDeclaration[] {
  return metrics.map(({ id, name, summary, better, binary, source }) => ({ id, name, summary, better, binary, source }));
}
