// A model as MLC and web-llm lay it out: shards with an index, mlc-chat-config.json, tokenizer.json. Given out as Hugging Face would name and order it: the
// fused matrices fall into row blocks, 4-bit groups stay as they are.
import { createMD5 } from 'hash-wasm';
import { AppError } from '../lib/error.ts';
import { baseName, bytesOf, readRange, words16 } from './bytes.ts';
import { brainsToFloats } from './half.ts';
import { unsupported } from './hf-config.ts';
import { severalModels } from './hf-source.ts';
import { shown } from './json.ts';
import { checkTensors, expectedTensors } from './llama-tensors.ts';
import { noLayout, readMlcChatConfig } from './mlc-config.ts';
import { type MlcIndex, type MlcShard, type MlcTensor, NUMBER_BYTES, readMlcIndex } from './mlc-index.ts';
import { checkMlcLibrary, readMlcLibrary } from './mlc-library.ts';
import { checkType, GROUP, type MlcPlace, mlcPlace, mlcTensors } from './mlc-tensors.ts';
import { checkVocabulary, property, readJsonFile, readTextFile, tokenizerSize } from './model-files.ts';
import { byteLength, toF32 } from './quant.ts';
import type { ByteSource, ModelConfig, ModelSource, RawTensor, TensorInfo, TokenizerSpec, WeightType } from './types.ts';

export const CHAT_CONFIG = 'mlc-chat-config.json';
/** The newer name first; where both are there they are the same. */
export const INDEX_NAMES = ['tensor-cache.json', 'ndarray-cache.json'] as const;

export function looksLikeMlc(files: readonly ByteSource[]): boolean {
  return files.some(({ name }) => [CHAT_CONFIG, ...INDEX_NAMES].includes(baseName(name)) || /^params_shard_\d+\.bin$/.test(baseName(name)));
}

/** @throws 'model/missing-files', 'model/several-models', 'model/missing-tensors', 'model/shape-mismatch', 'model/tokenizer-mismatch',
 *  'model/unsupported-...', 'model/config', 'mlc/...', 'format/...' */
export async function openMlc(files: readonly ByteSource[]): Promise<ModelSource> {
  const folder = oneFolder(files);
  const pick = (name: string): ByteSource | undefined => folder.get(name);
  const indexFile = INDEX_NAMES.map(pick).find((file) => file !== undefined);
  const chatFile = pick(CHAT_CONFIG);
  const tokenizerFile = pick('tokenizer.json');
  if (indexFile === undefined || chatFile === undefined || tokenizerFile === undefined) throw missingFiles(folder);

  const index = await readMlcIndex(indexFile, folder);
  const json = await readJsonFile(tokenizerFile);
  const chatJson = await readJsonFile(chatFile);
  const generationFile = pick('generation_config.json');
  const hasHead = [...index.tensors.keys()].some((name) => name.startsWith('lm_head.'));
  const generation = generationFile === undefined ? undefined : await readJsonFile(generationFile);
  const chat = readMlcChatConfig(chatJson, { generation, tokenizer: json, hasHead });
  const { config } = chat;
  checkVocabulary(tokenizerSize(json), config.V);
  const tokenizerConfigFile = pick('tokenizer_config.json');
  const jinja = pick('chat_template.jinja');
  const tokenizerConfig = tokenizerConfigFile === undefined ? {} : await readJsonFile(tokenizerConfigFile);
  const chatTemplate = jinja === undefined ? (ownTemplate(tokenizerConfig) ?? chat.chatTemplate) : await readTextFile(jinja, 1_000_000);
  if (chatTemplate === undefined) throw noLayout(chatJson, json);
  const tokenizer: TokenizerSpec = { json, config: tokenizerConfig, chatTemplate };

  const expected = mlcTensors(config, chat.quantization);
  checkTensors(
    expected,
    ({ name }) => index.tensors.get(name)?.shape,
    ({ name }) => name,
  );
  for (const tensor of expected) checkType(tensor, index.tensors.get(tensor.name)?.dtype ?? '', chat.quantization);
  const known = new Set(expected.map(({ name }) => name));
  const other = [...index.tensors.keys()].find((name) => !known.has(name));
  if (other !== undefined)
    throw unsupported(`the tensor ${shown(other)}`, 'linears without bias and one feed-forward block a layer are computed here');

  const plan = planOf(config, index);
  const library = await libraryOf(folder, index);
  const used = [
    chatFile,
    tokenizerFile,
    tokenizerConfigFile,
    jinja,
    generationFile,
    indexFile,
    ...index.shards.map(({ file }) => file),
    library?.problem === undefined ? library?.file : undefined,
  ];
  return {
    format: 'mlc',
    name: nameOf(chatFile),
    config,
    tokenizer,
    files: used.filter((file) => file !== undefined),
    tensorInfos: plan.map(({ info }) => info),
    library:
      library === undefined ? {} : { name: library.file.name, ...(library.problem === undefined ? {} : { problem: library.problem }) },
    verify: (signal) => verifyShards(index.shards, signal),
    async *tensors(): AsyncIterable<RawTensor> {
      for (const { info, read } of plan) yield { name: info.name, shape: info.shape, dtype: info.dtype, bytes: await read() };
    },
  };
}

interface Planned {
  readonly info: TensorInfo;
  readonly read: () => Promise<Uint8Array>;
}

function planOf(config: ModelConfig, { tensors }: MlcIndex): readonly Planned[] {
  const need = (name: string): MlcTensor => {
    const found = tensors.get(name);
    if (found === undefined) throw new Error(`checkTensors let ${name} through`);
    return found;
  };
  return expectedTensors(config).map((tensor) => {
    const { name, shape } = tensor;
    const place = mlcPlace(config, tensor);
    const plain = tensors.get(`${place.module}.weight`);
    const size = shape.reduce((product, dim) => product * dim, 1);
    if (plain !== undefined) {
      const dtype = floatType(plain);
      return { info: { name, shape, dtype, bytes: size * NUMBER_BYTES[plain.numbers] }, read: () => readRows(plain, place, shape[0]) };
    }
    const [codes, scales] = [need(`${place.module}.q_weight`), need(`${place.module}.q_scale`)];
    const [rows, columns] = shape;
    // A row that ends within a group cannot be held in whole blocks: its numbers are given out as floats, exactly.
    const whole = columns % GROUP === 0;
    const blocks = scales.numbers === 'f16' ? 'q4f16_1' : 'q4f32_1';
    const dtype: WeightType = whole ? blocks : 'f32';
    return {
      info: { name, shape, dtype, bytes: byteLength(dtype, size) },
      read: async () => {
        const joined = joinGroups(await readRows(codes, place, rows), await readRows(scales, place, rows), scales);
        return whole ? joined : cutRows(joined, blocks, rows, columns);
      },
    };
  });
}

function floatType({ numbers, name }: MlcTensor): WeightType {
  if (numbers !== 'u32') return numbers;
  throw new Error(`checkType let ${name} through`);
}

/** Rows [place.first, place.first + rows) of a tensor in a shard. */
function readRows({ shard, start, end, shape }: MlcTensor, { first }: MlcPlace, rows: number): Promise<Uint8Array> {
  const row = (end - start) / shape[0];
  return readRange(shard, start + first * row, start + (first + rows) * row);
}

/** Codes and scales to blocks with the scale in front: f16 as it is, bf16 widened to f32. */
function joinGroups(codes: Uint8Array, scales: Uint8Array, { numbers }: MlcTensor): Uint8Array {
  const wide = numbers === 'bf16' ? bytesOf(brainsToFloats(words16(scales, scales.length / 2))) : scales;
  const count = codes.length / 16;
  const width = wide.length / count;
  const out = new Uint8Array(count * (width + 16));
  for (let g = 0; g < count; g++) {
    const at = g * (width + 16);
    for (let i = 0; i < width; i++) out[at + i] = wide[g * width + i];
    for (let i = 0; i < 16; i++) out[at + width + i] = codes[g * 16 + i];
  }
  return out;
}

function cutRows(joined: Uint8Array, dtype: WeightType, rows: number, columns: number): Uint8Array {
  const padded = Math.ceil(columns / GROUP) * GROUP;
  const values = toF32(joined, dtype, rows * padded);
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * padded, r * padded + columns), r * columns);
  return bytesOf(out);
}

const PIECE = 8 * 2 ** 20;
/** @throws 'mlc/shard-hash', the signal's reason */
async function verifyShards(shards: readonly MlcShard[], signal?: AbortSignal): Promise<void> {
  for (const { file, md5 } of shards) {
    if (md5 === undefined) continue;
    const hash = await createMD5();
    hash.init();
    for (let at = 0; at < file.size; at += PIECE) {
      signal?.throwIfAborted();
      hash.update(await readRange(file, at, Math.min(file.size, at + PIECE)));
    }
    const found = hash.digest('hex');
    if (found !== md5)
      throw new AppError('mlc/shard-hash', `${baseName(file.name)} is not the file that its index describes: the sums differ.`, {
        why: 'It was damaged on the way, or it is the shard of another model or in the place of another shard.',
        fix: 'Get this file again, from the place where the index came from.',
        facts: { file: file.name, md5: found, expected: md5 },
      });
  }
}

/** A model library among the files, and what is wrong with it for these shards. */
async function libraryOf(
  folder: ReadonlyMap<string, ByteSource>,
  index: MlcIndex,
): Promise<{ readonly file: ByteSource; readonly problem?: { readonly code: string; readonly text: string } } | undefined> {
  const file = [...folder].find(([name]) => name.endsWith('.wasm'))?.[1];
  if (file === undefined) return undefined;
  try {
    checkMlcLibrary(await readMlcLibrary(file), index);
    return { file };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { file, problem: { code: error.code, text: `${error.message} ${error.why}`.trim() } };
  }
}

/** The files beside the chat configuration or the index nearest to the top. */
function oneFolder(files: readonly ByteSource[]): ReadonlyMap<string, ByteSource> {
  const folders = new Map<string, Map<string, ByteSource>>();
  for (const file of files) {
    const folder = file.name.slice(0, file.name.length - baseName(file.name).length);
    const names = folders.get(folder) ?? new Map<string, ByteSource>();
    folders.set(folder, names.set(baseName(file.name), file));
  }
  const depth = (folder: string): number => folder.split('/').length;
  const marks = [CHAT_CONFIG, ...INDEX_NAMES];
  const sorted = [...folders].sort(([a], [b]) => depth(a) - depth(b));
  const [first, second] = sorted.filter(([, names]) => marks.some((mark) => names.has(mark)));
  if (first !== undefined && second !== undefined && depth(first[0]) === depth(second[0]))
    throw severalModels(`two folders hold MLC models: ${shown(first[0])} and ${shown(second[0])}`);
  return first?.[1] ?? sorted[0]?.[1] ?? new Map<string, ByteSource>();
}

function missingFiles(folder: ReadonlyMap<string, ByteSource>): AppError {
  const missing = [CHAT_CONFIG, 'tokenizer.json'].filter((name) => !folder.has(name));
  if (INDEX_NAMES.every((name) => !folder.has(name))) missing.push(INDEX_NAMES[0]);
  const one = missing.length === 1;
  return new AppError(
    'model/missing-files',
    `${one ? 'This file is' : `These ${missing.length} files are`} missing: ${missing.join(', ')}.`,
    {
      why: `A model of MLC is ${CHAT_CONFIG}, tokenizer.json, tensor-cache.json (or ndarray-cache.json) and the shards that it names.`,
      fix: `Choose the whole folder, or get ${one ? 'it' : 'them'} from the model's page and choose all files together.`,
      facts: { missing: missing.join(', '), chosen: [...folder.keys()].slice(0, 50).join(', ') },
    },
  );
}

function ownTemplate(tokenizerConfig: object): string | undefined {
  const template = property(tokenizerConfig, 'chat_template');
  if (typeof template === 'string') return template;
  if (!Array.isArray(template)) return undefined;
  const chosen: unknown = template.find((entry) => property(entry, 'name') === 'default') ?? template[0];
  const text = property(chosen, 'template');
  return typeof text === 'string' ? text : undefined;
}

function nameOf(file: ByteSource): string {
  const folder = baseName(file.name.slice(0, Math.max(0, file.name.lastIndexOf('/'))));
  return folder === '' ? 'MLC model' : folder;
}
