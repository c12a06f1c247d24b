// Adapters between their three forms: PEFT files in OPFS, plain numbers, and a patch on the GPU.
import type { HostPart, HostTensor, Linear, Patch } from '../../src/engine/types.ts';
import { peft } from '../../src/formats/peft.ts';
import type { ModelConfig, PortableAdapter, PortableLora } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { Put } from '../../src/storage/blob-writer.ts';
import { readBlob } from '../../src/storage/blob-writer.ts';
import { bytesSource } from '../../src/storage/blobs.ts';
import { needAdapter } from '../../src/storage/customizations.ts';
import type { AdapterRecord, ContestantRecord } from '../../src/storage/types.ts';
import { needLoadedModel, type Session } from './session.ts';

/** Adapters kept on the GPU besides the one in use; the one used longest ago leaves first. */
const PATCHES_KEPT = 8;
const MODULE = /^model\.layers\.(\d+)\.(?:self_attn|mlp)\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)$/;
const FACTOR = /^(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight$/;
const LINEARS: readonly Linear[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** What a low-rank part is multiplied by: alpha / rank, or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, arXiv:2312.03732). */
export function scaleOf(lora: Pick<PortableLora, 'rank' | 'alpha'>, rsLora: boolean): number {
  return lora.alpha / (rsLora ? Math.sqrt(lora.rank) : lora.rank);
}

/** @throws 'adapter/other-base' where a module is no linear of a decoder layer */
export function partsOf(adapter: PortableAdapter): HostPart[] {
  return adapter.modules.map((lora) => {
    const found = MODULE.exec(lora.module);
    const linear = LINEARS.find((name) => name === found?.[2]);
    if (found === null || linear === undefined) {
      throw new AppError('adapter/other-base', `This adapter changes ${lora.module}, which the model does not have.`, {
        why: 'It was made for a model of another kind.',
        fix: 'Load the model that it was made with, or import another adapter.',
        facts: { module: lora.module },
      });
    }
    const name = (factor: 'A' | 'B'): string => `base_model.model.${lora.module}.lora_${factor}.weight`;
    return {
      kind: 'low-rank',
      site: { layer: Number(found[1]), linear },
      A: { name: name('A'), shape: [lora.rank, lora.inFeatures], data: lora.A },
      B: { name: name('B'), shape: [lora.outFeatures, lora.rank], data: lora.B },
      scale: scaleOf(lora, adapter.rsLora),
    };
  });
}

export interface LoraNumbers {
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly dropout: number;
}

/** Trained factors by PEFT name as an adapter. @throws 'adapter/unsupported' where they are something other than pairs of factors */
export function adapterOf(tensors: ReadonlyMap<string, HostTensor>, numbers: LoraNumbers, baseModel?: string): PortableAdapter {
  const pairs = new Map<string, { A?: HostTensor; B?: HostTensor }>();
  for (const [name, tensor] of tensors) {
    const found = FACTOR.exec(name);
    if (found === null) throw notPairs(name);
    const pair = pairs.get(found[1]) ?? {};
    if (found[2] === 'A') pair.A = tensor;
    else pair.B = tensor;
    pairs.set(found[1], pair);
  }
  const modules = [...pairs].map(([module, { A, B }]): PortableLora => {
    if (A === undefined || B === undefined) throw notPairs(module);
    return { module, rank: A.shape[0], alpha: numbers.alpha, A: A.data, B: B.data, inFeatures: A.shape[1], outFeatures: B.shape[0] };
  });
  return { kind: 'lora', ...numbers, modules, ...(baseModel === undefined ? {} : { baseModel }) };
}
function notPairs(name: string): AppError {
  return new AppError('adapter/unsupported', `${name} is not one of a pair of LoRA factors.`, {
    why: 'Only small add-on weights (LoRA) can be kept as an adapter.',
  });
}

/** Writes an adapter's PEFT files and makes its record, which the caller saves. */
export async function keepAdapter(
  put: Put,
  adapter: PortableAdapter,
  config: ModelConfig,
  names: { readonly name: string; readonly modelId: string },
): Promise<AdapterRecord> {
  const files: AdapterRecord['files'][number][] = [];
  for (const [name, bytes] of peft.write(adapter, config)) files.push({ ...(await put(bytesSource(name, bytes))), name });
  return {
    id: crypto.randomUUID(),
    ...names,
    rank: adapter.rank,
    alpha: adapter.alpha,
    rsLora: adapter.rsLora,
    targets: [...new Set(adapter.modules.map(({ module }) => module.slice(module.lastIndexOf('.') + 1)))],
    parameters: adapter.modules.reduce((sum, { A, B }) => sum + A.length + B.length, 0),
    files,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    createdAt: Date.now(),
  };
}

/** The PEFT files as they were saved. */
export async function adapterFiles(record: AdapterRecord): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const file of record.files) files.set(file.name, await readBlob(file));
  return files;
}

/** A contestant's weights on the GPU at a strength; undefined for those made of words alone. Read from OPFS once, then switched in at once.
 *  @throws 'model/none', 'model/other', 'adapter/missing', 'gpu/out-of-memory' */
export async function patchOf(session: Session, contestant: ContestantRecord, strength = 1): Promise<Patch | undefined> {
  if (contestant.adapterId === undefined) return undefined;
  const { engine, patches, record } = needLoadedModel(session, contestant.modelId, contestant.name);
  let patch = patches.get(contestant.adapterId);
  if (patch === undefined) {
    const adapter = peft.read(await adapterFiles(await needAdapter(contestant.adapterId)), record.config);
    patch = engine.createPatch(partsOf(adapter), { trainable: false });
  } else patches.delete(contestant.adapterId);
  patches.set(contestant.adapterId, patch);
  for (const [id, old] of patches) {
    if (patches.size <= PATCHES_KEPT) break;
    patches.delete(id);
    engine.disposePatch(old);
  }
  patch.strength = strength;
  return patch;
}

/** Takes an adapter off the GPU, where it is on it. */
export function dropPatch(session: Session, adapterId: string): void {
  const patch = session.loaded?.patches.get(adapterId);
  if (patch === undefined) return;
  session.loaded?.patches.delete(adapterId);
  session.loaded?.engine.disposePatch(patch);
}
