/** Numbers as the screens write them: thin groups, units apart, p without a leading zero, times in minutes and seconds. Pure; no DOM. */

export { bytes, bytesParts, type Quantity } from '../lib/bytes.ts';

const THIN = '\u202f';

/** 1319 becomes "1 319" with a narrow no-break space; four digits too, so that columns line up. */
export function count(n: number): string {
  const text = Math.round(Math.abs(n)).toString();
  const grouped = text.replace(/\B(?=(\d{3})+$)/g, THIN);
  return n < 0 ? `−${grouped}` : grouped;
}

/** Weights of a model in words: "1.2 million", "135 million", "1.5 billion". */
export function inMillions(n: number): string {
  const [size, unit] = n < 1e9 ? [n / 1e6, 'million'] : [n / 1e9, 'billion'];
  return `${size < 10 ? size.toFixed(1) : size.toFixed(0)} ${unit}`;
}

/** "1 row", "12 rows". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${Math.abs(n) === 1 ? one : many}`;
}

/** Seconds: "0.4 s", "2 s", "4 min 10 s", "1 h 05 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 9.95) {
    const tenths = Math.round(seconds * 10) / 10;
    return `${Number.isInteger(tenths) ? tenths : tenths.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
/** An estimate: no false precision. "about 4 min", "about 20 s". */
export function about(seconds: number): string {
  if (seconds < 1) return 'under 1 s';
  if (seconds < 60) return `about ${Math.round(seconds)} s`;
  if (seconds < 600) {
    const rounded = Math.round(seconds / 10) * 10;
    return rounded % 60 === 0 ? `about ${rounded / 60} min` : `about ${duration(rounded)}`;
  }
  if (seconds < 3600) return `about ${Math.round(seconds / 60)} min`;
  return `about ${duration(Math.round(seconds / 300) * 300)}`;
}

/** A score from 0 to 1, two decimals. */
export function score(value: number): string {
  return value.toFixed(2);
}
export function interval(low: number, high: number): string {
  return `${score(low)} to ${score(high)}`;
}
/** "p < .001", "p = .002", "p = .01", "p = .44", "p = 1.0". */
export function pValue(p: number): string {
  if (p < 0.001) return 'p < .001';
  if (p >= 0.995) return 'p = 1.0';
  return `p = ${p.toFixed(p < 0.0095 ? 3 : 2).replace(/^0/, '')}`;
}
/** Seven as a word, as long as it reads like one; larger counts as digits. */
export function word(n: number): string {
  const words = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];
  return words[n] ?? count(n);
}
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
/** "a", "a and b", "a, b and c". */
export function listing(items: readonly string[]): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}
/** Cut at a word with "…"; whoever cuts shows the rest elsewhere. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const head = text.slice(0, limit - 1);
  const space = head.lastIndexOf(' ');
  return `${(space > limit * 0.6 ? head.slice(0, space) : head).trimEnd()}…`;
}

export interface Tick {
  readonly at: number;
  readonly size: 'major' | 'middle' | 'minor';
}
/** Ticks of the score ruler: every .05, longer every .1, longest and labelled every .25. In hundredths, so that steps stay exact. */
export function scoreTicks(): readonly Tick[] {
  return Array.from({ length: 21 }, (_, i) => ({ at: (i * 5) / 100, size: i % 5 === 0 ? 'major' : i % 2 === 0 ? 'middle' : 'minor' }));
}

/** A step of 1, 2 or 5 times a power of ten that gives about `wanted` steps over `span`. */
export function niceStep(span: number, wanted: number): number {
  if (span <= 0 || wanted <= 0) return 1;
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const lead = raw / power;
  return (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10) * power;
}
/** Multiples of a nice step from 0 up to and including the first at or above `max`. Whole numbers, 1 at the least. */
export function axisValues(max: number, wanted: number): readonly number[] {
  const last = Math.max(1, max);
  const step = Math.max(1, niceStep(last, wanted));
  return Array.from({ length: Math.ceil(last / step) + 1 }, (_, i) => i * step);
}

export interface Bin {
  readonly from: number;
  readonly n: number;
}
export interface Histogram {
  readonly width: number;
  readonly bins: readonly Bin[];
  readonly tallest: number;
}
/** Whole numbers in bins of a power of two that gives at most `most` bins, from 0. */
export function histogram(values: readonly number[], most = 20): Histogram {
  const longest = values.reduce((a, b) => Math.max(a, b), 0);
  let width = 1;
  while (Math.floor(longest / width) + 1 > most) width *= 2;
  const counts = new Array<number>(Math.floor(longest / width) + 1).fill(0);
  for (const value of values) {
    const i = Math.floor(value / width);
    counts[i] = (counts[i] ?? 0) + 1;
  }
  return { width, bins: counts.map((n, i) => ({ from: i * width, n })), tallest: counts.reduce((a, b) => Math.max(a, b), 0) };
}
/** The value below which `share` of the sorted list lies (nearest rank). */
export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0;
}

/** One field of a CSV file, quoted where it must be; a leading =, +, - or @ of a text is kept from being read as a formula. */
export function csvField(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
export function csv(rows: readonly (readonly (string | number)[])[]): string {
  return `${rows.map((row) => row.map(csvField).join(',')).join('\r\n')}\r\n`;
}
/** A file name of a title: "Answer customers" becomes "answer-customers". */
export function fileStem(title: string): string {
  const stem = title
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);
  return stem === '' ? 'maquette' : stem;
}
