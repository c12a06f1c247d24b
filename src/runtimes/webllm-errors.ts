// web-llm throws named classes, TVM plain errors, WebAssembly, WebGPU and the storage their own: all of them become codes here.
import { AppError } from '../lib/error.ts';

interface Known {
  /** Held against "Name: message"; the first that fits is taken. */
  readonly matches: RegExp;
  readonly code: string;
  /** $1 ... are the groups of the match. */
  readonly what: string;
  readonly fix: string;
}
const OTHER_LIBRARY = 'Build the library again for this version (npm run webllm:library), or run the model in our engine.';
const ENGINE = 'Run the model in our engine.';
const AGAIN = 'Load the model again; what was saved is safe.';
const REPORT = 'This is a mistake in this program: run the model in our engine, and report it with the text under "For a report".';

/** What the browser and the model library say. */
const PLATFORM: readonly Known[] = [
  {
    // Chrome: Import #3 "env" "name"; Safari: import function env:name must be callable.
    matches: /^LinkError.*?(?:Import #\d+ "([^"]+)" "([^"]+)"|import function ([^\s:]+):(\S+))/,
    code: 'webllm/library-version',
    what: 'The model library was built for another version of web-llm than 0.2.86: it asks for $1.$2, which this one does not give.',
    fix: OTHER_LIBRARY,
  },
  {
    // Firefox names the function alone.
    matches: /import object field '([^']+)' is not/,
    code: 'webllm/library-version',
    what: 'The model library was built for another version of web-llm than 0.2.86: it asks for $1, which this one does not give.',
    fix: OTHER_LIBRARY,
  },
  {
    matches:
      /^LinkError|Import #\d+ .*module is not an object|Cannot find .* in exports|Cannot find global function|Cannt detect wasm memory/,
    code: 'webllm/library-version',
    what: 'The model library was built for another version of web-llm than 0.2.86.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /^CompileError/,
    code: 'webllm/library-not-wasm',
    what: 'The model library is no WebAssembly that can be run.',
    fix: 'Get the .wasm file of this model again, or run the model in our engine.',
  },
  {
    matches: /Cannot find required VM function `([^`]+)`|Cannot find function (\w+)|Invalid \w+ ABI\. (.*?\.)|has no function (\w+)/i,
    code: 'webllm/library-function',
    what: 'The model library lacks a function that web-llm needs: $1.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /kv_state_kind/,
    code: 'webllm/library-kind',
    what: 'The model library keeps its state in a way that this version of web-llm does not know.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /Cannot find parameter in cache: ?(\S+)|param\w* (\S+) is not found/i,
    code: 'webllm/library-shape',
    what: 'The model library asks for the tensor $1, which the shards lack.',
    fix: 'Get the library of this model and this quantization, or run the model in our engine.',
  },
  {
    matches: /requested (max\w+) exceeds limit\. requested=(\w+), limit=(\w+)/,
    code: 'webllm/gpu-limits',
    what: 'This GPU does not have the limits that web-llm asks for: $1 of $2; it has $3.',
    fix: ENGINE,
  },
  {
    matches: /Unable to find a compatible GPU/,
    code: 'gpu/unavailable',
    what: 'web-llm found no GPU in this browser.',
    fix: 'Use a current Chrome, Edge, Firefox or Safari on a device with a GPU. After two crashes of the GPU, restart the browser.',
  },
  {
    matches: /device (?:is|was) lost|lost device|Instance reference no longer exists|Instance dropped|external Instance|^OperationError/i,
    code: 'gpu/lost',
    what: 'The GPU was lost while web-llm used it.',
    fix: AGAIN,
  },
  {
    matches: /^GPUPipelineError|compute pipeline|shader module/i,
    code: 'webllm/kernel',
    what: 'A kernel of the model library cannot be used on this GPU.',
    fix: 'Choose the library with the other schedule, where there is one, or run the model in our engine.',
  },
  {
    matches: /out of memory|could not allocate|Cannot allocate|allocation failed|Invalid array buffer length|Memory\.grow/i,
    code: 'webllm/out-of-memory',
    what: 'There is not enough memory in this tab for web-llm and this model.',
    fix: 'Unload what our engine holds, choose a smaller model or a shorter context, or run the model in our engine.',
  },
  {
    matches: /^QuotaExceededError/,
    code: 'storage/full',
    what: 'There is not enough room on this device to hand the model to web-llm.',
    fix: 'Delete a model or an old run, then load again. The room is needed only while the model is loaded.',
  },
  {
    matches: /fetch|^OPFSStore|received status|tensor-cache|^NotFoundError|^NoModificationAllowedError|^InvalidStateError/i,
    code: 'webllm/file-missing',
    what: 'web-llm did not find a file of the model where it was put for it. Nothing was asked of the network.',
    fix: 'Close other tabs of this site and load the model again, or run it in our engine.',
  },
  {
    // TVM without C++ exceptions: what it finds wrong is printed to the console, and then its program ends.
    matches: /^ExitStatus|^RuntimeError|memory access out of bounds|Invalid Wasm memory|Wasm memory range/,
    code: 'webllm/library-ended',
    what: 'The program of the model library ended itself.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /Check failed|InternalError|TVMError|^AssertError|AssertError:/,
    code: 'webllm/library-check',
    what: 'A check within the model library failed.',
    fix: OTHER_LIBRARY,
  },
  {
    matches: /disposed|called when the stack is empty|Must call beginScope/,
    code: 'webllm/not-loaded',
    what: 'The model is not in web-llm any more.',
    fix: 'Load the model there again, or run it in our engine.',
  },
];

const words = (code: string, what: string, fix: string) => ({ code, what, fix });
const GPU_FEATURE = words(
  'webllm/gpu-feature',
  'The model library needs a feature that this GPU does not have.',
  'Choose a model in 32-bit numbers (q4f32_1 or q0f32), or run the model in our engine.',
);
const NO_GPU = words(
  'gpu/unavailable',
  'web-llm found no GPU in this browser.',
  'Use a current Chrome, Edge, Firefox or Safari on a device with a GPU.',
);
const LOST = words('gpu/lost', 'The GPU was lost while web-llm used it.', AGAIN);
const NOT_LOADED = words(
  'webllm/not-loaded',
  'The model is not in web-llm any more.',
  'Load the model there again, or run it in our engine.',
);
const CONFIG = words(
  'webllm/chat-config',
  'web-llm does not take a number of mlc-chat-config.json.',
  'Get mlc-chat-config.json again from where the shards came from, or run the model in our engine.',
);
/** Parts of web-llm that nothing here calls: its chat requests, grammars, tools, images, sound, embeddings, its own workers and its own files. */
const UNUSED = words('webllm/unused-part', 'web-llm was asked for something that this app does not use.', REPORT);

/** web-llm 0.2.86's classes, by the name that each gives itself. */
const NAMED = new Map(
  Object.entries({
    WebGPUNotAvailableError: NO_GPU,
    WebGPUNotFoundError: NO_GPU,
    FeatureSupportError: GPU_FEATURE,
    ShaderF16SupportError: GPU_FEATURE,
    DeviceLostError: LOST,
    ModelNotLoadedError: NOT_LOADED,
    EngineNotLoadedError: NOT_LOADED,
    WorkerEngineModelNotLoadedError: NOT_LOADED,
    SpecifiedModelNotFoundError: NOT_LOADED,
    ConfigurationNotInitializedError: NOT_LOADED,
    ConfigValueError: CONFIG,
    MinValueError: CONFIG,
    NonNegativeError: CONFIG,
    InvalidNumberStringError: CONFIG,
    DependencyError: CONFIG,
    WindowSizeConfigurationError: CONFIG,
    WindowSizeSpecificationError: CONFIG,
    AttentionSinkSizeError: CONFIG,
    UnsupportedTokenizerFilesError: CONFIG,
    ContextWindowSizeExceededError: words(
      'webllm/context',
      'The prompt is longer than web-llm has room for.',
      'Shorten the prompt, or use fewer examples in it.',
    ),
    IntegrityError: words(
      'webllm/file-changed',
      'A file of the model is not what it was when it was kept.',
      'Add the model again from where it came.',
    ),
    ArtifactManifestError: words(
      'webllm/library-manifest',
      'The model library is of a kind that needs a manifest beside it.',
      OTHER_LIBRARY,
    ),
    ...Object.fromEntries(
      [
        ...['ModelNotFoundError', 'MissingModelError', 'ReloadArgumentSizeUnmatchedError', 'ReloadModelIdNotUniqueError'],
        ...['UnclearModelToUseError', 'IncorrectPipelineLoadedError', 'AudioInputError', 'MessageOrderError', 'SystemMessageOrderError'],
        ...['ContentTypeError', 'UnsupportedRoleError', 'UserMessageContentErrorForNonVLM', 'UnsupportedContentPartError'],
        ...['PrefillChunkSizeSmallerThanImageError', 'CannotFindImageEmbedError', 'UnsupportedDetailError', 'UnsupportedImageURLError'],
        ...['MultipleTextContentError', 'ToolCallOutputParseError', 'ToolCallOutputInvalidTypeError', 'JSONFieldError'],
        ...['UnsupportedFieldsError', 'NonWorkerEnvironmentError', 'NoServiceWorkerAPIError', 'ServiceWorkerInitializationError'],
        ...['StreamingCountError', 'SeedTypeError', 'InvalidResponseFormatError', 'InvalidResponseFormatGrammarError'],
        ...['InvalidResponseFormatStructuralTagError', 'GrammarMatcherInitError', 'CustomResponseFormatError', 'UnsupportedModelIdError'],
        ...['CustomSystemPromptError', 'InvalidStreamOptionsError', 'UnknownMessageKindError', 'TextCompletionExpectsKVEmptyError'],
        ...['TextCompletionConversationExpectsPrompt', 'TextCompletionConversationError', 'EmbeddingUnsupportedEncodingFormatError'],
        ...['EmbeddingUnsupportedModelError', 'EmbeddingSlidingWindowError', 'EmbeddingChunkingUnsupportedError'],
        ...['EmbeddingExceedContextWindowSizeError', 'EmbeddingInputEmptyError', 'CrossContextLockUnavailableError'],
        ...['ResumableSessionExistsError', 'InvalidToolChoiceError', 'UnsupportedToolChoiceTypeError', 'FunctionNotFoundError'],
        ...['UnsupportedToolTypeError'],
      ].map((name) => [name, UNUSED]),
    ),
  }),
);

/** An error of ours stays as it is, and an AbortError where the person has `stopped`: a lost GPU ends its reads with AbortErrors too. `doing` completes "web-llm
 *  failed while ...". */
export function webllmError(error: unknown, doing: string, stopped = false): Error {
  if (error instanceof AppError) return error;
  const name = nameOf(error);
  if (stopped && error instanceof Error && name === 'AbortError') return error;
  const text = `${name}: ${messageOf(error)}`;
  const why = `It says: ${text.slice(0, 600)}`;
  const facts = { error: name };
  // web-llm has a RangeError of its own, for numbers of a configuration.
  const named = name === 'AbortError' ? LOST : /^RangeError: Make sure/.test(text) ? CONFIG : NAMED.get(name);
  if (named !== undefined) return new AppError(named.code, named.what, { why, fix: named.fix, cause: error, facts });
  for (const { matches, code, what, fix } of PLATFORM) {
    const groups = matches.exec(text);
    if (groups === null) continue;
    const found = groups.slice(1).filter((group) => group !== undefined);
    const filled = what.replace(/\$(\d)/g, (_, n: string) => found[Number(n) - 1] ?? 'its name is not said');
    return new AppError(code, filled, { why, fix, cause: error, facts });
  }
  return new AppError('webllm/failed', `web-llm failed while ${doing}.`, { why, fix: ENGINE, cause: error, facts });
}

/** Some of web-llm's classes keep the name "Error", and the end of a WebAssembly program is an object of its own. */
function nameOf(error: unknown): string {
  if (error instanceof Error) return error.name;
  return typeof error === 'object' && error !== null ? String(Reflect.get(error, 'name')) : 'Error';
}
function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  return typeof error === 'object' && error !== null ? String(Reflect.get(error, 'message')) : String(error);
}
