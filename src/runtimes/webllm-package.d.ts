// What we use of @mlc-ai/web-llm 0.2.86, its unlisted parts included: they change with its version, which is why package.json names exactly one.
declare module '@mlc-ai/web-llm' {
  export interface LogitProcessor {
    processLogits(logits: Float32Array): Float32Array;
    processSampledToken(token: number): void;
    resetState(): void;
  }
  export interface ModelRecord {
    readonly model: string;
    readonly model_id: string;
    readonly model_lib: string;
  }
  export interface MLCEngineConfig {
    readonly appConfig: { readonly model_list: readonly ModelRecord[]; readonly cacheBackend: 'opfs' };
    readonly logitProcessorRegistry: Map<string, LogitProcessor>;
    readonly initProgressCallback?: (report: { readonly progress: number; readonly text: string }) => void;
    readonly logLevel?: 'ERROR' | 'WARN' | 'INFO';
  }
  export class MLCEngine {
    constructor(config: MLCEngineConfig);
    reload(modelId: string): Promise<void>;
    unload(): Promise<void>;
    resetChat(keepStats?: boolean, modelId?: string): Promise<void>;
    forwardTokensAndSample(ids: readonly number[], isPrefill: boolean, modelId?: string): Promise<number>;
    /** Unlisted: what a loaded model is made of. */
    readonly loadedModelIdToPipeline: ReadonlyMap<
      string,
      {
        readonly prefillChunkSize: number;
        readonly contextWindowSize: number;
        readonly fullVocabSize: number;
        readonly params: { get(index: number): { getDataPtr(): number; readonly byteOffset: number } };
        readonly tvm: {
          withNewScope<T>(action: () => T): T;
          getGlobalFunc(name: string): () => unknown;
          readonly lib: { readonly webGPUContext: { gpuBufferFromPtr(pointer: number): GPUBuffer } };
        };
      }
    >;
  }
}
