// node src/cli/run.mjs write-samples [OUT]: the sample tasks of the bundled model's world as files of JSON lines into public/samples, and vale.json, which lists
// them in the form of index.json, each with the system prompt of its first contestant.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { entryOf, linesOf, SAMPLE_TASKS } from '../world/samples.ts';

const out = process.argv[2] ?? 'public/samples';
mkdirSync(out, { recursive: true });
for (const task of SAMPLE_TASKS) writeFileSync(path.join(out, `${task.id}.jsonl`), linesOf(task));
writeFileSync(path.join(out, 'vale.json'), `${JSON.stringify(SAMPLE_TASKS.map(entryOf), null, 2)}\n`);
for (const { id, rows } of SAMPLE_TASKS) console.log(`${id}.jsonl: ${rows} rows`);
