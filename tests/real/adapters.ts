// Adapters of ours in the real PEFT, and adapters that PEFT wrote in ours.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import type { OpenModel } from '../../src/cli/conformance/bench.ts';
import { type Case, exact, type Outcome, worstDifference } from '../../src/cli/conformance/case.ts';
import type { PortableAdapter } from '../../src/formats/types.ts';
import { CHATS } from './texts.ts';
import { randomLora, trainShortly } from './train.ts';
import { check, fixture, formats, forward, found, type Need, ourLogits, readPeft, rendererOf, type World, withAdapter } from './world.ts';

const SMOLLM2 = 2e-3;
const FIXTURE = 2e-4;
/** An adapter that changes no logit by this much would prove nothing. */
const VISIBLE = 0.05;

interface Base {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly path: () => string;
  readonly tolerance: number;
}
const bases = (world: World): { readonly smollm2: Base; readonly fixture: Base } => ({
  smollm2: { name: 'SmolLM2', needs: ['python', 'gguf'], path: () => found(world, 'gguf'), tolerance: SMOLLM2 },
  fixture: {
    name: 'models/llama',
    needs: ['python'],
    path: () => fixture('models/llama') ?? 'tests/fixtures/models/llama',
    tolerance: FIXTURE,
  },
});

export function saveFolder(world: World, name: string, adapter: PortableAdapter, model: OpenModel): string {
  const folder = world.place(name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [file, bytes] of formats.peft.write(adapter, model.engine.config)) writeFileSync(path.join(folder, file), bytes);
  return folder;
}

/** The logits that PEFT gives with a folder, against ours with the same folder read back. */
export async function compareFolder(world: World, base: Pick<Base, 'path' | 'tolerance'>, folder: string): Promise<Outcome> {
  const model = await world.bench.open(base.path(), 'f32');
  const rows = [await rendererOf(model.source).prompt(CHATS[0].messages)];
  const truth = await forward(world, base.path(), rows, { adapter: folder });
  const [plain] = await ourLogits(model, rows);
  const [ours] = await withAdapter(model, readPeft(folder, model.engine.config), (patch) => ourLogits(model, rows, patch));
  return {
    measurements: [
      { what: `logits of ${rows[0].length} tokens, PEFT`, difference: worstDifference(ours, truth.logits[0]), tolerance: base.tolerance },
      exact('adapters without effect', worstDifference(ours, plain) > VISIBLE ? 0 : 1),
    ],
  };
}

function casesOf(world: World, base: Base): Case[] {
  const open = () => world.bench.open(base.path(), 'f32');
  return [
    check(world, `peft/${base.name}: random factors, out`, base.needs, async () => {
      const model = await open();
      const adapter = randomLora(model.engine.config, { rank: 4, alpha: 6, rsLora: true });
      return compareFolder(world, base, saveFolder(world, 'random', adapter, model));
    }),
    check(world, `peft/${base.name}: trained here, out`, base.needs, async () => {
      const model = await open();
      const { adapter } = await trainShortly(model);
      return compareFolder(world, base, saveFolder(world, 'trained', adapter, model));
    }),
    check(world, `peft/${base.name}: written by PEFT, in`, base.needs, async () => {
      const folder = world.place('by-peft');
      rmSync(folder, { recursive: true, force: true });
      const job = { command: 'adapter', base: base.path(), out: folder, seed: 11, rank: 4 };
      await world.truth(job, v.object({ files: v.array(v.string()) }));
      return compareFolder(world, base, folder);
    }),
  ];
}

export const smolCases = (world: World): Case[] => casesOf(world, bases(world).smollm2);
export const fixtureCases = (world: World): Case[] => casesOf(world, bases(world).fixture);
