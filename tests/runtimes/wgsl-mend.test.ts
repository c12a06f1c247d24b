import { expect, it } from 'vitest';
import downSource from '../../shaders/webllm_lora_down.wgsl?raw';
import upSource from '../../shaders/webllm_lora_up.wgsl?raw';
import { selfTestKey } from '../../src/runtimes/webllm-lora-test.ts';
import { mended, mendRules } from '../../src/runtimes/wgsl-mend.ts';
import { dawn } from '../support/gpu.ts';
import { randoms } from '../support/kernels.ts';
import { kernelsOf, LIBRARIES } from '../webllm/kernels.ts';

const NAME = 'tir_attention_merge_state_kernel';

it.each(Object.keys(LIBRARIES))('%s: one kernel gets one barrier, the others stay as they are', (library) => {
  for (const [name, code] of kernelsOf(library)) {
    const text = mended(code);
    if (name !== NAME) expect(text).toBe(code);
    else {
      expect(text.split('storageBarrier();')).toHaveLength(2);
      expect(text.replace(/[ \t]*storageBarrier\(\);\n/, '')).toBe(code);
      expect(mended(text)).toBe(text);
    }
  }
});

it('two halves of attention are joined as the formula says, with heads of 32 and 4 of them', async () => {
  const [N, H, D] = [5, 4, 32];
  const adapter = await dawn().requestAdapter();
  if (adapter === null) throw new Error('no adapter');
  const device = await adapter.requestDevice();
  const inputs = [N * H, N * H, N * H * D, N * H * D].map((count, i) => randoms(count, 20 + i).map((x) => x * 3));
  const buffers = inputs.map((data) => {
    const buffer = device.createBuffer({
      size: data.byteLength,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
    device.queue.writeBuffer(buffer, 0, new Float32Array(data));
    return buffer;
  });
  const sizes = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(sizes, 0, Int32Array.of(D, H, N, N));
  const module = device.createShaderModule({ code: mended(kernelsOf('vale-micro-q0f32-software').get(NAME) ?? '') });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: NAME } });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [...buffers, sizes].map((buffer, binding) => ({ binding, resource: { buffer } }));
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(N, 1, 1);
  pass.end();
  const staging = device.createBuffer({ size: N * H * D * 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  encoder.copyBufferToBuffer(buffers[2], 0, staging, 0, N * H * D * 4);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const got = new Float32Array(staging.getMappedRange()).slice();
  const [s, sOther, v, vOther] = inputs;
  const expected = v.map((value, i) => {
    const head = Math.floor(i / D);
    const share = 1 / (1 + 2 ** (sOther[head] - s[head]));
    return share * value + (1 - share) * vOther[i];
  });
  // exp2 and a division in f32, of numbers below 10.
  for (const [i, value] of got.entries()) expect(Math.abs(value - expected[i])).toBeLessThan(1e-4);
});

it('a self-test that was passed with other rules, or with other kernels of ours, is not remembered as passed', () => {
  const key = (kernels?: string): string => selfTestKey('ab12', 'google swiftshader', 'a browser', kernels);
  const ours = `${downSource}\n${upSource}`;
  expect(mendRules).toContain('storageBarrier();');
  expect(key()).toBe(key(`${mendRules}\n${ours}`));
  const others = [
    `\n${ours}`,
    `${mendRules.replace('$1$2', '$2')}\n${ours}`,
    `${mendRules}\n${ours.replace('+=', '=')}`,
    `${mendRules}\n${ours} `,
  ];
  expect(new Set([key(), ...others.map(key)]).size).toBe(1 + others.length);
  for (const other of [key('x'), key('y')]) expect(other.split(' | ').slice(1)).toEqual(key().split(' | ').slice(1));
});
