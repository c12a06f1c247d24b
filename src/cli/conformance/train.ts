import path from 'node:path';
import * as v from 'valibot';
import type { Engine, HostPart, HostTensor, Patch } from '../../engine/types.ts';
import { ggufLora } from '../../formats/gguf-lora.ts';
import { peft } from '../../formats/peft.ts';
import type { PortableAdapter } from '../../formats/types.ts';
import { type Bench, continueGreedily, loraParts, type OpenModel } from './bench.ts';
import {
  type Case,
  differentIds,
  exact,
  GRADIENT_BASE,
  LOGITS_BASE,
  LOSS_BASE,
  type Measurement,
  type Outcome,
  TENSORS_BASE,
  tolerance,
  worstDifference,
} from './case.ts';
import { filesOf, ids, type Numbers, readBytes, readJson, readTensors, rowsOf, subfolders } from './folder.ts';
import { need } from './models.ts';
import { Run, readBatches, SIDE_FILES, suffixesOf, toBatch } from './run-files.ts';

/** train/ARCHITECTURE/RUN on models/ARCHITECTURE, and runs in the folder of the model that they train, such as stories260k/lora_zed. */
export function trainCases(bench: Bench): Case[] {
  const cases: Case[] = [];
  for (const architecture of subfolders(path.join(bench.root, 'train'))) {
    for (const run of subfolders(path.join(bench.root, 'train', architecture))) {
      const folder = `train/${architecture}/${run}`;
      cases.push({ path: folder, run: () => runTraining(bench, folder, `models/${architecture}`) });
    }
  }
  for (const model of subfolders(bench.root).filter((name) => filesOf(path.join(bench.root, name)).includes('config.json'))) {
    for (const run of subfolders(path.join(bench.root, model))) {
      const folder = `${model}/${run}`;
      cases.push({ path: folder, run: () => runTraining(bench, folder, model) });
    }
  }
  return cases;
}

async function runTraining(bench: Bench, folder: string, modelFolder: string): Promise<Outcome> {
  const full = path.join(bench.root, folder);
  const names = filesOf(full);
  const run = names.includes('run.json') ? readJson(path.join(full, 'run.json'), Run) : undefined;
  if (names.includes('adapter_config.json')) {
    const skipped = unsupportedAdapter(path.join(full, 'adapter_config.json'));
    if (skipped !== undefined) return { skipped };
    const model = await bench.open(modelFolder, 'f32');
    return { measurements: run === undefined ? await measureAdapter(model, full) : await measureLoraRun(model, full, run) };
  }
  if (run?.init === undefined)
    return { skipped: 'the folder has neither an adapter_config.json nor a run.json that names the model it starts from' };
  const model = await bench.open(path.posix.dirname(path.posix.join(folder, run.init)), 'f32');
  return { measurements: await measureFullRun(model, full, run) };
}

/** Why an adapter cannot be run yet, from what its configuration says of itself. */
function unsupportedAdapter(file: string): string | undefined {
  const { peft_type, use_dora } = readJson(file, v.object({ peft_type: v.optional(v.string()), use_dora: v.optional(v.boolean()) }));
  if (peft_type === undefined) return 'bottleneck adapters are not supported yet';
  if (peft_type !== 'LORA') return `adapters of type ${peft_type} are not supported yet`;
  return use_dora ? 'DoRA is not supported yet' : undefined;
}

/** The adapter of a folder; with `start`, its configuration over the tensors that training began from. */
function readAdapter(model: OpenModel, folder: string, tensors = 'adapter_model.safetensors'): PortableAdapter {
  const files = new Map([
    ['adapter_config.json', readBytes(path.join(folder, 'adapter_config.json'))],
    ['adapter_model.safetensors', readBytes(path.join(folder, tensors))],
  ]);
  return peft.read(files, model.source.config);
}

/** Logits, and the gradients and loss where they are stated, of an adapter as it is. */
async function measureAdapter(model: OpenModel, folder: string): Promise<Measurement[]> {
  const { engine } = model;
  const expected = readTensors(path.join(folder, 'expected.safetensors'));
  const patch = engine.createPatch(loraParts(readAdapter(model, folder)), { trainable: true });
  const inputs = need(expected, 'input_ids');
  const measurements = [await measureLogits(engine, 'logits', inputs, need(expected, 'logits'), undefined, patch)];
  const base = expected.get('logits_base');
  if (base !== undefined) measurements.push(await measureLogits(engine, 'logits_base', inputs, base));
  if (expected.has('labels')) {
    const { batch, targets } = toBatch(expected, '');
    engine.accumulate(batch, patch, targets);
    const wanted = new Map(
      [...expected].filter(([name]) => name.startsWith('grad:')).map(([name, value]) => [name.slice('grad:'.length), value]),
    );
    measurements.push(measureGradients(await engine.gradients(patch), wanted));
  }
  engine.disposePatch(patch);
  measurements.push(...(await measureGgufLora(model, folder, inputs, need(expected, 'logits'))));
  return measurements;
}

async function measureLoraRun(model: OpenModel, folder: string, run: Run): Promise<Measurement[]> {
  const { engine } = model;
  const measurements: Measurement[] = [];
  for (const [i, { prompt, input_ids, before }] of (run.generations ?? []).entries()) {
    measurements.push(exact(`ids of prompt ${i}`, differentIds(model.tokenizer().encode(prompt, { addSpecial: true }), input_ids)));
    measurements.push(exact(`text of prompt ${i} before`, (await textAfter(model, input_ids)).startsWith(before) ? 0 : 1));
  }
  const start = loraParts(readAdapter(model, folder, 'init.safetensors'));
  measurements.push(await measureRowByRow(engine, start, folder, run));
  const patch = engine.createPatch(start, { trainable: true });
  measurements.push(...(await train(engine, patch, folder, run)));
  const final = readTensors(path.join(folder, 'adapter_model.safetensors'));
  measurements.push(...(await measureFinal(engine, patch, folder, run, final)));
  for (const [i, { input_ids, after_ids }] of (run.generations ?? []).entries()) {
    const got = await continueGreedily(engine, Uint32Array.from(input_ids), after_ids.length, model.source.config.stopIds, patch);
    measurements.push(exact(`ids of prompt ${i} after`, differentIds(got, after_ids)));
  }
  engine.disposePatch(patch);
  const logits = readTensors(path.join(folder, 'final_logits.safetensors'));
  measurements.push(
    ...(await measureGgufLora(model, folder, need(logits, 'input_ids'), need(logits, 'logits'), run.float32_drift?.max_final_logits)),
  );
  return measurements;
}

/** The first step's gradients when its batch comes as micro-batches of one row. */
async function measureRowByRow(engine: Engine, start: readonly HostPart[], folder: string, run: Run): Promise<Measurement> {
  const batches = readBatches(folder, run);
  const { batch, targets } = toBatch(batches, suffixesOf(batches)[0]);
  const [B, T] = batch.shape;
  const patch = engine.createPatch(start, { trainable: true });
  for (let b = 0; b < B; b++) {
    const [from, to] = [b * T, (b + 1) * T];
    engine.accumulate({ tokens: batch.tokens.slice(from, to), targets: batch.targets.slice(from, to), shape: [1, T] }, patch, targets);
  }
  const got = await engine.gradients(patch);
  engine.disposePatch(patch);
  const wanted = readTensors(path.join(folder, 'grads_step1.safetensors'));
  return { ...measureGradients(got, wanted, run.float32_drift?.max_grad_step1), what: 'step-1 gradients, a row at a time' };
}

async function measureFullRun({ engine }: OpenModel, folder: string, run: Run): Promise<Measurement[]> {
  const result = filesOf(folder).find((name) => name.endsWith('.safetensors') && !SIDE_FILES.includes(name));
  if (result === undefined) throw new Error('There is no safetensors file with the trained weights in this folder.');
  const final = readTensors(path.join(folder, result));
  const parts: HostPart[] = [];
  for (const name of final.keys()) parts.push({ kind: 'weights', name, values: await engine.readWeights(name) });
  const noDecay = (name: string): boolean => run.no_weight_decay_on?.includes(name) ?? (name.includes('norm') || name.endsWith('.bias'));
  const patch = engine.createPatch(parts, { trainable: true, noDecay });
  const measurements = await train(engine, patch, folder, run);
  measurements.push(...(await measureFinal(engine, patch, folder, run, final)));
  engine.disposePatch(patch);
  return measurements;
}

/** All steps of a run: its losses, gradient norms and the first step's gradients. */
async function train(engine: Engine, patch: Patch, folder: string, run: Run): Promise<Measurement[]> {
  const batches = readBatches(folder, run);
  const suffixes = suffixesOf(batches);
  const { betas, eps, weight_decay, max_grad_norm } = run.hyperparameters;
  const losses: number[] = [];
  const norms: number[] = [];
  const measurements: Measurement[] = [];
  for (const [step, lr] of run.lrs.entries()) {
    const { batch, targets } = toBatch(batches, suffixes[step % suffixes.length]);
    engine.accumulate(batch, patch, targets);
    if (step === 0) {
      const wanted = readTensors(path.join(folder, 'grads_step1.safetensors'));
      measurements.push(measureGradients(await engine.gradients(patch), wanted, run.float32_drift?.max_grad_step1));
    }
    const { loss, gradNorm } = await engine.update(patch, {
      lr,
      beta1: betas[0],
      beta2: betas[1],
      eps,
      weightDecay: weight_decay,
      clipNorm: max_grad_norm ?? 0,
    });
    losses.push(loss);
    norms.push(gradNorm);
  }
  measurements.push({
    what: `losses of ${losses.length} steps`,
    difference: worstDifference(losses, run.losses),
    tolerance: tolerance(LOSS_BASE * Math.max(...run.losses), run.float32_drift?.max_loss),
  });
  measurements.push({
    what: 'gradient norms',
    difference: worstDifference(norms, run.grad_norms),
    tolerance: GRADIENT_BASE * Math.max(...run.grad_norms),
  });
  return measurements;
}

async function measureFinal(
  engine: Engine,
  patch: Patch,
  folder: string,
  run: Run,
  final: ReadonlyMap<string, Numbers>,
): Promise<Measurement[]> {
  const trained = await engine.readPatch(patch);
  const logits = readTensors(path.join(folder, 'final_logits.safetensors'));
  const measurements = [
    {
      what: 'final tensors',
      difference: worstOf(dataOf(trained), final),
      tolerance: tolerance(TENSORS_BASE, run.float32_drift?.max_param_final),
    },
    await measureLogits(
      engine,
      'final logits',
      need(logits, 'input_ids'),
      need(logits, 'logits'),
      run.float32_drift?.max_final_logits,
      patch,
    ),
  ];
  if (run.final_loss_batch0 !== undefined) {
    // by score, the forward pass without training's
    const { batch, targets } = toBatch(readBatches(folder, run), suffixesOf(readBatches(folder, run))[0]);
    const scores = await engine.score(batch.tokens, batch.shape, patch);
    let loss = 0;
    batch.targets.forEach((target, i) => {
      if (target >= 0) loss -= scores[i + 1] / targets;
    });
    measurements.push({
      what: 'final loss by score',
      difference: Math.abs(loss - run.final_loss_batch0),
      tolerance: tolerance(LOSS_BASE * Math.max(...run.losses), run.float32_drift?.max_loss),
    });
  }
  return measurements;
}

async function measureLogits(
  engine: Engine,
  what: string,
  inputs: Numbers,
  want: Numbers,
  drift?: number,
  patch?: Patch,
): Promise<Measurement> {
  const got = await engine.logits(ids(inputs), rowsOf(inputs), patch);
  return { what, difference: worstDifference(got, want.data), tolerance: tolerance(LOGITS_BASE, drift) };
}

/** The same adapter as a GGUF file, where the folder has one in f32, gives the PEFT folder's logits. */
async function measureGgufLora(model: OpenModel, folder: string, inputs: Numbers, want: Numbers, drift?: number): Promise<Measurement[]> {
  const { engine } = model;
  const measurements: Measurement[] = [];
  for (const name of filesOf(folder).filter((file) => file.endsWith('.gguf') && !file.endsWith('-f16.gguf'))) {
    const adapter = ggufLora.read(new Map([[name, readBytes(path.join(folder, name))]]), model.source.config);
    const [ours, theirs] = [await logitsUnder(engine, adapter, inputs), await logitsUnder(engine, readAdapter(model, folder), inputs)];
    measurements.push({
      what: `logits of ${name}`,
      difference: worstDifference(ours, want.data),
      tolerance: tolerance(LOGITS_BASE, drift),
    });
    measurements.push({ what: `${name} against the PEFT folder`, difference: worstDifference(ours, theirs), tolerance: LOGITS_BASE });
  }
  return measurements;
}

async function logitsUnder(engine: Engine, adapter: PortableAdapter, inputs: Numbers): Promise<Float32Array> {
  const patch = engine.createPatch(loraParts(adapter), { trainable: false });
  const logits = await engine.logits(ids(inputs), rowsOf(inputs), patch);
  engine.disposePatch(patch);
  return logits;
}

function measureGradients(got: ReadonlyMap<string, Float32Array>, wanted: ReadonlyMap<string, Numbers>, drift?: number): Measurement {
  const squares = [...wanted.values()].reduce((sum, { data }) => sum + data.reduce((a, g) => a + g * g, 0), 0);
  return { what: 'step-1 gradients', difference: worstOf(got, wanted), tolerance: tolerance(GRADIENT_BASE * Math.sqrt(squares), drift) };
}

const dataOf = (tensors: ReadonlyMap<string, HostTensor>): Map<string, Float32Array> =>
  new Map([...tensors].map(([name, { data }]) => [name, data]));

/** Worst difference over tensors of the same names; infinity where a name is missing on either side. */
function worstOf(got: ReadonlyMap<string, Float32Array>, wanted: ReadonlyMap<string, Numbers>): number {
  let worst = got.size === wanted.size ? 0 : Infinity;
  for (const [name, { data }] of wanted) worst = Math.max(worst, worstDifference(got.get(name) ?? [], data));
  return worst;
}

async function textAfter(model: OpenModel, prompt: readonly number[]): Promise<string> {
  const { engine, source } = model;
  const room = Math.min(64, source.config.context - prompt.length);
  const made = await continueGreedily(engine, Uint32Array.from(prompt), room, source.config.stopIds);
  const whole = model.tokenizer().decode([...prompt, ...made]);
  return whole.slice(model.tokenizer().decode(prompt).length);
}
