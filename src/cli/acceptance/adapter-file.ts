// A trained patch as an adapter, and an adapter as what a patch is made of.
import type { HostPart, HostTensor } from '../../engine/types.ts';
import { siteOfModule } from '../../formats/llama-tensors.ts';
import type { PortableAdapter, PortableLora } from '../../formats/types.ts';
import { loraScale } from '../../methods/lora.ts';

const PREFIX = 'base_model.model.';

export function adapterOf(
  tensors: ReadonlyMap<string, HostTensor>,
  { rank, alpha, rsLora }: { readonly rank: number; readonly alpha: number; readonly rsLora: boolean },
): PortableAdapter {
  const modules = [...tensors.values()].flatMap((A): PortableLora[] => {
    const B = tensors.get(A.name.replace('.lora_A.', '.lora_B.'));
    if (!A.name.includes('.lora_A.') || B === undefined) return [];
    const module = A.name.slice(PREFIX.length, A.name.indexOf('.lora_A.'));
    return [{ module, rank, alpha, A: A.data, B: B.data, inFeatures: A.shape[1], outFeatures: B.shape[0] }];
  });
  return { kind: 'lora', rank, alpha, rsLora, dropout: 0, modules };
}

/** @throws where a module is no linear of a decoder layer */
export function partsOf({ modules, rsLora }: PortableAdapter): HostPart[] {
  return modules.map(({ module, rank, alpha, A, B, inFeatures, outFeatures }) => {
    const site = siteOfModule(module);
    if (site === undefined) throw new Error(`${module} is no linear of a decoder layer.`);
    return {
      ...{ kind: 'low-rank', scale: loraScale({ rank, alpha, rsLora }) },
      site: { layer: site.layer, linear: site.linear.linear },
      A: { name: `${PREFIX}${module}.lora_A.weight`, shape: [rank, inFeatures], data: A },
      B: { name: `${PREFIX}${module}.lora_B.weight`, shape: [outFeatures, rank], data: B },
    };
  });
}
