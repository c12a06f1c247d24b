// What every kernel test needs: seeded numbers in, one dispatch, numbers out.
import { type Call, createTensor, download, downloadBytes, elements, Plan, tensorBytes, upload } from '../../src/engine/gpu.ts';
import type { Tensor, WeightStorage } from '../../src/engine/types.ts';
import { uploadRows } from '../../src/engine/weight-bytes.ts';
import { fromF32, toF32 } from '../../src/formats/quant.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { testGpu } from './gpu.ts';

/** n numbers in [-1, 1), the same for a seed. */
export function randoms(n: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: n }, () => 2 * random.next() - 1);
}

/** A tensor with these values. f32, or u32 for a Uint32Array or Int32Array; `dtype` 'f16' takes packed words. */
export async function tensorOf(
  shape: readonly number[],
  data: Float32Array | Uint32Array | Int32Array,
  dtype?: Tensor['dtype'],
): Promise<Tensor> {
  const gpu = await testGpu();
  const tensor = createTensor(gpu, 'test', 'activations', shape, dtype ?? (data instanceof Float32Array ? 'f32' : 'u32'));
  upload(gpu, tensor, data);
  return tensor;
}
/** A matrix held in a storage, and the numbers that it then has: what the reference must be given. */
export async function matrixOf(
  storage: WeightStorage,
  [rows, columns]: readonly [number, number],
  data: Float32Array,
): Promise<{ readonly tensor: Tensor; readonly values: Float32Array }> {
  const gpu = await testGpu();
  const tensor = createTensor(gpu, 'test', 'activations', [rows, columns], storage);
  const bytes = fromF32(data, storage);
  for (const _ of uploadRows(gpu, { name: 'test', shape: [rows, columns], dtype: storage, bytes }, { tensor, first: 0 }));
  return { tensor, values: toF32(bytes, storage, data.length) };
}
/** A tensor filled with NaN, so that what a kernel leaves unwritten shows. */
export function emptyTensor(shape: readonly number[]): Promise<Tensor> {
  return tensorOf(shape, new Float32Array(elements(shape)).fill(Number.NaN));
}

export async function runCalls(...calls: readonly Call[]): Promise<void> {
  const gpu = await testGpu();
  const plan = new Plan(gpu, 'test');
  for (const call of calls) plan.add(call);
  await plan.prepare();
  await plan.run();
  plan.dispose();
}
export async function readFloats(tensor: Tensor): Promise<Float32Array> {
  return download(await testGpu(), tensor);
}
export async function readWords(tensor: Tensor): Promise<Uint32Array> {
  return new Uint32Array(await downloadBytes(await testGpu(), tensor.buffer, tensor.offset, tensorBytes(tensor.shape, tensor.dtype)));
}

/** The largest |gpu - reference| - rtol * |reference|: the test passes where it is at most atol. NaN where any number is. */
export function excess(got: Float32Array, expected: ArrayLike<number>, rtol: number): number {
  if (got.length !== expected.length) return Number.NaN;
  let worst = 0;
  for (let i = 0; i < got.length; i++) {
    const over = Math.abs(got[i] - expected[i]) - rtol * Math.abs(expected[i]);
    if (!(over <= worst)) worst = over;
    if (Number.isNaN(worst)) return worst;
  }
  return worst;
}
