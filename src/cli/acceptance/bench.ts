import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { createEngine } from '../../engine/engine.ts';
import type { Gpu } from '../../engine/gpu.ts';
import { type Engine, greedy, type Patch } from '../../engine/types.ts';
import { openModel } from '../../formats/open-model.ts';
import type { ModelSource } from '../../formats/types.ts';
import { renderTemplate } from '../../text/chat-template.ts';
import { createPromptRenderer } from '../../text/prompt.ts';
import { createTokenizer } from '../../text/tokenizer.ts';
import type { Message, PromptRenderer } from '../../text/types.ts';
import { passes } from '../../world/checkers.ts';
import { messagesOf } from '../../world/document.ts';
import { exam } from '../../world/exam.ts';
import type { WorldDocument } from '../../world/types.ts';
import { diskSource } from '../conformance/folder.ts';

/** The shipped model in the product's own engine, and how many questions each row asks. */
export interface Bench {
  readonly engine: Engine;
  readonly source: ModelSource;
  readonly renderer: PromptRenderer;
  readonly seed: number;
  readonly items: number;
  /** Bytes of the model's folder. */
  readonly bytes: number;
  /** Hears of work as it is done, in tokens through the network: what is read and written, three times what is trained on. */
  onWork?: ((tokens: number) => void) | undefined;
  /** Greedy replies, in the order of the questions. */
  replies(questions: readonly (readonly Message[])[], patch?: Patch, maxTokens?: number): Promise<string[]>;
  /** Of an exam's questions: is the answer such that all checks pass? An exam is asked once, however many rows use it. */
  passed(name: string): Promise<Count>;
  /** Of an exam's questions, in their order: is the answer exactly the gold one, which is what the trainer counts? */
  exact(name: string): Promise<readonly boolean[]>;
  dispose(): void;
}
export interface Count {
  readonly right: number;
  readonly n: number;
}

interface Answered {
  readonly documents: readonly WorldDocument[];
  readonly said: readonly string[];
}

/** Tokens of the longest answer of these documents, and some more: a reply that runs on is wrong anyway. */
const room = (bench: PromptRenderer, documents: readonly WorldDocument[]): number =>
  8 + Math.max(...documents.map(({ gold }) => bench.tokenizer.encode(gold, { addSpecial: false }).length));

/** @throws as openModel does, where the folder holds no model */
export async function openBench(gpu: Gpu, folder: string, seed: number, items: number): Promise<Bench> {
  const files = readdirSync(folder).filter((name) => statSync(path.join(folder, name)).isFile());
  const source = await openModel(files.map((name) => diskSource(path.join(folder, name))));
  const engine = await createEngine(gpu, source, { storage: 'f32' });
  const renderer = createPromptRenderer({
    tokenizer: createTokenizer(source.tokenizer),
    spec: source.tokenizer,
    config: source.config,
    templates: { render: async (template, context) => renderTemplate(template, context) },
  });
  const replies: Bench['replies'] = async (questions, patch, maxTokens = 160) => {
    const prompts = await Promise.all(questions.map((messages) => renderer.prompt(messages)));
    const out: string[] = questions.map(() => '');
    const stops = new Set(renderer.stopIds);
    // Prompts that go through the network together are filled up to the longest of them. A reply does not depend on its neighbours.
    const order = prompts.map((_, i) => i).sort((a, b) => prompts[a].length - prompts[b].length);
    const sorted = order.map((i) => prompts[i]);
    for await (const { row, tokens } of engine.generateMany(sorted, greedy(maxTokens, renderer.stopIds), patch)) {
      out[order[row]] = renderer.tokenizer.decode(tokens.filter((id) => !stops.has(id)));
      bench.onWork?.(sorted[row].length + tokens.length);
    }
    return out;
  };
  const asked = new Map<string, Promise<Answered>>();
  const ask = (name: string): Promise<Answered> => {
    const known = asked.get(name);
    if (known !== undefined) return known;
    const documents = exam(name, seed, items);
    const answered = replies(documents.map(messagesOf), undefined, room(renderer, documents)).then((said) => ({ documents, said }));
    asked.set(name, answered);
    return answered;
  };
  const bench: Bench = {
    engine,
    source,
    renderer,
    seed,
    items,
    bytes: files.reduce((sum, name) => sum + statSync(path.join(folder, name)).size, 0),
    replies,
    passed: async (name) => {
      const { documents, said } = await ask(name);
      return { right: documents.filter((document, i) => passes(document, said[i])).length, n: documents.length };
    },
    exact: async (name) => {
      const { documents, said } = await ask(name);
      return documents.map(({ gold }, i) => said[i] === gold);
    },
    dispose: () => engine.dispose(),
  };
  return bench;
}
