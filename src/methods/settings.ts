import { AppError } from '../lib/error.ts';
import type { Setting } from './types.ts';

/** Settings as they come from a form or from storage. */
export type RawConfig = Readonly<Record<string, unknown>>;

function refused(setting: { readonly label: string; readonly term: string }, value: unknown, allowed: string): AppError {
  return new AppError('method/bad-setting', `${setting.label} (${setting.term}) cannot be ${JSON.stringify(value) ?? 'missing'}.`, {
    why: `Allowed is ${allowed}.`,
    fix: 'Choose another value, or reset it to its default.',
    facts: { setting: setting.term, value: String(value) },
  });
}

/** @throws 'method/bad-setting' like all readers here, where the value is there and not allowed; a value that is absent is the default. */
export function readNumber(raw: RawConfig, key: string, setting: Setting<number>, fallback = setting.default): number {
  const value = raw[key] ?? fallback;
  const whole = setting.step !== undefined && Number.isInteger(setting.step);
  const allowed = `${whole ? 'a whole number' : 'a number'} from ${setting.min} to ${setting.max}`;
  if (typeof value !== 'number' || !(value >= setting.min && value <= setting.max)) throw refused(setting, value, allowed);
  if (whole && !Number.isInteger(value)) throw refused(setting, value, allowed);
  return value;
}

export function readBoolean(raw: RawConfig, key: string, setting: Setting<boolean>): boolean {
  const value = raw[key] ?? setting.default;
  if (typeof value !== 'boolean') throw refused(setting, value, 'on or off');
  return value;
}

/** A text without a list of options is free text. */
export function readText(raw: RawConfig, key: string, setting: Setting<string>): string {
  const value = raw[key] ?? setting.default;
  const options = setting.options.map((option) => option.value);
  if (typeof value !== 'string' || (options.length > 0 && !options.includes(value)))
    throw refused(setting, value, options.join(', ') || 'a text');
  return value;
}

/** At least one of the options, in the options' order. */
export function readChoices(raw: RawConfig, key: string, setting: Setting<readonly string[]>): readonly string[] {
  const value = raw[key] ?? setting.default;
  const options = setting.options.map((option) => option.value);
  const allowed = `one or more of ${options.join(', ')}`;
  if (!Array.isArray(value) || value.length === 0) throw refused(setting, value, allowed);
  const chosen: readonly unknown[] = value;
  if (!chosen.every((item) => typeof item === 'string' && options.includes(item))) throw refused(setting, value, allowed);
  return options.filter((option) => chosen.includes(option));
}
