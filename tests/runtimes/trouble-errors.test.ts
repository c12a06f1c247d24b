// Whatever web-llm, TVM, WebAssembly and WebGPU throw ends as an AppError: a code, what happened, why, what to do.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { AppError } from '../../src/lib/error.ts';
import { webllmError } from '../../src/runtimes/webllm-errors.ts';

const lib = path.resolve(import.meta.dirname, '../../node_modules/@mlc-ai/web-llm/lib');
const source = readFileSync(path.join(lib, 'index.js'), 'utf8');
const declared = readFileSync(path.join(lib, 'error.d.ts'), 'utf8');

const declaredNames = (): readonly string[] => [...declared.matchAll(/export declare class (\w+)/g)].map(([, name]) => name);

/** web-llm exports one of its error classes; all others are taken from its text. */
function classes(): ReadonlyMap<string, new (...args: unknown[]) => Error> {
  // What nothing uses was left out of the bundle.
  const names = declaredNames().filter((name) => source.includes(`class ${name} extends `));
  const start = source.indexOf('class ModelNotFoundError');
  const end = source.indexOf('var Role;', start);
  const returned = names.map((name) => (name === 'RangeError' ? 'RangeError: RangeError$1' : name)).join(', ');
  const made: unknown = new Function(`${source.slice(start, end)}; return { ${returned} };`)();
  return new Map(Object.entries(Object(made)));
}
const thrown = (name: string, message: string): Error => Object.assign(new Error(message), { name });

/** What a person can meet here, by class. Everything else is a part of web-llm that nothing here calls. */
const CODES: Readonly<Record<string, string>> = {
  WebGPUNotAvailableError: 'gpu/unavailable',
  WebGPUNotFoundError: 'gpu/unavailable',
  FeatureSupportError: 'webllm/gpu-feature',
  ShaderF16SupportError: 'webllm/gpu-feature',
  DeviceLostError: 'gpu/lost',
  ModelNotLoadedError: 'webllm/not-loaded',
  WorkerEngineModelNotLoadedError: 'webllm/not-loaded',
  SpecifiedModelNotFoundError: 'webllm/not-loaded',
  ConfigurationNotInitializedError: 'webllm/not-loaded',
  ContextWindowSizeExceededError: 'webllm/context',
  IntegrityError: 'webllm/file-changed',
  ArtifactManifestError: 'webllm/library-manifest',
  ...Object.fromEntries(
    [
      ...['ConfigValueError', 'MinValueError', 'RangeError', 'NonNegativeError', 'InvalidNumberStringError', 'DependencyError'],
      ...['WindowSizeConfigurationError', 'WindowSizeSpecificationError', 'AttentionSinkSizeError', 'UnsupportedTokenizerFilesError'],
    ].map((name) => [name, 'webllm/chat-config']),
  ),
};

test('every error class that web-llm declares has a code, words and its own text as the reason', () => {
  const found = classes();
  expect(found.size).toBeGreaterThan(65);
  for (const [name, Made] of found) {
    const error = new Made(['a'], ['b'], ['c'], ['d']);
    const mapped = webllmError(error, 'loading the model');
    expect(mapped, name).toBeInstanceOf(AppError);
    expect(mapped, name).toMatchObject({ code: CODES[name] ?? 'webllm/unused-part', cause: error, facts: { error: error.name } });
    expect(mapped, name).toHaveProperty('why', expect.stringContaining(error.message.slice(0, 100)));
    expect(mapped, name).toHaveProperty('fix', expect.stringMatching(/\.$/));
    expect(mapped.message, name).not.toMatch(/!|oops|sorry|please|undefined|\$\d/i);
  }
});

test('no class of its own that is declared elsewhere in web-llm falls through', () => {
  const left = declaredNames().filter((name) => !classes().has(name));
  for (const name of left)
    expect(webllmError(thrown(name, 'x'), 'answering'), name).toHaveProperty('code', expect.stringMatching(/unused-part|not-loaded/));
  const known = classes();
  const all = [...source.matchAll(/class (\w+Error)(?:\$\d+)? extends \w*Error/g)].map(([, name]) => name);
  const other = all.filter((name) => !known.has(name));
  // InvalidCheckpointError gives itself no name; it belongs to saved sessions, which are off.
  expect(other).toContain('ResumableSessionExistsError');
  const unnamed = ['InvalidCheckpointError', 'BindingError', 'InternalError', 'UnboundTypeError'];
  for (const name of other.filter((one) => !unnamed.includes(one)))
    expect(webllmError(thrown(name, 'x'), 'answering'), name).toMatchObject({ code: 'webllm/unused-part' });
});

/** What Chromium, Firefox, Safari and TVM say, as they say it. */
const PLAIN: readonly (readonly [string, string, string, string])[] = [
  [
    'LinkError',
    'WebAssembly.instantiate(): Import #3 "env" "_ZN3tvm15ResetThreadPoolEv": function import requires a callable',
    'webllm/library-version',
    'env._ZN3tvm15ResetThreadPoolEv',
  ],
  ['LinkError', "import object field 'fd_wrote' is not a Function", 'webllm/library-version', 'fd_wrote'],
  [
    'LinkError',
    'import function wasi_snapshot_preview1:fd_wrote must be callable',
    'webllm/library-version',
    'wasi_snapshot_preview1.fd_wrote',
  ],
  ['TypeError', 'WebAssembly.instantiate(): Import #0 "wasi": module is not an object or function', 'webllm/library-version', '0.2.86'],
  ['Error', 'Cannot find TVMWasmAllocSpace,TVMWasmFreeSpace in exports', 'webllm/library-version', '0.2.86'],
  ['Error', 'Cannot find global function vm.builtin.kv_state_clear', 'webllm/library-version', '0.2.86'],
  ['CompileError', 'WebAssembly.instantiate(): expected magic word', 'webllm/library-not-wasm', 'WebAssembly'],
  [
    'Error',
    'Cannot find required VM function `argsort_probs`. Available candidate functions: decode, embed',
    'webllm/library-function',
    'argsort_probs',
  ],
  [
    'Error',
    'Invalid kv_cache ABI. Require either `prefill`+`decode` or `batch_prefill`+`batch_decode`. Available candidate functions: (none)',
    'webllm/library-function',
    '`prefill`+`decode`',
  ],
  ['Error', 'Unsupported kv_state_kind in model metadata: paged', 'webllm/library-kind', 'state'],
  ['Error', 'ValueError: Cannot find parameter in cache: model.norm.weight', 'webllm/library-shape', 'model.norm.weight'],
  [
    'Error',
    'Cannot initialize runtime because of requested maxStorageBuffersPerShaderStage exceeds limit. requested=10, limit=8. ',
    'webllm/gpu-limits',
    'maxStorageBuffersPerShaderStage of 10; it has 8',
  ],
  [
    'Error',
    'Cannot initialize runtime because of requested maxBufferSize exceeds limit. requested=256MB, limit=128MB. Consider upgrading your browser.',
    'webllm/gpu-limits',
    'maxBufferSize of 256MB; it has 128MB',
  ],
  ['Error', "Unable to find a compatible GPU. This issue might be because your computer doesn't have a GPU", 'gpu/unavailable', 'GPU'],
  ['AbortError', "Failed to execute 'mapAsync' on 'GPUBuffer': [Device] is lost.", 'gpu/lost', 'lost'],
  ['OperationError', "Failed to execute 'popErrorScope' on 'GPUDevice': Instance dropped in popErrorScope", 'gpu/lost', 'lost'],
  ['OperationError', 'A valid external Instance reference no longer exists.', 'gpu/lost', 'lost'],
  ['GPUPipelineError', 'Error while parsing WGSL: :3:1 error: unexpected token', 'webllm/kernel', 'kernel'],
  ['RangeError', 'WebAssembly.Memory.grow(): Unable to grow instance memory', 'webllm/out-of-memory', 'memory'],
  ['RangeError', 'Array buffer allocation failed', 'webllm/out-of-memory', 'memory'],
  ['Error', 'Cannot allocate 65536 bytes in Wasm memory', 'webllm/out-of-memory', 'memory'],
  ['QuotaExceededError', 'The requested operation would exceed quota', 'storage/full', 'room'],
  ['TypeError', 'fetch is not a function', 'webllm/file-missing', 'network'],
  ['ReferenceError', 'fetch is not defined', 'webllm/file-missing', 'network'],
  ['Error', 'ArtifactOPFSCache failed to fetch: https://webllm.invalid/x/tensor-cache.json', 'webllm/file-missing', 'network'],
  ['Error', 'Tensor-cache record range [0, 12) exceeds shard of 8 bytes', 'webllm/file-missing', 'file'],
  ['RuntimeError', 'unreachable', 'webllm/library-ended', 'ended'],
  ['RuntimeError', 'memory access out of bounds', 'webllm/library-ended', 'ended'],
  ['Error', 'InternalError: Check failed: (it != table.end()) is false', 'webllm/library-check', 'check'],
  ['Error', 'Object has already been disposed', 'webllm/not-loaded', 'not in web-llm'],
  ['Error', 'something new', 'webllm/failed', 'answering'],
];
test.each(PLAIN)('%s: %s', (name, message, code, words) => {
  const mapped = webllmError(thrown(name, message), 'answering');
  expect(mapped).toMatchObject({ code });
  expect(mapped.message).toContain(words);
  expect(mapped).toHaveProperty('why', expect.stringContaining(message.slice(0, 60)));
});

test('the end of a WebAssembly program, which is no Error, has a code too', () => {
  expect(webllmError({ name: 'ExitStatus', message: 'Program terminated with exit(1)', status: 1 }, 'loading the model')).toMatchObject({
    code: 'webllm/library-ended',
  });
});

test('an abort stays one only where the person stopped; errors of ours stay as they are', () => {
  const abort = new DOMException('The user aborted a request.', 'AbortError');
  expect(webllmError(abort, 'loading', true)).toBe(abort);
  expect(webllmError(abort, 'loading', false)).toMatchObject({ code: 'gpu/lost' });
  const own = new AppError('mlc/shards-missing', 'x');
  expect(webllmError(own, 'loading', true)).toBe(own);
});
