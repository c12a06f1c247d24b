// Cases that need no engine: tokenizers of vocabularies, and files that must be taken or refused.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { readGgufHeader } from '../../formats/gguf.ts';
import { ggufTokenizer } from '../../formats/gguf-tokenizer.ts';
import { readSafetensorsHeader } from '../../formats/safetensors.ts';
import { AppError } from '../../lib/error.ts';
import { createTokenizer } from '../../text/tokenizer.ts';
import { type Case, differentIds, exact, type Outcome } from './case.ts';
import { diskSource, filesOf, readJson } from './folder.ts';

const SEPARATOR = '\n__ggml_vocab_test__\n';

/** vocab/NAME.gguf with NAME.gguf.inp (texts) and NAME.gguf.out (their ids, a line each), as llama.cpp keeps them. */
export function vocabCases(root: string): Case[] {
  const folder = path.join(root, 'vocab');
  const names = filesOf(folder);
  return names
    .filter((name) => name.endsWith('.gguf') && names.includes(`${name}.inp`) && names.includes(`${name}.out`))
    .map((name) => ({ path: `vocab/${name}`, run: () => runVocab(path.join(folder, name)) }));
}

async function runVocab(file: string): Promise<Outcome> {
  const tokenizer = createTokenizer(ggufTokenizer((await readGgufHeader(diskSource(file))).metadata));
  const texts = readFileSync(`${file}.inp`, 'utf8').split(SEPARATOR);
  const lines = readFileSync(`${file}.out`, 'utf8').split('\n');
  if (texts.at(-1) === '') texts.pop(); // the file ends with the separator
  const wrong = texts.map((text, i) => {
    const want = (lines[i] ?? '').trim().split(/\s+/);
    return differentIds(tokenizer.encode(text, { addSpecial: false }), want[0] === '' ? [] : want.map(Number));
  });
  const first = wrong.findIndex((count) => count > 0);
  const what = `ids of ${texts.length} texts${first < 0 ? '' : `, first wrong in text ${first}`}`;
  return {
    measurements: [
      exact(
        what,
        wrong.reduce((a, b) => a + b, 0),
      ),
    ],
  };
}

/** bad/FILE: verdicts.json says which are taken and which refused. */
export function badCases(root: string): Case[] {
  const folder = path.join(root, 'bad');
  const names = filesOf(folder).filter((name) => name !== 'verdicts.json');
  if (names.length === 0) return [];
  const verdicts = readJson(path.join(folder, 'verdicts.json'), v.record(v.string(), v.object({ accept: v.boolean() })));
  return names.map((name) => ({ path: `bad/${name}`, run: () => runBad(path.join(folder, name), verdicts[name]?.accept) }));
}

async function runBad(file: string, accept: boolean | undefined): Promise<Outcome> {
  if (accept === undefined) return { skipped: 'verdicts.json has no verdict on this file' };
  const code = await refusal(file);
  const wrong = (code === undefined) === accept ? 0 : 1;
  return { measurements: [exact(code === undefined ? 'taken' : `refused: ${code}`, wrong)] };
}

/** The code with which a file is refused; undefined where it is taken. An error without a code is a bug and is thrown on. */
async function refusal(file: string): Promise<string | undefined> {
  try {
    const source = diskSource(file);
    await (file.endsWith('.gguf') ? readGgufHeader(source) : readSafetensorsHeader(source));
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}
