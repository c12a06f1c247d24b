import { expect, test } from 'vitest';
import { createTensor, download, Plan, upload } from '../../src/engine/gpu.ts';
import { testGpu } from '../support/gpu.ts';
test('smoke', async () => {
  const gpu = await testGpu();
  const x = createTensor(gpu, 'x', 'activations', [70000, 4]);
  const y = createTensor(gpu, 'y', 'activations', [70000, 4]);
  upload(gpu, x, Float32Array.from({ length: 280000 }, (_, i) => i % 97));
  const plan = new Plan(gpu, 'smoke');
  plan.add({ kernel: 'copy_rows', overrides: { C: 4 }, tensors: [y, x], params: [70000], grid: [70000], flops: 280000 });
  await plan.prepare();
  await plan.run();
  const got = await download(gpu, y);
  expect(got.every((v, i) => v === 2 * (i % 97))).toBe(true);
});
