// A LoRA adapter as the Python library PEFT writes it: adapter_config.json and adapter_model.safetensors.
// https://github.com/huggingface/peft, `src/peft/tuners/lora/config.py` and `src/peft/utils/save_and_load.py`.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import {
  addFactor,
  badAdapter,
  type FactorPairs,
  fileNamed,
  MAX_RANK,
  modulesOf,
  nonFiniteWarnings,
  unsupportedAdapter,
} from './adapter-checks.ts';
import { bytesOf, decodeText } from './bytes.ts';
import { parseJson, shown } from './json.ts';
import { LINEARS, siteOfModule } from './llama-tensors.ts';
import { hubId } from './model-files.ts';
import { readSafetensors, type SafetensorsTensor, tensorFloats, writeSafetensors } from './safetensors.ts';
import type { AdapterFile, ModelConfig, PortableAdapter, PortableLora } from './types.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const MAX_CONFIG = 1_000_000; // bytes
const PREFIX = 'base_model.model.';
/** Ways of starting that also change the base's weights; their factors mean nothing on the base as it is. */
const CHANGES_BASE = /^(pissa|olora|corda|loftq)/i;

const rank = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(MAX_RANK));
const alpha = v.pipe(v.number(), v.finite());
const flag = v.nullish(v.boolean(), false);
const Config = v.looseObject({
  peft_type: v.string(),
  task_type: v.nullish(v.string()),
  base_model_name_or_path: v.nullish(v.string()),
  r: v.optional(rank),
  lora_alpha: v.optional(alpha),
  lora_dropout: v.nullish(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0),
  target_modules: v.nullish(v.union([v.string(), v.array(v.string())])),
  bias: v.nullish(v.string(), 'none'),
  fan_in_fan_out: flag,
  use_rslora: flag,
  use_dora: flag,
  use_qalora: flag,
  lora_bias: flag,
  init_lora_weights: v.nullish(v.union([v.boolean(), v.string()]), true),
  modules_to_save: v.nullish(v.array(v.string())),
  trainable_token_indices: v.nullish(v.unknown()),
  target_parameters: v.nullish(v.array(v.string())),
  alora_invocation_tokens: v.nullish(v.array(v.number())),
  layer_replication: v.nullish(v.array(v.unknown())),
  rank_pattern: v.nullish(v.record(v.string(), rank), {}),
  alpha_pattern: v.nullish(v.record(v.string(), alpha), {}),
});
type PeftConfig = v.InferOutput<typeof Config>;

export const peft: AdapterFile = { format: 'peft', read, write };

/** @throws 'adapter/missing-files', 'adapter/unsupported', 'adapter/other-base', 'adapter/damaged', 'format/...' */
function read(files: ReadonlyMap<string, Uint8Array>, model: ModelConfig): PortableAdapter {
  const configBytes = fileNamed(files, CONFIG);
  const weightBytes = fileNamed(files, WEIGHTS);
  if (configBytes === undefined || weightBytes === undefined) throw missing(files, configBytes === undefined, weightBytes === undefined);
  const config = readConfig(configBytes);
  refuse(config);
  const warnings: string[] = [];
  const r = config.r ?? 8;
  const lora_alpha = config.lora_alpha ?? 8;
  if (config.r === undefined) warnings.push('adapter_config.json gives no rank; 8 was taken, as PEFT does.');
  if (config.lora_alpha === undefined) warnings.push('adapter_config.json gives no lora_alpha; 8 was taken, as PEFT does.');
  if (config.task_type && config.task_type !== 'CAUSAL_LM')
    warnings.push(`The adapter was made for the task ${config.task_type}, not for writing text.`);

  const pairs: FactorPairs = new Map();
  const targeted = targetTest(config.target_modules ?? undefined, warnings);
  for (const tensor of readSafetensors(weightBytes, WEIGHTS, 'adapter').tensors.values()) takeTensor(tensor, pairs, targeted, warnings);
  const modules = modulesOf(
    pairs,
    model,
    (module) => patternValue(config.alpha_pattern ?? {}, module) ?? lora_alpha,
    (module) => patternValue(config.rank_pattern ?? {}, module) ?? r,
  );
  warnings.push(...nonFiniteWarnings(modules));
  const baseModel = hubId(config.base_model_name_or_path);
  return {
    kind: 'lora',
    ...(baseModel === undefined ? {} : { baseModel }),
    rank: r,
    alpha: lora_alpha,
    rsLora: config.use_rslora ?? false,
    dropout: config.lora_dropout ?? 0,
    modules,
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

function missing(files: ReadonlyMap<string, Uint8Array>, config: boolean, weights: boolean): AppError {
  const names = [...(config ? [CONFIG] : []), ...(weights ? [WEIGHTS] : [])];
  const pickle = [...files.keys()].some((name) => /\.(bin|pt)$/.test(name));
  return new AppError('adapter/missing-files', `${names.length === 1 ? 'This file is' : 'These files are'} missing: ${names.join(', ')}.`, {
    why: pickle
      ? 'The weights are in a Python pickle. Reading a pickle means running the program inside it, so this app does not.'
      : 'A PEFT adapter is a folder with both files.',
    fix: pickle
      ? 'Save the adapter again with save_pretrained(..., safe_serialization=True).'
      : 'Choose both files together, or the whole folder.',
    facts: { missing: names.join(', '), chosen: [...files.keys()].slice(0, 50).join(', ') },
  });
}

function readConfig(bytes: Uint8Array): PeftConfig {
  if (bytes.length > MAX_CONFIG) throw badAdapter(`${CONFIG} has ${bytes.length} bytes, more than any such file`);
  const text = decodeText(bytes, CONFIG);
  // The strict reader finds what JSON.parse keeps silent about: names standing twice.
  const strict = parseJson(text, { name: CONFIG });
  if (!(strict instanceof Map)) throw badAdapter(`${CONFIG} is not a JSON object`);
  if (!strict.has('peft_type'))
    throw unsupportedAdapter(
      `${CONFIG} has no peft_type, so it does not say what it is`,
      'Check that this is a PEFT adapter; an MLX adapter has a file of the same name.',
    );
  const kind = strict.get('peft_type');
  if (kind !== 'LORA')
    throw unsupportedAdapter(`it is of the PEFT type ${shown(String(kind))}`, 'Choose a LoRA adapter.', { peftType: String(kind) });
  const result = v.safeParse(Config, JSON.parse(text));
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw badAdapter(`in ${CONFIG}, at ${v.getDotPath(issue) ?? 'the whole file'}, ${issue.message}`);
}

/** What would change the result and is not computed here. */
function refuse(c: PeftConfig): void {
  const no = (what: string, fix: string): never => {
    throw unsupportedAdapter(what, fix);
  };
  const merge = 'Merge it into its base with PEFT (merge_and_unload) and open the merged model.';
  if (c.use_dora) no('it uses DoRA (use_dora)', merge);
  if (c.bias !== 'none') no(`it trains biases (bias ${shown(String(c.bias))})`, merge);
  if (c.lora_bias) no('it trains biases (lora_bias)', merge);
  if (c.modules_to_save && c.modules_to_save.length > 0)
    no(`it replaces whole modules (modules_to_save: ${c.modules_to_save.join(', ')})`, merge);
  if (c.fan_in_fan_out) no('its weights are stored transposed (fan_in_fan_out)', 'Choose an adapter made for a Llama model.');
  if (c.use_qalora) no('it uses QA-LoRA (use_qalora)', merge);
  if (c.trainable_token_indices !== null && c.trainable_token_indices !== undefined)
    no('it trains token embeddings (trainable_token_indices)', merge);
  if (c.target_parameters && c.target_parameters.length > 0) no('it changes parameters outside of linears (target_parameters)', merge);
  if (c.alora_invocation_tokens && c.alora_invocation_tokens.length > 0)
    no('it is an activated LoRA (alora_invocation_tokens)', 'Choose a plain LoRA adapter.');
  if (c.layer_replication && c.layer_replication.length > 0) no('it repeats layers of the base (layer_replication)', merge);
  if (typeof c.init_lora_weights === 'string' && CHANGES_BASE.test(c.init_lora_weights))
    no(
      `its start (${c.init_lora_weights}) changed the weights of the base`,
      'Convert it to a plain LoRA with PEFT (path_initial_model_for_weight_conversion).',
    );
}

function takeTensor(tensor: SafetensorsTensor, pairs: FactorPairs, targeted: (module: string) => boolean, warnings: string[]): void {
  const name = tensor.name.startsWith(PREFIX) ? tensor.name.slice(PREFIX.length) : tensor.name;
  const match = /^(.+)\.lora_(A|B)(?:\.default)?\.weight$/.exec(name);
  if (match === null) {
    const what = name.includes('lora_magnitude_vector')
      ? 'it uses DoRA'
      : `it holds the tensor ${shown(tensor.name)}, which is no LoRA factor of a linear`;
    throw unsupportedAdapter(what, 'Merge it into its base with PEFT (merge_and_unload) and open the merged model.', {
      tensor: tensor.name,
    });
  }
  const site = siteOfModule(match[1]);
  if (site === undefined)
    throw unsupportedAdapter(
      `it changes ${shown(match[1])}, which is not one of the seven linears of a Llama layer`,
      `Choose an adapter for a Llama model, on ${LINEARS.map(({ linear }) => linear).join(', ')}.`,
      { module: match[1] },
    );
  if (!targeted(match[1])) {
    warnings.push(`${match[1]} is in the weights and not in target_modules, so it is left out, as PEFT does.`);
    return;
  }
  addFactor(pairs, site, match[2] === 'A' ? 'A' : 'B', { shape: tensor.shape, values: tensorFloats(tensor) });
}

/** Does target_modules mean this module? A list matches by suffix, a text is one regular expression over the whole path. */
function targetTest(target: string | readonly string[] | undefined, warnings: string[]): (module: string) => boolean {
  if (target === undefined || target === 'all-linear') return () => true;
  if (typeof target !== 'string') return (module) => target.some((t) => module === t || module.endsWith(`.${t}`));
  const regex = tameRegex(`^(?:${target})$`);
  if (regex === undefined) {
    warnings.push('target_modules is an expression that is not run here; the modules found in the weights were taken.');
    return () => true;
  }
  return (module) => regex.test(module);
}

/** A value of rank_pattern or alpha_pattern for a module: the first key that matches `(.*\.)?KEY$`. */
function patternValue(pattern: Readonly<Record<string, number>>, module: string): number | undefined {
  for (const [key, value] of Object.entries(pattern)) {
    if (module === key || module.endsWith(`.${key}`)) return value;
    if (/^[\w.]+$/.test(key)) continue;
    const regex = tameRegex(`^(?:.*\\.)?(?:${key})$`);
    if (regex === undefined)
      throw unsupportedAdapter(
        `a key of its rank or alpha pattern is ${shown(key)}, an expression that is not run here`,
        'Save it again with module names as keys.',
      );
    if (regex.test(module)) return value;
  }
  return undefined;
}

/** A regular expression from a file, if it cannot take long: no repeated groups, no back references, no looking around, few repetitions. */
function tameRegex(source: string): RegExp | undefined {
  const repeats = source.match(/[*+{]/g)?.length ?? 0;
  if (source.length > 500 || repeats > 4 || /\)[*+{]/.test(source) || /\\[1-9k]|\(\?[^:]/.test(source)) return undefined;
  try {
    return new RegExp(source);
  } catch {
    return undefined;
  }
}

/** The minimal 14 fields, which every PEFT from 0.11 on reads without a warning, and the two patterns where they are used. Factors stay bit for bit. */
function write(adapter: PortableAdapter): ReadonlyMap<string, Uint8Array> {
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  const tensors: SafetensorsTensor[] = [];
  for (const m of adapter.modules) {
    if (m.rank !== adapter.rank) rankPattern[m.module] = m.rank;
    if (m.alpha !== adapter.alpha) alphaPattern[m.module] = m.alpha;
    tensors.push(
      { name: `${PREFIX}${m.module}.lora_A.weight`, dtype: 'F32', shape: [m.rank, m.inFeatures], bytes: bytesOf(m.A) },
      { name: `${PREFIX}${m.module}.lora_B.weight`, dtype: 'F32', shape: [m.outFeatures, m.rank], bytes: bytesOf(m.B) },
    );
  }
  const config: Record<string, unknown> = {
    ...(Object.keys(alphaPattern).length > 0 ? { alpha_pattern: alphaPattern } : {}),
    base_model_name_or_path: hubId(adapter.baseModel) ?? null,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: adapter.alpha,
    lora_dropout: adapter.dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: adapter.rank,
    ...(Object.keys(rankPattern).length > 0 ? { rank_pattern: rankPattern } : {}),
    target_modules: targetModules(adapter.modules),
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: adapter.rsLora,
  };
  return new Map([
    [CONFIG, new TextEncoder().encode(JSON.stringify(config, null, 2))],
    [WEIGHTS, writeSafetensors(tensors, { format: 'pt' })],
  ]);
}

/** Names of linears where each is changed in the same layers 0 to n, else full paths, so that PEFT makes no factors that the file lacks. */
function targetModules(modules: readonly PortableLora[]): readonly string[] {
  const layers = new Map<string, Set<number>>();
  for (const { module } of modules) {
    const site = siteOfModule(module);
    if (site === undefined) return modules.map((m) => m.module).sort();
    const { linear } = site.linear;
    layers.set(linear, (layers.get(linear) ?? new Set()).add(site.layer));
  }
  const counts = [...layers.values()].map((set) => (Math.max(...set) === set.size - 1 ? set.size : -1));
  return counts.every((n) => n === counts[0] && n > 0) ? [...layers.keys()].sort() : modules.map((m) => m.module).sort();
}
