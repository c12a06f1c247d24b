// What an export for web-llm carries as maquette-webllm.js: LoRA inside the npm package's own engine, by the code that this app itself runs there.
import { readSafetensors, tensorFloats } from '../formats/safetensors.ts';
import { AppError } from '../lib/error.ts';
import type { WebllmFactors, WebllmInUse } from './types.ts';
import { watchDevice } from './webllm-device.ts';
import { attachAdapters, type LoadedPipeline } from './webllm-lora-attach.ts';
import { type TappedDevice, tapDevice } from './webllm-lora-device.ts';
import type { LibraryParameter } from './webllm-lora-targets.ts';
import { readProduct } from './wgsl-product.ts';

/** What is used of an MLCEngine of web-llm 0.2.86, which runs in this thread: in another one it is out of reach. */
interface Engine {
  reload(modelId: string): Promise<void>;
  resetChat(keepStats?: boolean, modelId?: string): Promise<void>;
  readonly loadedModelIdToPipeline: ReadonlyMap<string, Pipeline>;
}
interface Pipeline extends LoadedPipeline {
  /** One pass of `rows` tokens. */
  embedAndForward(data: unknown, rows: number): Promise<unknown>;
  readonly vm: { getFunction(name: string): () => { toString(): string } };
}
/** adapter/factors.json of an export. */
export interface FactorsFile {
  readonly format: 'maquette-webllm-lora';
  readonly version: 1;
  /** `model_id` of the model that the adapter was trained on. */
  readonly base: string;
  readonly modules: Readonly<Record<string, { readonly rank: number; readonly scale: number }>>;
}
export interface LoadedAdapters {
  /** Puts an adapter onto web-llm's GPU and uses it not yet. `safetensors`: adapter_model.safetensors, as PEFT writes it. Returns its bytes there.
   *  @throws 'webllm/adapter-base', 'webllm/adapter-module', 'webllm/adapter-shape', 'format/...' */
  add(id: string, factors: FactorsFile, safetensors: Uint8Array): number;
  /** From the next prompt on exactly these, added up, each at its strength (0 to 1.5); none for the model as it came. The chat starts anew: what it has read
   *  was read with other weights. @throws 'webllm/adapter-unknown', 'webllm/adapter-strength' */
  use(list: readonly WebllmInUse[]): Promise<void>;
  /** Off the GPU. */
  remove(id: string): Promise<void>;
}

/** Loads a model into web-llm (`engine.reload`) such that adapters can join it. Answers reject where the library has a kernel that is not known.
 *  @throws 'webllm/failed' where web-llm is built in another way inside, and what `reload` throws */
export async function loadWithAdapters(engine: Engine, modelId: string): Promise<LoadedAdapters> {
  let tapped: TappedDevice | undefined;
  const watched = watchDevice((device, info) => {
    tapped = tapDevice(device, info);
  });
  try {
    await engine.reload(modelId);
  } catch (error) {
    watched.release();
    throw error;
  } finally {
    // Other devices of the page are none of ours.
    watched.enough();
  }
  const pipeline = engine.loadedModelIdToPipeline.get(modelId);
  if (pipeline === undefined) throw new AppError('webllm/failed', 'web-llm gave up loading the model.', { fix: 'Load it again.' });
  const adapters = attachAdapters(tapped, pipeline, parametersOf(pipeline), modelId, readProduct);
  const pass = pipeline.embedAndForward.bind(pipeline);
  pipeline.embedAndForward = async (data, rows) => {
    adapters.begin(rows);
    const logits = await pass(data, rows);
    adapters.end();
    return logits;
  };
  return {
    add: (id, factors, safetensors) => adapters.add(id, { base: factors.base, factors: factorsOf(factors, safetensors) }),
    async use(list) {
      adapters.use(list);
      await engine.resetChat(false, modelId);
    },
    async remove(id) {
      adapters.remove(id);
      await engine.resetChat(false, modelId);
    },
  };
}

/** The library's parameters in its own order, as its metadata lists them. */
function parametersOf({ tvm, vm }: Pipeline): readonly LibraryParameter[] {
  const { params } = JSON.parse(tvm.withNewScope(() => vm.getFunction('_metadata')().toString()));
  return params;
}

function factorsOf({ modules }: FactorsFile, safetensors: Uint8Array): readonly WebllmFactors[] {
  const { tensors } = readSafetensors(safetensors);
  return Object.entries(modules).map(([module, { rank, scale }]) => {
    const factor = (name: 'A' | 'B'): Float32Array<ArrayBuffer> => {
      const tensor = tensors.get(`base_model.model.${module}.lora_${name}.weight`);
      if (tensor === undefined)
        throw new AppError('webllm/adapter-module', `The adapter has no factor ${name} of ${module}.`, {
          why: 'factors.json and adapter_model.safetensors are not of one export.',
          fix: 'Take both from the same folder.',
          facts: { module },
        });
      return new Float32Array(tensorFloats(tensor));
    };
    return { module, rank, scale, a: factor('A'), b: factor('B') };
  });
}
