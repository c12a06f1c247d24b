// The nouns of GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and `ggml/include/gguf.h`.
import { AppError } from '../lib/error.ts';

export type GgufNumberType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'u64' | 'i64' | 'f64';
export type GgufElementType = GgufNumberType | 'bool' | 'string';

/** A metadata value with the type it is stored in, since programs insist on it. 64-bit integers are numbers here, exact up to 2^53. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly of: 'bool'; readonly value: readonly boolean[] }
  | { readonly type: 'array'; readonly of: GgufNumberType; readonly value: readonly number[] };

/** Value types by their number in the file; 9 is an array. */
export const VALUE_TYPES: readonly (GgufElementType | 'array')[] = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
];
/** Bytes of one value; a string takes at least its length field. */
export const VALUE_BYTES: Readonly<Record<GgufElementType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
};

export interface GgufTensorType {
  readonly id: number;
  readonly name: string;
  /** Weights and bytes of one block. */
  readonly weights: number;
  readonly bytes: number;
}

/** Every tensor type of ggml that can stand in a file, so that a type that is not read here is at least named and measured. */
export const TENSOR_TYPES: ReadonlyMap<number, GgufTensorType> = new Map(
  (
    [
      [0, 'F32', 1, 4],
      [1, 'F16', 1, 2],
      [2, 'Q4_0', 32, 18],
      [3, 'Q4_1', 32, 20],
      [6, 'Q5_0', 32, 22],
      [7, 'Q5_1', 32, 24],
      [8, 'Q8_0', 32, 34],
      [9, 'Q8_1', 32, 36],
      [10, 'Q2_K', 256, 84],
      [11, 'Q3_K', 256, 110],
      [12, 'Q4_K', 256, 144],
      [13, 'Q5_K', 256, 176],
      [14, 'Q6_K', 256, 210],
      [15, 'Q8_K', 256, 292],
      [16, 'IQ2_XXS', 256, 66],
      [17, 'IQ2_XS', 256, 74],
      [18, 'IQ3_XXS', 256, 98],
      [19, 'IQ1_S', 256, 50],
      [20, 'IQ4_NL', 32, 18],
      [21, 'IQ3_S', 256, 110],
      [22, 'IQ2_S', 256, 82],
      [23, 'IQ4_XS', 256, 136],
      [24, 'I8', 1, 1],
      [25, 'I16', 1, 2],
      [26, 'I32', 1, 4],
      [27, 'I64', 1, 8],
      [28, 'F64', 1, 8],
      [29, 'IQ1_M', 256, 56],
      [30, 'BF16', 1, 2],
      [34, 'TQ1_0', 256, 54],
      [35, 'TQ2_0', 256, 66],
      [39, 'MXFP4', 32, 17],
    ] as const
  ).map(([id, name, weights, bytes]) => [id, { id, name, weights, bytes }]),
);

/** The tensor type of that name. */
export function tensorType(name: string): GgufTensorType {
  for (const type of TENSOR_TYPES.values()) if (type.name === name) return type;
  throw new AppError('format/unsupported-dtype', `GGUF has no tensor type ${name}.`, { facts: { dtype: name } });
}

/** Where a tensor lies: [start, end) in bytes from the beginning of the file. Shape slowest axis first, the reverse of the file's order. */
export interface GgufTensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgufTensorType;
  readonly start: number;
  readonly end: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in the file's order. */
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
  readonly alignment: number;
  /** Where the tensors' data begins, in bytes. */
  readonly dataStart: number;
}

/** A tensor to be written. Shape slowest axis first. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** As GGUF names it: "F32", "Q8_0". */
  readonly type: string;
  readonly bytes: Uint8Array;
}
