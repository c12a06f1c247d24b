import type { Task } from '../data/types.ts';

/** What each type of task is, in plain words. */
export const TYPES: Readonly<Record<Task, string>> = {
  classification: 'Sorting: one of a few labels comes out',
  extraction: 'Extraction: parts of the text come out',
  'question-answering': 'Answering: a question in, a short answer out',
  summarization: 'Summaries: a long text in, a short one out',
  rewriting: 'Writing: one message in, one answer out',
  'creative-writing': 'Free writing: no single right answer',
  chat: 'Conversation: several turns in, the next one out',
  other: 'Other: one text in, one text out',
};
