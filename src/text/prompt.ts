import type { ModelConfig, TokenizerSpec } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import { specialText } from './tokenizer.ts';
import type { Encoded, Message, PromptRenderer, TemplateRenderer, Tokenizer } from './types.ts';

export interface PromptRendererOptions {
  readonly tokenizer: Tokenizer;
  readonly spec: TokenizerSpec;
  readonly config: ModelConfig;
  readonly templates: TemplateRenderer;
}

/** Stands for an answer when we look at what a template writes around one. Ordinary letters, so that no template reacts to it. */
const PROBE = 'maquetteprobe';
const CACHED_PREFIXES = 256;

/**
 * A model without a template: system and input joined by a line break, empty parts left out, one space before an answer, nothing after the input.
 * Earlier turns (shots) have the same form, a line break apart.
 */
export function plainPrompt(messages: readonly Message[]): string {
  const lines: string[] = [];
  let open = false; // the last line is an input that waits for its answer
  for (const { role, content } of messages) {
    if (content === '') continue;
    if (role === 'assistant' && open) lines[lines.length - 1] += ` ${content.trimStart()}`;
    else lines.push(content);
    open = role === 'user';
  }
  return lines.join('\n');
}

const startsWith = (ids: Uint32Array, prefix: Uint32Array): boolean =>
  prefix.length <= ids.length && prefix.every((id, i) => id === ids[i]);

/** The ids that a tokenizer puts in front of a text by itself (begin-of-text). What it puts behind is left out: a prompt goes on. */
function idsInFront(tokenizer: Tokenizer): Uint32Array {
  const bare = tokenizer.encode('a', { addSpecial: false });
  const full = tokenizer.encode('a', { addSpecial: true });
  for (let start = 0; start + bare.length <= full.length; start++) {
    if (startsWith(full.subarray(start), bare)) return full.slice(0, start);
  }
  return new Uint32Array(0);
}

/** The one renderer of a model. @throws 'tokenizer/vocabulary-mismatch' where the tokenizer has ids that the model lacks */
export function createPromptRenderer({ tokenizer, spec, config, templates }: PromptRendererOptions): PromptRenderer {
  if (tokenizer.vocabSize > config.V) {
    throw new AppError('tokenizer/vocabulary-mismatch', `The tokenizer has ${tokenizer.vocabSize} tokens and the model has ${config.V}.`, {
      why: 'They come from different models, or one of the files is of another version.',
      fix: 'Choose the tokenizer.json that came with these weights.',
      facts: { tokenizer: tokenizer.vocabSize, model: config.V },
    });
  }
  const source = spec.chatTemplate;
  const bosToken = specialText(spec, 'bos_token');
  const eosToken = specialText(spec, 'eos_token');
  const plain = (messages: readonly Message[]): Message[] =>
    messages.map(({ role, content }) => ({ role, content: tokenizer.plain(content) }));
  const renderRaw = (template: string, messages: readonly Message[], addGenerationPrompt: boolean): Promise<string> =>
    templates.render(template, { messages, addGenerationPrompt, bosToken, eosToken });

  /** Renders; where that fails and works without the messages of one role, the error says that this role is refused. */
  async function render(template: string, messages: readonly Message[], addGenerationPrompt: boolean): Promise<string> {
    let text: string;
    try {
      text = await renderRaw(template, messages, addGenerationPrompt);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'template/failed') throw error;
      for (const role of ['system', 'tool'] as const) {
        const others = messages.filter((message) => message.role !== role);
        if (others.length === messages.length || others.length === 0) continue;
        const works = await renderRaw(template, others, addGenerationPrompt).then(
          () => true,
          () => false,
        );
        if (works) throw refusedRole(role, `Its template says: ${error.facts.message ?? error.message}`, error);
      }
      throw error;
    }
    const lost = messages.find(({ role, content }) => role === 'system' && !text.includes(content.trim()));
    if (lost !== undefined) throw refusedRole('system', 'Its template leaves these messages out of what the model reads.');
    return text;
  }

  let stop: Promise<number> | undefined;
  let templateStop: number | undefined;
  const stopId = (): Promise<number> => {
    stop ??= findStop();
    return stop;
  };
  async function findStop(): Promise<number> {
    if (source !== undefined) {
      templateStop = await stopOfTemplate(source);
      if (templateStop !== undefined) return templateStop;
    }
    const first = config.stopIds[0];
    if (first === undefined) {
      throw new AppError('text/no-stop', 'This model names no token that ends an answer.', {
        why: 'Neither its chat template nor config.json nor generation_config.json has one.',
        fix: 'Add eos_token_id to generation_config.json, or choose another model.',
      });
    }
    return first;
  }
  /** The special token that the template writes right after an answer (white space between them aside). */
  async function stopOfTemplate(template: string): Promise<number | undefined> {
    const probe: Message[] = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: PROBE },
    ];
    const text = await renderRaw(template, probe, false).catch((error: unknown) => {
      // A template that only knows other conversations: generation_config.json decides.
      if (error instanceof AppError && error.code === 'template/failed') return '';
      throw error;
    });
    const at = text.lastIndexOf(PROBE);
    if (at < 0) return undefined;
    const after = tokenizer.encode(text.slice(at + PROBE.length), { addSpecial: false });
    const k = after.findIndex((id) => tokenizer.specialIds.has(id) || config.stopIds.includes(id));
    return k >= 0 && tokenizer.decode(after.slice(0, k)).trim() === '' ? after[k] : undefined;
  }

  const front = source === undefined ? idsInFront(tokenizer) : new Uint32Array(0);
  const encode = (text: string): Uint32Array => {
    const ids = tokenizer.encode(text, { addSpecial: false });
    const all = new Uint32Array(front.length + ids.length);
    all.set(front);
    all.set(ids, front.length);
    return all;
  };
  const promptText = async (messages: readonly Message[]): Promise<string> =>
    source === undefined ? plainPrompt(plain(messages)) : render(source, plain(messages), true);

  const prefixes = new Map<string, string>();
  async function prefixText(template: string, turns: readonly Message[]): Promise<string> {
    const key = JSON.stringify(turns);
    const known = prefixes.get(key);
    if (known !== undefined) return known;
    const text = await renderRaw(template, turns, false).catch((error: unknown) => {
      // A template that refuses to end here writes nothing that the whole could begin with.
      if (error instanceof AppError && error.code === 'template/failed') return '\uFDD0';
      throw error;
    });
    if (prefixes.size >= CACHED_PREFIXES) prefixes.clear();
    prefixes.set(key, text);
    return text;
  }
  /** Is the render of turns[0..k] not the beginning of the whole, for an earlier answer k? */
  async function rewrites(messages: readonly Message[], whole: string): Promise<boolean> {
    if (source === undefined) return false;
    const turns = plain(messages);
    for (let k = 0; k < turns.length; k++) {
      if (turns[k].role === 'assistant' && !whole.startsWith(await prefixText(source, turns.slice(0, k + 1)))) return true;
    }
    return false;
  }

  return {
    tokenizer,
    hasTemplate: source !== undefined,
    get stopIds() {
      return templateStop === undefined || config.stopIds.includes(templateStop) ? config.stopIds : [templateStop, ...config.stopIds];
    },
    async prompt(messages) {
      if (source !== undefined) await stopId();
      return encode(await promptText(messages));
    },
    async withAnswer(messages, answer): Promise<Encoded> {
      const end = await stopId();
      const text = await promptText(messages);
      const prompt = encode(text);
      const said = tokenizer.plain(answer);
      const answerText = source === undefined ? ` ${said.trimStart()}` : said;
      const whole = withStop(encode, text + answerText, end, tokenizer);
      const answerAlone = !startsWith(whole, prompt);
      const alone = answerAlone ? withStop((part) => tokenizer.encode(part, { addSpecial: false }), answerText, end, tokenizer) : undefined;
      const tokens = alone === undefined ? whole : new Uint32Array([...prompt, ...alone]);
      const mask = new Uint8Array(tokens.length).fill(1, prompt.length);
      return { tokens, mask, promptLength: prompt.length, stopId: end, answerAlone, rewritesTurns: await rewrites(messages, text) };
    },
  };
}

/** encode(text + stop), ending in exactly one stop id, also where the stop's spelling does not encode back to it. */
function withStop(encode: (text: string) => Uint32Array, text: string, stopId: number, tokenizer: Tokenizer): Uint32Array {
  const ids = encode(text + tokenizer.tokenText(stopId));
  const one = tokenizer.specialIds.has(stopId) && ids[ids.length - 1] === stopId && ids[ids.length - 2] !== stopId;
  return one ? ids : new Uint32Array([...encode(text), stopId]);
}

function refusedRole(role: string, why: string, cause?: unknown): AppError {
  return new AppError('template/role', `This model does not take messages of the role "${role}".`, {
    why,
    fix:
      role === 'system'
        ? 'Write the instruction into the input itself, or choose a model that takes a system prompt.'
        : 'Choose another model for these rows.',
    cause,
    facts: { role },
  });
}
