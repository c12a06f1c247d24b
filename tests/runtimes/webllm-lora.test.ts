// The interception by itself, on Dawn: kernels of a committed library, encoded as TVM's runtime does, with an adapter appended.
import { beforeAll, describe, expect, it } from 'vitest';
import type { WebllmAdapter, WebllmFactors } from '../../src/runtimes/types.ts';
import { type WebllmAdapters, webllmAdapters } from '../../src/runtimes/webllm-lora.ts';
import { type TappedDevice, tapDevice } from '../../src/runtimes/webllm-lora-device.ts';
import { joinTargets, type Target, targetsOf } from '../../src/runtimes/webllm-lora-targets.ts';
import { readProduct } from '../../src/runtimes/wgsl-product.ts';
import { dawn } from '../support/gpu.ts';
import { randoms } from '../support/kernels.ts';
import { bindingsOf, kernelsOf } from '../webllm/kernels.ts';

/** As the metadata of the model of the site lists a layer: C 128, q 128 rows, k and v 64 each, F 352. */
const PARAMETERS = [
  { name: 'model.embed_tokens.weight', shape: [2048, 128] },
  { name: 'model.layers.0.self_attn.qkv_proj.weight', shape: [256, 128] },
  { name: 'model.layers.0.self_attn.o_proj.weight', shape: [128, 128] },
  { name: 'model.layers.0.mlp.gate_up_proj.weight', shape: [704, 128] },
  { name: 'model.layers.0.mlp.down_proj.weight', shape: [128, 352] },
  { name: 'model.layers.0.input_layernorm.weight', shape: [128] },
];
const TARGETS = targetsOf(PARAMETERS);
const ROWS = 37;

describe('targets', () => {
  it('are the four weights of a layer, with the rows of the linears in them', () => {
    const summary = TARGETS.map(({ name, parameters, inputs, outputs, blocks }) => [
      name,
      parameters,
      inputs,
      outputs,
      blocks.map(({ end }) => end),
    ]);
    expect(summary).toEqual([
      ['layers.0.self_attn.qkv_proj', [1], 128, 256, [128, 192, 256]],
      ['layers.0.self_attn.o_proj', [2], 128, 128, [128]],
      ['layers.0.mlp.gate_up_proj', [3], 128, 704, [352, 704]],
      ['layers.0.mlp.down_proj', [4], 352, 128, [128]],
    ]);
    const packed = targetsOf([
      { name: 'model.layers.0.self_attn.qkv_proj.q_weight', shape: [128, 8] },
      { name: 'model.layers.0.self_attn.qkv_proj.q_scale', shape: [128, 2] },
      { name: 'model.layers.0.self_attn.o_proj.q_weight', shape: [64, 8] },
      { name: 'model.layers.0.self_attn.o_proj.q_scale', shape: [64, 2] },
    ]);
    expect(packed.map(({ parameters, inputs, blocks }) => [parameters, inputs, blocks.map(({ end }) => end)])).toEqual([
      [[0, 1], 64, [64, 96, 128]],
      [[2, 3], 64, [64]],
    ]);
  });

  it('an adapter of another base, of other shapes, of parts that are no linears, or twice the same is refused', () => {
    const good: WebllmAdapter = { base: 'm', factors: [factorsOf('model.layers.0.self_attn.k_proj', 128, 64, 2)] };
    expect(joinTargets(good, 'm', TARGETS)).toMatchObject([{ target: TARGETS[0], parts: [{ block: { begin: 128, end: 192 } }] }]);
    const refused = (adapter: WebllmAdapter, code: string): void => {
      expect(() => joinTargets(adapter, 'm', TARGETS)).toThrow(expect.objectContaining({ code }));
    };
    const [factors] = good.factors;
    refused({ ...good, base: 'other' }, 'webllm/adapter-base');
    refused({ ...good, factors: [{ ...factors, module: 'layers.1.self_attn.k_proj' }] }, 'webllm/adapter-module');
    refused({ ...good, factors: [{ ...factors, module: 'lm_head' }] }, 'webllm/adapter-module');
    refused({ ...good, factors: [factors, factors] }, 'webllm/adapter-module');
    refused({ ...good, factors: [] }, 'webllm/adapter-module');
    refused({ ...good, factors: [{ ...factors, a: new Float32Array(3) }] }, 'webllm/adapter-shape');
    refused({ ...good, factors: [{ ...factors, rank: 1.5 }] }, 'webllm/adapter-shape');
    refused({ ...good, factors: [{ ...factors, scale: Number.NaN }] }, 'webllm/adapter-shape');
  });
});

function factorsOf(module: string, inputs: number, outputs: number, rank: number, seed = 1): WebllmFactors {
  const numbers = (n: number, salt: number): Float32Array<ArrayBuffer> => new Float32Array(randoms(n, seed + salt));
  return { module, rank, a: numbers(rank * inputs, 1), b: numbers(outputs * rank, 2), scale: 0.5 };
}
/** scale * strength * B (A x) of one row, in double precision. */
function added({ rank, a, b, scale }: WebllmFactors, x: Float32Array, strength: number): Float64Array {
  const inputs = a.length / rank;
  const h = Array.from({ length: rank }, (_, r) => x.reduce((sum, value, k) => sum + value * a[r * inputs + k], 0));
  return Float64Array.from(
    { length: b.length / rank },
    (_, n) => scale * strength * h.reduce((sum, value, r) => sum + value * b[n * rank + r], 0),
  );
}

let device: GPUDevice;
let tapped: TappedDevice;
const errors: string[] = [];
/** `software` as if the GPU were one: the kernels sum in another way there. */
async function openTapped(software: boolean): Promise<void> {
  const adapter = await dawn().requestAdapter();
  if (adapter === null) throw new Error('no adapter');
  device = await adapter.requestDevice();
  device.addEventListener('uncapturederror', ({ error }) => errors.push(error.message));
  const { vendor, isFallbackAdapter, subgroupMinSize, subgroupMaxSize } = adapter.info;
  const named = { vendor, architecture: software ? 'swiftshader' : 'ampere', device: '', description: '' };
  tapped = tapDevice(device, { ...named, isFallbackAdapter, subgroupMinSize, subgroupMaxSize, __brand: 'GPUAdapterInfo' });
  expect(tapped.software).toBe(software);
}

const buffer = (data: Float32Array | number): GPUBuffer => {
  const size = typeof data === 'number' ? data * 4 : data.byteLength;
  const made = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
  if (typeof data !== 'number') device.queue.writeBuffer(made, 0, new Float32Array(data));
  return made;
};
async function numbersIn(source: GPUBuffer, count: number): Promise<Float32Array> {
  const staging = device.createBuffer({ size: count * 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(source, 0, staging, 0, count * 4);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const out = new Float32Array(staging.getMappedRange()).slice();
  staging.destroy();
  return out;
}

describe.each([
  [
    'software',
    {
      qkv_proj: 'linear_kernel',
      o_proj: 'fused_linear1_add1_kernel',
      gate_up_proj: 'linear2_kernel',
      down_proj: 'fused_linear3_add1_kernel',
    },
  ],
  [
    'gpu',
    {
      qkv_proj: 'linear_kernel',
      o_proj: 'fused_linear1_add1_kernel',
      gate_up_proj: 'linear2_kernel',
      down_proj: 'fused_linear3_add1_kernel',
    },
  ],
])('kernels of the schedule %s', (schedule, names) => {
  const kernels = kernelsOf(`vale-micro-q0f32-${schedule}`);
  let weights: Map<Target, GPUBuffer[]>;
  let adapters: WebllmAdapters;
  const pipelines = new Map<string, GPUComputePipeline>();
  beforeAll(async () => {
    await openTapped(schedule === 'software');
    weights = new Map(TARGETS.map((target) => [target, [buffer(randoms(target.inputs * target.outputs, 7).map((w) => w * 0.1))]]));
    adapters = webllmAdapters(tapped, TARGETS, weights, { rows: ROWS, base: 'm', read: readProduct });
  });

  /** One pass of TVM's runtime: the kernel of `target` alone, over ROWS rows of x; the residual is 0. */
  async function run(target: Target, x: Float32Array): Promise<Float32Array> {
    const linear = target.name.slice(target.name.lastIndexOf('.') + 1);
    const entry = Object.entries(names).find(([name]) => name === linear)?.[1] ?? '';
    const code = kernels.get(entry) ?? '';
    const bindings = bindingsOf(code);
    const weightName = [...bindings.keys()].find((name) => name.includes(linear)) ?? '';
    const reading = readProduct(code, entry, [bindings.get(weightName) ?? -1]);
    if (!reading.known) throw new Error(reading.why);
    const y = buffer(ROWS * target.outputs);
    const xBuffer = buffer(x);
    const zero = buffer(ROWS * target.outputs);
    const fields = /struct PODArgs \{([^}]*)\}/.exec(code)?.[1].match(/\w+(?=: )/g) ?? [];
    // All sizes that a kernel is given: how many numbers or rows it has to make, and its grid.
    const pod = device.createBuffer({ size: fields.length * 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const total = ROWS * target.outputs;
    const tiled = schedule === 'gpu';
    const gridX = tiled ? Math.ceil(ROWS / 32) : Math.ceil(total / 256);
    device.queue.writeBuffer(
      pod,
      0,
      Int32Array.from(fields, (field) => (field === 'seq_len' ? ROWS : field === 'packGridDimX' ? gridX : total)),
    );
    const pipeline =
      pipelines.get(entry) ??
      (await device.createComputePipelineAsync({
        layout: device.createPipelineLayout({
          bindGroupLayouts: [
            device.createBindGroupLayout({
              entries: [...bindings].map(([name, binding]) => ({
                binding,
                visibility: GPUShaderStage.COMPUTE,
                buffer: { type: name === 'podArgs' ? 'uniform' : binding === reading.output ? 'storage' : 'read-only-storage' },
              })),
            }),
          ],
        }),
        compute: { module: device.createShaderModule({ code }), entryPoint: entry },
      }));
    pipelines.set(entry, pipeline);
    const at = (name: string, binding: number): GPUBuffer => {
      if (name === 'podArgs') return pod;
      if (name === weightName) return weights.get(target)?.[0] ?? zero;
      return binding === reading.output ? y : binding === reading.input ? xBuffer : zero;
    };
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [...bindings].map(([name, binding]) => ({ binding, resource: { buffer: at(name, binding) } })),
      }),
    );
    pass.dispatchWorkgroups(gridX, tiled ? target.outputs / 32 : 1, 1);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return numbersIn(y, total);
  }

  // A software GPU takes five seconds to compile a tiled kernel: there, one with row blocks and one with a residual.
  const tried = TARGETS.filter(({ name }) => schedule === 'software' || /qkv|down/.test(name));
  it.each(tried.map((target) => [target.name, target] as const))('%s: exactly W x + strength * scale * B (A x)', async (_, target) => {
    const x = randoms(ROWS * target.inputs, 3);
    const plain = await run(target, x);
    expect(plain.some((value) => value !== 0)).toBe(true);
    // Ranks below, at and above a workgroup's; the second block of gate_up and qkv is left out.
    const parts = target.blocks
      .filter((_block, i) => i !== 1)
      .map((block, i) => ({ block, factors: factorsOf(block.module, target.inputs, block.end - block.begin, [3, 70][i] ?? 8, i) }));
    expect(adapters.add('one', { base: 'm', factors: parts.map(({ factors }) => factors) })).toBeGreaterThan(0);
    const second = parts.map(({ block, factors }) => ({
      block,
      factors: factorsOf(factors.module, target.inputs, block.end - block.begin, 5, 9),
    }));
    adapters.add('two', { base: 'm', factors: second.map(({ factors }) => factors) });
    adapters.use([
      { id: 'one', strength: 1.5 },
      { id: 'two', strength: 0.25 },
    ]);
    adapters.begin(ROWS);
    const changed = await run(target, x);
    adapters.end();
    expect(errors).toEqual([]);
    const expected = Float64Array.from(plain);
    for (const [list, strength] of [
      [parts, 1.5],
      [second, 0.25],
    ] as const)
      for (const { block, factors } of list)
        for (let t = 0; t < ROWS; t++)
          added(factors, x.subarray(t * target.inputs, (t + 1) * target.inputs), strength).forEach((value, n) => {
            expected[t * target.outputs + block.begin + n] += value;
          });
    // Sums of at most 352 numbers around 1, in f32.
    const worst = changed.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]) / (1 + Math.abs(expected[i]))), 0);
    expect(worst).toBeLessThan(1e-4);
    adapters.use([]);
    expect(await run(target, x)).toEqual(plain);
    adapters.use([{ id: 'one', strength: 1 }]);
    adapters.remove('one');
    adapters.remove('two');
    expect(adapters.inUse).toEqual([]);
    expect(await run(target, x)).toEqual(plain);
    expect(errors).toEqual([]);
  });

  it('a pass that misses a kernel is no answer', async () => {
    const [target, missed] = TARGETS;
    const factors = [factorsOf('layers.0.self_attn.q_proj', 128, 128, 2), factorsOf(missed.name, missed.inputs, missed.outputs, 2)];
    adapters.add('both', { base: 'm', factors });
    adapters.use([{ id: 'both', strength: 1 }]);
    adapters.begin(ROWS);
    await run(target, randoms(ROWS * target.inputs, 3));
    expect(() => adapters.end()).toThrow(expect.objectContaining({ code: 'webllm/adapter-hits' }));
    adapters.remove('both');
  });
});
