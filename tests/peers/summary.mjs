// What a run comes to, one line a configuration.

const middle = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** The best register-tile GEMM of a measurement of the ceiling, in GFLOP/s (each variant's median). */
export function bestTile(rows) {
  return Math.max(0, ...(rows ?? []).filter(({ name, gflops }) => name.startsWith('reg ') && gflops > 0).map(({ gflops }) => gflops));
}

/** `A: 3.4 times jax-js WebGPU, 246 dispatches, 4 submits, 37 MiB, 52 % of the ceiling`: each number the median over the rounds; the ratio and the share
 *  of the ceiling are taken within a round first, because the machine's state changes between rounds. Undefined where our engine did not run. */
export function summary(config, runs) {
  const of = (peer, round) =>
    runs.find((r) => r.kind === 'train' && r.mode === 'lora' && r.config === config && r.peerId === peer && r.round === round && !r.error);
  const rounds = [...new Set(runs.filter((r) => r.kind === 'train').map((r) => r.round))];
  const own = rounds.map((round) => of('ours:webgpu', round)).filter((r) => r !== undefined);
  if (own.length === 0) return undefined;
  const ratios = own.flatMap((r) => {
    const peer = of('jax:webgpu', r.round);
    return peer === undefined ? [] : [peer.stepMs / r.stepMs];
  });
  const shares = own.flatMap((r) => {
    const ceiling = runs.find(
      (x) => x.kind === 'ceiling' && x.config === config && x.round === r.round && x.M === 512 && x.N === 512 && x.K === 512,
    );
    const best = bestTile(ceiling?.rows);
    return best > 0 ? [r.gflops / best] : [];
  });
  const count = (pick) => Math.round(middle(own.map(pick)));
  return `${config}: ${[
    ...(ratios.length > 0 ? [`${middle(ratios).toFixed(1)} times jax-js WebGPU`] : []),
    `${count((r) => r.perStep.dispatches)} dispatches`,
    `${count((r) => r.perStep.submits)} submits`,
    `${Math.ceil(middle(own.map((r) => r.gpuPeakBytes)) / 2 ** 20)} MiB`,
    ...(shares.length > 0 ? [`${Math.round(100 * middle(shares))} % of the ceiling`] : []),
  ].join(', ')}`;
}
