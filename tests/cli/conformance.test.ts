// The conformance program itself: that it passes what is right, fails what is wrong, skips what is not built, and says so by its exit status.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { ModelConfig } from '../../src/engine/types.ts';
import { makeFixture } from '../support/make-fixture.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FIXTURES = path.join(ROOT, 'tests/fixtures');
const work = mkdtempSync(path.join(tmpdir(), 'conformance-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

function conformance(folder: string, only = ''): { status: number | null; lines: string[] } {
  const run = spawnSync(
    process.execPath,
    [path.join(ROOT, 'src/cli/run.mjs'), 'conformance', folder, ...(only === '' ? [] : ['--only', only])],
    {
      encoding: 'utf8',
    },
  );
  const lines = run.stdout.trimEnd().split('\n');
  if (run.status !== 0 && run.status !== 1) throw new Error(`Status ${run.status}: ${run.stdout}${run.stderr}`);
  return { status: run.status, lines };
}

test('models, trained and quantized, pass on the real engine', { timeout: 600_000 }, () => {
  const { status, lines } = conformance(FIXTURES);
  const verdicts = lines.flatMap((line) => /^(\S+) .* (PASS|FAIL|SKIP)\b/.exec(line)?.slice(1).join(' ') ?? []);
  expect(verdicts).toEqual(
    expect.arrayContaining([
      'models/llama PASS',
      'models/llama3_untied PASS',
      'quant/llama/gguf_q4_0 PASS',
      'quant/llama/gguf_q4_1 PASS',
      'quant/llama/gguf_q8_0 PASS',
      'quant/llama/mlc_q4f16_1 PASS',
      'quant/llama/mlc_q4f32_1 PASS',
      'train/llama/full PASS',
      'train/llama/lora PASS',
      'train/llama/lora_patterns PASS',
      'train/llama/lora_scheduled PASS',
      'train/llama/rslora PASS',
    ]),
  );
  expect(lines.filter((line) => line.includes('FAIL'))).toEqual([]);
  expect(lines.at(-1)).toMatch(/^\d+ passed, 0 failed(, \d+ skipped)?$/);
  expect(status).toBe(0);
});

test('a logit off by 0.01 fails its case and the program; another architecture is skipped', { timeout: 300_000 }, () => {
  for (const name of ['llama', 'llama3_untied'])
    cpSync(path.join(FIXTURES, 'models', name), path.join(work, 'models', name), { recursive: true });
  const file = path.join(work, 'models/llama/expected.safetensors');
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const [, offset] = /"logits\.0":\{[^}]*"data_offsets":\s*\[(\d+)/.exec(bytes.toString('utf8', 8, 8 + headerBytes)) ?? [];
  const at = 8 + headerBytes + Number(offset);
  bytes.writeFloatLE(bytes.readFloatLE(at) + 0.01, at);
  writeFileSync(file, bytes);
  const config = path.join(work, 'models/llama3_untied/config.json');
  writeFileSync(config, readFileSync(config, 'utf8').replace('"llama"', '"mamba"').replace('LlamaForCausalLM', 'MambaForCausalLM'));

  const { status, lines } = conformance(work);
  expect(lines).toContainEqual(expect.stringMatching(/^models\/llama +1\.00e-2 +2\.\d+e-4 +FAIL +logits\.0$/));
  expect(lines).toContainEqual(expect.stringMatching(/^models\/llama3_untied .* SKIP .*Mamba/));
  expect(lines.at(-1)).toBe('0 passed, 1 failed, 1 skipped');
  expect(status).toBe(1);
});

test('a folder of other sizes, names, ranks and rates passes too', { timeout: 300_000 }, () => {
  const root = path.join(work, 'other');
  const config: ModelConfig = {
    architecture: 'llama',
    C: 52,
    L: 3,
    NH: 6,
    NKV: 3,
    HS: 12,
    F: 92,
    V: 301,
    context: 64,
    normEps: 1e-6,
    ropeTheta: 500_000,
    tied: false,
    stopIds: [286],
  };
  makeFixture(
    root,
    config,
    { rank: 5, alpha: 7, targets: ['k_proj', 'o_proj', 'down_proj'], shape: [3, 19], steps: 7, batches: 3, clipNorm: 0.4 },
    11,
  );
  const { status, lines } = conformance(root);
  expect(lines).toContainEqual(expect.stringMatching(/^models\/llama .* PASS/));
  expect(lines).toContainEqual(expect.stringMatching(/^train\/llama\/lora .* PASS/));
  expect(lines.at(-1)).toBe('2 passed, 0 failed');
  expect(status).toBe(0);
});

test('--only picks cases by the start of their path, and a folder without any prints nothing but the count', { timeout: 300_000 }, () => {
  const { status, lines } = conformance(FIXTURES, 'no/such/case');
  expect(lines.at(-1)).toBe('0 passed, 0 failed');
  expect(lines.filter((line) => /PASS|FAIL|SKIP/.test(line))).toEqual([]);
  expect(status).toBe(0);
});
