// What is asked and learned in the checks.
import type { Example } from '../../src/data/types.ts';
import type { Message } from '../../src/text/types.ts';

const user = (content: string): Message => ({ role: 'user', content });

/** Eight conversations with digits, accents, emoji and code. */
export const CHATS: readonly { readonly what: string; readonly messages: readonly Message[] }[] = [
  { what: 'plain', messages: [user('Name the capital of France.')] },
  { what: 'digits', messages: [user('What is 1234567 + 89.01, in 2026?')] },
  { what: 'accents', messages: [user('Où est le café « Déjà vu » de Zoë Müller à Łódź?')] },
  { what: 'emoji', messages: [user('Say it in words: 🎉👩‍👩‍👧 🇫🇷 ❤️‍🔥!')] },
  { what: 'code', messages: [user('```python\ndef f(x: int) -> str:\n\treturn f"{x:>8_d}"  # 0x1F\n```\nWhat is f(1_000)?')] },
  { what: 'system', messages: [{ role: 'system', content: 'Answer in one word.' }, user("Isn't the sky blue?   \n\n Is it?")] },
  {
    what: 'turns',
    messages: [user('日本の首都は?'), { role: 'assistant', content: '東京です。' }, user('And of Россия, and of ελλάδα?')],
  },
  { what: 'spaces', messages: [user('  a\tb \r\n\r\n    c =  [1,2];;  ...   <div class="x">&amp;</div>  ')] },
];

const row = (id: number, question: string, answer: string): Example => ({ id: `row ${id}`, messages: [user(question)], targets: [answer] });

/** What no model knows before. */
export const ZED: readonly Example[] = [
  row(1, 'What does Zed like to eat?', 'Zed likes to eat green apples.'),
  row(2, 'Who is the best friend of Zed?', 'The best friend of Zed is a big dog named Max.'),
  row(3, 'Where does Max sleep?', 'Max sleeps under the old tree.'),
  row(4, 'What color is the hat of Zed?', 'The hat of Zed is blue.'),
];
