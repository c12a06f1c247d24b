import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { looksLikeHeader, mapColumns, proposeRoles } from '../../src/data/columns.ts';
import { decodeText } from '../../src/data/decode-text.ts';
import { rowsToJsonl } from '../../src/data/export-jsonl.ts';
import { importBytes, importText } from '../../src/data/import-text.ts';
import type { Example, ImportFinding, ImportResult, RawTable } from '../../src/data/types.ts';
import { AppError } from '../../src/lib/error.ts';

const said = (rows: readonly Example[]): string[][] => rows.map(({ messages, targets }) => [...messages.map((m) => m.content), ...targets]);
const lines = (findings: readonly ImportFinding[]): (number | undefined)[] => findings.map(({ line }) => line);
const tableOf = (result: ImportResult): RawTable => result.table ?? { header: [], rows: [], lines: [] };
const mapped = (result: ImportResult) => mapColumns(tableOf(result), result.roles ?? []);

describe('JSON Lines', () => {
  it('reads chat, Alpaca and prompt/completion, each as what it is', () => {
    const chat = importText(
      '{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}\n{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}\n',
    );
    expect(chat.kind).toBe('jsonl-chat');
    expect(said(chat.examples)).toEqual([
      ['Be short.', 'Hi', 'Hello'],
      ['a', 'b', 'c', 'd'],
    ]);
    expect(chat.examples[1].messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
    const alpaca = importText(
      '[{"instruction":"Translate.","input":"chat","output":"cat"},{"instruction":"Name a colour.","input":"","output":"Blue."}]',
    );
    expect(alpaca.kind).toBe('alpaca');
    expect(said(alpaca.examples)).toEqual([
      ['Translate.\nchat', 'cat'],
      ['Name a colour.', 'Blue.'],
    ]);
    const plain = importText(
      '{"prompt":"2+2","completion":4}\n{"question":"Which river?","answer":["Aun","river Aun"],"context":"By the Aun."}',
    );
    expect(plain.kind).toBe('prompt-completion');
    expect(said(plain.examples)).toEqual([
      ['2+2', '4'],
      ['By the Aun.\nWhich river?', 'Aun', 'river Aun'],
    ]);
  });
  it('names what it leaves out by file, line and reason', () => {
    const result = importText(
      '{"prompt":"a","completion":"b"}\n\n{"prompt": \n[1,2]\nnull\n{"foo":1}\n{"prompt":"c","completion":"d"},\n{"prompt":"e"}\n',
      'rows.jsonl',
    );
    expect(result.examples).toHaveLength(3);
    expect([result.read, result.leftOut]).toEqual([7, 4]);
    expect(lines(result.findings)).toEqual([3, 4, 5, 6, 8]);
    expect(result.findings[0].text).toMatch(/^Line 3 of rows\.jsonl is not valid JSON \(/);
    expect(result.findings[1].text).toBe('Line 4 of rows.jsonl is a list, not an object with named fields. It was left out.');
    expect(result.findings[3].text).toContain('its fields: foo');
    expect(result.findings[4]).toMatchObject({ severity: 'warn', code: 'data/no-answer' });
    expect(result.examples[2].targets).toEqual([]);
  });
  it('names lines inside a pretty-printed list, also one that breaks off', () => {
    const text = '[\n  {"input": "a", "output": "b"},\n  "x",\n  {\n    "input": "c", "output": "d, ] }"\n  },\n  {"input": "e", "outp';
    const result = importText(text);
    expect(said(result.examples)).toEqual([
      ['a', 'b'],
      ['c', 'd, ] }'],
    ]);
    expect(lines(result.findings)).toEqual([3, 7]);
  });
  it('counts more than 20 findings of a kind instead of naming each', () => {
    const result = importText(`{"prompt":"a","completion":"b"}\n${'7\n'.repeat(50)}`);
    expect(result.findings).toHaveLength(21);
    expect(result.findings[20].text).toBe('30 more of the same, from line 22 on.');
    expect(result.leftOut).toBe(50);
  });
  it('reads the row inside "__proto__" and "constructor" as fields like any other', () => {
    const result = importText(
      '{"prompt":"a","completion":"b","__proto__":{"polluted":true},"constructor":"c"}\n{"__proto__":{"messages":[]}}',
    );
    expect(said(result.examples)).toEqual([['a', 'b']]);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    expect(importText('{"messages":[{"role":"constructor","content":"x"}]}').leftOut).toBe(1);
  });
  it('gives the same row the same id, and copies their own', () => {
    const row = '{"prompt":"a","completion":"b"}';
    const one = importText(row).examples[0].id;
    const ids = importText(`{"prompt":"z","completion":"y"}\n${row}\n${row}`).examples.map(({ id }) => id);
    expect(ids[1]).toBe(one);
    expect(ids[2]).toBe(`${one}-2`);
    expect(importText('{"id":"r7","prompt":"a","completion":"b"}').examples[0].id).toBe('r7');
  });
  it('reads back what it writes', () => {
    const text = fc.string({ minLength: 1 }).filter((value) => value.trim() !== '');
    const message = fc.record({ role: fc.constantFrom('user' as const, 'assistant' as const), content: text });
    const row = fc.record({
      id: fc.uuid(),
      messages: fc
        .array(message, { maxLength: 3 })
        .map((rest) => [{ role: 'user' as const, content: 'q' }, ...rest, { role: 'user' as const, content: 'last' }]),
      targets: fc.uniqueArray(text, { minLength: 1, maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(row, { minLength: 1, maxLength: 5, selector: ({ id }) => id }), (rows) => {
        expect(importText(rowsToJsonl(rows)).examples).toEqual(rows);
      }),
      { numRuns: 50 },
    );
  });
});

describe('tables', () => {
  it('names a row with another number of columns by its line, quoted line breaks counted', () => {
    const text = 'message,label\n"two\nlines",a\nx,y,z\nlast,b\nonly one\n';
    const result = importText(text, 'mails.csv');
    expect(result.table).toEqual({
      header: ['message', 'label'],
      rows: [
        ['two\nlines', 'a'],
        ['last', 'b'],
      ],
      lines: [2, 5],
    });
    expect(result.findings.map(({ text: words }) => words)).toEqual([
      'Line 4 of mails.csv has three columns; the header has two. It was left out.',
      'Line 6 of mails.csv has one column; the header has two. It was left out.',
    ]);
    expect([result.read, result.leftOut]).toEqual([4, 2]);
  });
  it('tells commas, semicolons, tabs and bars apart', () => {
    for (const delimiter of [',', ';', '\t', '|']) {
      const rows = [
        ['question', 'answer'],
        ['how much is 3', '3'],
        ['why', 'so'],
      ];
      const result = importText(rows.map((row) => row.join(delimiter)).join('\n'));
      expect(result.delimiter).toBe(delimiter);
      expect(said(mapped(result).examples)).toEqual([
        ['how much is 3', '3'],
        ['why', 'so'],
      ]);
    }
  });
  it('takes a paste from a spreadsheet, quotes as letters where they are no quotes', () => {
    const result = importText('Input\tOutput\n"ok" he said, twice\tyes\n"a cell\nof two lines"\tno\n');
    expect(said(mapped(result).examples)).toEqual([
      ['"ok" he said, twice', 'yes'],
      ['a cell\nof two lines', 'no'],
    ]);
    expect(result.findings).toEqual([]);
    const clean = importText('Input\tOutput\n"a cell\nwith ""quotes"""\tno\n');
    expect(said(mapped(clean).examples)).toEqual([['a cell\nwith "quotes"', 'no']]);
  });
  it('reads on behind a quote that is never closed', () => {
    const result = importText('text,label\n"fine, really",a\n"broken,b\nthird,c\n"""good""",d\n', 'x.csv');
    expect(tableOf(result).rows).toEqual([
      ['fine, really', 'a'],
      ['"broken', 'b'],
      ['third', 'c'],
      ['"good"', 'd'],
    ]);
    expect(tableOf(result).lines).toEqual([2, 3, 4, 5]);
    expect(result.findings[0].text).toBe(
      'Line 3 of x.csv has a quote that does not close where its cell ends; it was read as an ordinary letter.',
    );
  });
  it('knows a header from a row', () => {
    expect(looksLikeHeader(['text', 'label'], [['good day', 'pos']])).toBe(true);
    expect(looksLikeHeader(['What is 2+2?', '4'], [['What is 3+3?', '6']])).toBe(false);
    expect(looksLikeHeader(['Kundenmail', 'Sachgebiet'], [['Mein Rad ist seit drei Wochen bei Ihnen', 'Reparatur']])).toBe(true);
    expect(importText('What is 2+2?,4\nWhat is 3+3?,6').table?.header).toEqual(['Column 1', 'Column 2']);
  });
  it('keeps headers named "__proto__" and "constructor" as texts', () => {
    const result = importText('__proto__,constructor,answer\na,b,c\n');
    expect(tableOf(result).header).toEqual(['__proto__', 'constructor', 'answer']);
    expect(said(mapColumns(tableOf(result), ['input', 'ignore', 'answer']).examples)).toEqual([['a', 'c']]);
  });
  it('proposes roles by names and by what stands in the columns', () => {
    const roles = (text: string) => proposeRoles(tableOf(importText(text)));
    expect(roles('id,system,question,context,answer\n1,s,q,c,a\n2,s,q2,c,a')).toEqual(['id', 'system', 'input', 'input', 'answer']);
    expect(roles('label,text\npos,good day\nneg,bad day\npos,nice')).toEqual(['answer', 'input']);
    expect(roles('spam\tThis is one long message to you\nham\tAnother long message here\nspam\tAnd a third one\nham\tA fourth')).toEqual([
      'answer',
      'input',
    ]);
    expect(roles('one two three,4\nfive six seven,8')).toEqual(['input', 'answer']);
    expect(roles('A1,a message here,good\nA2,another message,bad\nA3,third message,good\nA4,fourth one,bad')).toEqual([
      'id',
      'input',
      'answer',
    ]);
    expect(roles('only one column\nof texts')).toEqual(['input']);
  });
  it('joins input columns, takes several answers, counts rows without one and names rows without input', () => {
    const table: RawTable = {
      header: ['s', 'a', 'b', 'x', 'y'],
      rows: [
        ['sys', 'one', 'two', 'ans', 'other'],
        ['', 'one', '', '', ' '],
        ['', '', ' ', 'ans', ''],
      ],
      lines: [2, 3, 4],
    };
    const { examples, findings } = mapColumns(table, ['system', 'input', 'input', 'answer', 'answer']);
    expect(said(examples)).toEqual([['sys', 'one\ntwo', 'ans', 'other'], ['one']]);
    expect(findings.map(({ code, line }) => [code, line])).toEqual([
      ['data/empty-input', 4],
      ['data/no-answer', 3],
    ]);
    expect(mapColumns(table, ['ignore', 'ignore', 'ignore', 'answer', 'ignore']).findings[0].code).toBe('data/no-input-column');
  });
  it('ends in findings, never in another error, whatever the text', () => {
    const cell = fc.oneof(
      fc.string(),
      fc.constantFrom('"', '""', ',', ';', '\n', '\r', '\t', '|', "'", '\u0000', '__proto__', '{', '[', '//'),
    );
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 60 }), (parts) => {
        try {
          const result = importText(parts.join(''));
          if (result.table !== undefined) {
            const { examples } = mapped(result);
            expect(examples.length).toBeLessThanOrEqual(result.read);
            expect(result.table.lines).toHaveLength(result.table.rows.length);
            for (const row of result.table.rows) expect(row).toHaveLength(result.table.header.length);
          }
          expect(new Set(result.examples.map(({ id }) => id)).size).toBe(result.examples.length);
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
          expect(error.code).toBe('data/empty');
        }
      }),
      { numRuns: 500 },
    );
  });
  it('gives back the cells and lines of any table that is quoted as RFC 4180 says', () => {
    const value = fc.string().map((text) => text.replace(/\r\n?/g, '\n').replaceAll('\u0000', '').replaceAll('\uFEFF', ''));
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 8 }), (cells) => {
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const text = `question,answer\n${cells.map((row) => row.map(quote).join(',')).join('\n')}\n`;
        const filled = cells.filter((row) => row.some((cell) => cell.trim() !== ''));
        fc.pre(filled.length > 0);
        const table = tableOf(importText(text));
        expect(table.rows).toEqual(filled);
        let line = 2;
        const starts = cells.map((row) => {
          const start = line;
          line += 1 + row.join('').split('\n').length - 1;
          return start;
        });
        expect(table.lines).toEqual(starts.filter((_, i) => filled.includes(cells[i])));
      }),
      { numRuns: 200 },
    );
  });
});

describe('what is not rows', () => {
  it('is refused with what to do', () => {
    for (const text of ['', '  \n\n', '\uFEFF']) expect(() => importText(text)).toThrow(expect.objectContaining({ code: 'data/empty' }));
    expect(() => importText('question,answer\n')).toThrow(expect.objectContaining({ code: 'data/empty' }));
    expect(() => importBytes(new Uint8Array([0x50, 0x4b, 3, 4, 20, 0]))).toThrow(expect.objectContaining({ code: 'data/not-text' }));
    expect(() => importBytes(new Uint8Array(64))).toThrow(expect.objectContaining({ code: 'data/not-text' }));
  });
});

describe('decodeText', () => {
  const utf16 = (text: string, little: boolean, mark: boolean): Uint8Array => {
    const units = [...(mark ? '\uFEFF' : ''), ...text].flatMap((c) => {
      const unit = c.charCodeAt(0);
      return little ? [unit & 255, unit >> 8] : [unit >> 8, unit & 255];
    });
    return Uint8Array.from(units);
  };
  it('reads UTF-8, UTF-16 of both orders and Windows-1252, and drops marks', () => {
    expect(decodeText(new TextEncoder().encode('\uFEFFcafé 😀\r\nb\rc'))).toEqual({ text: 'café 😀\nb\nc', encoding: 'UTF-8' });
    for (const little of [true, false]) {
      for (const mark of [true, false])
        expect(decodeText(utf16('Frage\tÜber', little, mark))).toEqual({ text: 'Frage\tÜber', encoding: 'UTF-16' });
    }
    expect(decodeText(Uint8Array.from([0x93, 0x53, 0xf6, 0x94, 0x20, 0x80]))).toEqual({ text: '“Sö” €', encoding: 'Windows-1252' });
  });
});
