// A model as the Hugging Face hub lays it out: config.json, tokenizer.json, tokenizer_config.json, generation_config.json, and safetensors, whole or
// in shards. Weights are read one tensor at a time.
import { AppError } from '../lib/error.ts';
import { baseName } from './bytes.ts';
import { configFromHuggingFace } from './hf-config.ts';
import { shown } from './json.ts';
import { checkTensors, type ExpectedTensor, expectedTensors } from './llama-tensors.ts';
import { checkVocabulary, hubId, property, readJsonFile, readTextFile, tokenizerSize } from './model-files.ts';
import { readSafetensorsHeader, readSafetensorsTensor, type SafetensorsInfo } from './safetensors.ts';
import type { ByteSource, ModelSource, RawTensor, TensorInfo, TokenizerSpec, WeightType } from './types.ts';

const DTYPES: ReadonlyMap<string, WeightType> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
]);
const INDEX = 'model.safetensors.index.json';
const SHARD = /^(.+)-(\d{5})-of-(\d{5})\.safetensors$/;

/** Open a model from the files of a folder; what is missing is named, all of it at once.
 *  @throws 'model/missing-files', 'model/several-models', 'model/missing-tensors', 'model/shape-mismatch', 'model/tokenizer-mismatch', 'format/...' */
export async function openHuggingFace(files: readonly ByteSource[]): Promise<ModelSource> {
  const folder = oneFolder(files);
  const pick = (name: string): ByteSource | undefined => folder.get(name);
  const indexFile = pick(INDEX);
  const weightNames = indexFile === undefined ? weightFiles(folder) : await indexedFiles(indexFile);
  const missing = ['config.json', 'tokenizer.json', 'tokenizer_config.json', ...weightNames].filter((name) => !folder.has(name));
  const configFile = pick('config.json');
  const tokenizerFile = pick('tokenizer.json');
  const tokenizerConfigFile = pick('tokenizer_config.json');
  if (missing.length > 0 || configFile === undefined || tokenizerFile === undefined || tokenizerConfigFile === undefined)
    throw missingFiles(missing, folder);

  const generationFile = pick('generation_config.json');
  const configJson = await readJsonFile(configFile);
  const config = configFromHuggingFace(configJson, generationFile === undefined ? undefined : await readJsonFile(generationFile));
  const tokenizer = await readTokenizer(tokenizerFile, tokenizerConfigFile, pick('chat_template.jinja'), pick('chat_template.json'));
  checkVocabulary(tokenizerSize(tokenizer.json), config.V);

  const weights = weightNames.map((name) => folder.get(name)).filter((file) => file !== undefined);
  const found = new Map<string, { readonly file: ByteSource; readonly info: SafetensorsInfo }>();
  for (const file of weights) {
    const header = await readSafetensorsHeader(file);
    for (const info of header.tensors.values()) {
      const name = fullName(info.name);
      if (found.has(name))
        throw new AppError('format/duplicate-name', `The tensor ${shown(name)} is in the weights twice.`, {
          why: 'Two of the files hold it, so they are not the shards of one model.',
          fix: 'Choose the files of one model only.',
          facts: { tensor: name, file: file.name },
        });
      found.set(name, { file, info });
    }
  }
  const expected = expectedTensors(config);
  checkTensors(
    expected,
    (tensor) => found.get(tensor.name)?.info.shape,
    (tensor) => tensor.name,
  );
  const plan = expected.map((tensor) => planOf(tensor, found.get(tensor.name)));
  const used = [
    configFile,
    tokenizerFile,
    tokenizerConfigFile,
    generationFile,
    pick('chat_template.jinja'),
    pick('chat_template.json'),
    indexFile,
    ...weights,
  ];
  return {
    format: 'safetensors',
    name: nameOf(configJson, configFile),
    config,
    tokenizer,
    files: used.filter((file) => file !== undefined),
    tensorInfos: plan.map(({ info }) => info),
    async *tensors(): AsyncIterable<RawTensor> {
      for (const { info, file, place } of plan) {
        yield { name: info.name, shape: info.shape, dtype: info.dtype, bytes: await readSafetensorsTensor(file, place) };
      }
    },
  };
}

function planOf(
  tensor: ExpectedTensor,
  at: { readonly file: ByteSource; readonly info: SafetensorsInfo } | undefined,
): { readonly info: TensorInfo; readonly file: ByteSource; readonly place: SafetensorsInfo } {
  if (at === undefined) throw new Error(`checkTensors let ${tensor.name} through`);
  const dtype = DTYPES.get(at.info.dtype);
  if (dtype === undefined)
    throw new AppError(
      'format/unsupported-dtype',
      `The tensor ${shown(tensor.name)} has the number type ${at.info.dtype}; F32, F16 and BF16 are read here.`,
      {
        fix: 'Choose the model in one of these types; most have BF16 or F16 files on their own page.',
        facts: { tensor: tensor.name, dtype: at.info.dtype, file: at.file.name },
      },
    );
  return { info: { name: tensor.name, shape: tensor.shape, dtype, bytes: at.info.end - at.info.start }, file: at.file, place: at.info };
}

/** `model.layers.0...` also where the file was written from the inner LlamaModel, whose names lack `model.`. */
function fullName(name: string): string {
  return /^(embed_tokens|layers|norm)\./.test(name) ? `model.${name}` : name;
}

/** The files beside the config.json nearest to the top, by bare name; `onnx/` and the like below it are left alone. */
function oneFolder(files: readonly ByteSource[]): ReadonlyMap<string, ByteSource> {
  const folders = new Map<string, Map<string, ByteSource>>();
  for (const file of files) {
    const folder = file.name.slice(0, file.name.length - baseName(file.name).length);
    const names = folders.get(folder) ?? new Map<string, ByteSource>();
    folders.set(folder, names.set(baseName(file.name), file));
  }
  const depth = (folder: string): number => folder.split('/').length;
  const sorted = [...folders].sort(([a], [b]) => depth(a) - depth(b));
  const [first, second] = sorted.filter(([, names]) => names.has('config.json'));
  if (first !== undefined && second !== undefined && depth(first[0]) === depth(second[0]))
    throw severalModels(`two folders have a config.json: ${shown(first[0])} and ${shown(second[0])}`);
  return first?.[1] ?? sorted[0]?.[1] ?? new Map<string, ByteSource>();
}

export function severalModels(what: string): AppError {
  return new AppError('model/several-models', `More than one model was chosen: ${what}.`, {
    why: 'It would be a guess which of them is meant.',
    fix: 'Choose the files of one model only.',
  });
}

/** The weight files there are or should be, without an index. */
function weightFiles(folder: ReadonlyMap<string, ByteSource>): readonly string[] {
  const names = [...folder.keys()].filter((name) => name.endsWith('.safetensors') && !name.startsWith('adapter'));
  if (names.includes('model.safetensors') || names.length === 0) return ['model.safetensors'];
  const shards = names.map((name) => SHARD.exec(name)).filter((match) => match !== null);
  const [first] = shards;
  if (first !== undefined) {
    const [, stem, , total] = first;
    if (shards.some((match) => match[1] !== stem || match[3] !== total)) throw severalModels('the shards are of different sets');
    return Array.from(
      { length: Math.min(Number(total), 1000) },
      (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${total}.safetensors`,
    );
  }
  if (names.length > 1) throw severalModels(names.map(shown).join(' and '));
  return names;
}

/** The shards that an index names; bare names only, since a path from a file must not lead anywhere. @throws 'format/header' */
async function indexedFiles(index: ByteSource): Promise<readonly string[]> {
  const map = property(await readJsonFile(index), 'weight_map');
  if (typeof map !== 'object' || map === null || Object.keys(map).length === 0) throw badIndex(index, 'it has no weight_map');
  const names = new Set<string>();
  for (const name of Object.values(map)) {
    if (typeof name !== 'string' || !/^[^/\\:]+\.safetensors$/.test(name) || name.startsWith('.')) {
      throw badIndex(index, `${shown(String(name))} is not the bare name of a safetensors file`);
    }
    names.add(name);
  }
  return [...names].sort();
}

function badIndex(index: ByteSource, what: string): AppError {
  return new AppError('format/header', `${index.name} cannot be used: ${what}.`, {
    why: 'The file is damaged or was changed by hand.',
    fix: "Get it again from the model's own page.",
    facts: { file: index.name },
  });
}

function missingFiles(missing: readonly string[], folder: ReadonlyMap<string, ByteSource>): AppError {
  const one = missing.length === 1;
  const hints: string[] = [];
  if (missing.includes('tokenizer.json') && folder.has('tokenizer.model'))
    hints.push(
      'tokenizer.model is an older form of the tokenizer; newer uploads of the same model have tokenizer.json, and a GGUF file has it inside.',
    );
  return new AppError(
    'model/missing-files',
    `${one ? 'This file is' : `These ${missing.length} files are`} missing: ${missing.join(', ')}.`,
    {
      why: `${folder.size} ${folder.size === 1 ? 'file was' : 'files were'} chosen. A model needs config.json, tokenizer.json, tokenizer_config.json and its weights (.safetensors). ${hints.join(' ')}`.trim(),
      fix: `Choose the whole folder, or get ${one ? 'it' : 'them'} from the model's page and choose all files together.`,
      facts: { missing: missing.join(', '), chosen: [...folder.keys()].slice(0, 50).join(', ') },
    },
  );
}

/** The chat template may be a text, a list of named ones (then "default" counts), or a file of its own, which wins as in transformers. */
async function readTokenizer(
  tokenizerFile: ByteSource,
  configFile: ByteSource,
  jinja: ByteSource | undefined,
  templateJson: ByteSource | undefined,
): Promise<TokenizerSpec> {
  const json = await readJsonFile(tokenizerFile);
  const config = await readJsonFile(configFile);
  const inFile = templateJson === undefined ? undefined : property(await readJsonFile(templateJson), 'chat_template');
  const chatTemplate =
    jinja === undefined
      ? (defaultTemplate(inFile) ?? defaultTemplate(property(config, 'chat_template')))
      : await readTextFile(jinja, 1_000_000);
  return { json, config, ...(chatTemplate === undefined ? {} : { chatTemplate }) };
}

function defaultTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const chosen = value.find((entry) => property(entry, 'name') === 'default') ?? value[0];
  const template = property(chosen, 'template');
  return typeof template === 'string' ? template : undefined;
}

/** A name for people: the hub id in config.json, else the folder. A local path of its maker is left out. */
function nameOf(configJson: object, file: ByteSource): string {
  const id = hubId(property(configJson, '_name_or_path'));
  if (id?.includes('/')) return id;
  const folder = baseName(file.name.slice(0, Math.max(0, file.name.lastIndexOf('/'))));
  return folder === '' ? 'Llama model' : folder;
}
