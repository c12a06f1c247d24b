// What a contestant leaves the tab as, and how it is loaded elsewhere.
import { ggufLora } from '../../src/formats/gguf-lora.ts';
import { peft } from '../../src/formats/peft.ts';
import { AppError } from '../../src/lib/error.ts';
import type { ExportedFile, ExportFormat, ExportTarget } from '../../src/rpc/contract.ts';
import { needAdapter, needContestant } from '../../src/storage/customizations.ts';
import { readModel } from '../../src/storage/models.ts';
import type { AdapterRecord, ContestantRecord, ModelRecord } from '../../src/storage/types.ts';
import type { TemplateRenderer } from '../../src/text/types.ts';
import { adapterFiles } from './adapters.ts';
import { promptBytes } from './contestants.ts';
import { fileStem } from './file-stem.ts';
import { webllmTarget, webllmZip } from './webllm-export.ts';
import { writeZip } from './zip.ts';

interface Exported {
  readonly contestant: ContestantRecord;
  readonly adapter: AdapterRecord | undefined;
  readonly model: ModelRecord | undefined;
}
async function read(contestantId: string): Promise<Exported> {
  const contestant = await needContestant(contestantId);
  const adapter = contestant.adapterId === undefined ? undefined : await needAdapter(contestant.adapterId);
  return { contestant, adapter, model: await readModel(contestant.modelId) };
}

export async function exportTargets(contestantId: string): Promise<readonly ExportTarget[]> {
  const exported = await read(contestantId);
  const { contestant, adapter } = exported;
  const targets: ExportTarget[] = [];
  if (adapter !== undefined) targets.push(peftTarget(exported, adapter));
  if (adapter !== undefined && exported.model !== undefined) targets.push(ggufTarget(exported, adapter, exported.model));
  if (hasWords(contestant)) targets.push(promptTarget(contestant));
  const webllm = exported.model === undefined ? undefined : webllmTarget({ contestant, adapter, model: exported.model });
  if (webllm !== undefined) targets.push(webllm);
  return targets;
}

const hasWords = ({ prompt: { system, shots, cue } }: ContestantRecord): boolean => system !== '' || shots.length > 0 || cue !== '';
function wordsToo(contestant: ContestantRecord): string {
  return hasWords(contestant) ? ' It was trained under words of its own: save those too, and import both files together.' : '';
}

function peftTarget({ contestant, model }: Exported, adapter: AdapterRecord): ExportTarget {
  const stem = fileStem(contestant.name);
  return {
    format: 'peft',
    name: 'Adapter for PEFT',
    summary: 'The add-on weights alone, as Hugging Face PEFT keeps them. Python programs load them beside the base model.',
    files: adapter.files.map(({ name }) => name),
    bytes: adapter.bytes,
    limits: `Fits this base model only. An adapter can repeat texts that it was trained on.${wordsToo(contestant)}`,
    howTo: {
      language: 'python',
      code: [
        'from peft import PeftModel',
        'from transformers import AutoModelForCausalLM, AutoTokenizer',
        '',
        `base = ${pythonString(model?.name ?? 'the base model')}  # its folder or Hugging Face id`,
        'tokenizer = AutoTokenizer.from_pretrained(base)',
        `model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), ${pythonString(stem)})`,
      ].join('\n'),
      note: `Unpack ${stem}.zip into a folder named ${stem} first: pip install peft transformers.`,
    },
  };
}

function ggufTarget({ contestant }: Exported, adapter: AdapterRecord, model: ModelRecord): ExportTarget {
  const name = `${fileStem(contestant.name)}.gguf`;
  const base = model.format === 'gguf' ? (model.files[0]?.name.split('/').pop() ?? 'model.gguf') : 'model.gguf';
  return {
    format: 'gguf-lora',
    name: 'llama.cpp',
    summary: 'One GGUF file for --lora, kept apart from the base. Programs built on llama.cpp read it too.',
    files: [name],
    bytes: adapter.parameters * 4,
    limits: `Needs the same base model as a GGUF file. Its strength is set when it is loaded.${wordsToo(contestant)}`,
    howTo: {
      language: 'sh',
      code: `llama-cli -m ${base} --lora ${name} -cnv`,
      note:
        model.format === 'gguf'
          ? 'Another strength: --lora-scaled with the file and a number.'
          : 'model.gguf is the base model as a GGUF file, made by convert_hf_to_gguf.py of llama.cpp.',
    },
  };
}

function promptTarget(contestant: ContestantRecord): ExportTarget {
  const name = `${fileStem(contestant.name)}.json`;
  return {
    format: 'prompt-json',
    name: 'Prompt text',
    summary: 'The words around the input: system prompt, shots and cue, as one JSON file.',
    files: [name],
    bytes: promptBytes(contestant.prompt),
    limits:
      contestant.adapterId === undefined
        ? 'Works with any chat model, as well as that model follows it.'
        : 'The words only; the trained weights are the other files.',
    howTo: {
      language: 'python',
      code: [
        'import json',
        '',
        `prompt = json.load(open(${pythonString(name)}, encoding="utf-8"))["prompt"]`,
        'messages = [{"role": "system", "content": prompt["system"]}] if prompt["system"] else []',
        'for shot in prompt["shots"]:',
        '    messages += [m for m in shot["messages"] if m["role"] != "system"]',
        '    messages.append({"role": "assistant", "content": shot["targets"][0]})',
        'question = "Your input"',
        'messages.append({"role": "user", "content": question + ("\\n\\n" + prompt["cue"] if prompt["cue"] else "")})',
      ].join('\n'),
      note: 'The messages go to any program that takes a list of chat messages. Maquette imports the file as it is.',
    },
  };
}
function pythonString(text: string): string {
  return JSON.stringify(text);
}

/** `templates` renders the prompt that goes along with a whole model. */
export async function exportContestant(templates: TemplateRenderer, contestantId: string, format: ExportFormat): Promise<ExportedFile> {
  const { contestant, adapter, model } = await read(contestantId);
  const stem = fileStem(contestant.name);
  if (format === 'prompt-json') {
    const { name, prompt } = contestant;
    const text = `${JSON.stringify({ format: 'maquette-prompt', version: 1, name, prompt }, null, 2)}\n`;
    return { name: `${stem}.json`, mime: 'application/json', content: new Blob([text]) };
  }
  if (format === 'webllm') {
    if (model === undefined) {
      throw new AppError('model/missing', 'The base model of this contestant is not on this device any more.', {
        why: 'An export for web-llm holds the whole model.',
        fix: 'Add the model again, or save the words or the adapter alone.',
      });
    }
    return webllmZip({ contestant, adapter, model }, templates);
  }
  if (adapter === undefined) {
    throw new AppError('export/no-weights', `${contestant.name} is made of words; it has no trained weights to save.`, {
      fix: 'Save it as a prompt.',
    });
  }
  const files = await adapterFiles(adapter);
  if (format === 'peft') return { name: `${stem}.zip`, mime: 'application/zip', content: new Blob([new Uint8Array(writeZip(files))]) };
  if (model === undefined) {
    throw new AppError('model/missing', 'The base model of this adapter is not on this device any more.', {
      why: 'A GGUF adapter is written in the row order of its base model, which needs the head counts of it.',
      fix: 'Add the model again, or save the adapter for Python (PEFT).',
    });
  }
  const written = ggufLora.write(peft.read(files, model.config), model.config);
  const [bytes] = written.values();
  if (bytes === undefined) throw new AppError('app/bug', 'The GGUF adapter came out empty.');
  return { name: `${stem}.gguf`, mime: 'application/octet-stream', content: new Blob([new Uint8Array(bytes)]) };
}
