// The index of MLC's shards, `tensor-cache.json` (before 2025 `ndarray-cache.json`): which tensor lies where in which file.
//   {metadata, records: [{dataPath, format: "raw-shard", nbytes, md5sum, records: [{name, shape, dtype, format, nbytes, byteOffset}]}]}
// A float32 tensor of format "f32-to-bf16" is stored as bfloat16; everything else is stored as its dtype says.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import { baseName, groups } from './bytes.ts';
import { shown } from './json.ts';
import { readJsonFile } from './model-files.ts';
import type { ByteSource } from './types.ts';

/** How the numbers of a tensor are stored. */
export type MlcNumbers = 'u32' | 'f16' | 'f32' | 'bf16';
export const NUMBER_BYTES: Readonly<Record<MlcNumbers, number>> = { u32: 4, f16: 2, f32: 4, bf16: 2 };

export interface MlcTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** As the index says: "uint32", "float16", "float32". */
  readonly dtype: string;
  readonly numbers: MlcNumbers;
  readonly shard: ByteSource;
  /** Bytes [start, end) of the shard. */
  readonly start: number;
  readonly end: number;
}
export interface MlcShard {
  readonly file: ByteSource;
  /** 32 lower-case hex digits, where the index states them. */
  readonly md5?: string;
}
export interface MlcIndex {
  readonly shards: readonly MlcShard[];
  readonly tensors: ReadonlyMap<string, MlcTensor>;
}

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Index = v.looseObject({
  records: v.pipe(
    v.array(
      v.looseObject({
        dataPath: v.string(),
        format: v.string(),
        nbytes: whole,
        md5sum: v.nullish(v.string()),
        records: v.array(
          v.looseObject({
            name: v.pipe(v.string(), v.maxLength(512)),
            shape: v.pipe(v.array(whole), v.maxLength(8)),
            dtype: v.string(),
            format: v.nullish(v.string()),
            nbytes: whole,
            byteOffset: whole,
          }),
        ),
      }),
    ),
    v.minLength(1),
    v.maxLength(10_000),
  ),
});

/** @throws 'mlc/index', 'mlc/shards-missing', 'mlc/shard-size', 'format/truncated', 'format/duplicate-name', 'format/unsupported-dtype', 'format/json' */
export async function readMlcIndex(file: ByteSource, folder: ReadonlyMap<string, ByteSource>): Promise<MlcIndex> {
  const parsed = v.safeParse(Index, await readJsonFile(file));
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw badIndex(file.name, `at ${v.getDotPath(issue) ?? 'the whole file'}, ${issue.message}`);
  }
  const { records } = parsed.output;
  for (const { dataPath, format } of records) {
    if (!/^[^/\\:]+$/.test(dataPath) || dataPath.startsWith('.'))
      throw badIndex(file.name, `${shown(dataPath)} is not the bare name of a file`);
    if (format !== 'raw-shard')
      throw badIndex(file.name, `${shown(dataPath)} has the format ${shown(format)}, and "raw-shard" is read here`);
  }
  if (new Set(records.map(({ dataPath }) => dataPath)).size < records.length) throw badIndex(file.name, 'a shard stands in it twice');
  const missing = records.map(({ dataPath }) => dataPath).filter((name) => !folder.has(name));
  if (missing.length > 0)
    throw new AppError(
      'mlc/shards-missing',
      `${missing.length} of ${records.length} shards ${missing.length === 1 ? 'is' : 'are'} missing: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}.`,
      {
        why: `${baseName(file.name)} names them, and they are not among the chosen files.`,
        fix: 'Choose the whole folder, or get them from the same place and choose all files together.',
        facts: { missing: missing.slice(0, 50).join(', '), count: missing.length },
      },
    );
  const shards: MlcShard[] = [];
  const tensors = new Map<string, MlcTensor>();
  for (const record of records) {
    const shard = folder.get(record.dataPath);
    if (shard === undefined) continue;
    checkSize(shard, record.nbytes);
    const md5 = record.md5sum?.toLowerCase();
    if (md5 !== undefined && !/^[0-9a-f]{32}$/.test(md5))
      throw badIndex(file.name, `the md5sum of ${shown(record.dataPath)} is not 32 hex digits`);
    shards.push({ file: shard, ...(md5 === undefined ? {} : { md5 }) });
    let free = 0;
    for (const entry of [...record.records].sort((a, b) => a.byteOffset - b.byteOffset)) {
      const { name, shape, dtype, byteOffset: start } = entry;
      const numbers = numbersOf(name, dtype, entry.format ?? 'raw');
      const bytes = shape.reduce((product, dim) => product * dim, NUMBER_BYTES[numbers]);
      if (bytes !== entry.nbytes)
        throw badIndex(
          file.name,
          `${shown(name)} of shape [${shape.join(', ')}] takes ${groups(bytes)} bytes and is said to take ${groups(entry.nbytes)}`,
        );
      if (start < free) throw badIndex(file.name, `${shown(name)} lies over another tensor of ${shown(record.dataPath)}`);
      if (start + bytes > record.nbytes) throw badIndex(file.name, `${shown(name)} ends behind the end of ${shown(record.dataPath)}`);
      if (tensors.has(name))
        throw new AppError('format/duplicate-name', `The tensor ${shown(name)} is in the shards twice.`, {
          fix: 'Get the folder again from where it came.',
          facts: { tensor: name },
        });
      free = start + bytes;
      tensors.set(name, { name, shape, dtype, numbers, shard, start, end: free });
    }
  }
  return { shards, tensors };
}

function checkSize(shard: ByteSource, wanted: number): void {
  if (shard.size === wanted) return;
  throw new AppError('mlc/shard-size', `${baseName(shard.name)} has ${groups(shard.size)} bytes; its index says ${groups(wanted)}.`, {
    why:
      shard.size < wanted
        ? 'The download or the copy stopped before its end.'
        : 'It is the shard of another model, or of another version of this one.',
    fix: 'Get this file again, from the place where the index came from.',
    facts: { file: shard.name, size: shard.size, expected: wanted },
  });
}

function numbersOf(name: string, dtype: string, format: string): MlcNumbers {
  if (format !== 'raw' && format !== 'f32-to-bf16')
    throw new AppError(
      'format/unsupported-dtype',
      `The tensor ${shown(name)} is stored as ${shown(format)}; "raw" and "f32-to-bf16" are read here.`,
      {
        fix: 'Choose the model in another quantization: q4f16_1, q4f32_1, q0f16 or q0f32.',
        facts: { tensor: name, format },
      },
    );
  if (dtype === 'float32') return format === 'raw' ? 'f32' : 'bf16';
  if (dtype === 'float16') return 'f16';
  if (dtype === 'bfloat16') return 'bf16';
  if (dtype === 'uint32') return 'u32';
  throw new AppError('format/unsupported-dtype', `The tensor ${shown(name)} has the number type ${shown(dtype)}, which is not read here.`, {
    why: 'uint32, float16, bfloat16 and float32 are read.',
    fix: 'Choose the model in another quantization: q4f16_1, q4f32_1, q0f16 or q0f32.',
    facts: { tensor: name, dtype },
  });
}

function badIndex(name: string, what: string): AppError {
  return new AppError('mlc/index', `${name} cannot be used: ${what}.`, {
    why: 'The file is damaged, was changed by hand, or is of another kind.',
    fix: 'Get it again from where the model came from.',
    facts: { file: name },
  });
}
