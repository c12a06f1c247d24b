// What a run will be, before it starts: its rows and tokens, time and memory, and what stands in its way.
import { inputKey } from '../../src/data/rows.ts';
import type { Example } from '../../src/data/types.ts';
import { bytes as inWords } from '../../src/lib/bytes.ts';
import { AppError } from '../../src/lib/error.ts';
import { methodById, type RegisteredMethod } from '../../src/methods/registry.ts';
import type { DataSize } from '../../src/methods/types.ts';
import type { Check, FitPlan, FitSpec } from '../../src/rpc/contract.ts';
import type { Encoded } from '../../src/text/types.ts';
import { encodeRow } from './data.ts';
import { type Loaded, needLoaded, type Session } from './session.ts';
import { readTaskData, rowLimitOf, type TaskData } from './task-data.ts';
import { gpuLimit } from './webllm-room.ts';

/** The advice of the empty Data screen: ten rows are enough to start. */
const FEW_ROWS = 10;

export interface FitRows {
  readonly encoded: readonly Encoded[];
  readonly size: DataSize;
  readonly tooLong: number;
  readonly withoutAnswer: number;
}

/** The training rows under a prompt, as the run will encode them. */
export async function encodeTraining(loaded: Loaded, { task, dataset, record }: TaskData, prompt: FitSpec['prompt']): Promise<FitRows> {
  const limit = rowLimitOf(task, loaded.engine.config.context);
  const encoded: Encoded[] = [];
  let tooLong = 0;
  for (const example of dataset.train) {
    const row = await encodeRow(loaded.renderer, example, prompt);
    if (row.tokens.length > limit) tooLong++;
    else encoded.push(row);
  }
  const sum = (of: (row: Encoded) => number): number => encoded.reduce((total, row) => total + of(row), 0);
  return {
    encoded,
    tooLong,
    withoutAnswer: record.rows.filter(({ targets }) => targets.length === 0).length,
    size: {
      rows: encoded.length,
      tokens: sum((row) => row.tokens.length),
      trainedTokens: sum((row) => row.mask.reduce((count, bit) => count + bit, 0)),
      longestRow: encoded.reduce((longest, row) => Math.max(longest, row.tokens.length), 0),
    },
  };
}

export async function planFit(session: Session, spec: FitSpec): Promise<FitPlan> {
  const loaded = needLoaded(session);
  const data = await readTaskData(spec.taskId);
  const method = methodById(spec.method);
  const { engine } = loaded;
  const rows = await encodeTraining(loaded, data, spec.prompt);
  const device = { flopsPerSecond: engine.flopsPerSecond };
  const { seconds, bytes } = method.estimate(spec.config, engine.config, rows.size, device);
  const training = method.training(spec.config, engine.config, rows.size);
  const memory = memoryOf(loaded, method, spec, rows.size, bytes);
  return {
    config: method.config(spec.config, engine.config),
    defaults: defaultsOf(method, spec, loaded),
    estimate: { seconds, memory, steps: training?.steps ?? 0, trainRows: rows.size.rows, trainTokens: rows.size.tokens },
    checks: [
      checkRows(rows),
      ...checkLength(rows, rowLimitOf(data.task, engine.config.context)),
      checkTrained(rows),
      checkStop(rows, loaded),
      checkLeak(data, spec),
      checkMemory(memory.weights + memory.activations + memory.training),
    ],
  };
}

/** One setting at a time, since the default of one may follow another. */
function defaultsOf(method: RegisteredMethod, spec: FitSpec, { engine }: Loaded): FitPlan['defaults'] {
  const without = (key: string): unknown => {
    const { [key]: _, ...others } = spec.config;
    return method.config(others, engine.config)[key];
  };
  return Object.fromEntries(Object.keys(method.config(spec.config, engine.config)).map((key) => [key, without(key)]));
}

function memoryOf(loaded: Loaded, method: RegisteredMethod, spec: FitSpec, size: DataSize, estimated: number) {
  const { engine } = loaded;
  const { weights, activations } = engine.memory;
  const training = method.training(spec.config, engine.config, size);
  if (training === undefined || size.rows === 0) return { weights, activations, training: estimated };
  const planned = engine.planTraining(training.shape, training.trainedValues, 'low-rank', training.recompute);
  return { weights, activations: activations + planned.activations, training: planned.training };
}

/** All that our engine will hold while it trains, as planned. */
export function trainingBytes(loaded: Loaded, spec: FitSpec, size: DataSize): number {
  const { weights, activations, training } = memoryOf(loaded, methodById(spec.method), spec, size, 0);
  return weights + activations + training;
}

/** The same error with what the run takes as it is set and what settings take less. No browser tells how much is free, so these are amounts, not promises. */
export function withSettingsThatTakeLess(error: AppError, loaded: Loaded, spec: FitSpec, size: DataSize): AppError {
  const total = (config: FitSpec['config'], longestRow: number): number =>
    trainingBytes(loaded, { ...spec, config }, { ...size, longestRow });
  const now = total(spec.config, size.longestRow);
  const one = { ...spec.config, microBatch: 1 };
  const half = Math.ceil(size.longestRow / 2);
  const again = { ...spec.config, recompute: true };
  const ways = [
    { words: '“Save memory” switched on', bytes: total(again, size.longestRow) },
    { words: '1 row at a time', bytes: total(one, size.longestRow) },
    { words: '1 row at a time and “Save memory” switched on', bytes: total({ ...one, ...again, microBatch: 1 }, size.longestRow) },
    { words: `1 row at a time and rows of at most ${half} tokens`, bytes: total(one, half) },
  ].filter(({ bytes }) => bytes < now);
  return new AppError(error.code, `Training needs ${inWords(now)} of GPU memory, and the GPU has not that much left.`, {
    why: `${error.message} ${error.why}`.trim(),
    fix: `${ways.map(({ words, bytes }) => `With ${words} it needs ${inWords(bytes)}.`).join(' ')} Other tabs that use the GPU can be closed, and the model can be held as 16-bit floats on the Models screen.`.trim(),
    facts: { ...error.facts, needed: now },
    cause: error,
  });
}

function checkRows({ size }: FitRows): Check {
  if (size.rows === 0) {
    return {
      ok: false,
      stops: true,
      code: 'fit/no-rows',
      text: 'No training row can be used.',
      fix: 'Add rows with an answer on the Data screen.',
    };
  }
  const text = `${size.rows} training ${size.rows === 1 ? 'row' : 'rows'} with ${size.tokens} tokens.`;
  if (size.rows >= FEW_ROWS) return { ok: true, code: 'fit/rows', text };
  return { ok: false, code: 'fit/few-rows', text, fix: `Ten are enough to start; with fewer, a model mostly learns them by heart.` };
}

function checkLength({ tooLong, withoutAnswer }: FitRows, limit: number): Check[] {
  const checks: Check[] = [
    tooLong === 0
      ? { ok: true, code: 'fit/length', text: `No row is longer than ${limit} tokens.` }
      : {
          ok: false,
          code: 'fit/rows-too-long',
          text: `${tooLong} training ${tooLong === 1 ? 'row is' : 'rows are'} longer than ${limit} tokens and will be left out, not cut.`,
          fix: 'Shorten them, or raise the limit on the Data screen as far as the model reads.',
        },
  ];
  if (withoutAnswer > 0) {
    checks.push({
      ok: true,
      code: 'fit/rows-without-answer',
      text: `${withoutAnswer} ${withoutAnswer === 1 ? 'row has' : 'rows have'} no answer and will be left out.`,
    });
  }
  return checks;
}

function checkTrained({ size }: FitRows): Check {
  const share = size.tokens === 0 ? 0 : Math.round((100 * size.trainedTokens) / size.tokens);
  return {
    ok: size.trainedTokens > 0,
    code: 'fit/trained-tokens',
    text: `${size.trainedTokens} of ${size.tokens} tokens are trained (${share} %): the answers and one stop token each. Questions are only read.`,
    ...(size.trainedTokens > 0 ? {} : { stops: true, fix: 'Add rows with an answer on the Data screen.' }),
  };
}

function checkStop({ encoded }: FitRows, { renderer, tokenizer }: Loaded): Check {
  const wrong = encoded.filter(({ tokens, mask, stopId }) => tokens[tokens.length - 1] !== stopId || mask[mask.length - 1] !== 1).length;
  const stop = encoded[0]?.stopId;
  const ends = stop !== undefined && renderer.stopIds.includes(stop);
  if (wrong === 0 && ends) {
    return { ok: true, code: 'fit/stop-token', text: `Every answer ends with ${tokenizer.tokenText(stop)}, which also ends a reply.` };
  }
  return {
    ok: encoded.length === 0,
    code: 'fit/stop-token',
    text:
      encoded.length === 0
        ? 'There is no answer to end with a stop token.'
        : `${wrong || encoded.length} answers do not end with a token that ends a reply, so the model may not learn to stop.`,
    fix: 'Choose a model whose generation_config.json names its stop token.',
  };
}

/** Rows that are scored must not be trained on, nor be shown as shots. */
function checkLeak({ dataset }: TaskData, spec: FitSpec): Check {
  const key = (example: Pick<Example, 'messages'>): string => inputKey(example);
  const scored = new Set([...dataset.validation, ...dataset.test].map(key));
  const leaked = [...dataset.train, ...spec.prompt.shots].filter((example) => scored.has(key(example))).length;
  if (leaked === 0) return { ok: true, code: 'fit/no-leak', text: 'No row that is scored is trained on or shown.' };
  return {
    ok: false,
    code: 'fit/leak',
    text: `${leaked} trained or shown ${leaked === 1 ? 'row asks' : 'rows ask'} the same as a row that is scored, so the score would be too high.`,
    fix: 'Draw the shots again from the training rows, or delete the copies on the Data screen.',
  };
}

/** A device that names little memory of its own is warned on; everything else shows in the try. */
function checkMemory(bytes: number): Check {
  const limit = gpuLimit();
  if (limit === undefined || bytes <= limit)
    return { ok: true, code: 'fit/memory', text: `It takes about ${inWords(bytes)} of GPU memory with the model.` };
  return {
    ok: false,
    code: 'fit/memory',
    text: `It takes about ${inWords(bytes)} of GPU memory with the model; this device has ${limit / 0.5e9} GB for everything.`,
    fix: 'Set fewer rows at a time to 1, hold the model as 16-bit floats, or shorten the longest rows.',
  };
}
