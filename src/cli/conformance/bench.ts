import path from 'node:path';
import { createEngine } from '../../engine/engine.ts';
import type { Gpu } from '../../engine/gpu.ts';
import { type Engine, greedy, type HostPart, type Patch, type StoragePlan } from '../../engine/types.ts';
import { openGguf } from '../../formats/gguf-source.ts';
import { openHuggingFace } from '../../formats/hf-source.ts';
import { siteOfModule } from '../../formats/llama-tensors.ts';
import { looksLikeMlc, openMlc } from '../../formats/mlc-source.ts';
import type { ModelSource, PortableAdapter } from '../../formats/types.ts';
import { loraScale } from '../../methods/lora.ts';
import { createTokenizer } from '../../text/tokenizer.ts';
import type { Tokenizer } from '../../text/types.ts';
import { diskSource, filesOf } from './folder.ts';

export interface OpenModel {
  readonly source: ModelSource;
  readonly engine: Engine;
  readonly tokenizer: () => Tokenizer;
}

/** The folder under test and the one model that is open in it at a time. */
export interface Bench {
  readonly root: string;
  /** `model` is a folder in the layout of Hugging Face or MLC, or a .gguf file, relative to the root. The model opened before is let go of. */
  open(model: string, storage: StoragePlan): Promise<OpenModel>;
  dispose(): void;
}

export function createBench(root: string, gpu: Gpu): Bench {
  let current: { key: string; model: OpenModel } | undefined;
  const dispose = (): void => {
    current?.model.engine.dispose();
    current = undefined;
  };
  return {
    root,
    async open(model, storage) {
      const key = `${model} ${storage}`;
      if (current?.key === key) return current.model;
      dispose();
      const source = await openSource(path.join(root, model));
      const engine = await createEngine(gpu, source, { storage });
      let made: Tokenizer | undefined;
      const tokenizer = (): Tokenizer => {
        made ??= createTokenizer(source.tokenizer);
        return made;
      };
      current = { key, model: { source, engine, tokenizer } };
      return current.model;
    },
    dispose,
  };
}

function openSource(file: string): Promise<ModelSource> {
  if (file.endsWith('.gguf')) return openGguf(diskSource(file));
  // expected.safetensors lies beside the model in a fixture and is no part of it; the GGUF of stories260k is opened on its own.
  const names = filesOf(file).filter((name) => !name.startsWith('expected.') && !name.endsWith('.gguf'));
  const files = names.map((name) => diskSource(path.join(file, name)));
  return looksLikeMlc(files) ? openMlc(files) : openHuggingFace(files);
}

/** Greedy ids one prompt at a time. */
export async function continueGreedily(
  engine: Engine,
  prompt: Uint32Array,
  count: number,
  stopIds: readonly number[],
  patch?: Patch,
): Promise<number[]> {
  const out: number[] = [];
  for await (const id of engine.generate(prompt, greedy(count, stopIds), patch)) out.push(id);
  return out;
}

/** Greedy ids of several prompts side by side, in the order of the prompts. */
export async function continueTogether(
  engine: Engine,
  prompts: readonly Uint32Array[],
  count: number,
  stopIds: readonly number[],
): Promise<number[][]> {
  const rows: number[][] = prompts.map(() => []);
  for await (const { row, tokens } of engine.generateMany(prompts, greedy(count, stopIds))) rows[row] = [...tokens];
  return rows;
}

/** A LoRA adapter as parts, each factor by its PEFT name. */
export function loraParts(adapter: PortableAdapter): HostPart[] {
  return adapter.modules.map(({ module, rank, alpha, A, B, inFeatures, outFeatures }): HostPart => {
    const site = siteOfModule(module);
    if (site === undefined) throw new Error(`The adapter changes ${module}, which is no linear of a layer.`);
    const name = `base_model.model.${module}`;
    return {
      kind: 'low-rank',
      site: { layer: site.layer, linear: site.linear.linear },
      A: { name: `${name}.lora_A.weight`, shape: [rank, inFeatures], data: A },
      B: { name: `${name}.lora_B.weight`, shape: [outFeatures, rank], data: B },
      scale: loraScale({ rank, alpha, rsLora: adapter.rsLora }),
    };
  });
}
