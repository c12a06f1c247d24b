// A LoRA adapter as llama.cpp and Ollama load it: one GGUF file. `src/llama-adapter.cpp`, `convert_lora_to_gguf.py` of llama.cpp.
// The file has one alpha and one rule, alpha / rank, so rsLoRA and modules with an alpha of their own are folded into B.
import { AppError } from '../lib/error.ts';
import {
  addFactor,
  badAdapter,
  type FactorPairs,
  modulesOf,
  mostFrequent,
  nonFiniteWarnings,
  otherBase,
  unsupportedAdapter,
} from './adapter-checks.ts';
import { bytesOf, floats32 } from './bytes.ts';
import { parseGguf } from './gguf.ts';
import { numberAt, stringAt } from './gguf-metadata.ts';
import { regroupRows } from './gguf-source.ts';
import type { GgufTensor, GgufTensorInfo, GgufValue } from './gguf-types.ts';
import { writeGguf } from './gguf-write.ts';
import { shown } from './json.ts';
import { compareSites, LINEARS, regroupedHeads, siteOfModule } from './llama-tensors.ts';
import { toF32 } from './quant.ts';
import type { AdapterFile, ModelConfig, PortableAdapter, PortableLora, WeightType } from './types.ts';

const FILE = 'adapter.gguf';
const DTYPES: ReadonlyMap<string, WeightType> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['Q8_0', 'q8_0'],
]);

export const ggufLora: AdapterFile = { format: 'gguf-lora', read, write };

/** @throws 'adapter/missing-files', 'adapter/unsupported', 'adapter/other-base', 'adapter/damaged', 'format/...' */
function read(files: ReadonlyMap<string, Uint8Array>, config: ModelConfig): PortableAdapter {
  const ggufs = [...files].filter(([name]) => /\.gguf$/i.test(name));
  const [first] = ggufs;
  if (first === undefined || ggufs.length > 1)
    throw new AppError('adapter/missing-files', `${ggufs.length} GGUF files were chosen; a GGUF adapter is one file.`, {
      fix: 'Choose one .gguf file.',
      facts: { missing: FILE, chosen: [...files.keys()].slice(0, 50).join(', ') },
    });
  const [name, bytes] = first;
  const { metadata, tensors } = parseGguf(bytes, name);
  if (stringAt(metadata, 'general.type') !== 'adapter')
    throw unsupportedAdapter(`${shown(name)} is not an adapter (general.type is not "adapter")`, 'If it is a model, open it under Models.');
  const kind = stringAt(metadata, 'adapter.type') ?? 'none';
  if (kind !== 'lora') throw unsupportedAdapter(`it is of the type ${shown(kind)}`, 'Choose a LoRA adapter.');
  if (metadata.has('adapter.alora.invocation_tokens')) throw unsupportedAdapter('it is an activated LoRA', 'Choose a plain LoRA adapter.');
  const architecture = stringAt(metadata, 'general.architecture') ?? 'none';
  if (architecture !== 'llama') throw otherBase(`its architecture is ${shown(architecture)} and this model's is "llama"`, { architecture });

  const warnings: string[] = [];
  // llama.cpp takes scale 1 where alpha is 0 or missing.
  const stored = numberAt(metadata, 'adapter.lora.alpha') ?? 0;
  if (!Number.isFinite(stored)) throw badAdapter(`its alpha is ${stored}`);
  if (stored === 0) warnings.push('The file gives no alpha; scale 1 was taken, as llama.cpp does.');
  const pairs: FactorPairs = new Map();
  for (const info of tensors.values()) takeTensor(info, bytes, config, pairs, warnings);
  const modules = modulesOf(pairs, config, (_, rank) => (stored === 0 ? rank : stored)).map((module) => fromGgufRows(module, config));
  warnings.push(...nonFiniteWarnings(modules));
  return {
    kind: 'lora',
    rank: mostFrequent(modules.map((m) => m.rank)),
    alpha: mostFrequent(modules.map((m) => m.alpha)),
    rsLora: false,
    dropout: 0,
    modules,
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

function takeTensor(info: GgufTensorInfo, bytes: Uint8Array, config: ModelConfig, pairs: FactorPairs, warnings: string[]): void {
  const match = /^(.+)\.lora_(a|b)$/.exec(info.name);
  if (match === null) {
    if (/_norm\.weight$/.test(info.name)) {
      warnings.push(`${info.name} is left out, as llama.cpp does.`);
      return;
    }
    throw unsupportedAdapter(`it holds the tensor ${shown(info.name)}, which is no LoRA factor`, 'Choose a plain LoRA adapter.', {
      tensor: info.name,
    });
  }
  const parts = /^blk\.(\d{1,6})\.(\w+)\.weight$/.exec(match[1]);
  const linear = LINEARS.find(({ gguf }) => gguf === parts?.[2]);
  if (parts === null || linear === undefined)
    throw unsupportedAdapter(
      `it changes ${shown(match[1])}, which is not one of the seven linears of a layer`,
      'Choose an adapter on the attention and feed-forward linears.',
      {
        tensor: info.name,
      },
    );
  const dtype = DTYPES.get(info.type.name);
  if (dtype === undefined)
    throw new AppError(
      'format/unsupported-dtype',
      `The tensor ${shown(info.name)} is stored as ${info.type.name}; F32, F16, BF16 and Q8_0 are read.`,
      {
        fix: 'Convert the adapter again with --outtype f32 or f16.',
        facts: { tensor: info.name, dtype: info.type.name },
      },
    );
  const count = info.shape.reduce((product, dim) => product * dim, 1);
  // A copy, so that the adapter does not hold the file in memory.
  const values = toF32(bytes.subarray(info.start, info.end), dtype, count).slice();
  if (Number(parts[1]) >= config.L)
    throw otherBase(`it changes layer ${Number(parts[1]) + 1} and this model has ${config.L}`, { layers: config.L });
  addFactor(pairs, { layer: Number(parts[1]), linear }, match[2] === 'a' ? 'A' : 'B', { shape: info.shape, values });
}

/** B's rows are the linear's outputs, so under architecture `llama` those of q and k are regrouped like the weights themselves. */
function fromGgufRows(module: PortableLora, config: ModelConfig): PortableLora {
  const heads = headsOf(module.module, config);
  return heads === 0 ? module : { ...module, B: regroupFloats(module.B, module.outFeatures, heads, 'to-hugging-face') };
}

function headsOf(module: string, config: ModelConfig): number {
  const site = siteOfModule(module);
  return site === undefined ? 0 : regroupedHeads(config, site.linear.linear);
}

function regroupFloats(values: Float32Array, rows: number, heads: number, direction: 'to-hugging-face' | 'to-gguf'): Float32Array {
  const bytes = regroupRows(bytesOf(values), rows, heads, direction);
  return floats32(bytes, values.length);
}

/** One F32 file. @throws 'adapter/unsupported' for a module that GGUF has no name for. */
function write(adapter: PortableAdapter, config: ModelConfig): ReadonlyMap<string, Uint8Array> {
  // An alpha of 0 would be read as "none"; then B carries the whole scale.
  const alpha = Math.fround(adapter.alpha) === 0 ? adapter.rank : Math.fround(adapter.alpha);
  const tensors: GgufTensor[] = [];
  const sites = adapter.modules.map((m) => {
    const site = siteOfModule(m.module);
    if (site === undefined) throw unsupportedAdapter(`GGUF has no name for the module ${shown(m.module)}`, 'Save it in the PEFT format.');
    return { m, site };
  });
  for (const { m, site } of sites.sort((a, b) => compareSites(a.site, b.site))) {
    const factor = (adapter.rsLora ? m.alpha * Math.sqrt(m.rank) : m.alpha) / alpha;
    const folded = factor === 1 ? m.B : m.B.map((b) => b * factor);
    const heads = regroupedHeads(config, site.linear.linear);
    const B = heads === 0 ? folded : regroupFloats(folded, m.outFeatures, heads, 'to-gguf');
    const name = `blk.${site.layer}.${site.linear.gguf}.weight`;
    tensors.push(
      { name: `${name}.lora_a`, shape: [m.rank, m.inFeatures], type: 'F32', bytes: bytesOf(m.A) },
      { name: `${name}.lora_b`, shape: [m.outFeatures, m.rank], type: 'F32', bytes: bytesOf(B) },
    );
  }
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.type', { type: 'string', value: 'adapter' }],
    ['adapter.type', { type: 'string', value: 'lora' }],
    // As f32: llama.cpp aborts on any other type.
    ['adapter.lora.alpha', { type: 'f32', value: alpha }],
    ['general.file_type', { type: 'u32', value: 0 }],
  ]);
  return new Map([[FILE, writeGguf(metadata, tensors)]]);
}
