import { describe, expect, test } from 'vitest';
import { scaleOf } from '../../src/formats/adapter-checks.ts';
import { parseGguf } from '../../src/formats/gguf.ts';
import { ggufLora } from '../../src/formats/gguf-lora.ts';
import type { GgufValue } from '../../src/formats/gguf-types.ts';
import { writeGguf } from '../../src/formats/gguf-write.ts';
import { floatsToHalves } from '../../src/formats/half.ts';
import { peft } from '../../src/formats/peft.ts';
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from '../../src/formats/safetensors.ts';
import type { ModelConfig, PortableAdapter } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { cpuTime, fixtureBytes, fixtureFiles } from '../support/files.ts';
import { fixtureConfig, haveFixtures } from '../support/fixtures.ts';

const LLAMA = fixtureConfig('models/llama');
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

/** scale * B A of a module, row-major (out, in), in f64. */
function delta(adapter: PortableAdapter, module: string): Float64Array {
  const m = adapter.modules.find((entry) => entry.module === module);
  if (m === undefined) throw new Error(`no ${module}`);
  const scale = scaleOf(m.rank, m.alpha, adapter.rsLora);
  const out = new Float64Array(m.outFeatures * m.inFeatures);
  for (let o = 0; o < m.outFeatures; o++)
    for (let r = 0; r < m.rank; r++)
      for (let i = 0; i < m.inFeatures; i++) out[o * m.inFeatures + i] += scale * m.B[o * m.rank + r] * m.A[r * m.inFeatures + i];
  return out;
}

function sameDeltas(a: PortableAdapter, b: PortableAdapter, atol: number): void {
  expect(b.modules.map((m) => m.module)).toEqual(a.modules.map((m) => m.module));
  for (const { module } of a.modules) {
    const x = delta(a, module);
    const y = delta(b, module);
    let worst = 0;
    for (let i = 0; i < x.length; i++) worst = Math.max(worst, Math.abs(x[i] - y[i]));
    expect(worst, module).toBeLessThanOrEqual(atol);
  }
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
  return 'none';
}

/** The lora fixture with its configuration changed, or with other tensors. */
function peftFiles(change: object, tensors?: readonly SafetensorsTensor[]): ReadonlyMap<string, Uint8Array> {
  const files = new Map(fixtureFiles('train/llama/lora'));
  const config: object = JSON.parse(new TextDecoder().decode(files.get(CONFIG)));
  files.set(CONFIG, new TextEncoder().encode(JSON.stringify({ ...config, ...change })));
  if (tensors !== undefined) files.set(WEIGHTS, writeSafetensors(tensors));
  return files;
}
const loraTensors = (): SafetensorsTensor[] => [...readSafetensors(fixtureBytes(`train/llama/lora/${WEIGHTS}`)).tensors.values()];

describe('peft', () => {
  test.each(['lora', 'rslora', 'lora_patterns', 'lora_scheduled'])('%s written again has the same tensors bit for bit', (run) => {
    const files = fixtureFiles(`train/llama/${run}`);
    const adapter = peft.read(files, LLAMA);
    expect(adapter.warnings).toBeUndefined();
    const written = peft.write(adapter, LLAMA);
    expect([...written.keys()].sort()).toEqual([CONFIG, WEIGHTS]);
    const before = readSafetensors(files.get(WEIGHTS) ?? new Uint8Array());
    const after = readSafetensors(written.get(WEIGHTS) ?? new Uint8Array());
    expect(after.metadata).toEqual(new Map([['format', 'pt']]));
    expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
    for (const [name, tensor] of before.tensors) {
      expect(after.tensors.get(name)?.shape).toEqual(tensor.shape);
      expect(after.tensors.get(name)?.bytes, name).toEqual(tensor.bytes);
    }
    expect(peft.read(written, LLAMA)).toEqual(adapter);
    expect(peft.write(peft.read(written, LLAMA), LLAMA)).toEqual(written);
  });

  test('the configuration has exactly the fields that every PEFT reads, and patterns only where they are used', () => {
    const text = new TextDecoder().decode(peft.write(peft.read(fixtureFiles('train/llama/lora'), LLAMA), LLAMA).get(CONFIG));
    expect(text).toBe(`{
  "base_model_name_or_path": "local/tiny",
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "lora_alpha": 8,
  "lora_dropout": 0,
  "modules_to_save": null,
  "peft_type": "LORA",
  "r": 4,
  "target_modules": [
    "down_proj",
    "gate_proj",
    "k_proj",
    "o_proj",
    "q_proj",
    "up_proj",
    "v_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": false
}`);
    const patterns = JSON.parse(
      new TextDecoder().decode(peft.write(peft.read(fixtureFiles('train/llama/lora_patterns'), LLAMA), LLAMA).get(CONFIG)),
    );
    expect(Object.keys(patterns)).toEqual(Object.keys(patterns).sort());
    expect(patterns.rank_pattern).toEqual({ 'model.layers.1.self_attn.q_proj': 8 });
    expect(patterns.alpha_pattern).toEqual({ 'model.layers.1.self_attn.q_proj': 3 });
  });

  test('a local path of the base is never written', () => {
    const adapter = peft.read(fixtureFiles('train/llama/lora'), LLAMA);
    for (const baseModel of ['/home/ann/models/x', 'C:\\models\\x', '../x', 'a/b/c']) {
      const text = new TextDecoder().decode(peft.write({ ...adapter, baseModel }, LLAMA).get(CONFIG));
      expect(JSON.parse(text).base_model_name_or_path).toBeNull();
    }
  });

  test('an adapter of one layer names full paths, so that PEFT makes no factors that the file lacks', () => {
    const adapter = peft.read(fixtureFiles('train/llama/lora'), LLAMA);
    const some = { ...adapter, modules: adapter.modules.filter((m) => m.module.includes('layers.1.self_attn')) };
    const written = peft.write(some, LLAMA);
    expect(JSON.parse(new TextDecoder().decode(written.get(CONFIG))).target_modules).toEqual(some.modules.map((m) => m.module).sort());
    expect(peft.read(written, LLAMA)).toEqual(some);
  });

  test.each(['F16', 'BF16'])('factors in %s are read', (dtype) => {
    const full = peft.read(fixtureFiles('train/llama/lora'), LLAMA);
    const tensors = loraTensors().map((t) => {
      const floats = new Float32Array(t.bytes.slice().buffer);
      const bits = new Uint32Array(floats.buffer);
      const words = dtype === 'F16' ? floatsToHalves(floats) : Uint16Array.from(bits, (b) => b >>> 16);
      return { ...t, dtype, bytes: new Uint8Array(words.buffer) };
    });
    const half = peft.read(peftFiles({}, tensors), LLAMA);
    sameDeltas(full, half, 0.02);
  });

  test('target_modules may be a list of suffixes or an expression; what it leaves out is left out with a warning', () => {
    const only = peft.read(peftFiles({ target_modules: ['v_proj'] }), LLAMA);
    expect(only.modules.map((m) => m.module)).toEqual(['model.layers.0.self_attn.v_proj', 'model.layers.1.self_attn.v_proj']);
    expect(only.warnings?.length).toBe(24);
    const regex = peft.read(peftFiles({ target_modules: String.raw`.*\.(q_proj|v_proj)` }), LLAMA);
    expect(regex.modules.length).toBe(4);
    expect(peft.read(peftFiles({ target_modules: 'all-linear' }), LLAMA).modules.length).toBe(14);
    const started = cpuTime();
    const hostile = peft.read(peftFiles({ target_modules: '(.*)*(a+)+x' }), LLAMA);
    expect(cpuTime() - started).toBeLessThan(200);
    expect(hostile.modules.length).toBe(14);
    expect(hostile.warnings).toHaveLength(1);
  });

  test('keys of alpha_pattern may be expressions', () => {
    const adapter = peft.read(peftFiles({ alpha_pattern: { 'layers.1.self_attn.q_proj': 2, String: 1, '[kv]_proj': 5 } }), LLAMA);
    const alphas = new Map(adapter.modules.map((m) => [m.module, m.alpha]));
    expect(alphas.get('model.layers.1.self_attn.q_proj')).toBe(2);
    expect(alphas.get('model.layers.0.self_attn.q_proj')).toBe(8);
    expect(alphas.get('model.layers.0.self_attn.k_proj')).toBe(5);
    expect(codeOf(() => peft.read(peftFiles({ alpha_pattern: { '(a+)+': 5 } }), LLAMA))).toBe('adapter/unsupported');
  });

  test.each<[string, string, object]>([
    ['DoRA', 'adapter/unsupported', { use_dora: true }],
    ['trained biases', 'adapter/unsupported', { bias: 'all' }],
    ['modules_to_save', 'adapter/unsupported', { modules_to_save: ['lm_head'] }],
    ['another PEFT type', 'adapter/unsupported', { peft_type: 'IA3' }],
    ['lower case type', 'adapter/unsupported', { peft_type: 'lora' }],
    ['no type', 'adapter/unsupported', { peft_type: undefined }],
    ['transposed weights', 'adapter/unsupported', { fan_in_fan_out: true }],
    ['trained embeddings', 'adapter/unsupported', { trainable_token_indices: [1] }],
    ['an activated LoRA', 'adapter/unsupported', { alora_invocation_tokens: [1, 2] }],
    ['a start that changed the base', 'adapter/unsupported', { init_lora_weights: 'pissa' }],
    ['a rank of another adapter', 'adapter/damaged', { r: 8 }],
    ['a missing rank, which PEFT takes as 8', 'adapter/damaged', { r: undefined }],
    ['rank 0', 'adapter/damaged', { r: 0 }],
    ['an alpha that is a text', 'adapter/damaged', { lora_alpha: '8' }],
  ])('%s is refused', (_, code, change) => {
    expect(codeOf(() => peft.read(peftFiles(change), LLAMA))).toBe(code);
  });

  test('a missing alpha is 8 as in PEFT, and said', () => {
    expect(peft.read(peftFiles({ lora_alpha: undefined }), LLAMA)).toMatchObject({
      alpha: 8,
      warnings: [expect.stringContaining('lora_alpha')],
    });
  });

  test('the dora fixture, files that are missing, a pickle and a name standing twice are refused', () => {
    const files = fixtureFiles('train/llama/lora');
    const without = (name: string): ReadonlyMap<string, Uint8Array> => new Map([...files].filter(([file]) => file !== name));
    expect(codeOf(() => peft.read(without(CONFIG), LLAMA))).toBe('adapter/missing-files');
    expect(codeOf(() => peft.read(without(WEIGHTS), LLAMA))).toBe('adapter/missing-files');
    expect(codeOf(() => peft.read(new Map([['adapter_model.bin', new Uint8Array(9)]]), LLAMA))).toBe('adapter/missing-files');
    const twice = new Map(files).set(CONFIG, new TextEncoder().encode('{"peft_type":"LORA","r":4,"r":8}'));
    expect(codeOf(() => peft.read(twice, LLAMA))).toBe('format/duplicate-name');
    const cut = new Map(files).set(WEIGHTS, (files.get(WEIGHTS) ?? new Uint8Array()).subarray(0, 9000));
    expect(codeOf(() => peft.read(cut, LLAMA))).toBe('format/truncated');
  });

  test.each<[string, string, (t: SafetensorsTensor[]) => SafetensorsTensor[]]>([
    ['half a pair', 'adapter/damaged', (t) => t.slice(1)],
    ['no factors', 'adapter/damaged', () => []],
    ['A transposed', 'adapter/damaged', (t) => t.map((x, i) => (i === 0 ? { ...x, shape: [64, 4] } : x))],
    [
      'a magnitude',
      'adapter/unsupported',
      (t) => [
        ...t,
        {
          name: 'base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector',
          dtype: 'F32',
          shape: [1],
          bytes: new Uint8Array(4),
        },
      ],
    ],
    ['a head', 'adapter/unsupported', (t) => t.map((x) => ({ ...x, name: x.name.replace('model.layers.0.self_attn.q_proj', 'lm_head') }))],
    ['modules of GPT-2', 'adapter/unsupported', (t) => t.map((x) => ({ ...x, name: x.name.replace('model.layers', 'transformer.h') }))],
    ['a layer this model lacks', 'adapter/other-base', (t) => t.map((x) => ({ ...x, name: x.name.replace('layers.1', 'layers.7') }))],
    ['integers', 'format/unsupported-dtype', (t) => t.map((x) => ({ ...x, dtype: 'I32' }))],
  ])('%s in the weights is refused', (_, code, change) => {
    expect(codeOf(() => peft.read(peftFiles({}, change(loraTensors())), LLAMA))).toBe(code);
  });

  test('an adapter for a base of other sizes is refused before anything is uploaded', () => {
    const other: ModelConfig = { ...LLAMA, C: 128 };
    expect(codeOf(() => peft.read(fixtureFiles('train/llama/lora'), other))).toBe('adapter/other-base');
  });

  test('NaN in a factor is a warning', () => {
    const tensors = loraTensors().map((t, i) => ({
      ...t,
      bytes: i === 3 ? new Uint8Array(new Float32Array(t.bytes.length / 4).fill(Number.NaN).buffer) : t.bytes,
    }));
    expect(peft.read(peftFiles({}, tensors), LLAMA).warnings).toHaveLength(1);
  });
});

describe('gguf-lora', () => {
  test.each(['lora', 'rslora'])("%s: what is written holds the changes of llama.cpp's own converter", (run) => {
    const files = fixtureFiles(`train/llama/${run}`);
    const adapter = peft.read(files, LLAMA);
    const theirs = ggufLora.read(new Map([['adapter.gguf', fixtureBytes(`train/llama/${run}/adapter.gguf`)]]), LLAMA);
    const ours = ggufLora.read(ggufLora.write(adapter, LLAMA), LLAMA);
    // Folded factors are exact here (alpha and sqrt(r) are powers of two), so nothing but the order of products can differ.
    sameDeltas(adapter, theirs, 1e-7);
    sameDeltas(theirs, ours, 1e-7);
  });

  test("a plain LoRA gives the very file that llama.cpp's converter writes", () => {
    const written = ggufLora.write(peft.read(fixtureFiles('train/llama/lora'), LLAMA), LLAMA).get('adapter.gguf');
    const theirs = fixtureBytes('train/llama/lora/adapter.gguf');
    const [a, b] = [parseGguf(written ?? new Uint8Array()), parseGguf(theirs)];
    expect(a.metadata).toEqual(b.metadata);
    expect([...a.tensors.keys()].sort()).toEqual([...b.tensors.keys()].sort());
    for (const [name, info] of b.tensors) {
      const mine = a.tensors.get(name);
      expect(mine?.shape).toEqual(info.shape);
      expect(written?.subarray(mine?.start, mine?.end), name).toEqual(theirs.subarray(info.start, info.end));
    }
  });

  test('patterns and rsLoRA are folded into B: the same changes come back', () => {
    const adapter = peft.read(fixtureFiles('train/llama/lora_patterns'), LLAMA);
    const back = ggufLora.read(ggufLora.write(adapter, LLAMA), LLAMA);
    sameDeltas(adapter, back, 1e-6);
    const rs = { ...adapter, rsLora: true };
    sameDeltas(rs, ggufLora.read(ggufLora.write(rs, LLAMA), LLAMA), 1e-6);
    const zero = { ...adapter, alpha: 0, modules: adapter.modules.map((m) => ({ ...m, alpha: 0 })) };
    sameDeltas(zero, ggufLora.read(ggufLora.write(zero, LLAMA), LLAMA), 0);
  });

  test('F16 files are read', () => {
    const full = peft.read(fixtureFiles('train/llama/lora'), LLAMA);
    const half = ggufLora.read(new Map([['a.gguf', fixtureBytes('train/llama/lora/adapter-f16.gguf')]]), LLAMA);
    sameDeltas(full, half, 2e-3);
    expect(half).toMatchObject({ rank: 4, alpha: 8, rsLora: false });
  });

  /** The lora fixture's GGUF with changed keys or tensors. */
  function ggufFiles(
    keys: Readonly<Record<string, GgufValue | undefined>>,
    rename: (name: string) => string | undefined = (n) => n,
  ): ReadonlyMap<string, Uint8Array> {
    const bytes = fixtureBytes('train/llama/lora/adapter.gguf');
    const header = parseGguf(bytes);
    const metadata = new Map(header.metadata);
    for (const [key, value] of Object.entries(keys)) {
      if (value === undefined) metadata.delete(key);
      else metadata.set(key, value);
    }
    const tensors = [...header.tensors.values()].flatMap((t) => {
      const name = rename(t.name);
      return name === undefined ? [] : [{ name, shape: t.shape, type: t.type.name, bytes: bytes.subarray(t.start, t.end) }];
    });
    return new Map([['adapter.gguf', writeGguf(metadata, tensors)]]);
  }
  const text = (value: string): GgufValue => ({ type: 'string', value });

  test('alpha missing or 0 means scale 1, as in llama.cpp, and is said', () => {
    for (const alpha of [undefined, { type: 'f32', value: 0 } as const]) {
      const adapter = ggufLora.read(ggufFiles({ 'adapter.lora.alpha': alpha }), LLAMA);
      expect(adapter.modules.every((m) => scaleOf(m.rank, m.alpha, adapter.rsLora) === 1)).toBe(true);
      expect(adapter.warnings).toHaveLength(1);
    }
  });

  test.each<[string, string, ReadonlyMap<string, Uint8Array>]>([
    ['another architecture', 'adapter/other-base', ggufFiles({ 'general.architecture': text('qwen2') })],
    ['a model', 'adapter/unsupported', ggufFiles({ 'general.type': text('model') })],
    ['another adapter type', 'adapter/unsupported', ggufFiles({ 'adapter.type': text('control_vector') })],
    [
      'an activated LoRA',
      'adapter/unsupported',
      ggufFiles({ 'adapter.alora.invocation_tokens': { type: 'array', of: 'u32', value: [1] } }),
    ],
    ['half a pair', 'adapter/damaged', ggufFiles({}, (n) => (n === 'blk.0.attn_q.weight.lora_b' ? undefined : n))],
    ['an unknown suffix', 'adapter/unsupported', ggufFiles({}, (n) => n.replace('lora_a', 'lora_c'))],
    ['an embedding', 'adapter/unsupported', ggufFiles({}, (n) => n.replace('blk.0.attn_q', 'token_embd'))],
    ['a layer this model lacks', 'adapter/other-base', ggufFiles({}, (n) => n.replace('blk.1', 'blk.9'))],
    ['A in place of B', 'adapter/other-base', ggufFiles({}, (n) => n.replace(/lora_([ab])$/, (_, s) => (s === 'a' ? 'lora_b' : 'lora_a')))],
    ['no file', 'adapter/missing-files', new Map()],
    ['a cut file', 'format/truncated', new Map([['a.gguf', fixtureBytes('train/llama/lora/adapter.gguf').subarray(0, 9000)]])],
  ])('%s is refused', (_, code, files) => {
    expect(codeOf(() => ggufLora.read(files, LLAMA))).toBe(code);
  });

  test('an adapter for a base of other sizes is refused', () => {
    expect(codeOf(() => ggufLora.read(new Map([['a.gguf', fixtureBytes('train/llama/lora/adapter.gguf')]]), { ...LLAMA, F: 256 }))).toBe(
      'adapter/other-base',
    );
  });
});

test.skipIf(!haveFixtures('stories260k/lora_zed'))('lora_zed: the PEFT folder and the GGUF hold the same adapter', () => {
  const config = fixtureConfig('stories260k');
  const files = fixtureFiles('stories260k/lora_zed');
  const folder = peft.read(files, config);
  sameDeltas(folder, ggufLora.read(new Map([...files].filter(([name]) => name.endsWith('.gguf'))), config), 1e-6);
  sameDeltas(folder, ggufLora.read(ggufLora.write(folder, config), config), 0);
});
