// A model in one GGUF file, given out as Hugging Face would name and order it.
import { AppError } from '../lib/error.ts';
import { baseName, floats32, groups } from './bytes.ts';
import { readGgufHeader, readGgufTensor } from './gguf.ts';
import { badKey, numberAt, shortFloat, stringAt, stringsAt, wholeAt } from './gguf-metadata.ts';
import { ggufStops } from './gguf-stops.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import type { GgufHeader, GgufTensorInfo } from './gguf-types.ts';
import { unsupported, unsupportedArchitecture } from './hf-config.ts';
import { shown } from './json.ts';
import { checkTensors, expectedTensors } from './llama-tensors.ts';
import { BLOCK } from './quant.ts';
import type { ByteSource, ModelConfig, ModelSource, RawTensor, WeightType } from './types.ts';

const DTYPES: ReadonlyMap<string, WeightType> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['Q8_0', 'q8_0'],
  ['Q4_0', 'q4_0'],
  ['Q4_1', 'q4_1'],
]);

/** Tensors that a Llama may carry and that change nothing here: rotation tables are computed. */
const IGNORED = /^(rope_freqs\.weight|blk\.\d+\.attn_rot_embd(\.weight)?)$/;

/** @throws 'model/unsupported-architecture', 'model/unsupported-feature', 'model/unsupported-tokenizer', 'model/config', 'model/tokenizer-mismatch',
 *  'model/adapter', 'model/missing-tensors', 'model/shape-mismatch', 'format/...' */
export async function openGguf(file: ByteSource): Promise<ModelSource> {
  const header = await readGgufHeader(file);
  const { metadata, tensors } = header;
  const architecture = stringAt(metadata, 'general.architecture');
  if (architecture === undefined) throw badKey('general.architecture', 'is missing');
  if (stringAt(metadata, 'general.type') === 'adapter') throw adapterNotModel(file.name);
  if (architecture !== 'llama') throw unsupportedArchitecture(architecture);
  if ((wholeAt(metadata, 'split.count', 0, 65_535) ?? 0) > 1) throw splitGguf(file.name);
  const config = await readConfig(file, header);
  const tokenizer = ggufTokenizer(metadata);

  const expected = expectedTensors(config);
  checkTensors(
    expected,
    (tensor) => tensors.get(tensor.gguf)?.shape,
    (tensor) => tensor.gguf,
  );
  const known = new Set(expected.map((tensor) => tensor.gguf));
  for (const name of tensors.keys()) {
    if (!known.has(name) && !IGNORED.test(name))
      throw unsupported(`the tensor ${shown(name)}`, 'linears without bias and one feed-forward block a layer are computed here');
  }
  const plan = expected.map((tensor) => {
    const place = tensors.get(tensor.gguf);
    if (place === undefined) throw new Error(`checkTensors let ${tensor.gguf} through`);
    const dtype = readableType(place, file.name);
    return { info: { name: tensor.name, shape: tensor.shape, dtype, bytes: place.end - place.start }, place, heads: tensor.regroup };
  });
  return {
    format: 'gguf',
    name: stringAt(metadata, 'general.name') ?? baseName(file.name).replace(/\.gguf$/i, ''),
    config,
    tokenizer,
    files: [file],
    tensorInfos: plan.map(({ info }) => info),
    async *tensors(): AsyncIterable<RawTensor> {
      for (const { info, place, heads } of plan) {
        const bytes = await readGgufTensor(file, place);
        yield {
          name: info.name,
          shape: info.shape,
          dtype: info.dtype,
          bytes: heads === 0 ? bytes : regroupRows(bytes, info.shape[0], heads, 'to-hugging-face'),
        };
      }
    },
  };
}

function readableType(place: GgufTensorInfo, file: string): WeightType {
  const dtype = DTYPES.get(place.type.name);
  if (dtype !== undefined) return dtype;
  throw new AppError(
    'format/unsupported-dtype',
    `The tensor ${shown(place.name)} is stored as ${place.type.name}, which is not read here.`,
    {
      why: 'F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are read.',
      fix: 'Choose the Q8_0, Q4_0 or F16 file of this model.',
      facts: { file, tensor: place.name, dtype: place.type.name },
    },
  );
}

/** llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head, so under architecture `llama` the rows of q and k stand in another
 *  order: row (head, half, i) of Hugging Face is row (head, i, half) of GGUF. Whole rows move, so quantized blocks stay as they are. */
export function regroupRows(bytes: Uint8Array, rows: number, heads: number, direction: 'to-hugging-face' | 'to-gguf'): Uint8Array {
  const size = bytes.length / rows;
  const half = rows / heads / 2;
  const out = new Uint8Array(bytes.length);
  for (let head = 0; head < heads; head++) {
    for (let side = 0; side < 2; side++) {
      for (let i = 0; i < half; i++) {
        const hf = (head * 2 + side) * half + i;
        const gguf = (head * half + i) * 2 + side;
        const [from, to] = direction === 'to-hugging-face' ? [gguf, hf] : [hf, gguf];
        out.set(bytes.subarray(from * size, (from + 1) * size), to * size);
      }
    }
  }
  return out;
}

async function readConfig(file: ByteSource, header: GgufHeader): Promise<ModelConfig> {
  const { metadata, tensors } = header;
  const need = (key: string, max: number): number => {
    const n = wholeAt(metadata, `llama.${key}`, 1, max);
    if (n === undefined) throw badKey(`llama.${key}`, 'is missing');
    return n;
  };
  const C = need('embedding_length', 65_536);
  const NH = need('attention.head_count', 4_096);
  const NKV = wholeAt(metadata, 'llama.attention.head_count_kv', 1, 4_096) ?? NH;
  const HS = wholeAt(metadata, 'llama.attention.key_length', 1, 4_096) ?? C / NH;
  if (!Number.isInteger(HS) || HS % 2 !== 0)
    throw badKey('llama.attention.key_length', `gives a head size of ${HS}; an even whole number is needed`);
  if (NH % NKV !== 0) throw badKey('llama.attention.head_count_kv', `is ${NKV}, which does not divide the ${NH} heads`);
  const valueSize = wholeAt(metadata, 'llama.attention.value_length', 1, 4_096) ?? HS;
  if (valueSize !== HS)
    throw unsupported(
      `values of another size (${valueSize}) than keys (${HS})`,
      'heads with keys and values of one size are computed here',
    );
  const rotated = wholeAt(metadata, 'llama.rope.dimension_count', 1, 4_096) ?? HS;
  if (rotated !== HS) throw unsupported(`rotation of ${rotated} of ${HS} head dimensions`, 'only the whole head is rotated here');
  const scaling = stringAt(metadata, 'llama.rope.scaling.type') ?? 'none';
  if (scaling !== 'none')
    throw unsupported(`rope scaling of type ${shown(scaling)}`, 'no scaling and the divisors of Llama 3 are computed here');
  if ((numberAt(metadata, 'llama.rope.scale_linear') ?? 1) !== 1)
    throw unsupported('linear rope scaling', 'no scaling and the divisors of Llama 3 are computed here');
  const experts = wholeAt(metadata, 'llama.expert_count', 0, 65_535) ?? 0;
  if (experts > 0) throw unsupported(`a mixture of ${experts} experts`, 'one feed-forward block a layer is computed here');

  const normEps = numberAt(metadata, 'llama.attention.layer_norm_rms_epsilon');
  if (normEps === undefined || !(normEps > 0)) throw badKey('llama.attention.layer_norm_rms_epsilon', 'is missing or not positive');
  const ropeTheta = numberAt(metadata, 'llama.rope.freq_base') ?? 10_000;
  if (!(ropeTheta > 0) || !Number.isFinite(ropeTheta)) throw badKey('llama.rope.freq_base', 'is not a positive number');
  const embedding = tensors.get('token_embd.weight');
  const tokens = stringsAt(metadata, 'tokenizer.ggml.tokens')?.length ?? 0;
  const V = embedding?.shape[0] ?? tokens;
  if (embedding !== undefined && tokens !== V)
    throw new AppError(
      'model/tokenizer-mismatch',
      `The tokenizer has ${groups(tokens)} tokens and the embedding ${groups(V)} rows. They are not of the same model.`,
      {
        why: 'Every token number would stand for another text than the one the model learned.',
        fix: 'Convert the model again, or choose another GGUF file of it.',
        facts: { tokenizer: tokens, model: V },
      },
    );
  const divisors = await readDivisors(file, tensors.get('rope_freqs.weight'), HS);
  const id = (key: string): number | undefined => wholeAt(metadata, `tokenizer.ggml.${key}`, 0, Math.max(0, V - 1));
  const spm = stringAt(metadata, 'tokenizer.ggml.model') === 'llama';
  const bosId = id('bos_token_id') ?? (spm ? 1 : undefined);
  const padId = id('padding_token_id');
  return {
    architecture: 'llama',
    C,
    L: need('block_count', 1_024),
    NH,
    NKV,
    HS,
    F: need('feed_forward_length', 1_048_576),
    V,
    context: need('context_length', 2 ** 31),
    normEps: shortFloat(normEps),
    ropeTheta: shortFloat(ropeTheta),
    ...(divisors === undefined ? {} : { ropeScaling: { divisors } }),
    tied: !tensors.has('output.weight'),
    ...(bosId === undefined ? {} : { bosId }),
    stopIds: ggufStops(metadata, V),
    ...(padId === undefined ? {} : { padId }),
  };
}

/** Llama 3's rope scaling, as a GGUF stores it: what each of the HS / 2 frequencies is divided by. */
async function readDivisors(file: ByteSource, info: GgufTensorInfo | undefined, HS: number): Promise<readonly number[] | undefined> {
  if (info === undefined) return undefined;
  if (info.type.name !== 'F32' || info.end - info.start !== (HS / 2) * BLOCK.f32.bytes)
    throw badKey('rope_freqs.weight', `does not hold ${HS / 2} numbers of type F32`);
  const divisors = Array.from(floats32(await readGgufTensor(file, info), HS / 2));
  if (divisors.some((d) => !(d > 0) || !Number.isFinite(d))) throw badKey('rope_freqs.weight', 'holds a divisor that is not positive');
  return divisors;
}

function adapterNotModel(file: string): AppError {
  return new AppError('model/adapter', `${baseName(file)} is an adapter, not a model.`, {
    why: 'It holds the small add-on weights only; the model they belong to is another file.',
    fix: 'Open the base model first, then import this file as an adapter.',
    facts: { file },
  });
}

/** The error for one part of a model that was cut into several GGUF files. */
export function splitGguf(file: string): AppError {
  return new AppError('model/split-gguf', `${baseName(file)} is one part of a model cut into several GGUF files.`, {
    why: 'Only whole GGUF files are read here.',
    fix: 'Join the parts with "llama-gguf-split --merge", or choose a smaller file of the model that is whole.',
    facts: { file },
  });
}
