import type { SplitShares } from '../data/types.ts';
import { bootstrapInterval, brackets, holm, mean, wilson } from '../lib/stats.ts';
import type { Prompt } from '../methods/types.ts';
import type { Metric, MetricDeclaration } from '../metrics/types.ts';
import { acrossRuntimes, pairedComparison, verdictOf } from './compare.ts';
import { finding } from './finding.ts';
import type { Board, BoardRow, Cost, Met, RowResult, Runtime, Score, Split } from './types.ts';

/** A contestant as the board needs it; a ContestantRecord is one. */
export interface BoardContestant {
  readonly id: string;
  readonly name: string;
  /** 'base', 'prompt' or the id of a method that trains. */
  readonly method: string;
  readonly prompt: Prompt;
  readonly config?: Readonly<Record<string, unknown>> | undefined;
  readonly cost: Cost;
  readonly modelId: string;
  readonly afterTestOpened: boolean;
  readonly chosenOnValidation: boolean;
  readonly imported: boolean;
}
/** Under what rows were answered. */
export interface MeasuredUnder {
  readonly metricId: string;
  readonly modelId: string;
  readonly datasetVersion: number;
  readonly splitSeed: number;
  readonly shares: SplitShares;
  readonly longestAnswer: number;
}
/** A ResultRecord is one. */
export interface BoardResult extends MeasuredUnder {
  readonly rows: readonly RowResult[];
  readonly complete: boolean;
  readonly seconds: number;
  /** What answered; absent: our engine. */
  readonly runtime?: Runtime | undefined;
  /** How the model was held while it answered: two results with one key were answered by the same numbers. Absent where it is not known. */
  readonly held?: { readonly key: string; readonly words: string } | undefined;
}
export interface BoardOptions {
  readonly taskId: string;
  readonly split: Split;
  readonly metric: Metric;
  readonly contestants: readonly BoardContestant[];
  /** By contestant id, of this split. */
  readonly results: ReadonlyMap<string, BoardResult>;
  /** The same of the runtime whose scores are not shown (`byRuntime`). */
  readonly others?: ReadonlyMap<string, BoardResult>;
  /** What is in force now; other results are stale. `modelId` is the model in use, or absent: then a result counts under its contestant's own model. */
  readonly now: Omit<MeasuredUnder, 'longestAnswer' | 'modelId'> & { readonly modelId?: string | undefined };
  /** The longest answer in force under a prompt, in tokens; undefined where no model is loaded to count them. */
  readonly longestAnswer: (prompt: Prompt) => number | undefined;
  /** The split's rows that have an answer. */
  readonly exampleIds: readonly string[];
  /** By contestant id: what of these rows it has met while it was made; absent where nothing is known of it. */
  readonly met?: ReadonlyMap<string, Met>;
  /** Contestants being made or scored now, or whose making failed. */
  readonly busy?: ReadonlyMap<string, 'fitting' | 'scoring' | 'failed'>;
  readonly seed: number;
  /** Colour and shape of a method that trains, by its id. */
  readonly mark: (method: string) => string | undefined;
  readonly testOpenedAt?: number | undefined;
}

/** Why a result no longer counts, in the words of the board's note, or undefined. */
export function staleReason(
  contestant: Pick<BoardContestant, 'modelId' | 'prompt'>,
  result: MeasuredUnder,
  options: Pick<BoardOptions, 'now' | 'longestAnswer'>,
): string | undefined {
  const { now } = options;
  if (result.modelId !== (now.modelId ?? contestant.modelId)) return 'measured with another model';
  if (result.metricId !== now.metricId) return 'measured by another score';
  if (result.datasetVersion !== now.datasetVersion) return 'measured before the rows changed';
  const { train, validation, test } = now.shares;
  const same = result.shares.train === train && result.shares.validation === validation && result.shares.test === test;
  if (result.splitSeed !== now.splitSeed || !same) return 'measured on another split of the rows';
  const longest = options.longestAnswer(contestant.prompt);
  if (longest !== undefined && result.longestAnswer !== longest) return 'measured with another longest answer';
  return undefined;
}

/** Of one contestant's results, the newest of each runtime: that of the chosen one first, where there is one. */
export function byRuntime<R extends { readonly runtime?: Runtime | undefined; readonly measuredAt: number }>(
  results: readonly R[],
  chosen: Runtime,
): readonly R[] {
  const newest = new Map<Runtime, R>();
  for (const result of results.toSorted((a, b) => a.measuredAt - b.measuredAt)) newest.set(result.runtime ?? 'engine', result);
  return [...newest].toSorted(([a], [b]) => Number(b === chosen) - Number(a === chosen)).map(([, result]) => result);
}

/** Mean with its 95 % interval: Wilson's for scores of 0 or 1, else a bootstrap drawn by seed. Undefined without rows: nothing measured is not 0. */
export function scoreOf(
  rows: readonly RowResult[],
  metric: Pick<Metric, 'binary'>,
  split: Split,
  seed: number,
  runtime: Runtime = 'engine',
): Score | undefined {
  if (rows.length === 0) return undefined;
  const scores = rows.map((row) => row.score);
  const passed = scores.filter((score) => score === 1).length;
  const { low, high } = metric.binary ? wilson(passed, rows.length) : bootstrapInterval(scores, seed);
  return { mean: mean(scores), low, high, n: rows.length, split, runtime };
}

function markOf(contestant: BoardContestant, options: BoardOptions): string {
  const { method, prompt } = contestant;
  if (method === 'base') return 'base';
  if (method !== 'prompt') return options.mark(method) ?? method;
  if (prompt.cue.trim() !== '') return 'cot';
  return prompt.shots.length > 0 ? 'shots' : 'prompt';
}

/** What the words around the input are: "system prompt, 4 shots, step by step". */
export function promptSummary(prompt: Prompt): string {
  const parts: string[] = [];
  if (prompt.system.trim() !== '') parts.push('system prompt');
  if (prompt.shots.length > 0) parts.push(prompt.shots.length === 1 ? '1 shot' : `${prompt.shots.length} shots`);
  if (prompt.cue.trim() !== '') parts.push('step by step');
  return parts.join(', ');
}

function subtitleOf({ method, prompt, config }: BoardContestant): string {
  const words = promptSummary(prompt);
  if (method === 'base') return 'the model as it came';
  if (method === 'prompt') return words === '' ? 'no words of its own' : words;
  const rank = typeof config?.rank === 'number' ? `, rank ${config.rank}` : '';
  const name = method === 'lora' ? `small add-on weights${rank}` : method;
  return words === '' ? name : `${name}, ${words}`;
}

/** A contestant with what was measured of it; `rows` are its results where they count now. */
interface Entry {
  readonly row: BoardRow;
  readonly rows?: readonly RowResult[];
  readonly isBase: boolean;
  readonly runtime?: Runtime;
  readonly held?: BoardResult['held'];
}

function entryOf(contestant: BoardContestant, options: BoardOptions): Entry {
  const { metric, split, seed } = options;
  const result = options.results.get(contestant.id);
  const stale = result === undefined ? undefined : staleReason(contestant, result, options);
  const busy = options.busy?.get(contestant.id);
  const notes: string[] = [];
  if (stale !== undefined) notes.push(stale);
  const n = options.exampleIds.length;
  const met = options.met?.get(contestant.id);
  if (met !== undefined && met.trained > 0) notes.push(`trained on ${met.trained} of these ${n} rows`);
  if (met !== undefined && met.shown > 0) notes.push(`shows ${met.shown} of these ${n} rows as shots`);
  const chosenOn = contestant.chosenOnValidation ? (met?.chosen ?? (split === 'validation' ? n : 0)) : 0;
  if (chosenOn > 0) notes.push(`checkpoint chosen on ${chosenOn < n ? `${chosenOn} of ` : ''}these rows`);
  if (contestant.afterTestOpened) notes.push('made after the test was opened');
  const unknown = contestant.imported && contestant.method !== 'prompt' && met?.chosen === undefined;
  if (unknown) notes.push('imported: which rows it was trained on is not known, these may be among them');
  else if (contestant.imported) notes.push('imported');
  const cost = contestant.cost;
  const base = {
    contestantId: contestant.id,
    name: contestant.name,
    method: contestant.method,
    mark: markOf(contestant, options),
    subtitle: subtitleOf(contestant),
    extraTokensPerCall: cost.extraTokensPerCall,
    bytesToShip: cost.bytesToShip,
    seconds: cost.seconds,
  };
  const isBase = contestant.method === 'base';
  const other = options.others?.get(contestant.id);
  const otherScore =
    other === undefined || staleReason(contestant, other, options) !== undefined
      ? undefined
      : scoreOf(other.rows, metric, split, seed, other.runtime);
  const score =
    result === undefined || result.metricId !== metric.id ? undefined : scoreOf(result.rows, metric, split, seed, result.runtime);
  if (result === undefined || score === undefined) return { row: { ...base, state: busy ?? (stale ? 'stale' : 'none'), notes }, isBase };
  const cutRows = result.rows.filter((row) => row.cut);
  const cut = cutRows.length;
  const atLimit = cutRows.filter((row) => row.replyTokens >= result.longestAnswer).length;
  const replies = `of ${score.n} ${score.n === 1 ? 'reply' : 'replies'} cut`;
  if (atLimit > 0) notes.push(`${atLimit} ${replies} at ${result.longestAnswer} tokens`);
  if (cut > atLimit) notes.push(`${cut - atLimit} ${replies} where the model’s context ends`);
  const missing = n - result.rows.length;
  if (stale === undefined && missing > 0) {
    if (!result.complete) notes.push(`measured on ${score.n} of ${n} rows`);
    else notes.push(`${missing} of ${n} rows do not fit the context and were not answered`);
  }
  const written = result.rows.reduce((sum, row) => sum + row.replyTokens, 0);
  const unfair = met !== undefined && met.trained + met.shown > 0;
  const row: BoardRow = {
    ...base,
    ...(unfair ? { unfair } : {}),
    state: busy ?? (stale !== undefined ? 'stale' : result.complete ? 'done' : 'partial'),
    score,
    ...(otherScore === undefined ? {} : { otherScore }),
    ...(metric.binary ? { passed: result.rows.filter((r) => r.score === 1).length } : {}),
    ...(result.seconds > 0 ? { tokensPerSecond: written / result.seconds } : {}),
    cutReplies: cut,
    notes,
  };
  const counts = stale === undefined && !unfair;
  return counts ? { row, rows: result.rows, isBase, runtime: score.runtime, held: result.held } : { row, isBase };
}

/** 0 for rows that count, 1 for stale ones with a score, 2 for the rest. */
function group(entry: Entry): number {
  if (entry.rows !== undefined) return 0;
  return entry.row.score === undefined ? 2 : 1;
}

/** Everything the home screen shows of a task, from what was measured: intervals, paired tests against Base (Holm over the rows shown), brackets over
 *  neighbours that the rows cannot tell apart, and the finding. Stale results, and those of contestants that have met these rows, keep their numbers and are
 *  compared with nothing. */
export function buildBoard(options: BoardOptions): Board {
  const { metric, seed } = options;
  const entries = options.contestants.map((contestant) => entryOf(contestant, options));
  const direction = metric.better === 'higher' ? 1 : -1;
  entries.sort((a, b) => group(a) - group(b) || direction * ((b.row.score?.mean ?? 0) - (a.row.score?.mean ?? 0)));
  const scored = entries.filter((entry) => entry.rows !== undefined);
  const base = scored.find((entry) => entry.isBase);
  const compared = base === undefined ? [] : scored.filter((entry) => !entry.isBase);
  const pairs = compared.map((entry) => pairedComparison(base?.rows ?? [], entry.rows ?? [], metric, seed));
  const corrected = holm(pairs.map((pair) => pair.p));
  const against = new Map(
    compared.map((entry, i) => {
      const { meanGain, ...paired } = pairs[i];
      const across = acrossRuntimes(base?.runtime ?? 'engine', entry.runtime ?? 'engine');
      return [entry, { ...paired, holmP: corrected[i], verdict: verdictOf(corrected[i], meanGain), ...across }] as const;
    }),
  );
  const ways = new Set(scored.map(({ held }) => held?.key));
  const runtimes = new Set(scored.map(({ runtime }) => runtime));
  const rows = entries.map((entry) => {
    const againstBase = against.get(entry);
    const row =
      ways.size > 1 && entry.rows !== undefined ? { ...entry.row, notes: [...entry.row.notes, heldNote(entry, base)] } : entry.row;
    return againstBase === undefined ? row : { ...row, againstBase };
  });
  const known = new Map<string, number>();
  const pairP = (a: number, b: number): number => {
    const key = `${a} ${b}`;
    const p = known.get(key) ?? pairedComparison(scored[b].rows ?? [], scored[a].rows ?? [], metric, seed).p;
    known.set(key, p);
    return p;
  };
  const places = scored.map((_, i) => i);
  const said = finding({
    rows: rows.slice(0, scored.length),
    n: options.exampleIds.length,
    metric,
    split: options.split,
    stale: rows.some((row) => row.state === 'stale'),
    unfair: rows.some((row) => row.unfair),
    pairP,
  });
  return {
    taskId: options.taskId,
    split: options.split,
    metric: declarationOf(metric),
    rows,
    brackets: brackets(places, pairP).map(({ from, to, lane }) => ({ first: from, last: to, lane })),
    comparisons: compared.length,
    n: options.exampleIds.length,
    finding: [
      said,
      ...(ways.size > 1 ? [`The model was held in ${ways.size} ways while they were measured.`] : []),
      ...(runtimes.size > 1 ? ['They were answered by two runtimes.'] : []),
    ].join(' '),
    ...(options.testOpenedAt === undefined ? {} : { testOpenedAt: options.testOpenedAt }),
  };
}

/** Said of every row where not all were answered by the model held in one way: a difference may come of that alone. */
function heldNote({ held, isBase }: Entry, base: Entry | undefined): string {
  const as = (way: BoardResult['held']): string => way?.words ?? 'not noted then';
  const words = `model held as ${as(held)}`;
  if (isBase || base === undefined || base.held?.key === held?.key) return words;
  return `${words}, Base as ${as(base.held)}: not like with like`;
}

function declarationOf({ id, name, summary, better, binary, source }: Metric): MetricDeclaration {
  return { id, name, summary, better, binary, source };
}
