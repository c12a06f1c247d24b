import { expect, test } from 'vitest';
import { linearForward } from '../../src/engine/calls.ts';
import { Plan, runPlans } from '../../src/engine/gpu.ts';
import { testGpu } from '../support/gpu.ts';
import { emptyTensor, randoms, readFloats, tensorOf } from '../support/kernels.ts';

test('plans run together in few submits, which follow the speed of the ones before', async () => {
  const gpu = await testGpu();
  const [M, N] = [64, 64];
  const w = [{ tensor: await tensorOf([N, N], randoms(N * N, 1)), first: 0 }];
  const [x, y, z] = [await tensorOf([M, N], randoms(M * N, 2)), await emptyTensor([M, N]), await emptyTensor([M, N])];
  const plans = [new Plan(gpu, 'there'), new Plan(gpu, 'and on')];
  for (const call of linearForward(y, x, w)) plans[0].add(call);
  for (const call of linearForward(z, y, w)) plans[1].add(call);
  for (const plan of plans) await plan.prepare();
  const { queue } = gpu.device;
  const submit = queue.submit.bind(queue);
  let submits = 0;
  queue.submit = (buffers) => {
    submits++;
    submit(buffers);
  };
  const submitsAt = async (flopsPerSecond: number): Promise<number> => {
    gpu.paces.splice(0, gpu.paces.length, flopsPerSecond, flopsPerSecond, flopsPerSecond);
    submits = 0;
    await runPlans(gpu, plans);
    return submits;
  };
  expect(await submitsAt(1e12)).toBe(1);
  expect(await submitsAt(1)).toBe(2);
  const once = await readFloats(z);
  await queue.onSubmittedWorkDone();
  await new Promise((resolve) => setTimeout(resolve, 0)); // both ends have been noted
  expect(gpu.paces.length).toBe(5);
  expect(gpu.paces[4]).toBeGreaterThan(1e3);
  // Nine submits of a busy machine are forgotten with the next three: one submit again.
  gpu.paces.splice(0, gpu.paces.length, ...Array.from({ length: 9 }, () => 1));
  const settled = async (): Promise<void> => {
    await queue.onSubmittedWorkDone();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  for (let run = 0; run < 2; run++) {
    await runPlans(gpu, plans);
    await settled();
  }
  submits = 0;
  await runPlans(gpu, plans);
  expect(submits).toBe(1);
  await settled();
  gpu.paces.length = 0;
  await runPlans(gpu, plans);
  expect(await readFloats(z)).toEqual(once);
  queue.submit = submit;
  for (const plan of plans) plan.dispose();
});
