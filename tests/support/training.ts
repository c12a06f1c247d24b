// Training runs of the fixtures: their parts, batches and stated numbers.
import type { Batch, HostPart, Linear } from '../../src/engine/types.ts';
import { type FixtureTensor, fixtureJson, fixtureTensors } from './fixtures.ts';

export interface StatedRun {
  readonly hyperparameters: { betas: [number, number]; eps: number; weight_decay: number; max_grad_norm: number | null; steps: number };
  readonly losses: readonly number[];
  readonly grad_norms: readonly number[];
  readonly lrs: readonly number[];
  readonly float32_drift: { max_loss: number; max_grad_step1: number; max_param_final: number; max_final_logits: number };
  readonly no_weight_decay_on?: readonly string[];
}
export function statedRun(folder: string): StatedRun {
  return fixtureJson(`${folder}/run.json`) as StatedRun;
}

const host = (name: string, { shape, data }: FixtureTensor) => ({ name, shape, data: Float32Array.from(data) });

/** Low-rank parts of a PEFT file; `scaleOf` gives alpha / rank of a module, or what stands in its place. */
export function loraParts(file: string, scaleOf: (module: string, rank: number) => number): HostPart[] {
  const tensors = fixtureTensors(file);
  return [...tensors.keys()]
    .filter((name) => name.endsWith('.lora_A.weight'))
    .map((nameA): HostPart => {
      const nameB = nameA.replace('lora_A', 'lora_B');
      const [, module, layer, linear] = /^base_model\.model\.(model\.layers\.(\d+)\..*\.(\w+))\.lora_A\.weight$/.exec(nameA)!;
      const A = host(nameA, tensors.get(nameA)!);
      return {
        kind: 'low-rank',
        site: { layer: Number(layer), linear: linear as Linear },
        A,
        B: host(nameB, tensors.get(nameB)!),
        scale: scaleOf(module, A.shape[0]),
      };
    });
}
/** Every tensor of a model as a part that stands in its place. */
export function wholeModel(file: string): HostPart[] {
  return [...fixtureTensors(file)].map(([name, tensor]): HostPart => ({ kind: 'weights', name, values: host(name, tensor) }));
}

/** `input_ids` and `labels` of a batch file, labels shifted by one into targets, and how many there are. */
export function fixtureBatch(tensors: ReadonlyMap<string, FixtureTensor>, suffix: string): { batch: Batch; count: number } {
  const inputs = tensors.get(`input_ids${suffix}`)!;
  const labels = tensors.get(`labels${suffix}`)!;
  const [B, T] = inputs.shape;
  const targets = Int32Array.from({ length: B * T }, (_, i) => (i % T === T - 1 || labels.data[i + 1] < 0 ? -1 : labels.data[i + 1]));
  return { batch: { tokens: Uint32Array.from(inputs.data), targets, shape: [B, T] }, count: targets.filter((t) => t >= 0).length };
}

/** L2 norm over all tensors together. */
export function totalNorm(tensors: Iterable<ArrayLike<number>>): number {
  let sum = 0;
  for (const data of tensors) for (let i = 0; i < data.length; i++) sum += data[i] * data[i];
  return Math.sqrt(sum);
}
