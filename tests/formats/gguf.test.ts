import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { parseGguf, readGgufHeader } from '../../src/formats/gguf.ts';
import type { GgufTensor, GgufValue } from '../../src/formats/gguf-types.ts';
import { writeGguf } from '../../src/formats/gguf-write.ts';
import { AppError } from '../../src/lib/error.ts';
import { cpuTime, fixtureBytes, fixtureJson } from '../support/files.ts';

const verdicts = fixtureJson<Record<string, { accept: boolean; reason: string }>>('bad/verdicts.json');

async function outcome(bytes: Uint8Array): Promise<string> {
  let whole = 'accepted';
  try {
    parseGguf(bytes, 'x.gguf');
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    whole = error.code;
    expect(error.fix).not.toBe('');
  }
  let sliced = 'accepted';
  try {
    await readGgufHeader(memorySource('x.gguf', bytes));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    sliced = error.code;
  }
  expect(sliced).toBe(whole);
  return whole;
}

const CODES = new Map([
  ['bad_truncated', 'format/truncated'],
  ['bad_tensor_offset', 'format/truncated'],
  ['bad_dup_tensor', 'format/duplicate-name'],
  ['bad_dup_key', 'format/duplicate-name'],
]);

/** A header with one array key nested so deep: bad_nested_array.gguf, made here because the file has 120 kB. */
function nested(depth: number): Uint8Array {
  const out = writeGguf(new Map<string, GgufValue>([['k', { type: 'u32', value: 0 }]]), []);
  const head = out.subarray(0, 24 + 8 + 1);
  const bytes = new Uint8Array(head.length + 4 + depth * 12 + 4);
  bytes.set(head);
  const view = new DataView(bytes.buffer);
  view.setUint32(head.length, 9, true);
  for (let i = 0; i < depth; i++) {
    view.setUint32(head.length + 4 + i * 12, 9, true);
    view.setBigUint64(head.length + 8 + i * 12, 1n, true);
  }
  return bytes;
}

describe('the files of bad/', () => {
  test.each(Object.entries(verdicts).filter(([name]) => name.endsWith('.gguf')))('%s', async (name, { accept }) => {
    const bytes = name === 'bad_nested_array.gguf' ? nested(10_000) : fixtureBytes(`bad/${name}`);
    const started = cpuTime();
    const found = await outcome(bytes);
    expect(cpuTime() - started).toBeLessThan(200);
    expect(found).toBe(accept ? 'accepted' : (CODES.get(name.replace('.gguf', '')) ?? 'format/header'));
  });
});

const metadata = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['u8', { type: 'u8', value: 255 }],
  ['i8', { type: 'i8', value: -128 }],
  ['u16', { type: 'u16', value: 65535 }],
  ['i16', { type: 'i16', value: -2 }],
  ['u32', { type: 'u32', value: 4294967295 }],
  ['i32', { type: 'i32', value: -7 }],
  ['f32', { type: 'f32', value: 0.5 }],
  ['f64', { type: 'f64', value: 0.1 }],
  ['u64', { type: 'u64', value: 2 ** 53 - 1 }],
  ['i64', { type: 'i64', value: -(2 ** 40) }],
  ['bool', { type: 'bool', value: true }],
  ['texts', { type: 'array', of: 'string', value: ['a', '', 'ü\u0000'] }],
  ['numbers', { type: 'array', of: 'i32', value: [1, -2] }],
  ['bools', { type: 'array', of: 'bool', value: [true, false] }],
  ['__proto__', { type: 'string', value: 'x' }],
]);
const tensor = (name: string, shape: readonly number[], type: string, bytes: number): GgufTensor => ({
  name,
  shape,
  type,
  bytes: Uint8Array.from({ length: bytes }, (_, i) => (i * 7) & 255),
});

describe('writing', () => {
  test.each([32, 64])('every value type and tensors come back bit for bit (alignment %i)', (alignment) => {
    const keys = new Map(metadata).set('general.alignment', { type: 'u32', value: alignment });
    const tensors = [
      tensor('a', [3, 5], 'F32', 60),
      tensor('q', [2, 32], 'Q8_0', 68),
      tensor('one', [], 'F32', 4),
      tensor('none', [0, 4], 'F16', 0),
    ];
    const bytes = writeGguf(keys, tensors);
    const header = parseGguf(bytes);
    expect(header.metadata).toEqual(keys);
    expect([...header.metadata.keys()]).toEqual([...keys.keys()]);
    expect(header.alignment).toBe(alignment);
    for (const t of tensors) {
      const info = header.tensors.get(t.name);
      expect(info?.shape).toEqual(t.shape);
      expect(info?.type.name).toBe(t.type);
      expect((info?.start ?? 1) % alignment).toBe(0);
      expect(bytes.slice(info?.start, info?.end)).toEqual(t.bytes);
    }
    expect(writeGguf(header.metadata, tensors)).toEqual(bytes);
  });

  test('a real file read and written again has the same bytes', () => {
    const bytes = fixtureBytes('quant/llama/gguf_q4_0/model.gguf');
    const header = parseGguf(bytes);
    const tensors = [...header.tensors.values()].map((t) => ({
      name: t.name,
      shape: t.shape,
      type: t.type.name,
      bytes: bytes.subarray(t.start, t.end),
    }));
    expect(writeGguf(header.metadata, tensors)).toEqual(bytes);
  });

  test('a header longer than the first read is read in steps', async () => {
    const long = new Map(metadata).set('tokens', {
      type: 'array',
      of: 'string',
      value: Array.from({ length: 90_000 }, (_, i) => `token ${i}`),
    });
    const bytes = writeGguf(long, [tensor('a', [4], 'F32', 16)]);
    let reads = 0;
    const source = {
      name: 'x',
      size: bytes.length,
      read: (start: number, end: number) => {
        reads++;
        return Promise.resolve(bytes.subarray(start, end));
      },
    };
    expect((await readGgufHeader(source)).metadata).toEqual(long);
    expect(reads).toBeLessThanOrEqual(3);
  });

  test('bytes of another size than shape and type are refused', () => {
    expect(() => writeGguf(new Map(), [tensor('a', [3], 'F32', 8)])).toThrow(AppError);
    expect(() => writeGguf(new Map(), [tensor('a', [33], 'Q8_0', 34)])).toThrow(AppError);
    expect(() => writeGguf(new Map(), [tensor('a', [1], 'F32', 4), tensor('a', [1], 'F32', 4)])).toThrow(AppError);
    expect(() => writeGguf(new Map(), [tensor('a', [1], 'Q9', 4)])).toThrow(AppError);
  });
});

describe('one way to be broken each', () => {
  /** A small file with one 32- or 64-bit field changed; `find` says where. */
  function patched(find: (bytes: Uint8Array) => number, value: bigint, size: 4 | 8): Uint8Array {
    const bytes = writeGguf(new Map<string, GgufValue>([['k', { type: 'u32', value: 1 }]]), [
      tensor('aa', [2, 32], 'Q4_0', 36),
      tensor('bb', [4], 'F32', 16),
    ]);
    const view = new DataView(bytes.buffer);
    if (size === 4) view.setUint32(find(bytes), Number(value), true);
    else view.setBigUint64(find(bytes), value, true);
    return bytes;
  }
  const behind =
    (name: string, skip: number) =>
    (bytes: Uint8Array): number =>
      Buffer.from(bytes).indexOf(name) + name.length + skip;

  test.each<[string, string, Uint8Array]>([
    ['an empty file', 'format/truncated', new Uint8Array(0)],
    ['a web page', 'format/header', new TextEncoder().encode(`<!doctype html>${' '.repeat(50)}`)],
    ['2^63 keys', 'format/header', patched(() => 16, 1n << 63n, 8)],
    ['a key of 2^40 bytes', 'format/header', patched(() => 24, 1n << 40n, 8)],
    ['an unknown tensor type', 'format/unsupported-dtype', patched(behind('bb', 12), 99n, 4)],
    ['a row that is no whole block', 'format/header', patched(behind('aa', 4), 31n, 8)],
    ['a size of 2^63', 'format/header', patched(behind('bb', 4), 1n << 63n, 8)],
    ['sizes whose product is 2^68', 'format/header', patched(behind('aa', 12), 1n << 63n, 8)],
    ['an offset of 2^63', 'format/header', patched(behind('bb', 16), 1n << 63n, 8)],
    ['tensors that overlap', 'format/overlap', patched(behind('bb', 16), 0n, 8)],
    ['five axes', 'format/header', patched(behind('bb', 0), 5n, 4)],
    [
      'a value that is neither true nor false',
      'format/header',
      (() => {
        const bytes = writeGguf(new Map<string, GgufValue>([['flag', { type: 'bool', value: true }]]), []);
        bytes[24 + 8 + 4 + 4] = 2;
        return bytes;
      })(),
    ],
    ['a name of 64 bytes', 'format/header', writeGguf(new Map(), [tensor('n'.repeat(64), [1], 'F32', 4)])],
    ['an alignment of 48', 'format/header', writeGguf(new Map([['general.alignment', { type: 'u32', value: 48 }]]), [])],
    ['an alignment of another type', 'format/header', writeGguf(new Map([['general.alignment', { type: 'u64', value: 32 }]]), [])],
  ])('%s', async (_, code, bytes) => {
    const started = cpuTime();
    expect(await outcome(bytes)).toBe(code);
    expect(cpuTime() - started).toBeLessThan(200);
  });

  test('every cut of a file is truncated, never misread', async () => {
    const bytes = fixtureBytes('bad/ok_minimal.gguf');
    for (let length = 0; length < bytes.length; length++)
      expect(['format/truncated', 'format/header']).toContain(await outcome(bytes.slice(0, length)));
  });
});

test('300 mutated headers each end accepted or in a typed error within 200 ms', async () => {
  const seeds = [
    fixtureBytes('bad/ok_minimal.gguf'),
    writeGguf(metadata, [tensor('a', [3, 5], 'F32', 60), tensor('q', [2, 32], 'Q8_0', 68)]),
  ];
  const extremes = [0n, 1n, 9n, 255n, 1n << 31n, 1n << 32n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n];
  const mutation = fc.record({ at: fc.nat(2000), kind: fc.constantFrom('flip', 'word', 'long', 'remove', 'insert'), value: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...seeds), fc.array(mutation, { minLength: 1, maxLength: 4 }), async (seed, mutations) => {
      const bytes = [...seed];
      for (const { at, kind, value } of mutations) {
        const i = at % bytes.length;
        const extreme = extremes[value % extremes.length];
        if (kind === 'flip') bytes[i] ^= 1 << (value % 8);
        else if (kind === 'remove') bytes.splice(i, 1 + (value % 8));
        else if (kind === 'insert') bytes.splice(i, 0, value);
        else
          for (let b = 0; b < (kind === 'word' ? 4 : 8) && i + b < bytes.length; b++)
            bytes[i + b] = Number((extreme >> BigInt(8 * b)) & 255n);
      }
      const started = cpuTime();
      await outcome(Uint8Array.from(bytes));
      expect(cpuTime() - started).toBeLessThan(200);
    }),
    { numRuns: 300, seed: 5 },
  );
});
