import type { Board } from '../experiments/types.ts';
import { csv } from './format.ts';
import { runtimeName } from './runtime-words.ts';

/** The board as a table for a spreadsheet: full precision, one contestant a line, empty where nothing is measured. */
export function boardCsv(board: Board): string {
  const head = [
    'contestant',
    'method',
    'state',
    'split',
    'score',
    'low',
    'high',
    'n',
    'answered by',
    'passed',
    'won',
    'lost',
    'p',
    'p (Holm)',
    'verdict',
    'across runtimes',
    'extra tokens a call',
    'bytes to ship',
    'seconds to make',
    'tokens a second',
    'cut replies',
    'notes',
  ];
  const value = (v: number | undefined) => v ?? '';
  return csv([
    head,
    ...board.rows.map((row) => [
      row.name,
      row.method,
      row.state,
      board.split,
      value(row.score?.mean),
      value(row.score?.low),
      value(row.score?.high),
      value(row.score?.n),
      row.score === undefined ? '' : runtimeName(row.score.runtime),
      value(row.passed),
      value(row.againstBase?.wins),
      value(row.againstBase?.losses),
      value(row.againstBase?.p),
      value(row.againstBase?.holmP),
      row.againstBase?.verdict ?? '',
      row.againstBase === undefined ? '' : row.againstBase.acrossRuntimes === true ? 'yes' : 'no',
      value(row.extraTokensPerCall),
      value(row.bytesToShip),
      value(row.seconds),
      value(row.tokensPerSecond),
      value(row.cutReplies),
      row.notes.join('; '),
    ]),
  ]);
}
