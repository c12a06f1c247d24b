import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type JsonValue, parseJson } from '../../src/formats/json.ts';
import { AppError } from '../../src/lib/error.ts';
import { cpuTime } from '../support/files.ts';

function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

test('what JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), (text) => {
      expect(plain(parseJson(text, { name: 'x' }))).toEqual(JSON.parse(text));
    }),
    { numRuns: 500, seed: 5 },
  );
});

test('what JSON.parse refuses is refused', () => {
  fc.assert(
    fc.property(
      fc.json(),
      fc.nat(),
      fc.constantFrom('"', '{', ']', ',', '\\', '0', '-', '.', 'e', '\n', '\u0000', 'x', ''),
      (text, at, piece) => {
        const i = at % (text.length + 1);
        const broken = text.slice(0, i) + piece + text.slice(i + 1);
        let theirs: unknown;
        let valid = true;
        try {
          theirs = JSON.parse(broken);
        } catch {
          valid = false;
        }
        try {
          expect(plain(parseJson(broken, { name: 'x' }))).toEqual(theirs);
          expect(valid).toBe(true);
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
          // Stricter than JSON.parse in two things only: names standing twice, and halves of surrogate pairs.
          if (valid) expect(error.code === 'format/duplicate-name' || error.message.includes('surrogate')).toBe(true);
        }
      },
    ),
    { numRuns: 1000, seed: 5 },
  );
});

test('names that stand twice, depth, and numbers that are not whole where whole ones are asked for', () => {
  expect(() => parseJson('{"a":1,"\\u0061":2}', { name: 'x' })).toThrow(/twice/);
  expect(() => parseJson(`${'['.repeat(65)}${']'.repeat(65)}`, { name: 'x' })).toThrow(/64 levels/);
  expect(parseJson('[1,2.0,-1,1e3]', { name: 'x', wholeNumbers: true })).toEqual([1, Number.NaN, Number.NaN, Number.NaN]);
  const proto = parseJson('{"__proto__":{"x":1}}', { name: 'x' });
  expect(proto instanceof Map && proto.has('__proto__')).toBe(true);
});

test('nearly two megabytes are read within 400 ms', () => {
  const text = JSON.stringify(
    Array.from({ length: 25_000 }, (_, i) => ({ dtype: 'F32', shape: [i, 2], data_offsets: [i, i + 1], name: `t${i}` })),
  );
  expect(text.length).toBeGreaterThan(1_500_000);
  const started = cpuTime();
  parseJson(text, { name: 'x' });
  expect(cpuTime() - started).toBeLessThan(400);
});
