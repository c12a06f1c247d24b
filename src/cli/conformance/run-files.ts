// What a training run's folder holds, as it is read.
import path from 'node:path';
import * as v from 'valibot';
import type { Batch } from '../../engine/types.ts';
import { ids, type Numbers, readTensors, rowsOf } from './folder.ts';
import { need } from './models.ts';

export const Run = v.object({
  hyperparameters: v.object({
    betas: v.tuple([v.number(), v.number()]),
    eps: v.number(),
    weight_decay: v.number(),
    max_grad_norm: v.nullable(v.number()),
  }),
  batches: v.string(),
  losses: v.array(v.number()),
  grad_norms: v.array(v.number()),
  lrs: v.array(v.number()),
  final_loss_batch0: v.optional(v.number()),
  no_weight_decay_on: v.optional(v.array(v.string())),
  /** The model that full fine-tuning starts from, relative to the run's folder. */
  init: v.optional(v.string()),
  float32_drift: v.optional(
    v.object({ max_loss: v.number(), max_grad_step1: v.number(), max_param_final: v.number(), max_final_logits: v.number() }),
  ),
  generations: v.optional(
    v.array(v.object({ prompt: v.string(), input_ids: v.array(v.number()), before: v.string(), after_ids: v.array(v.number()) })),
  ),
});
export type Run = v.InferOutput<typeof Run>;

/** What a run's folder holds besides its result. */
export const SIDE_FILES = [
  'init.safetensors',
  'grads_step1.safetensors',
  'final_logits.safetensors',
  'batches.safetensors',
  'expected.safetensors',
];

/** The file that `batches` of run.json begins with. */
export function readBatches(folder: string, run: Run): Map<string, Numbers> {
  return readTensors(path.join(folder, /^\S+\.safetensors/.exec(run.batches)?.[0] ?? '../batches.safetensors'));
}
/** `.0`, `.1` ... in order: step t uses the one at t mod their number. */
export function suffixesOf(batches: ReadonlyMap<string, Numbers>): string[] {
  const suffixes = [...batches.keys()].filter((name) => name.startsWith('input_ids')).map((name) => name.slice('input_ids'.length));
  return suffixes.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
}

/** Labels, shifted by one, as targets. */
export function toBatch(tensors: ReadonlyMap<string, Numbers>, suffix: string): { batch: Batch; targets: number } {
  const inputs = need(tensors, `input_ids${suffix}`);
  const labels = need(tensors, `labels${suffix}`).data;
  const [B, T] = rowsOf(inputs);
  const targets = Int32Array.from({ length: B * T }, (_, i) => (i % T === T - 1 || labels[i + 1] < 0 ? -1 : labels[i + 1]));
  return { batch: { tokens: ids(inputs), targets, shape: [B, T] }, targets: targets.filter((t) => t >= 0).length };
}
