// A chat template as MLC's `conv_template`, for programs that lay chats out by it (web-llm's own chat). Nothing of the template's source is read: it is rendered
// with words that stand for the turns, what it wrote between them is taken over, and the outcome is kept only if it lays out other chats as the template does.

export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}
/** As web-llm 0.2.86 reads it. */
export interface MlcConversation {
  readonly name: string;
  readonly system_template: string;
  readonly system_message: string;
  /** False: without a system message there is no system text at all. */
  readonly render_empty_system_message: boolean;
  readonly system_prefix_token_ids?: readonly number[];
  readonly add_role_after_system_message: true;
  readonly roles: { readonly user: string; readonly assistant: string };
  readonly role_templates: { readonly user: string; readonly assistant: string };
  /** After what a person says, and after an answer. */
  readonly seps: readonly [string, string];
  readonly role_content_sep: '';
  readonly role_empty_sep: string;
  readonly stop_str: readonly string[];
  readonly stop_token_ids: readonly number[];
}
export type RenderChat = (turns: readonly ChatTurn[], addGenerationPrompt: boolean) => Promise<string>;
/** A special token that may stand in front of everything. */
export interface FirstToken {
  readonly id: number;
  readonly text: string;
}

/** Stand for what is said. Ordinary letters, so that no template reacts to them. */
const [SYSTEM, ASKED, ANSWERED, MORE] = ['maquettesystem', 'maquetteasked', 'maquetteanswered', 'maquettemore'];
const system: ChatTurn = { role: 'system', content: SYSTEM };
const asked: ChatTurn = { role: 'user', content: ASKED };
const answered: ChatTurn = { role: 'assistant', content: ANSWERED };
const more: ChatTurn = { role: 'user', content: MORE };
/** What it is held against besides: several turns, with and without a system text. */
const CHATS: readonly (readonly ChatTurn[])[] = [
  [asked],
  [system, asked],
  [asked, answered, more],
  [system, asked, answered, more],
  [system, asked, answered, more, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }],
];

/** Undefined where conv_template cannot say what the template does, or the template refuses one of these chats. */
export async function conversationOf(
  render: RenderChat,
  stops: readonly number[],
  first: FirstToken | undefined,
): Promise<MlcConversation | undefined> {
  try {
    const made = await probed(render, stops, first);
    if (made === undefined) return undefined;
    for (const chat of CHATS) if ((await render(chat, true)) !== layOut(made, chat, first)) return undefined;
    return made;
  } catch {
    return undefined; // a template that knows other conversations only
  }
}

async function probed(render: RenderChat, stops: readonly number[], first: FirstToken | undefined): Promise<MlcConversation | undefined> {
  const open = await render([asked, answered, more], true);
  const closed = await render([asked, answered, more], false);
  const userEnd = after(closed, MORE);
  const tail = after(open, MORE);
  const answerEnd = after(await render([asked, answered], false), ANSWERED);
  const answerBegin = between(open, ASKED, ANSWERED);
  const userBegin = between(open, ANSWERED, MORE);
  if (!tail.startsWith(userEnd) || !answerBegin.startsWith(userEnd) || !userBegin.startsWith(answerEnd)) return undefined;
  const user = userBegin.slice(answerEnd.length);
  const [assistant, opening] = [answerBegin.slice(userEnd.length), tail.slice(userEnd.length)];
  if (!opening.startsWith(assistant)) return undefined;
  const head = async (turns: readonly ChatTurn[]): Promise<string | undefined> => {
    const text = before(await render(turns, true), ASKED);
    return text.endsWith(user) ? text.slice(0, text.length - user.length) : undefined;
  };
  const [told, untold] = [await head([system, asked]), await head([asked])];
  if (told === undefined || untold === undefined) return undefined;
  const lead = first !== undefined && told.startsWith(first.text) && untold.startsWith(first.text) ? first : undefined;
  const skip = lead?.text.length ?? 0;
  const systemTexts = systemOf(told.slice(skip), untold.slice(skip));
  if (systemTexts === undefined) return undefined;
  return {
    name: 'custom',
    ...systemTexts,
    ...(lead === undefined ? {} : { system_prefix_token_ids: [lead.id] }),
    add_role_after_system_message: true,
    roles: { user, assistant },
    role_templates: { user: '{user_message}', assistant: '{assistant_message}' },
    seps: [userEnd, answerEnd],
    role_content_sep: '',
    // In front of an answer that is to come some templates write more than in front of one that is there.
    role_empty_sep: opening.slice(assistant.length),
    stop_str: [],
    stop_token_ids: stops,
  };
}

type SystemTexts = Pick<MlcConversation, 'system_template' | 'system_message' | 'render_empty_system_message'>;

/** `told`: in front of the first turn, with a system message; `untold`: without one. */
function systemOf(told: string, untold: string): SystemTexts | undefined {
  const at = told.indexOf(SYSTEM);
  if (at < 0) return undefined;
  const [begin, end] = [told.slice(0, at), told.slice(at + SYSTEM.length)];
  const system_template = `${begin}{system_message}${end}`;
  if (untold === '') return { system_template, system_message: '', render_empty_system_message: false };
  const whole = untold.length >= begin.length + end.length && untold.startsWith(begin) && untold.endsWith(end);
  if (!whole) return undefined;
  return { system_template, system_message: untold.slice(begin.length, untold.length - end.length), render_empty_system_message: true };
}

/** As web-llm lays a chat out (`getPromptArray`), the token in front as its text. */
export function layOut(made: MlcConversation, chat: readonly ChatTurn[], first: FirstToken | undefined): string {
  const told = chat[0]?.role === 'system' ? chat[0].content : made.system_message;
  const turns = chat.filter(({ role }) => role !== 'system');
  const head = told === '' && !made.render_empty_system_message ? '' : made.system_template.replace('{system_message}', () => told);
  const lead = made.system_prefix_token_ids === undefined ? '' : (first?.text ?? '');
  const body = turns.map(
    ({ role, content }, i) => `${role === 'user' ? made.roles.user : made.roles.assistant}${content}${made.seps[i % 2]}`,
  );
  return lead + head + body.join('') + made.roles.assistant + made.role_empty_sep;
}

const position = (text: string, word: string): number => {
  const at = text.indexOf(word);
  if (at < 0 || text.includes(word, at + word.length)) throw new Error(`${word} is not there once`);
  return at;
};
const before = (text: string, word: string): string => text.slice(0, position(text, word));
const after = (text: string, word: string): string => text.slice(position(text, word) + word.length);
const between = (text: string, a: string, b: string): string => before(after(text, a), b);
