import { diffWordsWithSpace } from 'diff';

export interface DiffPart {
  readonly kind: 'same' | 'added' | 'removed';
  readonly text: string;
}
interface Block {
  same: string;
  removed: string;
  added: string;
}

/** A diff of very long texts takes seconds: past this many characters both stand in full, one after the other. */
const LONGEST = 20_000;
/** A few words that happen to stand in both texts, between changes longer than they are, tell nobody anything: they join the change. */
const CHANCE_WORDS = 3;

/** How `after` differs from `before`, in phrases as people read them: a word diff whose chance agreements are taken out. */
export function phraseDiff(before: string, after: string): readonly DiffPart[] {
  if (before.length + after.length > LONGEST) return parts([{ same: '', removed: before, added: after }]);
  const blocks: Block[] = [];
  for (const part of diffWordsWithSpace(before, after)) {
    const last = blocks.at(-1);
    if (!part.added && !part.removed) blocks.push({ same: part.value, removed: '', added: '' });
    else {
      const change = last !== undefined && last.same === '' ? last : { same: '', removed: '', added: '' };
      if (change !== last) blocks.push(change);
      if (part.added) change.added += part.value;
      else change.removed += part.value;
    }
  }
  for (let i = 1; i < blocks.length - 1; ) {
    const [left, block, right] = [blocks[i - 1], blocks[i], blocks[i + 1]];
    if (left !== undefined && block !== undefined && right !== undefined && block.same !== '' && isChance(block.same, left, right)) {
      const merged = { same: '', removed: left.removed + block.same + right.removed, added: left.added + block.same + right.added };
      blocks.splice(i - 1, 3, merged);
      i = Math.max(1, i - 2);
    } else i++;
  }
  return parts(blocks);
}

function isChance(same: string, left: Block, right: Block): boolean {
  const size = (block: Block) => Math.max(block.removed.length, block.added.length);
  const words = same.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
  return words <= CHANCE_WORDS && same.trim().length <= Math.max(size(left), size(right)) && same.trim().length <= size(left) + size(right);
}

/** White space at both ends of a change belongs to what did not change. */
function parts(blocks: readonly Block[]): readonly DiffPart[] {
  const out: DiffPart[] = [];
  const push = (kind: DiffPart['kind'], text: string) => {
    if (text !== '') out.push({ kind, text });
  };
  for (const { same, removed, added } of blocks) {
    push('same', same);
    if (removed === '' && added === '') continue;
    const both = removed !== '' && added !== '';
    const head = both && /^\s/.test(removed) && /^\s/.test(added) && removed[0] === added[0] ? 1 : 0;
    const tail = both && removed.length > head && added.length > head && /\s$/.test(removed) && removed.at(-1) === added.at(-1) ? 1 : 0;
    push('same', removed.slice(0, head));
    push('removed', removed.slice(head, removed.length - tail));
    push('added', added.slice(head, added.length - tail));
    push('same', tail === 1 ? removed.slice(-1) : '');
  }
  return out;
}
