// A fit's state as one file: a JSON head that says where each tensor lies, then the bytes of every buffer.
import * as v from 'valibot';
import type { HostTensor, OptimizerState, Patch } from '../../src/engine/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { Checkpoint } from '../../src/methods/types.ts';

/** Where a trained tensor lies: `offset` bytes into buffer number `buffer`. */
export interface TensorPlace {
  readonly name: string;
  readonly shape: readonly number[];
  readonly buffer: number;
  readonly offset: number;
}

/** The places of a patch's tensors; buffers are numbered in the order in which its tensors first use them, as OptimizerState lists them. */
export function placesOf(patch: Patch): TensorPlace[] {
  const buffers = [...new Set([...patch.tensors.values()].map(({ buffer }) => buffer))];
  return [...patch.tensors].map(([name, { shape, buffer, offset }]) => ({
    name,
    shape: [...shape],
    buffer: buffers.indexOf(buffer),
    offset,
  }));
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const state = v.object({ step: count, buffers: v.array(v.object({ w: count, m: count, v: count })) });
const head = v.object({
  format: v.literal('maquette-checkpoint'),
  version: v.literal(1),
  epoch: count,
  position: count,
  randomCounter: count,
  rateFactor: v.number(),
  sinceBest: count,
  kernels: v.string(),
  optimizer: state,
  best: v.exactOptional(v.object({ step: count, score: v.number(), loss: v.number(), optimizer: state })),
  places: v.array(v.object({ name: v.string(), shape: v.array(count), buffer: count, offset: count })),
  /** Lengths in bytes of the blocks that follow the head. */
  blocks: v.array(count),
});
const HEAD_LENGTH_BYTES = 4;

export function encodeCheckpoint(checkpoint: Checkpoint, places: readonly TensorPlace[]): Uint8Array {
  const blocks: Uint8Array[] = [];
  // The best state is often the present one: the same bytes are written once.
  const known = new Map<Uint8Array, number>();
  const block = (bytes: Uint8Array): number => {
    let i = known.get(bytes);
    if (i === undefined) {
      i = blocks.push(bytes) - 1;
      known.set(bytes, i);
    }
    return i;
  };
  const packed = ({ step, buffers }: OptimizerState) => ({
    step,
    buffers: buffers.map(({ w, m, v: second }) => ({ w: block(w), m: block(m), v: block(second) })),
  });
  const { optimizer, best, ...rest } = checkpoint;
  const text = JSON.stringify({
    format: 'maquette-checkpoint',
    version: 1,
    ...rest,
    optimizer: packed(optimizer),
    ...(best === undefined ? {} : { best: { ...best, optimizer: packed(best.optimizer) } }),
    places,
    blocks: blocks.map(({ length }) => length),
  });
  const json = new TextEncoder().encode(text);
  const out = new Uint8Array(HEAD_LENGTH_BYTES + json.length + blocks.reduce((sum, { length }) => sum + length, 0));
  new DataView(out.buffer).setUint32(0, json.length, true);
  out.set(json, HEAD_LENGTH_BYTES);
  let at = HEAD_LENGTH_BYTES + json.length;
  for (const bytes of blocks) {
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}

/** @throws 'storage/damaged' */
export function decodeCheckpoint(bytes: Uint8Array): { readonly checkpoint: Checkpoint; readonly places: readonly TensorPlace[] } {
  const damaged = (why: string, cause?: unknown): AppError =>
    new AppError('storage/damaged', 'The saved state of a training run cannot be read.', { why, fix: 'Start the run again.', cause });
  if (bytes.length < HEAD_LENGTH_BYTES) throw damaged('It is too short.');
  const headBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const start = HEAD_LENGTH_BYTES + headBytes;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes.subarray(HEAD_LENGTH_BYTES, start)));
  } catch (cause) {
    throw damaged('Its head is not JSON.', cause);
  }
  const parsed = v.safeParse(head, json);
  if (!parsed.success) throw damaged(parsed.issues.map(({ message }) => message).join('; '));
  const { format: _format, version: _version, places, blocks, optimizer, best, ...rest } = parsed.output;
  if (start + blocks.reduce((sum, n) => sum + n, 0) !== bytes.length) throw damaged('Its length is not the one in its head.');
  const starts = blocks.map((_, i) => start + blocks.slice(0, i).reduce((sum, n) => sum + n, 0));
  const block = (i: number): Uint8Array => {
    const at = starts[i];
    if (at === undefined) throw damaged(`It has no block ${i}.`);
    return bytes.slice(at, at + blocks[i]);
  };
  const unpacked = (packed: v.InferOutput<typeof state>): OptimizerState => ({
    step: packed.step,
    buffers: packed.buffers.map((buffer) => ({ w: block(buffer.w), m: block(buffer.m), v: block(buffer.v) })),
  });
  return {
    checkpoint: {
      ...rest,
      optimizer: unpacked(optimizer),
      ...(best === undefined ? {} : { best: { ...best, optimizer: unpacked(best.optimizer) } }),
    },
    places,
  };
}

/** The trained tensors of a state, by name. @throws 'storage/damaged' where they lie outside its buffers */
export function tensorsOf(optimizer: OptimizerState, places: readonly TensorPlace[]): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>();
  for (const { name, shape, buffer, offset } of places) {
    const length = shape.reduce((product, n) => product * n, 1);
    const bytes = optimizer.buffers[buffer]?.w;
    if (bytes === undefined || offset + length * 4 > bytes.length) {
      throw new AppError('storage/damaged', 'The saved state of a training run cannot be read.', {
        why: `${name} lies outside of its buffer.`,
        fix: 'Start the run again.',
      });
    }
    tensors.set(name, { name, shape, data: new Float32Array(bytes.slice(offset, offset + length * 4).buffer) });
  }
  return tensors;
}
