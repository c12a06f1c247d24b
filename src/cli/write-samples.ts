// node src/cli/run.mjs write-samples OUT: the sample tasks of the bundled model's world as files of JSON lines, and vale.json, which lists them in the form
// of public/samples/index.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SAMPLE_TASKS, sampleRows } from '../world/samples.ts';

const out = process.argv[2];
if (out === undefined) {
  console.error('Where to? write-samples OUT');
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const index = SAMPLE_TASKS.map((task) => {
  const rows = sampleRows(task);
  const lines = rows.map(({ turns, gold }) => JSON.stringify({ prompt: turns[turns.length - 2].content, completion: gold }));
  const file = `${task.id}.jsonl`;
  writeFileSync(path.join(out, file), `${lines.join('\n')}\n`);
  const { id, name, description, task: kind, metric } = task;
  return { id, name, description, task: kind, metric, file, rows: rows.length };
});
writeFileSync(path.join(out, 'vale.json'), `${JSON.stringify(index, null, 2)}\n`);
for (const { file, rows } of index) console.log(`${file}: ${rows} rows`);
