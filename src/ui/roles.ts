import type { ColumnRole } from '../data/types.ts';

export const ROLES: readonly { readonly value: ColumnRole; readonly label: string }[] = [
  { value: 'input', label: 'Input' },
  { value: 'answer', label: 'Answer' },
  { value: 'system', label: 'System text' },
  { value: 'id', label: 'Name of the row' },
  { value: 'ignore', label: 'Leave out' },
];
export const roleOf = (value: string): ColumnRole => ROLES.find((role) => role.value === value)?.value ?? 'ignore';

/**
 * The roles with one column's changed. There is always an input and an answer: where a column takes the role of another and was the only one of its own, the
 * two change places; where nothing would be left of it, the roles stay as they are.
 */
export function withRole(roles: readonly ColumnRole[], column: number, role: ColumnRole): readonly ColumnRole[] {
  const before = roles[column];
  if (before === role) return roles;
  const next = roles.map((given, i) => (i === column ? role : given));
  if ((before !== 'input' && before !== 'answer') || next.includes(before)) return next;
  const other = roles.indexOf(role);
  return other < 0 || role === 'ignore' ? roles : next.map((given, i) => (i === other ? before : given));
}
