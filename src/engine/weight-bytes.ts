// The bytes of one shard of a matrix: converted and written to the GPU a few megabytes at a time, and read back as a file has them.
import type { RawTensor } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import type { Shard } from './calls.ts';
import { BLOCKS, encode, encodedBytes } from './convert.ts';
import { downloadBytes, elements, type Gpu, tensorBytes, upload } from './gpu.ts';
import { blockPlace, isBlocks, packBlocks, unpackBlocks } from './storage.ts';
import type { Tensor, WeightStorage } from './types.ts';

/** Numbers that are converted at once. */
const PIECE_NUMBERS = 2 ** 21;

/** Writes a shard's rows of `raw`; yields the bytes written as they are. @throws 'model/shape-mismatch', 'model/f16-overflow' */
export function* uploadRows(gpu: Gpu, raw: RawTensor, { tensor, first }: Shard): Iterable<number> {
  const columns = tensor.shape[tensor.shape.length - 1];
  const rows = elements(tensor.shape) / columns;
  // An even number of rows, so that the 16-bit scales of a piece begin at a whole word.
  const atOnce = Math.max(2, Math.floor(PIECE_NUMBERS / columns / 2) * 2);
  if (columns % BLOCKS[raw.dtype].numbers !== 0)
    throw new AppError('model/shape-mismatch', `${raw.name} has rows of ${columns} numbers, and ${raw.dtype} needs multiples of 32.`);
  const storage = heldAs(tensor);
  for (let row = 0; row < rows; row += atOnce) {
    const n = Math.min(atOnce, rows - row) * columns;
    const start = encodedBytes(raw.dtype, (first + row) * columns);
    const bytes = encode(raw.dtype, raw.bytes.subarray(start, start + encodedBytes(raw.dtype, n)), storage);
    if (isBlocks(storage)) {
      const { numbers, scales } = packBlocks(storage, bytes);
      const place = blockPlace(storage, (rows * columns) / 32, (row * columns) / 32);
      upload(gpu, tensor, numbers, place.numbers);
      upload(gpu, tensor, scales, place.scales);
    } else upload(gpu, tensor, bytes, tensorBytes([row, columns], storage));
    yield bytes.byteLength;
  }
}

/** A shard's numbers in the bytes of its type: for blocks those of the file that they came from. */
export async function readRows(gpu: Gpu, tensor: Tensor): Promise<Uint8Array> {
  const storage = heldAs(tensor);
  const n = elements(tensor.shape);
  const held = await downloadBytes(gpu, tensor.buffer, tensor.offset, tensorBytes(tensor.shape, storage));
  return isBlocks(storage) ? unpackBlocks(storage, held, n / 32) : new Uint8Array(held, 0, encodedBytes(storage, n));
}

function heldAs({ dtype }: Tensor): WeightStorage {
  if (dtype === 'u32') throw new AppError('engine/conversion', 'A tensor of indices holds no weights.');
  return dtype;
}
