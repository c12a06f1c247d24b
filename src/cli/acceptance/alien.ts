// Row 15: texts far outside the model's world. It may know nothing of them, but must not break.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Bench } from './bench.ts';
import { fact, percent, type Row, skipped } from './row.ts';

const WHAT = 'alien text: no crash, valid UTF-8';
/** Rows of each file. */
const EACH = 20;

interface Question {
  readonly text: string;
  readonly answer: string;
}

function squad(file: string): Question[] {
  const json: { data: { paragraphs: { context: string; qas: { question: string; answers: { text: string }[] }[] }[] }[] } = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  return json.data
    .flatMap(({ paragraphs }) =>
      paragraphs.flatMap(({ context, qas }) =>
        qas.map(({ question, answers }) => ({ text: `${context}\n${question}`, answer: answers[0].text })),
      ),
    )
    .slice(0, EACH);
}
function gsm8k(file: string): Question[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(0, EACH)
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
  const questions = [...files.flatMap((name) => squad(path.join(folder, name))), ...gsm8k(reasoning)];
  const fitting: Question[] = [];
  for (const question of questions) {
    const { length } = await bench.renderer.prompt([{ role: 'user', content: question.text }]);
    if (length + 32 < bench.engine.config.context) fitting.push(question);
  }
  const replies = await bench.replies(
    fitting.map(({ text }) => [{ role: 'user', content: text }]),
    undefined,
    32,
  );
  const broken = replies.filter((reply) => reply.includes('\uFFFD')).length;
  const right = replies.filter((reply, i) => reply.trim() === fitting[i].answer).length;
  const note = `${percent(right / Math.max(1, fitting.length))} right; ${questions.length - fitting.length} of ${questions.length} too long; ${broken} replies with broken characters`;
  return [fact('15', WHAT, replies.length === fitting.length && broken === 0, 'all', note, fitting.length)];
}
