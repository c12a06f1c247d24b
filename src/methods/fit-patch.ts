// The one training loop, for every method that trains tensors: batches by seed, one AdamW step after the other, validations, the best one kept.
import type { AdamW, Batch, Engine, HostPart, OptimizerState, Patch } from '../engine/types.ts';
import { AppError } from '../lib/error.ts';
import { bootstrapInterval, wilson } from '../lib/stats.ts';
import type { Encoded } from '../text/types.ts';
import { makeBatch, makeBatches, rateShare, type Schedule, targetsOf, trainingOrder } from './batches.ts';
import { encodeRows } from './encode-rows.ts';
import { meanLoss } from './mean-loss.ts';
import type { Checkpoint, FitEnv } from './types.ts';

export interface TrainingConfig {
  readonly learningRate: number;
  readonly schedule: Schedule;
  /** Share of all steps in which the rate rises. */
  readonly warmup: number;
  /** Passes over the training rows, at most. */
  readonly epochs: number;
  /** Rows a step. */
  readonly batch: number;
  /** Rows on the GPU at a time; the gradient is the same. */
  readonly microBatch: number;
  /** Layers are worked out again on the way back; the gradient is the same. Chen et al. 2016, arXiv:1604.06174. */
  readonly recompute: boolean;
  readonly weightDecay: number;
  /** 0 is no clipping. */
  readonly clipNorm: number;
  /** Validations in a run, spread evenly, the last one at its end. */
  readonly validations: number;
  /** Validations without a better one after which a run ends; 0 is never. */
  readonly patience: number;
}
export interface PatchStart {
  readonly parts: readonly HostPart[];
  readonly dropout?: number;
  readonly noDecay?: (name: string) => boolean;
}

export const CHECKPOINT_SECONDS = 60;
/** Steps between two states kept in memory to roll back to. */
export const STEPS_TO_ROLL_BACK = 10;
const ROLLBACKS = 2;

/** Steps of a run over `rows` training rows. */
export function stepsOf({ epochs, batch }: Pick<TrainingConfig, 'epochs' | 'batch'>, rows: number): number {
  return epochs * Math.ceil(rows / batch);
}

/** Steps (from 1) after which a run is validated: evenly spread, the last one included. */
export function validationSteps(steps: number, validations: number): ReadonlySet<number> {
  const count = Math.min(steps, Math.max(1, validations));
  return new Set(Array.from({ length: count }, (_, i) => Math.round(((i + 1) * steps) / count)));
}

/** All that moves while a run goes on. */
interface State {
  step: number;
  rateFactor: number;
  sinceBest: number;
  rollbacks: number;
  best: Checkpoint['best'];
  /** A state whose next loss was a number. */
  good: OptimizerState;
  /** A state that waits for its next loss. */
  unproved: OptimizerState | undefined;
}

/** Trains `start` on `env.train` and resolves with the patch as it was at its best validation, or at the end where there are no validation rows. After an
 *  abort: the best so far, or where there is none yet the last state. A loss that is no number rolls back to the last good state at half the rate, twice
 *  at most; then it rejects, and the best is in the last checkpoint. The caller disposes of the patch.
 *  @throws 'fit/no-rows', 'fit/diverged', 'gpu/out-of-memory' */
export async function fitPatch(env: FitEnv, start: PatchStart, config: TrainingConfig): Promise<Patch> {
  const { engine } = env;
  if (engine === undefined)
    throw new AppError('fit/no-engine', 'Training needs a model on this device’s GPU.', { fix: 'Load a model, then start again.' });
  const limit = Math.min(env.rowLimit ?? engine.config.context, engine.config.context);
  const train = await encodeRows(env, env.train, limit, 'training');
  const validation = await encodeRows(env, env.validation, limit, 'validation');
  if (train.length === 0) {
    throw new AppError('fit/no-rows', `None of the ${env.train.length} training rows can be trained on.`, {
      why: `A row needs an answer and has to fit in ${limit} tokens.`,
      fix: 'Add rows with an answer, or raise the limit on the Data page.',
      facts: { rows: env.train.length, limit },
    });
  }
  const options = {
    trainable: true,
    dropout: start.dropout ?? 0,
    seed: env.seed,
    recompute: config.recompute,
    ...(start.noDecay === undefined ? {} : { noDecay: start.noDecay }),
  };
  const patch = engine.createPatch(start.parts, options);
  try {
    const run = new Run(env, engine, patch, config, train, validation);
    await run.finish();
    return patch;
  } catch (error) {
    engine.disposePatch(patch);
    throw error;
  }
}

class Run {
  readonly env: FitEnv;
  readonly engine: Engine;
  readonly patch: Patch;
  readonly config: TrainingConfig;
  readonly train: readonly Encoded[];
  readonly validation: readonly Encoded[];
  readonly order: readonly (readonly number[])[];
  readonly validateAfter: ReadonlySet<number>;
  savedAt = performance.now();

  constructor(
    env: FitEnv,
    engine: Engine,
    patch: Patch,
    config: TrainingConfig,
    train: readonly Encoded[],
    validation: readonly Encoded[],
  ) {
    this.env = env;
    this.engine = engine;
    this.patch = patch;
    this.config = config;
    this.train = train;
    this.validation = validation;
    this.order = trainingOrder(train.length, config.epochs, config.batch, env.seed);
    this.validateAfter = validationSteps(this.order.length, config.validations);
  }

  async finish(): Promise<void> {
    const { env, order } = this;
    const state = await this.begin();
    env.progress(state.step, order.length);
    while (state.step < order.length && !env.signal.aborted) {
      const outcome = await this.advance(state);
      env.progress(state.step, order.length);
      if (outcome === 'rolled-back') continue;
      const validated = this.validateAfter.has(state.step) ? await this.validate(state) : 'no';
      if (validated === 'not-a-number') this.rollBack(state);
      if (validated === 'enough') break;
      if (performance.now() - this.savedAt > CHECKPOINT_SECONDS * 1000) await this.checkpoint(state);
    }
    if (state.best !== undefined && state.best.step !== state.step) this.engine.loadState(this.patch, state.best.optimizer);
  }

  /** Where a run begins or goes on. */
  async begin(): Promise<State> {
    const { env, engine, patch } = this;
    const resume = env.resumeFrom;
    const good = resume === undefined ? await engine.saveState(patch) : resume.optimizer;
    await this.tryWorst(good);
    if (resume === undefined) {
      if (this.validation.length > 0)
        env.report(0, 'validation loss', await meanLoss(this.engine, this.patch, this.validation, this.config.microBatch));
      await this.answerPinned(0);
      return { step: 0, rateFactor: 1, sinceBest: 0, rollbacks: 0, best: undefined, good, unproved: undefined };
    }
    if (resume.kernels !== engine.kernels) {
      env.note('fit/other-kernels', 'This run goes on with other GPU programs than it began with, so its last digits may differ.');
    }
    const { rateFactor, sinceBest, best, optimizer } = resume;
    return {
      step: optimizer.step,
      rateFactor,
      sinceBest,
      rollbacks: Math.round(-Math.log2(rateFactor)),
      best,
      good: optimizer,
      unproved: undefined,
    };
  }

  /** The longest rows together, before step 1: what does not fit in memory shows now, and buffers need not grow later. Leaves the patch at `state`. */
  async tryWorst(state: OptimizerState): Promise<void> {
    const { engine, patch, config, train } = this;
    const longest = [...train].sort((a, b) => b.tokens.length - a.tokens.length).slice(0, Math.min(config.microBatch, config.batch));
    const batch = makeBatch(longest, engine.config.context);
    engine.accumulate(batch, patch, targetsOf([batch]));
    await engine.saveState(patch); // waits, and throws what went wrong
    engine.loadState(patch, state);
  }

  async advance(state: State): Promise<'stepped' | 'rolled-back'> {
    const { env, engine, patch, config, order } = this;
    const started = performance.now();
    const batches = this.batchesOf(state.step);
    const targets = targetsOf(batches);
    for (const batch of batches) engine.accumulate(batch, patch, targets);
    const lr = config.learningRate * rateShare(config.schedule, config.warmup, state.step, order.length) * state.rateFactor;
    const { loss, gradNorm } = await engine.update(patch, adamw(lr, config));
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) return this.rollBack(state);
    state.step++;
    env.report(state.step, 'loss', loss);
    env.report(state.step, 'lr', lr);
    const tokens = order[state.step - 1].reduce((sum, row) => sum + this.train[row].tokens.length, 0);
    env.report(state.step, 'tokens/s', (1000 * tokens) / Math.max(1e-3, performance.now() - started));
    if (state.unproved !== undefined) {
      state.good = state.unproved;
      state.unproved = undefined;
    }
    if (state.step % STEPS_TO_ROLL_BACK === 0) state.unproved = await engine.saveState(patch);
    return 'stepped';
  }

  batchesOf(step: number): Batch[] {
    return makeBatches(this.train, this.order[step], this.config.microBatch, this.engine.config.context);
  }

  /** Back to the last good state at half the rate. @throws 'fit/diverged' the third time */
  rollBack(state: State): 'rolled-back' {
    const { env } = this;
    const at = state.step + 1;
    if (state.rollbacks < ROLLBACKS) {
      state.rollbacks++;
      state.rateFactor /= 2;
      state.unproved = undefined;
      state.step = state.good.step;
      this.engine.loadState(this.patch, state.good);
      const rate = (this.config.learningRate * state.rateFactor).toPrecision(2);
      env.note(
        'fit/rolled-back',
        `The loss stopped being a number at step ${at}. Training went back to step ${state.step} and goes on at half the rate (${rate}).`,
      );
      return 'rolled-back';
    }
    throw new AppError('fit/diverged', `The loss stopped being a number at step ${at}, also at a quarter of the learning rate.`, {
      why: `The steps are too large for this model and these rows. ${
        state.best === undefined ? 'There was no better checkpoint to keep.' : `The best checkpoint, of step ${state.best.step}, is kept.`
      }`,
      fix: `Set the learning rate to ${(this.config.learningRate / 10).toPrecision(1)} or lower and start again.`,
      facts: { step: at, learningRate: this.config.learningRate, ...(state.best === undefined ? {} : { best: state.best.step }) },
    });
  }

  /** Loss and score on validation, the pinned answers, and the best so far. */
  async validate(state: State): Promise<'no' | 'enough' | 'not-a-number'> {
    const { env, engine, patch, config } = this;
    const { step } = state;
    if (this.validation.length > 0) {
      const loss = await meanLoss(this.engine, this.patch, this.validation, this.config.microBatch);
      if (!Number.isFinite(loss)) return 'not-a-number';
      env.report(step, 'validation loss', loss);
      const { mean, perExample } = await env.evaluate({ prompt: env.prompt, patch });
      // An aborted evaluation covers only some rows: it says nothing that could be compared.
      if (env.signal.aborted) return 'no';
      env.report(step, 'score', mean);
      const n = perExample.length;
      const { low, high } = env.metric.binary ? wilson(Math.round(mean * n), n) : bootstrapInterval(perExample, env.seed, 2000);
      env.report(step, 'score low', low);
      env.report(step, 'score high', high);
      if (isBetter({ score: mean, loss }, state.best, env.metric.better)) {
        state.best = { step, score: mean, loss, optimizer: await engine.saveState(patch) };
        state.sinceBest = 0;
        state.good = state.best.optimizer; // its validation loss was a number
        state.unproved = undefined;
        env.best(step, mean);
        await this.checkpoint(state);
      } else state.sinceBest++;
    }
    await this.answerPinned(step);
    if (config.patience === 0 || state.sinceBest < config.patience || step === this.order.length) return 'no';
    env.note(
      'fit/stopped-early',
      `No better for ${state.sinceBest} validations, so the run ended at step ${step} of ${this.order.length}.`,
    );
    return 'enough';
  }

  async answerPinned(step: number): Promise<void> {
    const { env, patch } = this;
    for (const { name, messages } of env.pinned) {
      if (env.signal.aborted) return;
      const text = await env.generate(env.prompt, messages, patch);
      if (!env.signal.aborted) env.sample(step, name, text);
    }
  }

  async checkpoint(state: State): Promise<void> {
    const { env, engine, patch, order } = this;
    const { step, rateFactor, sinceBest, best } = state;
    const stepsAPass = Math.ceil(this.train.length / this.config.batch);
    let randomCounter = 0;
    for (let s = 0; s < step; s++) randomCounter += Math.ceil(order[s].length / this.config.microBatch);
    const checkpoint: Checkpoint = {
      optimizer: best?.step === step ? best.optimizer : await engine.saveState(patch),
      epoch: Math.floor(step / stepsAPass),
      position: step % stepsAPass,
      randomCounter,
      rateFactor,
      sinceBest,
      ...(best === undefined ? {} : { best }),
      kernels: engine.kernels,
    };
    await env.checkpoint(checkpoint, patch);
    this.savedAt = performance.now();
  }
}

function adamw(lr: number, { weightDecay, clipNorm }: TrainingConfig): AdamW {
  return { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay, clipNorm };
}

/** By the task's own score; among equals the lower validation loss. */
export function isBetter(
  candidate: { readonly score: number; readonly loss: number },
  best: { readonly score: number; readonly loss: number } | undefined,
  better: 'higher' | 'lower',
): boolean {
  if (best === undefined) return true;
  const gain = better === 'higher' ? candidate.score - best.score : best.score - candidate.score;
  return gain > 0 || (gain === 0 && candidate.loss < best.loss);
}
