import { counted, findingList, placeOf, sentence } from './findings.ts';
import { type Draft, draftOf, withIds } from './rows.ts';
import type { ColumnRole, Example, ImportFinding, RawTable } from './types.ts';

/** Names of columns and fields, the likeliest first. Lower case; compared whole, after "_", "-" and spaces are dropped. */
// biome-ignore format: a list of words reads better in rows
export const ANSWER_NAMES = [
  'answer', 'answers', 'output', 'completion', 'response', 'target', 'targets', 'reply', 'label', 'category', 'class', 'intent',
  'sentiment', 'summary', 'highlights', 'tldr', 'translation', 'rewrite', 'rewritten', 'correction', 'tgt', 'gold', 'expected', 'ideal',
  'result', 'solution', 'assistant', 'chosen', 'antwort', 'kategorie', 'ausgabe', 'respuesta', 'categoria', 'reponse', 'réponse',
  'categorie', 'catégorie', 'risposta',
];
// biome-ignore format: a list of words reads better in rows
export const INPUT_NAMES = [
  'input', 'prompt', 'question', 'query', 'instruction', 'text', 'message', 'sentence', 'document', 'article', 'source', 'src',
  'dialogue', 'email', 'mail', 'note', 'request', 'utterance', 'review', 'comment', 'title', 'body', 'content', 'passage', 'context',
  'user', 'problem', 'task', 'frage', 'eingabe', 'nachricht', 'pregunta', 'texto', 'entrada', 'texte', 'domanda', 'testo',
];
export const SYSTEM_NAMES = ['system', 'systemprompt', 'persona'];
export const ID_NAMES = ['id', 'uuid', 'guid', 'key', 'rowid', 'index', 'nr', 'no', '#'];
/** What stands in front of the question when a row has both. */
export const CONTEXT_NAMES = ['context', 'passage'];

export const fieldName = (name: string): string =>
  name
    .trim()
    .toLowerCase()
    .replace(/[\s_-]+/g, '');

/** Is the first row a header? By known names; else by cells that are short, different, without digits or sentence marks, and shorter than what follows. */
export function looksLikeHeader(first: readonly string[], rest: readonly (readonly string[])[]): boolean {
  const names = first.map(fieldName);
  const known = [...ANSWER_NAMES, ...INPUT_NAMES, ...SYSTEM_NAMES, ...ID_NAMES];
  const different = new Set(names);
  const matches = [...different].filter((name) => known.includes(name)).length;
  if (matches >= 2 || (matches === 1 && names.length <= 2 && different.size === names.length))
    return !rest.some((cells) => cells.join('\n') === first.join('\n'));
  if (different.size !== names.length) return false;
  const plain = names.every((name) => name !== '' && name.length <= 30 && !/[.?!,:;\d]/u.test(name));
  if (!plain || rest.length === 0) return false;
  const longer = first.filter((cell, i) => {
    const lengths = rest.map((cells) => cells[i]?.length ?? 0);
    return lengths.reduce((sum, length) => sum + length, 0) > 2 * cell.length * rest.length;
  });
  const repeated = first.some((cell, i) => rest.some((cells) => cells[i] === cell));
  return !repeated && (matches > 0 || longer.length > 0);
}

const columnOf = (table: RawTable, c: number): string[] => table.rows.map((row) => row[c] ?? '');
const share = (cells: readonly string[], test: (cell: string) => boolean): number =>
  cells.length === 0 ? 0 : cells.filter(test).length / cells.length;
const distinct = (cells: readonly string[]): number => new Set(cells.map((cell) => cell.trim().toLowerCase())).size;

/** The likely role of each column: by its name, then by what stands in it. One answer, at least one input where there are two columns. */
export function proposeRoles(table: RawTable): ColumnRole[] {
  const roles: (ColumnRole | undefined)[] = table.header.map((name) => {
    const known = fieldName(name);
    if (SYSTEM_NAMES.includes(known)) return 'system';
    if (ID_NAMES.includes(known)) return 'id';
    return undefined;
  });
  const free = (): number[] => table.header.map((_, c) => c).filter((c) => roles[c] === undefined);
  const named = (list: readonly string[]): number[] =>
    free()
      .filter((c) => list.includes(fieldName(table.header[c])))
      .sort((a, b) => list.indexOf(fieldName(table.header[a])) - list.indexOf(fieldName(table.header[b])));

  const answer = named(ANSWER_NAMES)[0];
  if (answer !== undefined) roles[answer] = 'answer';
  for (const c of named(INPUT_NAMES)) roles[c] = 'input';
  // A column of different numbers or codes, one word each, is a number of the row.
  for (const c of free()) {
    const cells = columnOf(table, c);
    const codes =
      cells.length > 2 &&
      distinct(cells) === cells.length &&
      share(cells, (cell) => /^[\w-]{1,40}$/.test(cell.trim()) && /\d/.test(cell)) === 1;
    if (codes && free().length > 2 - (roles.includes('answer') ? 1 : 0) - (roles.includes('input') ? 1 : 0)) roles[c] = 'id';
  }
  if (!roles.includes('answer') && free().length + (roles.includes('input') ? 1 : 0) >= 2) {
    const candidates = free();
    const rows = table.rows.length;
    // Labels repeat: where one column does and another does not, it is the answer, wherever it stands. Else the last.
    const labels = candidates.filter((c) => distinct(columnOf(table, c)) * 2 <= rows);
    const pick = labels.length > 0 && labels.length < candidates.length ? labels.at(-1) : candidates.at(-1);
    if (pick !== undefined) roles[pick] = 'answer';
  }
  if (!roles.includes('input')) {
    const longest = free().sort((a, b) => columnOf(table, b).join('').length - columnOf(table, a).join('').length)[0];
    if (longest !== undefined) roles[longest] = 'input';
  }
  return roles.map((role) => role ?? 'ignore');
}

/**
 * Rows of a table by the roles of its columns. Several input columns are joined by a line break, in their order; the last answer column wins no more than
 * the others: each filled one is an accepted answer. A row without input is left out and named; one without an answer is kept and counted.
 */
export function mapColumns(
  table: RawTable,
  roles: readonly ColumnRole[],
  fileName?: string,
): { examples: Example[]; findings: ImportFinding[] } {
  const findings = findingList();
  const drafts: Draft[] = [];
  const of = (role: ColumnRole): number[] => table.header.map((_, c) => c).filter((c) => roles[c] === role);
  const [inputs, answers, systems, ids] = [of('input'), of('answer'), of('system'), of('id')];
  if (inputs.length === 0) {
    findings.add('bad', 'data/no-input-column', 'No column is the input. Choose the one that the model reads.');
    return { examples: [], findings: findings.list() };
  }
  if (answers.length === 0)
    findings.add('warn', 'data/no-answer-column', 'No column is the answer, so nothing can be trained or scored on these rows.');
  let without = 0;
  let firstWithout = 0;
  table.rows.forEach((row, i) => {
    const join = (columns: readonly number[]): string =>
      columns
        .map((c) => row[c] ?? '')
        .filter((cell) => cell.trim() !== '')
        .join('\n');
    const input = join(inputs);
    if (input === '') {
      findings.add('bad', 'data/empty-input', `${placeOf(table.lines[i], fileName)} has no input. It was left out.`, table.lines[i]);
      return;
    }
    const draft = draftOf({
      system: join(systems),
      input,
      answers: answers.map((c) => row[c] ?? ''),
      ...(ids.length > 0 ? { id: join(ids) } : {}),
    });
    if (draft.targets.length === 0 && without++ === 0) firstWithout = table.lines[i];
    drafts.push(draft);
  });
  if (without > 0 && answers.length > 0) {
    const text = `${sentence(counted(without, 'row has', 'rows have'))} no answer, the first on line ${firstWithout}: never trained on, never scored.`;
    findings.add('warn', 'data/no-answer', text, firstWithout);
  }
  return { examples: withIds(drafts), findings: findings.list() };
}
