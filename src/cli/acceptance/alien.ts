// Row 15: texts far outside the model's world. It may know nothing of them, but must not break.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Bench } from './bench.ts';
import { fact, percent, type Row, skipped } from './row.ts';

const WHAT = 'alien text: no crash, valid UTF-8';
/** Rows of each file that fit into the context: a smoke run takes fewer. They are looked for among four times as many. */
const eachOf = (items: number): number => Math.min(20, Math.max(4, Math.ceil(items / 15)));
const LOOKED_AT = 4;
const REPLY_TOKENS = 32;

interface Question {
  readonly text: string;
  readonly answer: string;
}

function squad(file: string, each: number): Question[] {
  const json: { data: { paragraphs: { context: string; qas: { question: string; answers: { text: string }[] }[] }[] }[] } = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  return json.data
    .flatMap(({ paragraphs }) =>
      paragraphs.flatMap(({ context, qas }) =>
        qas.map(({ question, answers }) => ({ text: `${context}\n${question}`, answer: answers[0].text })),
      ),
    )
    .slice(0, each);
}
function gsm8k(file: string, each: number): Question[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(0, each)
    .map((line) => {
      const row: { question: string; answer: string } = JSON.parse(line);
      return { text: row.question, answer: row.answer.split('####').at(-1)?.trim() ?? '' };
    });
}

export async function alien(bench: Bench): Promise<Row[]> {
  const data = path.resolve('../shared/data');
  const folder = path.join(data, 'qa');
  const reasoning = path.join(data, 'reasoning/gsm8k.jsonl');
  if (!existsSync(folder) || !existsSync(reasoning)) return [skipped('15', WHAT, 'no ../shared/data beside this checkout')];
  const files = readdirSync(folder).filter((name) => /^xquad\..*\.json$/.test(name));
  const each = eachOf(bench.items);
  const read = LOOKED_AT * each;
  const fitting: Question[] = [];
  let long = 0;
  for (const list of [...files.map((name) => squad(path.join(folder, name), read)), gsm8k(reasoning, read)]) {
    const fits: Question[] = [];
    for (const question of list) {
      if (fits.length === each) break;
      const { length } = await bench.renderer.prompt([{ role: 'user', content: question.text }]);
      if (length + REPLY_TOKENS < bench.engine.config.context) fits.push(question);
      else long++;
    }
    fitting.push(...fits);
  }
  const replies = await bench.replies(
    fitting.map(({ text }) => [{ role: 'user', content: text }]),
    undefined,
    REPLY_TOKENS,
  );
  const broken = replies.filter((reply) => reply.includes('\uFFFD')).length;
  const right = replies.filter((reply, i) => reply.trim() === fitting[i].answer).length;
  const note = `${percent(right / Math.max(1, fitting.length))} right; ${long} too long for the context; ${broken} replies with broken characters`;
  return [fact('15', WHAT, fitting.length > 0 && replies.length === fitting.length && broken === 0, 'all', note, fitting.length)];
}
