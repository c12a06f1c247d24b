// Which model library a folder of shards needs, and where it comes from: said where there is none.
import type { ModelSource, WeightType } from './types.ts';

/** What MLC calls the way in which a model's matrices are held. */
export function mlcQuantizationOf(infos: ModelSource['tensorInfos']): string {
  const held = new Map<WeightType, number>();
  for (const { shape, dtype, bytes } of infos) if (shape.length > 1) held.set(dtype, (held.get(dtype) ?? 0) + bytes);
  const [first = 'f32'] = [...held].toSorted((a, b) => b[1] - a[1]).map(([dtype]) => dtype);
  if (first === 'q4f16_1' || first === 'q4f32_1') return first;
  return first === 'f16' ? 'q0f16' : 'q0f32';
}

/** @param source shards without a library beside them */
export function neededLibrary({ config, tensorInfos }: Pick<ModelSource, 'config' | 'tensorInfos'>): string {
  const quantization = mlcQuantizationOf(tensorInfos);
  const { L, C, F, V } = config;
  const shape = `${L} layers, widths ${C} and ${F}, ${V} tokens, ${quantization}`;
  const own =
    quantization === 'q0f32' || quantization === 'q4f32_1'
      ? `npm run webllm:library -- MODEL_DIR OUT.wasm --quantization ${quantization} builds one from the model's config.json`
      : `mlc_llm compile mlc-chat-config.json --device webgpu -o OUT.wasm builds one`;
  return `There is no model library (.wasm) beside the shards. The model runs here without one. Web-llm needs the library of this shape (${shape}), built for web-llm 0.2.86. For models that MLC publishes it is in the repository mlc-ai/binary-mlc-llm-libs on GitHub, folder web-llm-models/v0_2_86/base, named after the model and ${quantization}; for others ${own}. It can be added later, on the model's row.`;
}
