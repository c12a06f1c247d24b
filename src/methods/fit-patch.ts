// The one training loop, for every method that trains tensors: batches by seed, one AdamW step after the other, validations, the best one kept.
import type { AdamW, Batch, Engine, HostPart, OptimizerState, Patch } from '../engine/types.ts';
import { AppError } from '../lib/error.ts';
import type { Encoded } from '../text/types.ts';
import { makeBatch, makeBatches, rateShare, type Schedule, targetsOf, trainingOrder } from './batches.ts';
import { encodeRows } from './encode-rows.ts';
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
 *  at most; the third time the best is kept and said so. The caller disposes of the patch.
 *  @throws 'fit/no-rows', 'fit/diverged' where there is no best to keep, 'gpu/out-of-memory' */
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
      if (outcome === 'end') break;
      env.progress(state.step, order.length);
      if (outcome === 'rolled-back') continue;
      const validated = this.validateAfter.has(state.step) ? await this.validate(state) : 'no';
      if (validated === 'not-a-number' && this.rollBack(state) === 'end') break;
      if (validated === 'enough') break;
      if (performance.now() - this.savedAt > CHECKPOINT_SECONDS * 1000) await this.checkpoint(state);
    }
    if (state.best !== undefined && state.best.step !== state.step) this.engine.loadState(this.patch, state.best.optimizer);
  }

  /** Where a run begins or goes on. */
  async begin(): Promise<State> {
    const { env, engine, patch } = this;
    const resume = env.resumeFrom;
    if (resume === undefined) {
      const good = await engine.saveState(patch);
      if (this.validation.length > 0) env.report(0, 'validation loss', await this.validationLoss());
      await this.answerPinned(0);
      return { step: 0, rateFactor: 1, sinceBest: 0, rollbacks: 0, best: undefined, good, unproved: undefined };
    }
    engine.loadState(patch, resume.optimizer);
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

  async advance(state: State): Promise<'stepped' | 'rolled-back' | 'end'> {
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

  /** Back to the last good state at half the rate, or the end where that was done often enough: the best is kept. @throws 'fit/diverged' without a best */
  rollBack(state: State): 'rolled-back' | 'end' {
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
    const what = `The loss stopped being a number at step ${at}, also at a quarter of the learning rate.`;
    const fix = `Set the learning rate to ${(this.config.learningRate / 10).toPrecision(1)} or lower and start again.`;
    if (state.best === undefined) {
      const facts = { step: at, learningRate: this.config.learningRate };
      throw new AppError('fit/diverged', what, {
        why: 'The steps are too large for this model and these rows. Nothing was kept.',
        fix,
        facts,
      });
    }
    env.note('fit/diverged', `${what} The best checkpoint, of step ${state.best.step}, is kept. ${fix}`);
    state.step = at;
    return 'end';
  }

  /** Loss and score on validation, the pinned answers, and the best so far. */
  async validate(state: State): Promise<'no' | 'enough' | 'not-a-number'> {
    const { env, engine, patch, config } = this;
    const { step } = state;
    if (this.validation.length > 0) {
      const loss = await this.validationLoss();
      if (!Number.isFinite(loss)) return 'not-a-number';
      env.report(step, 'validation loss', loss);
      const { mean } = await env.evaluate({ prompt: env.prompt, patch });
      // An aborted evaluation covers only some rows: it says nothing that could be compared.
      if (env.signal.aborted) return 'no';
      env.report(step, 'score', mean);
      if (isBetter({ score: mean, loss }, state.best, env.metric.better)) {
        state.best = { step, score: mean, loss, optimizer: await engine.saveState(patch) };
        state.sinceBest = 0;
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

  /** Nats a trained token over the validation rows. */
  async validationLoss(): Promise<number> {
    const { engine, patch, config, validation } = this;
    let sum = 0;
    let count = 0;
    const order = validation.map((_, i) => i).sort((a, b) => validation[b].tokens.length - validation[a].tokens.length || a - b);
    for (let at = 0; at < order.length; at += config.microBatch) {
      const rows = order.slice(at, at + config.microBatch).map((i) => validation[i]);
      // A line of makeBatch leaves out the last token, which is scored here.
      const T = Math.min(engine.config.context, makeBatch(rows, engine.config.context).shape[1] + 1);
      const tokens = new Uint32Array(rows.length * T);
      rows.forEach((row, b) => {
        tokens.set(row.tokens, b * T);
      });
      const logProbabilities = await engine.score(tokens, [rows.length, T], patch);
      rows.forEach((row, b) => {
        row.mask.forEach((trained, t) => {
          if (trained !== 1) return;
          sum -= logProbabilities[b * T + t];
          count++;
        });
      });
    }
    return sum / count;
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
    await env.checkpoint({
      optimizer: best?.step === step ? best.optimizer : await engine.saveState(patch),
      epoch: Math.floor(step / stepsAPass),
      position: step % stepsAPass,
      randomCounter,
      rateFactor,
      sinceBest,
      ...(best === undefined ? {} : { best }),
      kernels: engine.kernels,
    });
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
