// From a model that is kept here to what web-llm takes: shards in MLC's layout and a library of that shape. Its own shards where it has them; else they are
// written tensor by tensor, q0f32 as the same model, q4f32_1 as another one with an id of its own.
import { baseName, memorySource, readRange } from '../../src/formats/bytes.ts';
import { checkMlcLibrary, type MlcLibrary, readMlcLibrary } from '../../src/formats/mlc-library.ts';
import { CHAT_CONFIG, INDEX_NAMES } from '../../src/formats/mlc-source.ts';
import { mlcTensors } from '../../src/formats/mlc-tensors.ts';
import { type MlcWritten, mlcBytes, mlcChatConfig, mlcTokenizerFiles, writeMlc } from '../../src/formats/mlc-write.ts';
import { openModel } from '../../src/formats/open-model.ts';
import type { ByteSource, ModelSource } from '../../src/formats/types.ts';
import { AppError, asAppError } from '../../src/lib/error.ts';
import type { LibraryInspection, PickedFile, Progress, WebllmOffer } from '../../src/rpc/contract.ts';
import type { WebllmFiles } from '../../src/runtimes/types.ts';
import { planWebllmBytes, type WebllmPlan } from '../../src/runtimes/webllm-memory.ts';
import { readBlob, storingBlobs } from '../../src/storage/blob-writer.ts';
import { blobFile, freeUnreferenced, openBlob } from '../../src/storage/blobs.ts';
import { needModel, saveModel } from '../../src/storage/models.ts';
import type { ModelRecord } from '../../src/storage/types.ts';
import { pickedSource, recordOf, wholeOrNothing } from './models.ts';
import { clock } from './progress.ts';

type KeptFile = ModelRecord['files'][number];
const WRITTEN: readonly MlcWritten[] = ['q0f32', 'q4f32_1'];

/** A library as it is run: opened where it is gzipped. @throws 'mlc/library-not-wasm' by whoever reads it, where it is neither */
export async function unpacked(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const own = new Uint8Array(bytes);
  if (own[0] !== 0x1f || own[1] !== 0x8b) return own;
  const stream = new Blob([own]).stream().pipeThrough(new DecompressionStream('gzip'));
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new AppError('mlc/library-not-wasm', 'The library is a gzip file that cannot be opened.', {
      why: 'The download stopped before its end, or it is damaged.',
      fix: 'Get the file again from where it came.',
      cause,
    });
  }
}

/** Shards and library of a model that are kept here: of its own files, or made for it. */
export function keptFor(record: ModelRecord): { readonly files: readonly KeptFile[]; readonly library: KeptFile } | undefined {
  const { webllm } = record;
  if (webllm !== undefined) return { files: webllm.files.length > 0 ? webllm.files : record.files, library: webllm.library };
  const library = record.format === 'mlc' ? record.files.find(({ name }) => name.endsWith('.wasm')) : undefined;
  return library === undefined ? undefined : { files: record.files, library };
}

async function keptLibrary(file: KeptFile): Promise<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly library: MlcLibrary }> {
  const bytes = await unpacked(await readBlob(file));
  return { bytes, library: await readMlcLibrary(memorySource(file.name, bytes)) };
}

/** Everything that web-llm's worker takes, read from this device alone. @throws 'webllm/not-prepared', 'storage/...' */
export async function webllmFiles(record: ModelRecord): Promise<{ readonly files: WebllmFiles; readonly plan: WebllmPlan }> {
  const kept = keptFor(record);
  if (kept === undefined) {
    throw new AppError('webllm/not-prepared', `${record.name} has no library for web-llm here.`, {
      why: 'Web-llm runs a model by a library that was built for its shape.',
      fix: 'Prepare it on the Models screen, or run it in our engine.',
    });
  }
  const named = (names: readonly string[]): KeptFile => {
    const found = kept.files.find(({ name }) => names.includes(baseName(name)));
    if (found === undefined) throw new Error(`${record.name} is kept for web-llm without ${names[0]}`);
    return found;
  };
  const read = async (names: readonly string[]): Promise<Uint8Array<ArrayBuffer>> => new Uint8Array(await readBlob(named(names)));
  const { bytes, library } = await keptLibrary(kept.library);
  const shards = kept.files.filter(({ name }) => name.endsWith('.bin'));
  return {
    files: {
      id: record.id,
      chatConfig: await read([CHAT_CONFIG]),
      index: await read(INDEX_NAMES),
      tokenizer: await read(['tokenizer.json']),
      shards: await Promise.all(shards.map(async (shard) => ({ name: baseName(shard.name), file: await blobFile(shard) }))),
      library: bytes,
    },
    plan: planWebllmBytes(record.config, library.metadata),
  };
}

export async function webllmOffer(modelId: string): Promise<WebllmOffer> {
  const record = await needModel(modelId);
  const kept = keptFor(record);
  const keptBytes = record.webllm?.bytes ?? 0;
  if (kept !== undefined) {
    const { library } = await keptLibrary(kept.library);
    const gpuBytes = planWebllmBytes(record.config, library.metadata).total;
    return { ready: true, quantization: library.metadata.quantization, keptBytes, gpuBytes, takes: [] };
  }
  if (record.format === 'mlc') return { ready: false, keptBytes, takes: [{ quantization: mlcQuantization(record), shardBytes: 0 }] };
  try {
    // Nothing is written: it says whether the shape can be.
    mlcChatConfig({ config: record.config, tokenizer: { json: {}, config: {} } }, 'q0f32');
  } catch (error) {
    const { code, message } = asAppError(error);
    return { ready: false, keptBytes, takes: [], problem: { code, text: message } };
  }
  const takes = WRITTEN.map((quantization) => ({ quantization, shardBytes: mlcBytes(record.config, { quantization, floats: 'f32' }) }));
  return { ready: false, keptBytes, takes };
}

/** Of shards: by what their matrices are held in. */
function mlcQuantization({ weightTypes }: ModelRecord): string {
  const [first = ''] = weightTypes.toLowerCase().split(' ');
  return first.startsWith('q4') ? first : first === 'f32' || first === 'bf16' ? 'q0f32' : 'q0f16';
}

interface Chosen {
  readonly record: ModelRecord;
  readonly source: ModelSource;
  /** The library as it is run and kept: opened. */
  readonly library: ByteSource;
  readonly inspection: LibraryInspection;
}
async function choose(modelId: string, picked: PickedFile): Promise<Chosen> {
  const record = await needModel(modelId);
  const own = await Promise.all(record.files.map(openBlob));
  const packed = pickedSource(picked);
  const bytes = await unpacked(await readRange(packed, 0, packed.size));
  const opened = memorySource(baseName(packed.name).replace(/\.gz$/i, ''), bytes);
  const library = await readMlcLibrary(opened);
  const { quantization } = library.metadata;
  const gpuBytes = planWebllmBytes(record.config, library.metadata).total;
  const size = opened.size;
  if (record.format === 'mlc') {
    const chat = own.find(({ name }) => baseName(name) === CHAT_CONFIG);
    const folder = chat === undefined ? '' : chat.name.slice(0, -CHAT_CONFIG.length);
    const others = own.filter(({ name }) => !name.endsWith('.wasm'));
    const source = await openModel([...others, memorySource(`${folder}chosen.wasm`, bytes)]);
    const problem = source.library?.problem;
    if (problem !== undefined)
      throw new AppError(problem.code, problem.text, { fix: 'Get the library of this model and this quantization, or build one.' });
    return { record, source, library: opened, inspection: { quantization, makes: 'nothing', bytes: size, gpuBytes } };
  }
  const source = await openModel(own);
  const written = WRITTEN.find((known) => known === quantization);
  if (written === undefined) {
    throw new AppError(
      'webllm/library-quantization',
      `This library takes ${quantization}; shards are written here as ${WRITTEN.join(' or ')}.`,
      {
        why: 'A library holds the number type of its weights.',
        fix: `Build one for this model: npm run webllm:library -- MODEL_DIR OUT.wasm --quantization q0f32`,
      },
    );
  }
  checkMlcLibrary(library, { tensors: new Map(mlcTensors(source.config, written).map((tensor) => [tensor.name, tensor])) });
  const bytesWritten = mlcBytes(source.config, { quantization: written, floats: 'f32' }) + size;
  const makes = written === 'q0f32' ? 'same-model' : 'new-model';
  return { record, source, library: opened, inspection: { quantization, makes, bytes: bytesWritten, gpuBytes } };
}

export async function inspectLibrary(modelId: string, picked: PickedFile): Promise<LibraryInspection> {
  return (await choose(modelId, picked)).inspection;
}

/** @throws 'storage/full', 'mlc/...', AbortError */
export async function prepareWebllm(
  modelId: string,
  picked: PickedFile,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<ModelRecord> {
  const chosen = await choose(modelId, picked);
  const { record, source, library: opened, inspection } = chosen;
  const tick = clock(inspection.bytes, 'bytes', onProgress);
  const keep = storingBlobs(async (put): Promise<ModelRecord> => {
    const files: KeptFile[] = [];
    let done = 0;
    const write = async (name: string, bytes: Uint8Array): Promise<void> => {
      const before = done;
      const ref = await put(memorySource(name, bytes), { signal, onBytes: (n) => tick(`Writing ${name}`, before + n) });
      files.push({ ...ref, name });
      done += bytes.length;
    };
    const quantization = WRITTEN.find((known) => known === inspection.quantization);
    if (inspection.makes !== 'nothing' && quantization !== undefined) {
      for await (const { name, bytes } of writeMlc(source, { quantization, floats: 'f32' })) await write(name, bytes);
      for (const { name, bytes } of [mlcChatConfig(source, quantization), ...mlcTokenizerFiles(source.tokenizer)]) await write(name, bytes);
    }
    if (inspection.makes === 'new-model') {
      await write('library.wasm', await opened.read(0, opened.size));
      const made = await openModel(await Promise.all(files.map(openBlob)));
      const other = await recordOf(made, files, `${record.name}, ${inspection.quantization}`, 'as-is');
      await saveModel(other);
      return other;
    }
    const library = { ...(await put(opened, { signal })), name: opened.name };
    const bytes = [...files, library].reduce((sum, file) => sum + file.bytes, 0);
    const known = await needModel(modelId);
    const prepared: ModelRecord = { ...known, webllm: { quantization: inspection.quantization, files, library, bytes } };
    await saveModel(prepared);
    return prepared;
  });
  return wholeOrNothing(keep, inspection.bytes);
}

export async function forgetPrepared(modelId: string): Promise<number> {
  const { webllm: _, ...kept } = await needModel(modelId);
  await saveModel(kept);
  return freeUnreferenced();
}
