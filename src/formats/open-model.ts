import { AppError } from '../lib/error.ts';
import { baseName, groups } from './bytes.ts';
import { openGguf, splitGguf } from './gguf-source.ts';
import { openHuggingFace, severalModels } from './hf-source.ts';
import { looksLikeMlc, openMlc } from './mlc-source.ts';
import type { ByteSource, ModelSource } from './types.ts';

/** Open a model from whatever was chosen: one GGUF file, or the files of a folder of MLC's or Hugging Face's.
 *  @throws 'model/missing-files', 'model/several-models', 'model/pickle', 'model/split-gguf', 'model/adapter', and as openGguf, openMlc and openHuggingFace */
export function openModel(files: readonly ByteSource[]): Promise<ModelSource> {
  return Promise.resolve().then(() => choose(files));
}

function choose(files: readonly ByteSource[]): Promise<ModelSource> {
  const ending = (pattern: RegExp): readonly ByteSource[] => files.filter((file) => pattern.test(file.name));
  const ggufs = ending(/\.gguf$/i);
  const safetensors = ending(/\.safetensors$/i).filter((file) => !baseName(file.name).startsWith('adapter'));
  const pickles = ending(/\.(bin|pt|pth|ckpt)$/i);
  const has = (name: string): boolean => files.some((file) => baseName(file.name) === name);

  const [gguf] = ggufs;
  if (gguf !== undefined) {
    if (safetensors.length > 0) throw severalModels(`${baseName(gguf.name)} and ${baseName(safetensors[0].name)}`);
    const part = ggufs.find((file) => /-\d{5}-of-\d{5}\.gguf$/i.test(file.name));
    if (part !== undefined) throw splitGguf(part.name);
    if (ggufs.length > 1)
      throw severalModels(
        `${ggufs.length} GGUF files, ${ggufs
          .slice(0, 4)
          .map((file) => baseName(file.name))
          .join(', ')}`,
      );
    return openGguf(gguf);
  }
  if (has('adapter_config.json') && safetensors.length === 0)
    throw new AppError('model/adapter', 'These files are an adapter, not a model.', {
      why: 'An adapter holds the small add-on weights only; the model they belong to is another folder.',
      fix: 'Open the base model first, then import this folder as an adapter.',
    });
  if (looksLikeMlc(files)) {
    if (safetensors.length > 0) throw severalModels(`shards of MLC and ${baseName(safetensors[0].name)}`);
    return openMlc(files);
  }
  const pickle = pickles.find((file) => baseName(file.name).startsWith('pytorch_model')) ?? pickles[0];
  if (pickle !== undefined && safetensors.length === 0)
    throw new AppError('model/pickle', `The weights are in ${baseName(pickle.name)}, a Python pickle.`, {
      why: 'Reading a pickle means running the program inside it, so this app does not.',
      fix: 'Get the same model as .safetensors or .gguf; most model pages have one of them beside the .bin file.',
      facts: { file: pickle.name },
    });
  if (safetensors.length === 0 && !has('config.json') && !has('tokenizer.json'))
    throw new AppError('model/missing-files', `No model is among the ${groups(files.length)} chosen files.`, {
      why: 'A model is one .gguf file, or a folder with config.json, tokenizer.json, tokenizer_config.json and .safetensors files, or a folder of MLC shards with mlc-chat-config.json.',
      fix: 'Choose one of these, for example the folder of SmolLM2-135M-Instruct.',
      facts: {
        missing: 'config.json, tokenizer.json, tokenizer_config.json, model.safetensors',
        chosen: files
          .slice(0, 50)
          .map((file) => file.name)
          .join(', '),
      },
    });
  return openHuggingFace(files);
}
