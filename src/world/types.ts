/** The families of section "Task families" of the recipe, and the dense sequences that start a training run. */
export type FamilyId =
  | 'few-shot-labels'
  | 'few-shot-rules'
  | 'system-rules'
  | 'reading'
  | 'canon'
  | 'summary'
  | 'arithmetic'
  | 'tracking'
  | 'style'
  | 'translation'
  | 'writing'
  | 'copying'
  | 'kinds'
  | 'dense-repeat'
  | 'dense-recall'
  | 'dense-pairs'
  | 'dense-kinds';

/** Which side of the held-out line words and pairings come from. What tests use is never seen by training in that family. */
export type Split = 'train' | 'held';

/** One turn of a document. `text` is a run of words outside the chat layout, for dense sequences. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant' | 'text';
  readonly content: string;
  /** Weight of the loss on the content's tokens, 0 to 1. */
  readonly weight: number;
  /** Weight on the mark that ends the turn. */
  readonly endWeight: number;
}

/** A rule that a program can check an answer by. `rhyme`: two lines whose last words are two of one group. */
export type Check =
  | { readonly rule: 'equals'; readonly text: string }
  | { readonly rule: 'contains'; readonly text: string }
  | { readonly rule: 'starts-with'; readonly text: string }
  | { readonly rule: 'ends-with'; readonly text: string }
  | { readonly rule: 'brackets' }
  | { readonly rule: 'one-word' }
  | { readonly rule: 'upper-case' }
  | { readonly rule: 'json'; readonly key: string }
  | { readonly rule: 'sentences'; readonly count: number }
  | { readonly rule: 'rhyme'; readonly groups: readonly (readonly string[])[] }
  | { readonly rule: 'last-number'; readonly value: number };

/** A text of the Vale: a conversation whose last assistant turn is `gold`, which passes all `checks`. Dense sequences have neither. */
export interface WorldDocument {
  readonly family: FamilyId;
  readonly turns: readonly Turn[];
  readonly gold: string;
  readonly checks: readonly Check[];
  /** What the document was made of: number of steps, shots, the rule's name. For choosing and reporting, never shown to the model. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}
