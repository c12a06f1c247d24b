// Models in: what a choice of files is, keeping it in OPFS, and bringing it onto the GPU.
import { createEngine } from '../../src/engine/engine.ts';
import type { Engine, StoragePlan } from '../../src/engine/types.ts';
import { neededLibrary } from '../../src/formats/mlc-library-words.ts';
import { openModel } from '../../src/formats/open-model.ts';
import type { ByteSource, ModelSource, TensorInfo, WeightType } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { ModelInspection, ModelStatus, PickedFile, Progress, StorageChoice } from '../../src/rpc/contract.ts';
import { storingBlobs } from '../../src/storage/blob-writer.ts';
import { freeUnreferenced, openBlob } from '../../src/storage/blobs.ts';
import { storageFull } from '../../src/storage/errors.ts';
import { deleteModelRecord, needModel, readModel, saveModel, updateModel } from '../../src/storage/models.ts';
import type { ModelRecord } from '../../src/storage/types.ts';
import { createPromptRenderer } from '../../src/text/prompt.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { storageChoices as choicesOf } from './memory.ts';
import { clock } from './progress.ts';
import { exclusive, type Loaded, type Session, sessionGpu, statusOf, unload } from './session.ts';
import { rememberedTuning } from './tuning.ts';
import { leave, webllmMakesRoom } from './webllm-room.ts';

export function pickedSource({ path, file }: PickedFile): ByteSource {
  return {
    name: path,
    size: file.size,
    async read(start, end) {
      try {
        return new Uint8Array(await file.slice(start, end).arrayBuffer());
      } catch (cause) {
        throw new AppError('file/unreadable', `${path} could not be read.`, {
          why: 'It was moved, changed or deleted after it was chosen, or this program may not read it.',
          fix: 'Choose the files again.',
          cause,
        });
      }
    },
  };
}

export async function inspectModel(files: readonly PickedFile[]): Promise<ModelInspection> {
  const source = await openModel(files.map(pickedSource));
  const { config } = source;
  const fileBytes = source.files.reduce((sum, file) => sum + file.size, 0);
  return {
    name: source.name,
    format: source.format,
    architecture: config.architecture,
    parameters: parameterCount(source.tensorInfos),
    fileBytes,
    weightTypes: weightTypes(source.tensorInfos),
    context: config.context,
    layers: config.L,
    hasTemplate: source.tokenizer.chatTemplate !== undefined,
    choices: choicesOf(config, source.tensorInfos),
    notes: notesOn(source, files),
  };
}

function notesOn(source: ModelSource, files: readonly PickedFile[]): ModelInspection['notes'] {
  const notes: { code: string; text: string }[] = [];
  const say = (code: string, text: string): unknown => notes.push({ code, text });
  const kept = new Set(source.files.map(({ name }) => name));
  const ignored = files.filter(({ path }) => !kept.has(path));
  if (ignored.length > 0) {
    const names = ignored.slice(0, 3).map(({ path }) => path);
    say(
      'model/files-left-out',
      `${ignored.length} ${ignored.length === 1 ? 'file is' : 'files are'} not part of the model and will be left out: ${names.join(', ')}${ignored.length > 3 ? ', …' : ''}.`,
    );
  }
  if (source.tokenizer.chatTemplate === undefined) {
    say(
      'model/no-template',
      'There is no chat template, so the model continues plain text: system text and input, each on lines of its own.',
    );
  }
  const fourBit = [...new Set(source.tensorInfos.map(({ dtype }) => dtype))].filter((dtype) => dtype.startsWith('q4'));
  if (fourBit.length > 0) {
    say(
      'model/four-bits-already',
      `Its weights have 4 bits already (${fourBit.map(typeName).join(' and ')}). As they are they stay bit for bit; rounded again to 8 bits they take more memory and lose a little more. They are never rounded to other 4 bits: in a SmolLM2 of 135 M weights that cost 17 % of perplexity.`,
    );
  }
  if (source.library !== undefined) {
    const { name, problem } = source.library;
    if (problem !== undefined) say(problem.code, `${problem.text} The model runs here without it, and not in web-llm.`);
    else if (name === undefined) say('mlc/no-library', neededLibrary(source));
  }
  return notes;
}

function typeName(dtype: WeightType): string {
  return dtype.toUpperCase();
}
/** The storage types of the matrices, most bytes first: "F32", "Q4_1 and Q8_0". */
export function weightTypes(infos: readonly TensorInfo[]): string {
  const bytes = new Map<WeightType, number>();
  for (const info of infos) if (info.shape.length > 1) bytes.set(info.dtype, (bytes.get(info.dtype) ?? 0) + info.bytes);
  return [...bytes]
    .sort((a, b) => b[1] - a[1])
    .map(([dtype]) => typeName(dtype))
    .join(' and ');
}
function parameterCount(infos: readonly TensorInfo[]): number {
  return infos.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}

/** A model library is a program that runs the model and no part of it: with or without one, adapters go with the same weights. */
const isLibrary = ({ name }: { readonly name: string }): boolean => /\.wasm(\.gz)?$/i.test(name);

/** The same files are one model, whatever they are called. */
async function modelId(hashes: readonly string[]): Promise<string> {
  const bytes = new TextEncoder().encode([...hashes].sort().join(' '));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @throws 'storage/full', AbortError, and whatever is wrong with the files */
export async function importModel(
  files: readonly PickedFile[],
  name: string,
  storage: StoragePlan,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<ModelRecord> {
  const source = await openModel(files.map(pickedSource));
  const total = source.files.reduce((sum, file) => sum + file.size, 0);
  // The name that the choices have for it: where it is no plan of its own, 'as-is' is none of them.
  const planOfFile = choicesOf(source.config, source.tensorInfos).find((choice) => choice.recommended)?.storage ?? 'as-is';
  const tick = clock(total, 'bytes', onProgress);
  await source.verify?.(signal);
  const keep = storingBlobs(async (put) => {
    const kept: ModelRecord['files'][number][] = [];
    let before = 0;
    for (const file of source.files) {
      const what = `Keeping ${file.name}`;
      const ref = await put(file, { signal, onBytes: (done) => tick(what, before + done) });
      kept.push({ ...ref, name: file.name });
      before += file.size;
    }
    const record = await recordOf(source, kept, name, storage === 'as-is' ? planOfFile : storage);
    await saveModel(record);
    return record;
  });
  return wholeOrNothing(keep, total);
}

/** The record of a model whose files are kept. */
export async function recordOf(
  source: ModelSource,
  chosen: ModelRecord['files'],
  name: string,
  storage: ModelRecord['storage'],
): Promise<ModelRecord> {
  const id = await modelId(chosen.filter((file) => !isLibrary(file)).map(({ sha256 }) => sha256));
  const now = Date.now();
  const known = await readModel(id);
  // Chosen again without its library, a model keeps the one that it has.
  const files = chosen.some(isLibrary) ? chosen : [...chosen, ...(known?.files.filter(isLibrary) ?? [])];
  return {
    id,
    name,
    format: source.format,
    config: source.config,
    files,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    parameters: parameterCount(source.tensorInfos),
    weightTypes: weightTypes(source.tensorInfos),
    hasTemplate: source.tokenizer.chatTemplate !== undefined,
    storage,
    ...(known?.webllm === undefined ? {} : { webllm: known.webllm }),
    ...(known?.speeds === undefined ? {} : { speeds: known.speeds }),
    addedAt: known?.addedAt ?? now,
    lastUsedAt: now,
  };
}

/** Half of a model is of no use: what it took is given back at once, and a full disk is told with the `bytes` of all of it. */
export async function wholeOrNothing<T>(keep: Promise<T>, bytes: number): Promise<T> {
  try {
    return await keep;
  } catch (error) {
    await freeUnreferenced().catch(() => 0);
    if (!(error instanceof AppError) || error.code !== 'storage/full') throw error;
    const { usage } = await navigator.storage.estimate();
    throw storageFull(bytes, error, usage);
  }
}

/** From OPFS onto the GPU. The model that was there leaves first, so that two are never in memory. */
export async function loadModel(
  session: Session,
  id: string,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<ModelStatus> {
  const record = await needModel(id);
  return exclusive(session, { kind: 'loading', what: `${record.name} is being loaded` }, async () => {
    const { engine } = await bringOntoGpu(session, record, record.storage, onProgress, signal);
    await updateModel(id, (model) => ({ ...model, lastUsedAt: Date.now() }));
    return statusOf(session) ?? { modelId: id, storage: record.storage, memory: engine.memory, context: engine.config.context };
  });
}

/** As the job that is running: web-llm leaves first where there is no room for both. @throws 'gpu/out-of-memory' */
export async function bringOntoGpu(
  session: Session,
  record: ModelRecord,
  storage: StoragePlan,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Loaded> {
  const gpu = await sessionGpu(session);
  unload(session);
  session.left = undefined;
  const source = await openModel(await Promise.all(record.files.map(openBlob)));
  const planned = choicesOf(record.config, source.tensorInfos).find((choice) => choice.storage === storage)?.chatBytes ?? record.bytes;
  await webllmMakesRoom(session, planned);
  const tick = clock(
    source.tensorInfos.reduce((sum, { bytes }) => sum + bytes, 0),
    'bytes',
    onProgress,
  );
  const tuning = await rememberedTuning(gpu);
  const create = (): Promise<Engine> =>
    createEngine(gpu, source, { storage, tuning, signal, onProgress: (done: number) => tick(`Loading ${record.name}`, done) });
  const engine = await create().catch(async (error: unknown) => {
    // What no plan could know: the GPU is full, and web-llm holds some of it.
    if (!(error instanceof AppError) || error.code !== 'gpu/out-of-memory' || session.webllm === undefined) throw error;
    await webllmMakesRoom(session, planned, true);
    return create();
  });
  try {
    const { tokenizer, renderer } = wordsOf(session, source);
    const loaded: Loaded = { record, engine, tokenizer, renderer, patches: new Map() };
    session.loaded = loaded;
    return loaded;
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

/** The tokenizer and the one renderer of a model. */
export function wordsOf(session: Session, source: ModelSource): Pick<Loaded, 'tokenizer' | 'renderer'> {
  const tokenizer = createTokenizer(source.tokenizer);
  const renderer = createPromptRenderer({ tokenizer, spec: source.tokenizer, config: source.config, templates: session.templates });
  return { tokenizer, renderer };
}

export async function unloadModel(session: Session): Promise<void> {
  await exclusive(session, { kind: 'deleting', what: 'a model is leaving' }, async () => unload(session));
}

export async function deleteModel(session: Session, id: string): Promise<number> {
  if (session.loaded?.record.id === id) await unloadModel(session);
  if (session.webllm?.record.id === id)
    await exclusive(session, { kind: 'deleting', what: 'a model is leaving web-llm' }, () => leave(session));
  await deleteModelRecord(id);
  return freeUnreferenced();
}

/** What the files of a kept model say of its tensors. Its id is made of their hashes, so this never changes. */
const tensorInfos = new Map<string, readonly TensorInfo[]>();

export async function storageChoices(id: string): Promise<readonly StorageChoice[]> {
  const record = await needModel(id);
  let infos = tensorInfos.get(id);
  if (infos === undefined) {
    infos = (await openModel(await Promise.all(record.files.map(openBlob)))).tensorInfos;
    tensorInfos.set(id, infos);
  }
  return choicesOf(record.config, infos);
}
