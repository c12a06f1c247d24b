import type { ImportFinding } from './types.ts';

/** Lines named one by one before "and 46 more". */
const NAMED = 20;
const WORDS = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];

export const numberWord = (n: number): string => WORDS[n] ?? groupThousands(n);
export const groupThousands = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f');
/** "one column", "four columns". */
export const counted = (n: number, one: string, many = `${one}s`): string => `${numberWord(n)} ${n === 1 ? one : many}`;
export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** "Line 58 of mails.csv", or "Line 58" of a paste. */
export const placeOf = (line: number, fileName?: string): string =>
  `Line ${groupThousands(line)}${fileName === undefined ? '' : ` of ${fileName}`}`;

/** Findings as they are met, at most 20 of a code; `list` ends with how many more there were. */
export interface FindingList {
  add(severity: ImportFinding['severity'], code: string, text: string, line?: number): void;
  list(): ImportFinding[];
}
export function findingList(): FindingList {
  const named: ImportFinding[] = [];
  const met = new Map<string, { severity: ImportFinding['severity']; n: number; line?: number }>();
  return {
    add(severity, code, text, line) {
      const seen = met.get(code) ?? { severity, n: 0 };
      seen.n++;
      if (seen.n <= NAMED) named.push({ severity, code, text, ...(line === undefined ? {} : { line }) });
      else if (seen.n === NAMED + 1 && line !== undefined) seen.line = line;
      met.set(code, seen);
    },
    list() {
      const rest = [...met].filter(([, { n }]) => n > NAMED);
      const more = rest.map(([code, { severity, n, line }]): ImportFinding => {
        const from = line === undefined ? '' : `, from line ${groupThousands(line)} on`;
        return { severity, code, text: `${groupThousands(n - NAMED)} more of the same${from}.`, ...(line === undefined ? {} : { line }) };
      });
      return [...named, ...more];
    },
  };
}
