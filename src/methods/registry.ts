import type { ModelConfig } from '../engine/types.ts';
import { AppError } from '../lib/error.ts';
import { lora } from './lora.ts';
import { prompt } from './prompt.ts';
import type { RawConfig } from './settings.ts';
import type { AnySetting, Customization, DataSize, FitEnv, Method, MethodDeclaration, TrainingSize } from './types.ts';

/** A method whose settings come as plain data, from a form or from storage. All that take settings @throws 'method/bad-setting'. */
export interface RegisteredMethod {
  readonly id: string;
  readonly mark: string;
  readonly needs: Method<object>['needs'];
  /** For the interface; with a model, the defaults are those for it. */
  declaration(model?: ModelConfig): MethodDeclaration;
  /** Every setting, what is absent filled in: what a run's record keeps. */
  config(raw: RawConfig, model: ModelConfig): RawConfig;
  /** Undefined for a method that trains nothing. */
  training(raw: RawConfig, model: ModelConfig, data: DataSize): TrainingSize | undefined;
  estimate(
    raw: RawConfig,
    model: ModelConfig,
    data: DataSize,
    device: { readonly flopsPerSecond: number },
  ): { seconds: number; bytes: number };
  fit(env: FitEnv, raw: RawConfig, model: ModelConfig): Promise<Customization>;
}

/** `declared` is `method.settings`, given apart so that the compiler sees each setting's own type. */
function register<C extends object>(method: Method<C>, declared: Readonly<Record<string, AnySetting>>): RegisteredMethod {
  const { id, name, plainName, mark, source, summary, needs } = method;
  return {
    id,
    mark,
    needs,
    declaration: (model) => {
      const defaults = new Map<string, unknown>(model === undefined ? [] : Object.entries(method.defaultsFor?.(model) ?? {}));
      const settings: Record<string, AnySetting> = {};
      for (const [key, setting] of Object.entries(declared)) {
        settings[key] = defaults.has(key) ? withDefault(setting, defaults.get(key)) : setting;
      }
      return { id, name, plainName, mark, source, summary, needs, settings };
    },
    config: (raw, model) => Object.fromEntries<unknown>(Object.entries(method.read(raw, model))),
    training: (raw, model, data) => method.training?.(method.read(raw, model), model, data),
    estimate: (raw, model, data, device) => method.estimate(method.read(raw, model), model, data, device),
    fit: (env, raw, model) => method.fit(env, method.read(raw, model)),
  };
}

function withDefault(setting: AnySetting, value: unknown): AnySetting {
  return setting.kind === 'number' && typeof value === 'number' ? { ...setting, default: value } : setting;
}

export const methods: readonly RegisteredMethod[] = [register(prompt, prompt.settings), register(lora, lora.settings)];

/** @throws 'method/unknown' */
export function methodById(id: string): RegisteredMethod {
  const found = methods.find((method) => method.id === id);
  if (found !== undefined) return found;
  throw new AppError('method/unknown', `There is no method "${id}" in this version.`, {
    why: `It has ${methods.map((method) => method.id).join(' and ')}.`,
    fix: 'Choose one of these, or reload the page to get the newest version.',
    facts: { method: id },
  });
}

export function declarations(model?: ModelConfig): MethodDeclaration[] {
  return methods.map((method) => method.declaration(model));
}
