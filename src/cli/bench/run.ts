// All measurements of a run, printed as they come: a table, kernels, a JSON line for each row, and for each shape what was planned and taken of GPU memory.
import { cpus, loadavg } from 'node:os';
import { openGpu } from '../../engine/gpu.ts';
import { countGpu } from './count-gpu.ts';
import { type Measurement, type MemoryCheck, measureShape, type Profile, type Report } from './measure.ts';
import type { BenchOptions } from './options.ts';
import type { Shape } from './shapes.ts';

/** WebGPU's default limit, which the engine stays within on every device. */
const MOST_BINDING = 128 * 2 ** 20;
/** Plans may differ from what is taken by this share: uniforms and read-back buffers are not planned. */
const PLAN_TOLERANCE = 0.1;
const WIDTHS = [13, 15, 10, 10, 10, 11, 8, 9];

const MiB = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
const load = (): string => loadavg()[0].toFixed(1);
const row = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i < 2 ? cell.padEnd(WIDTHS[i]) : cell.padStart(WIDTHS[i]))).join(' ');

/** True where every plan was within the tolerance and no binding over 128 MiB. */
export async function bench(api: GPU, { shapes, profile }: BenchOptions, print: (line: string) => void): Promise<boolean> {
  const gpu = await openGpu(api);
  const counts = countGpu(gpu.device);
  print(`on ${gpu.name}, ${cpus().length} cores, load ${load()}`);
  print(row(['shape', 'what', 'ms', 'CPU ms', 'tokens/s', 'dispatches', 'submits', 'GPU MiB']));
  const json: string[] = [];
  const verdicts: { readonly line: string; readonly ok: boolean }[] = [];
  for (const shape of shapes) {
    const { storage, B, T, rank } = shape;
    const onMeasurement = (measurement: Measurement): void => {
      print(tableRow(measurement));
      const state = { flopsPerSecond: gpu.flopsPerSecond, load: loadavg()[0], cores: cpus().length, gpu: gpu.name };
      json.push(JSON.stringify({ ...measurement, storage, B, T, rank, ...state }));
    };
    const report = await measureShape(gpu, counts, shape, { profile, onMeasurement });
    verdicts.push(verdict(shape, report));
    if (profile && report.profiles.length === 0) print('This device has no timestamp-query: no profile.');
    for (const line of report.profiles.flatMap(profileLines)) print(line);
  }
  print(`load ${load()} at the end; medians after the warm-up; CPU ms: all cores, this process`);
  print('');
  for (const line of [...json, ...verdicts.map(({ line }) => line)]) print(line);
  gpu.device.destroy();
  return verdicts.every(({ ok }) => ok);
}

function tableRow({ shape, bench: what, ms, cpuMs, tokensPerSecond, dispatches, submits, gpuBytes }: Measurement): string {
  const times = [ms, cpuMs, tokensPerSecond].map((n) => n.toFixed(n < 100 ? 1 : 0));
  return row([shape, what, ...times, ...[dispatches, submits].map((n) => n.toFixed(0)), MiB(gpuBytes)]);
}

function profileLines({ shape, bench: what, wallMs, runs, kernels }: Profile): string[] {
  const total = kernels.reduce((sum, { ms }) => sum + ms, 0);
  const line = (cells: readonly string[]): string => cells.map((cell, i) => (i === 0 ? cell.padEnd(30) : cell.padStart(9 + i))).join(' ');
  return [
    '',
    `kernels of ${shape}, ${what}: ${total.toFixed(1)} ms in kernels, ${wallMs.toFixed(1)} ms in all with a pass a dispatch; each dispatch's best of ${runs}`,
    line(['kernel', 'calls', 'ms', 'share', 'GFLOP/s*']),
    ...kernels.map(({ kernel, calls, ms, share, plannedFlopsPerSecond }) =>
      line([kernel, String(calls), ms.toFixed(2), `${(100 * share).toFixed(1)} %`, (plannedFlopsPerSecond / 1e9).toFixed(2)]),
    ),
    '* as planned: multiply-adds for linear_*; elsewhere exp, scattered reads and padding of tiles count too',
  ];
}

function verdict(
  { name, steps, made, T }: Shape,
  { measurements, memory, largestBinding }: Report,
): { readonly line: string; readonly ok: boolean } {
  const off = ({ planned, allocated }: MemoryCheck): number => planned / allocated - 1;
  const ok = memory.every((check) => Math.abs(off(check)) <= PLAN_TOLERANCE) && largestBinding <= MOST_BINDING;
  const measured = (start: string): boolean => measurements.some(({ bench: what }) => what.startsWith(start));
  const done = [
    ...(measured('LoRA') ? [`${steps} LoRA steps at T = ${T}`] : []),
    ...(measured('decode') ? [`${made} tokens made`] : []),
    ...memory.map((c) => `${c.what} planned ${MiB(c.planned)} MiB and took ${MiB(c.allocated)} MiB (${(100 * off(c)).toFixed(1)} %)`),
    `largest binding ${MiB(largestBinding)} MiB`,
  ];
  return { line: `${name}: ${done.join(', ')}: ${ok ? 'PASS' : 'FAIL'}`, ok };
}
