import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import {
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsTensor,
  tensorNumbers,
  writeSafetensors,
} from '../../src/formats/safetensors.ts';
import { AppError } from '../../src/lib/error.ts';
import { cpuTime, fixtureBytes, fixtureJson } from '../support/files.ts';

const verdicts = fixtureJson<Record<string, { accept: boolean; reason: string }>>('bad/verdicts.json');

/** A file of a header as text and data of so many bytes. */
function made(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const out = new Uint8Array(8 + json.length + data);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

async function outcome(bytes: Uint8Array, kind: 'model' | 'adapter' = 'model'): Promise<string> {
  // Both ways of reading must agree.
  let whole = 'accepted';
  try {
    readSafetensors(bytes, 'x.safetensors', kind);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    whole = error.code;
    expect(error.message).not.toBe('');
    expect(error.fix).not.toBe('');
  }
  let sliced = 'accepted';
  try {
    await readSafetensorsHeader(memorySource('x.safetensors', bytes), kind);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    sliced = error.code;
  }
  expect(sliced).toBe(whole);
  return whole;
}

const CODES = new Map([
  ['bad_header_len_huge', 'format/too-large'],
  ['bad_header_len_over_100mb', 'format/too-large'],
  ['bad_header_len_past_eof', 'format/truncated'],
  ['bad_header_len_zero', 'format/header'],
  ['bad_too_short', 'format/truncated'],
  ['bad_not_json', 'format/header'],
  ['bad_not_utf8', 'format/header'],
  ['bad_array_header', 'format/header'],
  ['bad_overlap', 'format/overlap'],
  ['bad_gap', 'format/overlap'],
  ['bad_trailing', 'format/overlap'],
  ['bad_truncated', 'format/truncated'],
  ['bad_first_not_zero', 'format/overlap'],
  ['bad_end_before_start', 'format/header'],
  ['bad_size_mismatch', 'format/header'],
  ['bad_shape_overflow', 'format/header'],
  ['bad_negative_dim', 'format/header'],
  ['bad_float_dim', 'format/header'],
  ['bad_dtype', 'format/unsupported-dtype'],
  ['bad_missing_field', 'format/header'],
  ['bad_metadata_not_string', 'format/header'],
  ['bad_duplicate_key', 'format/duplicate-name'],
]);

describe('the files of bad/', () => {
  test.each(Object.entries(verdicts).filter(([name]) => name.endsWith('.safetensors')))('%s', async (name, { accept }) => {
    const bytes = fixtureBytes(`bad/${name}`);
    const started = cpuTime();
    const found = await outcome(bytes);
    expect(cpuTime() - started).toBeLessThan(200);
    expect(found).toBe(accept ? 'accepted' : CODES.get(name.replace('.safetensors', '')));
    if (accept) expect(readSafetensors(bytes).warnings.length).toBe(name.startsWith('warn_') ? 1 : 0);
  });
});

const one = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';

describe('one way to be broken each', () => {
  test.each<[string, string, Uint8Array]>([
    ['no bytes at all', 'format/truncated', new Uint8Array(0)],
    ['a space before the header', 'format/header', made(` {${one}}`, 8)],
    ['a byte order mark', 'format/header', made(`\ufeff{${one}}`, 8)],
    ['text after the header', 'format/header', made(`{${one}} x`, 8)],
    ['a header cut in a text', 'format/header', made('{"a', 0)],
    ['a comma too many', 'format/header', made(`{${one},}`, 8)],
    ['a raw line break in a name', 'format/header', made('{"a\n":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4)],
    ['half a surrogate pair', 'format/header', made('{"\\ud800":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4)],
    ['depth', 'format/header', made(`{"a":${'['.repeat(100)}${']'.repeat(100)}}`)],
    ['a million brackets', 'format/header', made(`{"a":${'['.repeat(1_000_000)}`)],
    [
      'a name standing twice, escaped',
      'format/duplicate-name',
      made(`{${one},"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16),
    ],
    ['a field standing twice', 'format/duplicate-name', made('{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', 8)],
    ['metadata standing twice', 'format/duplicate-name', made(`{"__metadata__":{},"__metadata__":{},${one}}`, 8)],
    ['metadata that is a list', 'format/header', made(`{"__metadata__":[],${one}}`, 8)],
    ['an entry that is a number', 'format/header', made('{"a":1}')],
    ['a dtype in lower case', 'format/unsupported-dtype', made('{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}', 8)],
    ['three offsets', 'format/header', made('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', 8)],
    ['an offset with an exponent', 'format/header', made('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8e0]}}', 8)],
    ['an offset of 2^53', 'format/header', made('{"a":{"dtype":"F32","shape":[2],"data_offsets":[9007199254740992,9007199254741000]}}', 8)],
    ['a shape that is a text', 'format/header', made('{"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}}', 8)],
    ['nine axes', 'format/header', made('{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}', 8)],
    ['a long name', 'format/header', made(`{"${'n'.repeat(300)}":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)],
    [
      'a product that overflows past a zero',
      'format/header',
      made('{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}'),
    ],
    ['half a byte', 'format/header', made('{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}', 1)],
    ['data without a tensor', 'format/overlap', made('{}', 8)],
    ['two tensors on the same bytes', 'format/overlap', made(`{${one},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)],
  ])('%s', async (_, code, bytes) => {
    const started = cpuTime();
    expect(await outcome(bytes)).toBe(code);
    expect(cpuTime() - started).toBeLessThan(200);
  });

  test('adapters have a tighter cap on the header and on the number of tensors', async () => {
    const padded = made(`{${one}${' '.repeat(8_100_000)}}`, 8);
    expect(await outcome(padded, 'model')).toBe('accepted');
    expect(await outcome(padded, 'adapter')).toBe('format/too-large');
    const many = `{${Array.from({ length: 5_100 }, (_, i) => `"t${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join(',')}}`;
    expect(await outcome(made(many), 'model')).toBe('accepted');
    expect(await outcome(made(many), 'adapter')).toBe('format/header');
  });

  test('a file that shrinks after it was chosen is truncated, not misread', async () => {
    const bytes = made(`{${one}}`, 8);
    const source = { name: 'x', size: bytes.length, read: () => Promise.resolve(bytes.subarray(0, 3)) };
    await expect(readSafetensorsHeader(source)).rejects.toMatchObject({ code: 'format/truncated' });
  });
});

describe('writing', () => {
  const f32 = (name: string, values: readonly number[]): SafetensorsTensor => ({
    name,
    dtype: 'F32',
    shape: [values.length],
    bytes: new Uint8Array(new Float32Array(values).buffer),
  });

  test('what was written comes back bit for bit, in whatever order it was given', () => {
    const tensors: SafetensorsTensor[] = [
      f32('b', [1, -0, Number.NaN, 3e38]),
      { name: 'a', dtype: 'BF16', shape: [1, 3], bytes: new Uint8Array([1, 2, 3, 4, 5, 6]) },
      { name: '__proto__', dtype: 'I64', shape: [], bytes: new Uint8Array(8).fill(255) },
      { name: 'empty "ü', dtype: 'U8', shape: [0, 4], bytes: new Uint8Array(0) },
    ];
    const bytes = writeSafetensors(tensors, { format: 'pt', about: 'ü"' });
    const back = readSafetensors(bytes);
    expect(back.metadata).toEqual(
      new Map([
        ['about', 'ü"'],
        ['format', 'pt'],
      ]),
    );
    for (const t of tensors) expect(back.tensors.get(t.name)).toEqual({ ...t, bytes: back.tensors.get(t.name)?.bytes.subarray() });
    for (const t of tensors) expect([...(back.tensors.get(t.name)?.bytes ?? [])]).toEqual([...t.bytes]);
    expect(writeSafetensors([...tensors].reverse(), { about: 'ü"', format: 'pt' })).toEqual(bytes);
    expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
  });

  test('bytes and shape that disagree, and a name standing twice, are refused', () => {
    expect(() => writeSafetensors([{ ...f32('a', [1]), shape: [2] }])).toThrow(AppError);
    expect(() => writeSafetensors([f32('a', [1]), f32('a', [2])])).toThrow(AppError);
  });

  test('numbers of every plain type are read', () => {
    const of = (dtype: string, buffer: ArrayBufferLike, count: number): number[] => [
      ...tensorNumbers({ name: 't', dtype, shape: [count], bytes: new Uint8Array(buffer) }),
    ];
    expect(of('I64', new BigInt64Array([-5n, 7n]).buffer, 2)).toEqual([-5, 7]);
    expect(of('I32', new Int32Array([-5, 7]).buffer, 2)).toEqual([-5, 7]);
    expect(of('F64', new Float64Array([0.1]).buffer, 1)).toEqual([0.1]);
    expect(of('U8', new Uint8Array([200]).buffer, 1)).toEqual([200]);
    expect(of('F16', new Uint16Array([0x3c00, 0xc000]).buffer, 2)).toEqual([1, -2]);
    expect(of('BF16', new Uint16Array([0x3f80, 0xc000]).buffer, 2)).toEqual([1, -2]);
  });
});

test('300 mutated files each end accepted or in a typed error within 200 ms', async () => {
  const seeds = ['ok_two', 'ok_metadata_padding', 'ok_header_order', 'ok_scalar', 'ok_empty_tensor'].map((n) =>
    fixtureBytes(`bad/${n}.safetensors`),
  );
  const mutation = fc.record({ at: fc.nat(1000), kind: fc.constantFrom('flip', 'insert', 'remove', 'copy', 'token'), value: fc.nat(255) });
  const tokens = [
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    '9007199254740993',
    '1e308',
    '-1',
    'null',
    '\\u0000',
    '"__metadata__":',
    '"data_offsets":[0,8]',
    '[[[[',
  ];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...seeds), fc.array(mutation, { minLength: 1, maxLength: 6 }), async (seed, mutations) => {
      let bytes = [...seed];
      for (const { at, kind, value } of mutations) {
        const i = at % (bytes.length + 1);
        if (kind === 'flip' && i < bytes.length) bytes[i] ^= 1 << (value % 8);
        else if (kind === 'insert') bytes.splice(i, 0, value);
        else if (kind === 'remove') bytes.splice(i, 1 + (value % 16));
        else if (kind === 'copy') bytes = [...bytes.slice(0, i), ...bytes.slice(value % (bytes.length + 1))];
        else bytes.splice(i, 0, ...new TextEncoder().encode(tokens[value % tokens.length]));
      }
      const started = cpuTime();
      await outcome(Uint8Array.from(bytes));
      expect(cpuTime() - started).toBeLessThan(200);
    }),
    { numRuns: 300, seed: 5 },
  );
});
