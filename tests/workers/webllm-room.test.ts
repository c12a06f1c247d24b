// Two models on one GPU, and what a person is told of it and of the self-test.
import { afterEach, expect, test } from 'vitest';
import { factorsOf, verdictOf } from '../../workers/engine/webllm-adapters.ts';
import { gpuLimit, leftWords } from '../../workers/engine/webllm-room.ts';

const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
afterEach(() => {
  if (before !== undefined) Object.defineProperty(globalThis, 'navigator', before);
});
function device(deviceMemory: number | undefined): void {
  Object.defineProperty(globalThis, 'navigator', { value: { deviceMemory }, configurable: true });
}

test('a device that names less than 8 GB is counted on for half of it; others say nothing', () => {
  device(4);
  expect(gpuLimit()).toBe(2e9);
  device(8);
  expect(gpuLimit()).toBeUndefined();
  device(undefined);
  expect(gpuLimit()).toBeUndefined();
});

test('who left says for whom, and the bytes of both', () => {
  expect(leftWords('our engine', 800e6, 700e6, 2 ** 30)).toBe(
    'Our engine left the GPU for web-llm: together they need 1.5 GB (our engine 800 MB, web-llm 700 MB), and 1.1 GB is what is counted on for both.',
  );
  expect(leftWords('web-llm', 1, 2, 3)).toMatch(/^Web-llm left the GPU for our engine/);
});

test('a failed self-test names the first check that failed, or the kernel that cannot be read', () => {
  const check = { ok: true, name: 'one token, zero adapter', found: 0, allowed: 0 };
  expect(verdictOf({ ok: true, checks: [check] })).toEqual({ ok: true, text: '' });
  const wrong = { ok: false, name: 'long prompt, random adapter against our engine', found: 1.25, allowed: 0.005 };
  const { ok, text } = verdictOf({ ok: false, checks: [check, wrong] });
  expect(ok).toBe(false);
  expect(text).toContain('long prompt, random adapter against our engine: 1.3, allowed 0.0050');
  expect(verdictOf({ ok: false, checks: [], unknown: { kernel: 'matmul_7', why: 'no product was found' } }).text).toContain('matmul_7');
});

test('an adapter goes to web-llm with its own scale, which follows rank stabilization', () => {
  const lora = { module: 'model.layers.0.self_attn.q_proj', rank: 4, alpha: 8, inFeatures: 2, outFeatures: 3 };
  const modules = [{ ...lora, A: Float32Array.from({ length: 8 }, (_, i) => i), B: new Float32Array(12) }];
  const adapter = { kind: 'lora', rank: 4, alpha: 8, dropout: 0, modules } as const;
  const [plain] = factorsOf('base', { ...adapter, rsLora: false }).factors;
  const [stable] = factorsOf('base', { ...adapter, rsLora: true }).factors;
  expect(plain.scale).toBe(2);
  expect(stable.scale).toBe(4);
  expect([...plain.a]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(plain.module).toBe(lora.module);
});
