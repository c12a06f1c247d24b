// web-llm throws named classes, TVM plain errors: both become codes here.
import { AppError } from '../lib/error.ts';

interface Known {
  readonly matches: RegExp;
  readonly code: string;
  readonly what: string;
  readonly fix: string;
}
const OTHER_LIBRARY = 'Build the library again for this version (npm run webllm:library), or run the model in our engine.';
/** Tested against "Name: message"; the first that fits is taken. */
const KNOWN: readonly Known[] = [
  {
    matches: /^LinkError/,
    code: 'webllm/library-version',
    what: 'The model library was built for another version of web-llm than 0.2.86.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /^CompileError/,
    code: 'webllm/library-not-wasm',
    what: 'The model library is not a WebAssembly module.',
    fix: 'Choose the .wasm file that was built for this model.',
  },
  {
    matches: /Cannot find required VM function|Cannot find function|has no function/i,
    code: 'webllm/library-function',
    what: 'The model library lacks a function that web-llm needs.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /^(ShaderF16SupportError|FeatureSupportError)/,
    code: 'webllm/gpu-feature',
    what: 'The model library needs a feature that this GPU does not have.',
    fix: 'Choose a model in 32-bit numbers (q4f32_1 or q0f32), or run the model in our engine.',
  },
  {
    matches: /^(WebGPUNotAvailableError|WebGPUNotFoundError)/,
    code: 'gpu/unavailable',
    what: 'web-llm found no GPU in this browser.',
    fix: 'Use a current Chrome, Edge, Firefox or Safari on a device with a GPU.',
  },
  {
    matches: /Cannot initialize runtime because of requested|maxStorageBuffer|maxComputeWorkgroup/,
    code: 'webllm/gpu-limits',
    what: 'This GPU does not have the limits that web-llm asks for.',
    fix: 'Run the model in our engine.',
  },
  {
    matches: /^DeviceLostError|device (is|was) lost|^ModelNotLoadedError|Instance reference no longer exists/i,
    code: 'gpu/lost',
    what: 'The GPU was lost while web-llm used it.',
    fix: 'Load the model again; what was saved is safe.',
  },
  {
    // TVM without C++ exceptions: what it finds wrong is printed to the console, and then its program ends.
    matches: /^ExitStatus|^RuntimeError: (unreachable|Aborted)/,
    code: 'webllm/library-ended',
    what: 'The program of the model library ended itself.',
    fix: OTHER_LIBRARY,
  },
];

/** An abort stays one, an error of ours stays as it is. `doing` completes "web-llm failed while ...". */
export function webllmError(error: unknown, doing: string): Error {
  if (error instanceof AppError) return error;
  if (error instanceof Error && error.name === 'AbortError') return error;
  const text = named(error);
  const known = KNOWN.find(({ matches }) => matches.test(text));
  const why = `It says: ${text.slice(0, 600)}`;
  if (known !== undefined) return new AppError(known.code, known.what, { why, fix: known.fix, cause: error });
  return new AppError('webllm/failed', `web-llm failed while ${doing}.`, { why, fix: 'Run the model in our engine.', cause: error });
}

/** "Name: message". Some of web-llm's classes keep the name "Error", and the end of a WebAssembly program is an object of its own. */
function named(error: unknown): string {
  if (error instanceof Error) return `${error.name === 'Error' ? error.constructor.name : error.name}: ${error.message}`;
  if (typeof error !== 'object' || error === null) return String(error);
  return `${String(Reflect.get(error, 'name'))}: ${String(Reflect.get(error, 'message'))}`;
}
