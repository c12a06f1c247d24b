/** Bytes as people read them, in every message and on every screen. */
export interface Quantity {
  readonly value: string;
  readonly unit: string;
}
/** Bytes as a value and its decimal unit: 0.9 kB, 61 kB, 17.4 MB, 724 MB, 2.3 GB. */
export function bytesParts(n: number): Quantity {
  if (n < 1000) return { value: String(Math.round(n)), unit: 'B' };
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = n;
  let unit = 'B';
  for (const next of units) {
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  const decimals = value < 9.95 || (unit !== 'kB' && value < 99.95) ? 1 : 0;
  return { value: value.toFixed(decimals), unit };
}
export function bytes(n: number): string {
  const { value, unit } = bytesParts(n);
  return `${value} ${unit}`;
}
