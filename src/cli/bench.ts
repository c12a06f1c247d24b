// npm run bench -- [--shape A] [--only train,decode] [--profile]: times of the real engine over random weights (Dawn in Node). Ends with 0 where the GPU
// memory that was taken is within 10 % of what was planned, and no binding is over 128 MiB.
import { openGpu } from '../engine/gpu.ts';
import { type BenchOptions, readOptions, USAGE } from './bench/options.ts';
import { bench } from './bench/run.ts';
import { scoring } from './bench/scoring.ts';
import { dawn } from './node/dawn.ts';

function optionsOrExit(): BenchOptions {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exit(2);
  }
}
const options = optionsOrExit();
// Timestamps as they are: Dawn rounds them to 100 µs unless told not to.
process.env.DAWN_OPTIONS ??= 'disable-dawn-features=timestamp_quantization';
// The sizes of A are those of stories260k.
if (options.shapes.some(({ name, which }) => name === 'A' && which.includes('score'))) {
  const gpu = await openGpu(dawn());
  await scoring(gpu, (line) => console.log(line));
  gpu.device.destroy();
}
process.exit((await bench(dawn(), options, (line) => console.log(line))) ? 0 : 1);
