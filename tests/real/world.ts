// What the checks work with: the real engine, and the programs that say the truth. Each may be missing on a machine; then its checks are skipped.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import * as v from 'valibot';
import { type Bench, loraParts, type OpenModel } from '../../src/cli/conformance/bench.ts';
import type { Case, Outcome } from '../../src/cli/conformance/case.ts';
import { filesOf, readBytes } from '../../src/cli/conformance/folder.ts';
import type { Patch } from '../../src/engine/types.ts';
import { ggufLora } from '../../src/formats/gguf-lora.ts';
import { peft } from '../../src/formats/peft.ts';
import type { ModelConfig, ModelSource, PortableAdapter } from '../../src/formats/types.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { createPromptRenderer } from '../../src/text/prompt.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import type { PromptRenderer } from '../../src/text/types.ts';

const Found = v.object({ path: v.optional(v.string()), missing: v.optional(v.string()) });
/** What run.mjs found or made, by name: where it is, or why it is missing. */
export const Setup = v.object({
  parts: v.array(v.string()),
  work: v.string(),
  python: Found,
  gguf: Found,
  llama: Found,
  site: Found,
});
export type Setup = v.InferOutput<typeof Setup>;
export type Need = 'python' | 'gguf' | 'llama' | 'site';

export interface World {
  readonly bench: Bench;
  readonly setup: Setup;
  /** Runs truth.py (transformers and PEFT) on one job. */
  truth<T extends v.GenericSchema>(job: object, schema: T): Promise<v.InferOutput<T>>;
  /** Runs llama.mjs (llama.cpp) on one job. */
  llamaCpp<T extends v.GenericSchema>(job: object, schema: T): Promise<v.InferOutput<T>>;
  /** An empty folder or a file's path under the folder of this run. */
  place(name: string): string;
}

const HERE = path.resolve('tests/real');
const LLAMA = path.resolve('tests/llama');

export function createWorld(bench: Bench, setup: Setup): World {
  let truth: ReturnType<typeof startTruth> | undefined;
  return {
    bench,
    setup,
    async truth(job, schema) {
      truth ??= startTruth(setup.python.path ?? 'python3');
      const answer = await truth(job);
      const failed = v.safeParse(v.object({ error: v.string() }), answer);
      if (failed.success) throw new Error(`truth.py: ${failed.output.error}`);
      return v.parse(schema, answer);
    },
    llamaCpp: (job, schema) => ask(process.execPath, [path.join(LLAMA, 'llama.mjs')], job, schema),
    place(name) {
      const place = path.join(setup.work, name);
      mkdirSync(path.dirname(place), { recursive: true });
      return place;
    },
  };
}

/** Hands a job to a program on its standard input; the answer is the last line it prints. */
async function ask<T extends v.GenericSchema>(program: string, args: readonly string[], job: object, schema: T): Promise<v.InferOutput<T>> {
  const child = spawn(program, args, { env: { ...process.env, ...QUIET }, stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  child.stdin.on('error', () => undefined); // the exit status says what went wrong
  child.stdin.end(JSON.stringify(job));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const answer = out.trim().split('\n').at(-1);
  if (status !== 0 || answer === undefined || answer === '') {
    throw new Error(`${path.basename(args[0])} ended with ${status}: ${lastLines(said)}`);
  }
  return v.parse(schema, JSON.parse(answer));
}
const lastLines = (text: string): string => text.trim().split('\n').slice(-4).join(' | ');

/** A truth.py that answers one job after the other, so that PyTorch and the base are loaded once. It ends when this process does. */
function startTruth(program: string): (job: object) => Promise<unknown> {
  const child = spawn(program, [path.join(HERE, 'truth.py')], { env: { ...process.env, ...QUIET }, stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  let ended: string | undefined;
  let hear: { readonly resolve: (answer: unknown) => void; readonly reject: (error: Error) => void } | undefined;
  const end = (why: string): void => {
    ended = why;
    hear?.reject(new Error(why));
  };
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4000)));
  child.stdin.on('error', () => undefined);
  child.on('error', (error) => end(error.message));
  child.on('close', (status) => end(`truth.py ended with ${status}: ${lastLines(said)}`));
  createInterface(child.stdout).on('line', (line) => {
    if (line.startsWith('ANSWER ')) hear?.resolve(JSON.parse(line.slice('ANSWER '.length)));
  });
  return async (job) => {
    if (ended !== undefined) throw new Error(ended);
    const answer = new Promise<unknown>((resolve, reject) => {
      hear = { resolve, reject };
    });
    child.stdin.write(`${JSON.stringify(job)}\n`);
    return answer;
  };
}
/** No progress bars, no look at a model hub: everything is on the disk. The paths of Dawn's drivers are not for other programs. */
const QUIET = {
  TQDM_DISABLE: '1',
  HF_HUB_OFFLINE: '1',
  TRANSFORMERS_VERBOSITY: 'error',
  TOKENIZERS_PARALLELISM: 'false',
  OMP_WAIT_POLICY: 'PASSIVE', // threads that wait by spinning are slow on a busy machine
  LD_LIBRARY_PATH: '',
};

/** A check that needs programs or files: skipped, with the reason, where one is missing. */
export function check(world: World, name: string, needs: readonly Need[], run: () => Promise<Outcome>): Case {
  return {
    path: name,
    run: async () => {
      const missing = needs.map((need) => world.setup[need].missing).find((reason) => reason !== undefined);
      return missing === undefined ? run() : { skipped: missing };
    },
  };
}

/** The path of something that `check` has made sure of. */
export function found(world: World, need: Need): string {
  const { path: place } = world.setup[need];
  if (place === undefined) throw new Error(`There is no ${need}.`);
  return place;
}

/** Fixtures beside the project, or the copies inside it. */
export function fixture(name: string): string | undefined {
  return ['../shared/fixtures', 'tests/fixtures'].map((folder) => path.resolve(folder, name)).find((folder) => filesOf(folder).length > 0);
}

export const templates = {
  render: (source: string, context: Parameters<typeof renderTemplate>[1]) => Promise.resolve(renderTemplate(source, context)),
};
export function rendererOf(source: Pick<ModelSource, 'tokenizer' | 'config'>): PromptRenderer {
  const { tokenizer: spec, config } = source;
  return createPromptRenderer({ tokenizer: createTokenizer(spec), spec, config, templates });
}

const Forward = v.object({ vocab: v.number(), greedy: v.array(v.array(v.number())), margins: v.array(v.array(v.number())) });
export interface Truth {
  /** (T, V) of each row. */
  readonly logits: readonly Float32Array[];
  readonly greedy: readonly (readonly number[])[];
  /** Between the two largest logits at each greedy id. */
  readonly margins: readonly (readonly number[])[];
}
/** Logits of transformers, with a PEFT folder where one is given, and greedy ids where a count is. */
export async function forward(
  world: World,
  base: string,
  rows: readonly Uint32Array[],
  options: { readonly adapter?: string; readonly greedy?: number } = {},
): Promise<Truth> {
  const out = world.place('logits.bin');
  const job = { command: 'forward', base, rows: rows.map((row) => [...row]), out, ...options };
  const { vocab, greedy, margins } = await world.truth(job, Forward);
  const bytes = readFileSync(out);
  let at = 0;
  const logits = rows.map((row) => {
    const numbers = new Float32Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + row.length * vocab * 4));
    at += row.length * vocab * 4;
    return numbers;
  });
  return { logits, greedy, margins };
}

/** Our logits of each row, one row at a time. */
export async function ourLogits({ engine }: OpenModel, rows: readonly Uint32Array[], patch?: Patch): Promise<Float32Array[]> {
  const out: Float32Array[] = [];
  for (const row of rows) out.push(await engine.logits(row, [1, row.length], patch));
  return out;
}

/** An adapter on the GPU for as long as `use` takes. */
export async function withAdapter<T>({ engine }: OpenModel, adapter: PortableAdapter, use: (patch: Patch) => Promise<T>): Promise<T> {
  const patch = engine.createPatch(loraParts(adapter), { trainable: false });
  try {
    return await use(patch);
  } finally {
    engine.disposePatch(patch);
  }
}

/** The files of a folder by name, as an adapter is chosen. */
export function filesIn(folder: string): Map<string, Uint8Array> {
  return new Map(filesOf(folder).map((name) => [name, readBytes(path.join(folder, name))]));
}
export const readPeft = (folder: string, config: ModelConfig): PortableAdapter => peft.read(filesIn(folder), config);
export const formats = { peft, 'gguf-lora': ggufLora };
