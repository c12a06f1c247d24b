import { describe, expect, test } from 'vitest';
import type { ColumnRole } from '../../src/data/types.ts';
import { withRole } from '../../src/ui/roles.ts';

describe('another role of a column', () => {
  const roles: readonly ColumnRole[] = ['input', 'answer', 'ignore'];
  test('the only input that becomes the answer changes places with it', () => {
    expect(withRole(roles, 0, 'answer')).toEqual(['answer', 'input', 'ignore']);
    expect(withRole(roles, 1, 'input')).toEqual(['answer', 'input', 'ignore']);
  });
  test('a column that was left out joins', () => {
    expect(withRole(roles, 2, 'input')).toEqual(['input', 'answer', 'input']);
    expect(withRole(['input', 'answer', 'input'], 2, 'ignore')).toEqual(roles);
  });
  test('the only input or answer is not left out', () => {
    expect(withRole(roles, 0, 'ignore')).toBe(roles);
    expect(withRole(roles, 1, 'id')).toBe(roles);
    expect(withRole(['input', 'ignore'], 0, 'answer')).toEqual(['input', 'ignore']);
  });
});
