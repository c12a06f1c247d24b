// Driver: one fresh page (and browser) per measurement, the contenders of a round one after the other.
//   node run.mjs [--peers ours:webgpu,jax:webgpu] [--configs A,B] [--modes lora,full] [--rounds 3] [--steps 20]
//                [--decode 32] [--forward 0|1] [--out results.json] [--ceiling | --with-ceiling] [--verify] [--chrome /path] [--headed] [--hardware]
import { existsSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { findBrowser } from '../../src/cli/environment.mjs';
import { serve, withPage } from './browser.mjs';
import { CONFIGS, makeBatch, makeLora, makeWeights } from './src/common.js';
import { referenceGreedy, referenceLoss } from './src/reference.js';
import { bestTile, summary } from './summary.mjs';

const arg = (name, fallback) => {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : process.argv[i + 1];
};
const has = (name) => process.argv.includes(`--${name}`);
const list = (name, fallback) => arg(name, fallback).split(',');
if (!existsSync(join(import.meta.dirname, 'dist/harness.js'))) {
  console.error('run `npm run build` first: there is no dist/');
  process.exit(1);
}
const browser = { chrome: arg('chrome', process.env.CHROME) ?? findBrowser(), headed: has('headed'), hardware: has('hardware') };
if (browser.chrome === undefined) {
  console.error('No Chrome or Chromium found. Name one with --chrome PATH.');
  process.exit(1);
}
const rounds = Number(arg('rounds', has('verify') ? 1 : 3));
const configs = list('configs', has('verify') ? 'T,A' : 'A,B');
// TensorFlow.js WebGPU is left out unless named: its step takes 12 s on A here, twenty of them an hour with B's.
const peers = list('peers', 'ours:webgpu,jax:webgpu,jax:wasm,tfjs:wasm').map((peer) => (peer.includes(':') ? peer : `${peer}:webgpu`));
const shapes = list('shapes', has('ceiling') ? '512x512x512,1024x1024x1024' : '512x512x512').map((shape) => shape.split('x').map(Number));

const server = await serve();
const at = (path) => `http://localhost:${server.address().port}${path}`;
const results = { when: new Date().toISOString(), cpus: `${cpus().length} x ${cpus()[0]?.model}`, runs: [] };
const save = () => {
  if (arg('out')) writeFileSync(arg('out'), JSON.stringify(results, null, 1));
};

async function measureCeiling(round, config) {
  for (const [M, N, K] of shapes) {
    const r = await withPage(at('/page/ceiling?raw=1'), browser, (page) =>
      page.evaluate((options) => window.ceiling.run(options), { M, N, K, ...(has('ceiling') ? {} : { only: 'reg ' }) }),
    );
    results.runs.push({ kind: 'ceiling', config, round, M, N, K, load: loadavg()[0], rows: r.rows, error: r.error });
    save();
    console.log(`== ${M}x${N}x${K} round ${round} load ${loadavg()[0].toFixed(1)} ${r.error ?? ''}`);
    const rows = (r.rows ?? []).toSorted((a, b) => (b.gflops ?? 0) - (a.gflops ?? 0));
    for (const x of has('ceiling') ? rows : rows.slice(0, 3)) {
      console.log(
        x.gflops
          ? `  ${x.gflops.toFixed(2).padStart(7)} GF/s (best ${x.bestGflops.toFixed(2)}) err ${x.worstError.toExponential(1)}  ${x.name}`
          : `  ${JSON.stringify(x)}`,
      );
    }
    if (!has('ceiling')) console.log(`  ceiling ${bestTile(rows).toFixed(2)} GF/s`);
  }
}

async function measurePeer(peer, config, mode, round, expected) {
  const [name, device, extra] = peer.split(':'); // name:device[:extra query, e.g. mm=3]
  const load = loadavg()[0];
  const options = { config, mode, steps: Number(arg('steps', 20)), forward: Number(arg('forward', 1)) > 0 };
  const more = { decode: Number(arg('decode', 32)), maxMs: Number(arg('maxms', 60000)) };
  const r = await withPage(at(`/page/${name}?device=${device}${extra ? `&${extra}` : ''}`), browser, (page) =>
    page.evaluate((o) => window.harness.run(o), { ...options, ...more }),
  );
  results.runs.push({ kind: 'train', peerId: peer, config, mode, round, load: [load, loadavg()[0]], ...r });
  save();
  console.log(
    `  ${peer} ${config} ${mode} r${round}: ${r.error ? `ERROR ${r.error} ${r.consoleErrors?.join(' | ')}` : describe(r, expected, load)}`,
  );
}

function describe(r, { loss, greedy }, load) {
  const ids = r.decode?.ids?.slice(0, 8);
  const decode = r.decode?.error
    ? r.decode.error
    : r.decode
      ? `${r.decode.tokPerSec.toFixed(1)} tok/s ${ids.every((id, i) => id === greedy[i]) ? 'ids ok' : `ids DIFFER ${ids}`}`
      : '-';
  return [
    `${r.stepMs.toFixed(1)} ms/step (min ${r.minMs.toFixed(1)} max ${r.maxMs.toFixed(1)} n=${r.timed}; first ${r.firstStepMs.toFixed(0)}) ${r.tokensPerSec.toFixed(1)} tok/s ${r.gflops.toFixed(2)} GF/s`,
    `loss ${r.losses[0].toFixed(6)} (ref ${(r.losses[0] - loss).toExponential(1)}) -> ${r.losses.at(-1).toFixed(5)} (step ${r.losses.length})`,
    `fwd ${r.forwardMs?.toFixed(1)} ms`,
    `${r.perStep?.dispatches} disp ${r.perStep?.submits} sub/step`,
    `gpu peak ${(r.gpuPeakBytes / 2 ** 20).toFixed(1)} MiB, GPU proc ${r.gpuProcessPeakMB.toFixed(0)} MB, renderer ${r.rendererPeakMB.toFixed(0)} MB`,
    `decode ${decode}`,
    `yard ${r.yardBefore.median.toFixed(0)}..${r.yardAfter.median.toFixed(0)} ms, load ${load.toFixed(1)}`,
  ].join(' | ');
}

if (has('ceiling')) {
  for (let round = 0; round < rounds; round++) await measureCeiling(round, 'none');
} else {
  for (const config of configs) {
    const c = CONFIGS[config];
    const weights = makeWeights(c);
    const expected = { loss: referenceLoss(c, weights, makeBatch(c), makeLora(c)), greedy: referenceGreedy(c, weights, [1, 2, 3], 8) };
    console.log(`config ${config}: float64 reference loss ${expected.loss.toFixed(6)}, greedy ${expected.greedy}`);
    results.runs.push({ kind: 'reference', config, ...expected });
    for (const mode of list('modes', 'lora')) {
      for (let round = 0; round < rounds; round++) {
        if (has('with-ceiling') && mode === 'lora') await measureCeiling(round, config);
        for (const peer of peers) await measurePeer(peer, config, mode, round, expected);
      }
    }
  }
  for (const config of configs) console.log(summary(config, results.runs) ?? `${config}: our engine did not run`);
}
save();
server.close();
