// Contestants out of files: a PEFT folder or .zip, a GGUF adapter, a prompt as JSON. Everything here comes from strangers.
import { ggufLora } from '../../src/formats/gguf-lora.ts';
import { peft } from '../../src/formats/peft.ts';
import type { AdapterFile, PortableAdapter } from '../../src/formats/types.ts';
import { bytes as inWords } from '../../src/lib/bytes.ts';
import { AppError } from '../../src/lib/error.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { PickedFile } from '../../src/rpc/contract.ts';
import { storingBlobs } from '../../src/storage/blob-writer.ts';
import { listContestants, saveContestant, saveTrained } from '../../src/storage/customizations.ts';
import { needModel } from '../../src/storage/models.ts';
import { parsePromptFile } from '../../src/storage/restore.ts';
import { needTask } from '../../src/storage/tasks.ts';
import type { ContestantRecord, TaskRecord } from '../../src/storage/types.ts';
import { keepAdapter } from './adapters.ts';
import { promptBytes } from './contestants.ts';
import { wholeOrNothing } from './models.ts';
import type { Session } from './session.ts';
import { readZip } from './zip.ts';

/** A file of an adapter or a prompt. LoRA of a model of a few billion weights is well below it. */
const MAX_FILE_BYTES = 1_000_000_000;
const PEFT_FILES = ['adapter_config.json', 'adapter_model.safetensors'];

export async function importContestant(session: Session, taskId: string, picked: readonly PickedFile[]): Promise<ContestantRecord> {
  const task = await needTask(taskId);
  const { files, source } = await unpacked(picked);
  const json = [...files].filter(([name]) => name.endsWith('.json') && !PEFT_FILES.includes(name)).map(([, bytes]) => bytes);
  const gguf = [...files].find(([name]) => name.endsWith('.gguf'));
  if (PEFT_FILES.some((name) => files.has(name))) return importAdapter(session, task, peft, files, source, wordsAmong(json));
  if (gguf !== undefined) return importAdapter(session, task, ggufLora, new Map([gguf]), gguf[0], wordsAmong(json));
  if (json[0] !== undefined) return importPrompt(session, task, json[0]);
  throw new AppError(
    'import/nothing',
    `Nothing to import is among the ${picked.length} chosen ${picked.length === 1 ? 'file' : 'files'}.`,
    {
      why: 'An adapter is adapter_config.json with adapter_model.safetensors, a .zip of both, or one .gguf file; a prompt is a .json file that was saved here.',
      fix: 'Choose these files.',
      facts: {
        chosen: picked
          .slice(0, 20)
          .map(({ path }) => path)
          .join(', '),
      },
    },
  );
}

/** The words that an adapter was trained under, where a prompt of ours is among the files; other JSON files are what other programs put beside weights. */
function wordsAmong(json: readonly Uint8Array[]): Prompt {
  for (const bytes of json) {
    try {
      return parsePromptFile(new TextDecoder().decode(bytes)).prompt;
    } catch {
      // not one
    }
  }
  return emptyPrompt;
}

/** Files by bare name; archives are opened for the names that an import can use. */
async function unpacked(picked: readonly PickedFile[]): Promise<{ readonly files: Map<string, Uint8Array>; readonly source: string }> {
  const wanted = (name: string): boolean => PEFT_FILES.includes(name) || /\.(json|gguf)$/i.test(name);
  const files = new Map<string, Uint8Array>();
  let source = '';
  for (const { path, file } of picked) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (/\.zip$/i.test(name)) {
      const inside = await readZip(file, wanted, { bytes: MAX_FILE_BYTES, entries: 10_000 });
      for (const [entry, bytes] of inside) files.set(entry, bytes);
      source = name;
    } else if (wanted(name)) {
      if (file.size > MAX_FILE_BYTES) {
        throw new AppError('import/too-large', `${name} has ${inWords(file.size)}; an adapter here may have ${inWords(MAX_FILE_BYTES)}.`, {
          fix: 'If it is a whole model, add it on the Models screen.',
        });
      }
      files.set(name, new Uint8Array(await file.arrayBuffer()));
      const folder = path.split('/').at(-2);
      source = folder ?? source;
    }
  }
  return { files, source };
}

async function importAdapter(
  session: Session,
  task: TaskRecord,
  format: AdapterFile,
  files: ReadonlyMap<string, Uint8Array>,
  source: string,
  prompt: Prompt,
): Promise<ContestantRecord> {
  const modelId = task.modelId ?? session.loaded?.record.id;
  if (modelId === undefined) {
    throw new AppError('model/none', 'An adapter belongs to a model, and none is chosen for this task.', {
      fix: 'Choose the model it was made with on the Models screen.',
    });
  }
  const model = await needModel(modelId);
  // Shapes are checked against the model before anything is kept.
  const adapter: PortableAdapter = format.read(files, model.config);
  const name = nameOf(source, 'Imported adapter');
  const keep = storingBlobs(async (put) => {
    const record = await keepAdapter(put, adapter, model.config, { name, modelId });
    const contestant: ContestantRecord = {
      ...blank(task, name, 'lora', modelId, prompt),
      adapterId: record.id,
      config: { rank: adapter.rank, alpha: adapter.alpha, dropout: adapter.dropout, rsLora: adapter.rsLora, targets: record.targets },
      cost: { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: record.bytes },
    };
    await saveTrained(record, contestant);
    return contestant;
  });
  return wholeOrNothing(
    keep,
    [...files.values()].reduce((sum, { length }) => sum + length, 0),
  );
}

async function importPrompt(session: Session, task: TaskRecord, bytes: Uint8Array): Promise<ContestantRecord> {
  const { name, prompt } = parsePromptFile(new TextDecoder().decode(bytes));
  const versions = (await listContestants(task.id)).flatMap(({ method, version }) => (method === 'prompt' ? (version ?? 0) : []));
  const contestant: ContestantRecord = {
    ...blank(task, name, 'prompt', task.modelId ?? session.loaded?.record.id ?? '', prompt),
    version: Math.max(0, ...versions) + 1,
    cost: { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: promptBytes(prompt) },
  };
  await saveContestant(contestant);
  return contestant;
}

function blank(task: TaskRecord, name: string, method: string, modelId: string, prompt: Prompt): Omit<ContestantRecord, 'cost'> {
  return {
    id: crypto.randomUUID(),
    taskId: task.id,
    name,
    method,
    modelId,
    prompt,
    createdAt: Date.now(),
    afterTestOpened: task.testOpenedAt !== undefined,
    chosenOnValidation: false,
    imported: true,
  };
}
function nameOf(source: string, otherwise: string): string {
  const name = source.replace(/\.(zip|gguf|json)$/i, '').trim();
  return name === '' ? otherwise : name;
}
