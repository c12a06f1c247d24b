import { parseArgs } from 'node:util';
import { STORAGE_PLANS } from '../../engine/storage.ts';
import { SHAPES, type Shape, WHATS, type What } from './shapes.ts';

export interface BenchOptions {
  readonly shapes: readonly Shape[];
  readonly profile: boolean;
}

export const USAGE = `npm run bench -- [options]
  --shape A,B            ${SHAPES.map(({ name }) => name).join(', ')}
  --only train,decode    ${WHATS.join(', ')}
  --storage f32          ${STORAGE_PLANS.join(', ')}: how the base is held
  --batch B --tokens T --rank R --warmup N --steps N --made N    instead of the shape's own
  --profile              a table of kernels by timestamp-query`;

/** @throws Error in words, for an option or a name that is not there */
export function readOptions(args: readonly string[]): BenchOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ shape: { ...text, default: 'A,B' }, only: text, storage: text },
      ...{ batch: text, tokens: text, rank: text, warmup: text, steps: text, made: text },
      profile: { type: 'boolean', default: false },
    },
  });
  const count = (name: 'batch' | 'tokens' | 'rank' | 'warmup' | 'steps' | 'made', own: number): number => {
    const n = Number(values[name] ?? own);
    if (!Number.isInteger(n) || n < (name === 'warmup' ? 0 : 1)) throw new Error(`--${name} ${values[name]} is no whole number.`);
    return n;
  };
  const shapes = values.shape.split(',').map((name): Shape => {
    const shape = SHAPES.find((known) => known.name === name);
    if (shape === undefined) throw new Error(`There is no shape ${name}.`);
    return {
      ...shape,
      which: values.only?.split(',').map((what): What => oneOf(WHATS, what)) ?? shape.which,
      storage: values.storage === undefined ? shape.storage : oneOf(STORAGE_PLANS, values.storage),
      ...{ B: count('batch', shape.B), T: count('tokens', shape.T), rank: count('rank', shape.rank) },
      ...{ warmup: count('warmup', shape.warmup), steps: count('steps', shape.steps), made: count('made', shape.made) },
    };
  });
  return { shapes, profile: values.profile };
}

function oneOf<T extends string>(known: readonly T[], name: string): T {
  const found = known.find((one) => one === name);
  if (found === undefined) throw new Error(`There is no ${name} among ${known.join(', ')}.`);
  return found;
}
