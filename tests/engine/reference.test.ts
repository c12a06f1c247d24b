// Each backward of the reference agrees with central differences of its forward, in f64. The limit: truncation and rounding of the differences stay near
// 1e-9 (tests/support/gradients.ts), and a wrong term is off by far more than 1e-7.
import { describe, expect, test } from 'vitest';
import {
  adamwStep,
  attentionBackward,
  attentionForward,
  clipCoefficient,
  crossEntropyBackward,
  crossEntropyForward,
  dropoutKeep,
  dropoutThreshold,
  embedBackward,
  embedForward,
  linearBackwardInput,
  linearBackwardWeight,
  linearForward,
  loraBackward,
  loraForward,
  pcg,
  rmsnormBackward,
  rmsnormForward,
  ropeBackward,
  ropeForward,
  ropeFrequencies,
  sumOfSquares,
  swigluBackward,
  swigluForward,
} from '../../src/engine/reference.ts';
import { gradientError, inner, randomNormal } from '../support/gradients.ts';

const LIMIT = 1e-7;
const zeros = (n: number): Float64Array => new Float64Array(n);
const ones = (n: number): Float64Array => new Float64Array(n).fill(1);
/** What was added to a gradient that began at 1: shows that it accumulates. */
const added = (gradient: Float64Array): Float64Array => gradient.map((g) => g - 1);

test('embed_backward agrees with central differences, a token seen twice included', () => {
  const [M, C, V] = [5, 3, 7];
  const tokens = Uint32Array.of(2, 6, 2, 0, 5);
  const table = randomNormal(V * C, 1);
  const dy = randomNormal(M * C, 2);
  const loss = (): number => {
    const y = zeros(M * C);
    embedForward(y, tokens, table, M, C);
    return inner(y, dy);
  };
  const dTable = ones(V * C);
  embedBackward(dTable, dy, tokens, M, C);
  expect(gradientError(loss, table, added(dTable))).toBeLessThan(LIMIT);
});

test('rmsnorm_backward agrees with central differences', () => {
  const [M, C] = [4, 7];
  const x = randomNormal(M * C, 1);
  const w = randomNormal(C, 2);
  const dy = randomNormal(M * C, 3);
  const y = zeros(M * C);
  const rstd = zeros(M);
  const loss = (): number => {
    rmsnormForward(y, rstd, x, w, M, C, 1e-2);
    return inner(y, dy);
  };
  loss();
  const dx = ones(M * C);
  const dw = ones(C);
  rmsnormBackward(dx, dw, dy, x, rstd.slice(), w, M, C);
  expect(gradientError(loss, x, added(dx))).toBeLessThan(LIMIT);
  expect(gradientError(loss, w, added(dw))).toBeLessThan(LIMIT);
  const frozen = ones(M * C);
  loss();
  rmsnormBackward(frozen, undefined, dy, x, rstd, w, M, C);
  expect(frozen).toEqual(dx);
});

test('linear_backward_input and linear_backward_weight agree with central differences', () => {
  const [M, K, N] = [5, 7, 3];
  const x = randomNormal(M * K, 1);
  const w = randomNormal(N * K, 2);
  const dy = randomNormal(M * N, 3);
  const loss = (): number => {
    const y = zeros(M * N);
    linearForward(y, x, w, M, K, N);
    return inner(y, dy);
  };
  const dx = ones(M * K);
  const dw = ones(N * K);
  linearBackwardInput(dx, dy, w, M, K, N);
  linearBackwardWeight(dw, dy, x, M, K, N);
  expect(gradientError(loss, x, added(dx))).toBeLessThan(LIMIT);
  expect(gradientError(loss, w, added(dw))).toBeLessThan(LIMIT);
});

test.each([0, 0.4])('lora_backward agrees with central differences under dropout %f', (rate) => {
  const [M, K, N, R] = [5, 7, 4, 3];
  const x = randomNormal(M * K, 1);
  const A = randomNormal(R * K, 2);
  const B = randomNormal(N * R, 3);
  const dy = randomNormal(M * N, 4);
  const keep = rate === 0 ? undefined : Float64Array.from({ length: M * K }, (_, i) => dropoutKeep(9, 2, 5, i, rate));
  const h = zeros(M * R);
  const loss = (): number => {
    const y = ones(M * N);
    loraForward(y, h, x, A, B, 1.7, M, K, N, R, keep);
    return inner(y, dy);
  };
  loss();
  const dx = ones(M * K);
  const dA = ones(R * K);
  const dB = ones(N * R);
  loraBackward(dx, dA, dB, dy, h.slice(), x, A, B, 1.7, M, K, N, R, keep);
  expect(gradientError(loss, x, added(dx))).toBeLessThan(LIMIT);
  expect(gradientError(loss, A, added(dA))).toBeLessThan(LIMIT);
  expect(gradientError(loss, B, added(dB))).toBeLessThan(LIMIT);
});

test('rope_backward is the transpose of rope_forward, and undoes it', () => {
  const [B, T, heads, HS, offset] = [2, 3, 3, 6, 4];
  const frequencies = ropeFrequencies({ HS, ropeTheta: 100 });
  const x = randomNormal(B * T * heads * HS, 1);
  const dy = randomNormal(x.length, 2);
  const loss = (): number => {
    const y = x.slice();
    ropeForward(y, frequencies, B, T, heads, HS, offset);
    return inner(y, dy);
  };
  const dx = dy.slice();
  ropeBackward(dx, frequencies, B, T, heads, HS, offset);
  expect(gradientError(loss, x, dx)).toBeLessThan(LIMIT);
  const back = x.slice();
  ropeForward(back, frequencies, B, T, heads, HS, offset);
  ropeBackward(back, frequencies, B, T, heads, HS, offset);
  back.forEach((value, i) => {
    expect(value).toBeCloseTo(x[i], 12);
  });
});

test('rope_frequencies stretches slow pairs only, and divides by what a GGUF stores', () => {
  const plain = ropeFrequencies({ HS: 8, ropeTheta: 10000 });
  expect([...plain]).toEqual([1, 0.1, 0.01, 0.001].map((f) => expect.closeTo(f, 12)));
  const scaling = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 256 };
  const stretched = ropeFrequencies({ HS: 8, ropeTheta: 10000, ropeScaling: scaling });
  // turns in 256 tokens: 40.7 (kept), 4.07 (kept), 0.407 and 0.0407 (divided by 8)
  expect([...stretched]).toEqual([1, 0.1, 0.01 / 8, 0.001 / 8].map((f) => expect.closeTo(f, 12)));
  const between = ropeFrequencies({ HS: 8, ropeTheta: 10000, ropeScaling: { ...scaling, originalContext: 128 } });
  const smooth = (12.8 / (2 * Math.PI) - 1) / 3;
  expect(between[1]).toBeCloseTo(((1 - smooth) * 0.1) / 8 + smooth * 0.1, 12);
  const divided = ropeFrequencies({ HS: 8, ropeTheta: 10000, ropeScaling: { divisors: [1, 2, 4, 8] } });
  expect([...divided]).toEqual([1, 0.05, 0.0025, 0.000125].map((f) => expect.closeTo(f, 12)));
});

describe.each([
  { B: 2, TQ: 5, TK: 5, NH: 4, NKV: 2, HS: 6, offset: 0 },
  { B: 1, TQ: 3, TK: 7, NH: 3, NKV: 1, HS: 4, offset: 4 },
  { B: 2, TQ: 1, TK: 9, NH: 2, NKV: 2, HS: 2, offset: 6 },
])('attention of TQ $TQ, TK $TK, heads $NH / $NKV, offset $offset', (shape) => {
  const { B, TQ, TK, NH, NKV, HS, offset } = shape;
  const q = randomNormal(B * TQ * NH * HS, 1);
  const k = randomNormal(B * TK * NKV * HS, 2);
  const v = randomNormal(B * TK * NKV * HS, 3);
  const dO = randomNormal(q.length, 4);
  const o = zeros(q.length);
  const lse = zeros(B * TQ * NH);
  const loss = (): number => {
    attentionForward(o, lse, q, k, v, shape);
    return inner(o, dO);
  };

  test('attention_backward agrees with central differences', () => {
    loss();
    const dq = ones(q.length);
    const dk = ones(k.length);
    const dv = ones(v.length);
    attentionBackward(dq, dk, dv, dO, o.slice(), lse.slice(), q, k, v, shape);
    expect(gradientError(loss, q, added(dq))).toBeLessThan(LIMIT);
    expect(gradientError(loss, k, added(dk))).toBeLessThan(LIMIT);
    expect(gradientError(loss, v, added(dv))).toBeLessThan(LIMIT);
  });

  test('keys after a query change nothing', () => {
    loss();
    const before = o.slice();
    const hidden = Math.min(offset + 1, TK); // keys from here on come after query 0
    for (let b = 0; b < B; b++) k.fill(50, (b * TK + hidden) * NKV * HS, (b + 1) * TK * NKV * HS);
    loss();
    for (let b = 0; b < B; b++) {
      const row = b * TQ * NH * HS;
      expect(o.slice(row, row + NH * HS)).toEqual(before.slice(row, row + NH * HS));
    }
  });
});

test('attention over a cache equals the last rows of attention over the whole', () => {
  const [B, T, NH, NKV, HS] = [2, 6, 4, 2, 4];
  const q = randomNormal(B * T * NH * HS, 1);
  const k = randomNormal(B * T * NKV * HS, 2);
  const v = randomNormal(B * T * NKV * HS, 3);
  const whole = zeros(q.length);
  attentionForward(whole, zeros(B * T * NH), q, k, v, { B, TQ: T, TK: T, NH, NKV, HS, offset: 0 });
  const row = NH * HS;
  const lastQueries = Float64Array.from([...q.slice(4 * row, 6 * row), ...q.slice(10 * row, 12 * row)]);
  const last = zeros(B * 2 * row);
  attentionForward(last, zeros(B * 2 * NH), lastQueries, k, v, { B, TQ: 2, TK: T, NH, NKV, HS, offset: 4 });
  expect(last).toEqual(Float64Array.from([...whole.slice(4 * row, 6 * row), ...whole.slice(10 * row, 12 * row)]));
});

test('swiglu_backward agrees with central differences', () => {
  const n = 11;
  const gate = randomNormal(n, 1, 2);
  const up = randomNormal(n, 2);
  const dh = randomNormal(n, 3);
  const loss = (): number => {
    const h = zeros(n);
    swigluForward(h, gate, up, n);
    return inner(h, dh);
  };
  const dgate = ones(n);
  const dup = ones(n);
  swigluBackward(dgate, dup, dh, gate, up, n);
  expect(gradientError(loss, gate, added(dgate))).toBeLessThan(LIMIT);
  expect(gradientError(loss, up, added(dup))).toBeLessThan(LIMIT);
});

test('cross_entropy_backward agrees with central differences, rows without a target left out', () => {
  const [M, C, V] = [5, 3, 7];
  const hidden = randomNormal(M * C, 1);
  const head = randomNormal(V * C, 2);
  const targets = Int32Array.of(3, -1, 0, 6, -1);
  const losses = zeros(M);
  const lse = zeros(M);
  const loss = (): number => {
    crossEntropyForward(losses, lse, hidden, head, targets, M, C, V);
    return inner(losses, ones(M)) / 3;
  };
  loss();
  expect(losses[1]).toBe(0);
  const dHidden = ones(M * C);
  const dHead = ones(V * C);
  crossEntropyBackward(dHidden, dHead, hidden, head, lse.slice(), targets, 1 / 3, M, C, V);
  expect(gradientError(loss, hidden, added(dHidden))).toBeLessThan(LIMIT);
  expect(gradientError(loss, head, added(dHead))).toBeLessThan(LIMIT);
  expect([...added(dHidden).slice(C, 2 * C)]).toEqual([0, 0, 0]);
});

test('pcg gives the words of its definition in unsigned 32-bit arithmetic', () => {
  // the same lines in BigInt, where nothing can be lost to a double or a sign
  const exact = (v: number): number => {
    const mask = 0xffffffffn;
    const s = (BigInt(v) * 747796405n + 2891336453n) & mask;
    const w = (((s >> ((s >> 28n) + 4n)) ^ s) * 277803737n) & mask;
    return Number((w >> 22n) ^ w);
  };
  for (const v of [0, 1, 2, 12345, 0x7fffffff, 0x80000000, 0xdeadbeef, 0xffffffff]) expect(pcg(v)).toBe(exact(v));
});

test('dropout keeps the stated share, scales it up, and differs by seed, micro-batch and site', () => {
  const n = 20_000;
  const draw = (seed: number, counter: number, site: number): number[] =>
    Array.from({ length: n }, (_, i) => dropoutKeep(seed, counter, site, i, 0.3));
  const one = draw(1, 0, 0);
  const kept = one.filter((k) => k > 0);
  expect(kept.every((k) => k === 1 / 0.7)).toBe(true);
  expect(Math.abs(kept.length / n - 0.7)).toBeLessThan(0.02); // six standard errors
  for (const other of [draw(2, 0, 0), draw(1, 1, 0), draw(1, 0, 1)]) {
    const same = other.filter((k, i) => k === one[i]).length / n;
    expect(Math.abs(same - (0.7 ** 2 + 0.3 ** 2))).toBeLessThan(0.03);
  }
  expect(dropoutKeep(1, 0, 0, 0, 0)).toBe(1);
  expect(dropoutThreshold(0.5)).toBe(0x80000000);
});

test('clipping scales to the norm as torch does, and 0 means none', () => {
  expect(sumOfSquares(Float64Array.of(3, 4))).toBe(25);
  expect(clipCoefficient(5, 0)).toBe(1);
  expect(clipCoefficient(5, 10)).toBe(1);
  expect(clipCoefficient(5, 1)).toBeCloseTo(1 / 5.000001, 12);
});

test('the first AdamW step moves each weight by the rate against its gradient, after decay', () => {
  const w = Float64Array.of(1, -2, 3);
  const g = Float64Array.of(0.5, -0.25, 0);
  const options = { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.5, clipNorm: 0 };
  const [m, v] = [zeros(3), zeros(3)];
  adamwStep(w, m, v, g, 1, options, 1, true);
  const expected = [0.95 - 0.1, -1.9 + 0.1, 2.85];
  w.forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i], 7);
  });
  const still = Float64Array.of(3);
  adamwStep(still, zeros(1), zeros(1), zeros(1), 1, options, 1, false);
  expect(still[0]).toBe(3);
});
