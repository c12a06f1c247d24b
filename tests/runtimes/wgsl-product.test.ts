import { describe, expect, it } from 'vitest';
import { readProduct } from '../../src/runtimes/wgsl-product.ts';
import { bindingsOf, kernelsOf, LIBRARIES } from '../webllm/kernels.ts';

/** Which buffers a kernel of our libraries multiplies with which weight, by the names that the compiler gave them. */
const INPUT: Readonly<Record<string, RegExp>> = {
  qkv_proj: /^rms_norm\d*_ptr$/,
  o_proj: /^reshape\d+_ptr$/,
  gate_up_proj: /^rms_norm\d*_ptr$/,
  down_proj: /^lv\d+_ptr$/,
};

/** The bindings of a projection's weight, and which projection it is. */
function weightOf(text: string): { readonly projection: string; readonly weights: readonly number[] } | undefined {
  const found = [...bindingsOf(text)].filter(([name]) => /_proj_(q_)?(weight|scale)\d*_ptr$/.test(name));
  const projection = /(qkv_proj|o_proj|gate_up_proj|down_proj)/.exec(found[0]?.[0] ?? '')?.[1];
  return projection === undefined ? undefined : { projection, weights: found.map(([, index]) => index) };
}

describe.each(Object.keys(LIBRARIES))('%s', (library) => {
  it('each kernel of a projection says what it multiplies with its weight, and where the product goes', () => {
    const seen = new Map<string, number>();
    for (const [name, text] of kernelsOf(library)) {
      const found = weightOf(text);
      if (found === undefined) continue;
      const reading = readProduct(text, name, found.weights);
      const names = new Map([...bindingsOf(text)].map(([binding, index]) => [index, binding]));
      if (!reading.known) throw new Error(`${name}: ${reading.why}`);
      expect(names.get(reading.input)).toMatch(INPUT[found.projection]);
      expect(names.get(reading.output)).toMatch(/^(product|product_intermediate|T_add_intermediate)_ptr$/);
      seen.set(found.projection, (seen.get(found.projection) ?? 0) + 1);
    }
    // One for prompts, one for single tokens.
    expect(Object.fromEntries(seen)).toEqual({ qkv_proj: 2, o_proj: 2, gate_up_proj: 2, down_proj: 2 });
  });

  it('kernels that bind the embedding alone are no product', () => {
    const text = kernelsOf(library).get('embedding_kernel') ?? '';
    const weights = [...bindingsOf(text)].filter(([name]) => name.includes('embed_tokens')).map(([, index]) => index);
    expect(weights.length).toBeGreaterThan(0);
    expect(readProduct(text, 'embedding_kernel', weights).known).toBe(false);
  });
});

/** A kernel of 64 channels as a compiler might write it, with `body` in place of the product. */
const kernel = (body: string, types = 'f32'): string => `
@group(0) @binding(0) var<storage, read_write> y_ptr : array<${types}>;
@group(0) @binding(1) var<storage, read> w_ptr : array<f32>;
@group(0) @binding(2) var<storage, read> x_ptr : array<${types}>;
@group(0) @binding(3) var<storage, read> r_ptr : array<f32>;
var<workgroup> shared_x : array<f32, 64>;
@compute @workgroup_size(64, 1, 1)
fn product_kernel(@builtin(workgroup_id) blockIdx : vec3<u32>, @builtin(local_invocation_id) threadIdx : vec3<u32>) {
  let i : i32 = i32(threadIdx.x);
  var sum : f32 = 0.0f;
  ${body}
}`;
const read = (body: string, types?: string) => readProduct(kernel(body, types), 'product_kernel', [1]);
const KNOWN = { known: true, input: 2, output: 0 };
const LOOP = 'for (var k : i32 = 0i; k < 64i; k++) { sum = fma(x_ptr[k], w_ptr[i * 64i + k], sum); }';

describe('what is known', () => {
  it.each([
    ['a plain sum', `${LOOP} y_ptr[i] = sum;`],
    ['+= and *', 'for (var k = 0i; k < 64i; k++) { sum += w_ptr[i * 64i + k] * x_ptr[k]; } y_ptr[i] = sum;'],
    ['a copy within the workgroup', `shared_x[i] = x_ptr[i]; workgroupBarrier(); ${LOOP.replace('x_ptr', 'shared_x')} y_ptr[i] = sum;`],
    ['a residual added', `${LOOP} y_ptr[i] = r_ptr[i] + sum;`],
    [
      'fours and their dot product',
      'sum = sum + dot(vec4<f32>(x_ptr[0], x_ptr[1], x_ptr[2], x_ptr[3]), vec4<f32>(w_ptr[0], w_ptr[1], w_ptr[2], w_ptr[3])); y_ptr[i] = sum;',
    ],
    [
      'zeros in place of rows that are not there',
      `${LOOP.replace('x_ptr[k]', 'select(0.0f, x_ptr[k], k < 60i)')} if (i < 9i) { y_ptr[i] = sum; } else { y_ptr[i] = 0.0f; }`,
    ],
    ['sums across threads', `${LOOP} let all : f32 = subgroupShuffleDown(sum, 4u) + sum; y_ptr[i] = all;`],
    ['codes first and their scale afterwards', `${LOOP} y_ptr[i] = sum * w_ptr[i];`],
  ])('%s', (_, body) => {
    expect(read(body)).toEqual(KNOWN);
  });
});

describe('what is refused', () => {
  it.each([
    ['an activation on the product', `${LOOP} y_ptr[i] = max(sum, 0.0f);`, 'max'],
    ['gelu by hand', `${LOOP} y_ptr[i] = sum * 0.5f * (1.0f + tanh(sum));`, 'changed within the kernel'],
    ['a scaled product', `${LOOP} y_ptr[i] = sum * 2.0f;`, 'changed within the kernel'],
    ['a product times a gate', `${LOOP} y_ptr[i] = sum * r_ptr[i];`, 'changed within the kernel'],
    ['an input that is made within the kernel', 'sum = (x_ptr[i] + r_ptr[i]) * w_ptr[i]; y_ptr[i] = sum;', 'changed within the kernel'],
    ['two inputs', `${LOOP} sum = fma(r_ptr[0], w_ptr[0], sum); y_ptr[i] = sum;`, 'the weight is in too'],
    ['a dequantized copy of the weight', 'y_ptr[i] = w_ptr[i] * 2.0f;', 'writes the weight itself'],
    ['a weight that is not used', 'y_ptr[i] = x_ptr[i] + r_ptr[i];', '0 products'],
    ['one variable for two things', 'sum = x_ptr[i]; sum = r_ptr[i]; y_ptr[i] = sum * w_ptr[i];', 'changed within the kernel'],
    ['pointers', `${LOOP} let p = &sum; y_ptr[i] = *p;`, 'not understood'],
    ['a call for its effects', `${LOOP} finish(i); y_ptr[i] = sum;`, 'not understood'],
    ['a function of its own', `${LOOP} y_ptr[i] = gelu(sum);`, 'gelu'],
  ])('%s', (_, body, why) => {
    const reading = read(body);
    expect(reading).toMatchObject({ known: false });
    expect(reading.known ? '' : reading.why).toContain(why);
  });

  it('numbers in 16 bits, another entry point, and text that is no WGSL', () => {
    expect(read(`${LOOP} y_ptr[i] = sum;`, 'f16')).toMatchObject({ known: false, why: expect.stringContaining('array<f16>') });
    expect(readProduct(kernel(''), 'other_kernel', [1])).toMatchObject({ known: false, why: expect.stringContaining('other_kernel') });
    expect(readProduct('fn product_kernel() { §', 'product_kernel', [1])).toMatchObject({
      known: false,
      why: expect.stringContaining('§'),
    });
  });
});
