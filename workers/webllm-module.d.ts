declare module 'virtual:webllm-module' {
  /** maquette-webllm.js, as src/cli/node/webllm-module.ts bundles it. */
  export const source: string;
}
