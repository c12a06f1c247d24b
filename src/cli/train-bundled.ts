// node src/cli/run.mjs train-bundled [--seed S] [--step N] [--steps N] [--tokens-per-step N]: packed rows of texts of the Vale to stdout, step after step
// without end, for python/train_bundled.py. What a step holds depends on the seed and its number alone, so training goes on where it stopped.
//   --exam N     N questions of each exam instead, as lines of JSON: {name, prompt, answer}, both as ids
//   --schedule   the phases as JSON
// A step: magic, step, rows, ids in a row, phase (u32 each, little-endian); then rows of u16 ids, of u8 weights (200 is 1), of u8 document numbers.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { hashText, seededRandom } from '../lib/random.ts';
import { EXAMS, exam, isOpenEnded } from '../world/exam.ts';
import { encodeDocument, packRows } from '../world/layout.ts';
import { phaseAt, SCHEDULE } from '../world/mixture.ts';
import { readEncoder } from './world/tokenizer-files.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    step: { type: 'string', default: '0' },
    steps: { type: 'string', default: 'Infinity' },
    'tokens-per-step': { type: 'string', default: '1536' },
    tokenizer: { type: 'string', default: 'src/cli/world/model' },
    exam: { type: 'string' },
    schedule: { type: 'boolean', default: false },
  },
});
const MAGIC = 0x4c415631;
const WEIGHT_ONE = 200;
const encode = readEncoder(path.resolve(values.tokenizer));
const tokensPerStep = Number(values['tokens-per-step']);

/** One step as bytes. */
function stepBytes(step: number): Buffer {
  const phase = phaseAt(step * tokensPerStep);
  const count = tokensPerStep / phase.length;
  const width = phase.length + 1;
  const draw = { random: seededRandom(hashText(`${values.seed}/${step}`)), split: 'train' } as const;
  const rows = packRows(draw, phase, count, encode);
  const bytes = Buffer.alloc(20 + count * width * 4);
  [MAGIC, step, count, width, SCHEDULE.indexOf(phase)].forEach((value, i) => {
    bytes.writeUInt32LE(value, 4 * i);
  });
  for (let i = 0; i < count * width; i++) {
    bytes.writeUInt16LE(rows.ids[i], 20 + 2 * i);
    bytes[20 + 2 * count * width + i] = Math.round(rows.weights[i] * WEIGHT_ONE);
    bytes[20 + 3 * count * width + i] = rows.document[i];
  }
  return bytes;
}

const write = (bytes: Buffer | string): Promise<void> =>
  new Promise((resolve) => {
    if (process.stdout.write(bytes)) resolve();
    else process.stdout.once('drain', resolve);
  });
process.stdout.on('error', () => process.exit(0)); // the trainer has gone

if (values.schedule) {
  await write(`${JSON.stringify(SCHEDULE)}\n`);
} else if (values.exam !== undefined) {
  for (const name of Object.keys(EXAMS)) {
    if (isOpenEnded(name)) continue; // the trainer counts answers that equal the gold one
    for (const document of exam(name, Number(values.seed), Number(values.exam))) {
      const prompt = encodeDocument(
        { ...document, turns: [...document.turns.slice(0, -1), { role: 'assistant', content: '', weight: 0, endWeight: 0 }] },
        encode,
      ).ids;
      const whole = encodeDocument(document, encode).ids;
      await write(`${JSON.stringify({ name, prompt: prompt.slice(0, -1), answer: whole.slice(prompt.length - 1) })}\n`);
    }
  }
} else {
  const last = Number(values.step) + Number(values.steps);
  for (let step = Number(values.step); step < last; step++) await write(stepBytes(step));
}
