// How weights are held on the GPU: what each plan makes of a tensor, and the packing of GGUF's and MLC's blocks for the readers `_weights_q*.wgsl`.
import type { TensorInfo } from '../formats/types.ts';
import { BLOCKS } from './convert.ts';
import { BLOCKS_AT_ONCE } from './gpu.ts';
import type { StoragePlan, WeightStorage } from './types.ts';

export type BlockType = Extract<WeightStorage, 'q8_0' | 'q4_0' | 'q4_1' | 'q4f16_1' | 'q4f32_1'>;
export const isBlocks = (storage: WeightStorage | 'u32'): storage is BlockType => storage.startsWith('q');

/** Every plan, in the order in which they are shown. */
export const STORAGE_PLANS: readonly StoragePlan[] = ['as-is', 'f32', 'f16', '8-bit', '4-bit'];
/** What `4-bit` makes of a linear. Q4_1 takes 20 bytes a block and Q4_0 18, and loses far less: on the pinned text of stories260k (mean 0.3241 nats a token
 *  as f32, 0.3256 as Q8_0) they give 0.3138 and 0.4222, on its three stories 1.972 and 2.231 in all where f32 has 1.929. */
export const FOUR_BIT: BlockType = 'q4_1';

/** How a plan holds one tensor. Gains are always f32. Rows that are no whole blocks stay as they are, and so do numbers that have 4 bits already: other
 *  4 bits would lose again. */
export function storageOf(plan: StoragePlan, { name, shape, dtype }: Pick<TensorInfo, 'name' | 'shape' | 'dtype'>): WeightStorage {
  if (shape.length === 1) return 'f32';
  if (plan === 'f32' || plan === 'f16') return plan;
  if (plan === 'as-is' || shape[1] % 32 !== 0) return dtype;
  if (plan === '8-bit') return 'q8_0';
  if (dtype.startsWith('q4')) return dtype;
  return name === 'model.embed_tokens.weight' || name === 'lm_head.weight' ? 'q8_0' : FOUR_BIT;
}

/** Bytes of a block's scales, and words of its numbers. */
const SCALES: Readonly<Record<BlockType, number>> = { q8_0: 2, q4_0: 2, q4_1: 4, q4f16_1: 2, q4f32_1: 4 };
const WORDS: Readonly<Record<BlockType, number>> = { q8_0: 8, q4_0: 4, q4_1: 4, q4f16_1: 4, q4f32_1: 4 };
const LOW = 0x0f0f0f0f;

/** Four nibbles of 16 bits, one to a byte, and back. */
function spread(nibbles: number): number {
  const pairs = (nibbles | (nibbles << 8)) & 0x00ff00ff;
  return (pairs | (pairs << 4)) & LOW;
}
function gather(bytes: number): number {
  const pairs = ((bytes & LOW) | ((bytes & LOW) >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

/** Where block `block` of a matrix of `count` blocks is on the GPU: bytes to its numbers, and to its scales behind the last block's numbers. */
export function blockPlace(type: BlockType, count: number, block: number): { readonly numbers: number; readonly scales: number } {
  const size = WORDS[type] * 4;
  return { numbers: block * size, scales: Math.ceil(count / BLOCKS_AT_ONCE) * BLOCKS_AT_ONCE * size + block * SCALES[type] };
}

/** Blocks as files have them into the two runs that a reader wants: numbers, and scales (filled up to a whole word). A 4-bit block of GGUF has weight j and
 *  weight j + 16 in its byte j, MLC's has neighbours; here a word has eight neighbours, four in the low halves of its bytes and four in the high ones. */
export function packBlocks(type: BlockType, bytes: Uint8Array): { readonly numbers: Uint32Array; readonly scales: Uint8Array } {
  const [size, width, per] = [BLOCKS[type].bytes, SCALES[type], WORDS[type]];
  const count = bytes.length / size;
  const numbers = new Uint32Array(count * per);
  const scales = new Uint8Array(Math.ceil((count * width) / 4) * 4);
  for (let b = 0; b < count; b++) {
    const at = b * size;
    for (let i = 0; i < width; i++) scales[b * width + i] = bytes[at + i];
    const to = b * per;
    const from = at + width;
    const word = (w: number): number =>
      bytes[from + 4 * w] | (bytes[from + 4 * w + 1] << 8) | (bytes[from + 4 * w + 2] << 16) | (bytes[from + 4 * w + 3] << 24);
    if (type === 'q8_0') {
      for (let w = 0; w < 8; w++) numbers[to + w] = word(w);
      continue;
    }
    if (type === 'q4f16_1' || type === 'q4f32_1') {
      for (let w = 0; w < 4; w++) numbers[to + w] = spread(word(w) & 0xffff) | (spread(word(w) >>> 16) << 4);
      continue;
    }
    const [s0, s1, s2, s3] = [word(0), word(1), word(2), word(3)];
    numbers[to] = (s0 & LOW) | ((s1 & LOW) << 4);
    numbers[to + 1] = (s2 & LOW) | ((s3 & LOW) << 4);
    numbers[to + 2] = ((s0 >>> 4) & LOW) | (s1 & ~LOW);
    numbers[to + 3] = ((s2 >>> 4) & LOW) | (s3 & ~LOW);
  }
  return { numbers, scales };
}

/** packBlocks undone, bit for bit: `count` blocks of a matrix as it is on the GPU. */
export function unpackBlocks(type: BlockType, held: ArrayBuffer, count: number): Uint8Array {
  const [size, width, per] = [BLOCKS[type].bytes, SCALES[type], WORDS[type]];
  const words = new Uint32Array(held);
  const scales = new Uint8Array(held, blockPlace(type, count, 0).scales);
  const bytes = new Uint8Array(count * size);
  const put = (at: number, word: number): void => {
    for (let i = 0; i < 4; i++) bytes[at + i] = (word >>> (8 * i)) & 255;
  };
  for (let b = 0; b < count; b++) {
    const at = b * size;
    for (let i = 0; i < width; i++) bytes[at + i] = scales[b * width + i];
    const to = at + width;
    const t = words.subarray(b * per, (b + 1) * per);
    if (type === 'q8_0') for (let w = 0; w < 8; w++) put(to + 4 * w, t[w]);
    else if (type === 'q4f16_1' || type === 'q4f32_1')
      for (let w = 0; w < 4; w++) put(to + 4 * w, gather(t[w]) | (gather(t[w] >>> 4) << 16));
    else {
      put(to, (t[0] & LOW) | ((t[2] & LOW) << 4));
      put(to + 4, ((t[0] >>> 4) & LOW) | (t[2] & ~LOW));
      put(to + 8, (t[1] & LOW) | ((t[3] & LOW) << 4));
      put(to + 12, ((t[1] >>> 4) & LOW) | (t[3] & ~LOW));
    }
  }
  return bytes;
}
