// llama.cpp as an independent reader. Reads one JSON job from standard input, prints one JSON answer.
//   { model, lora?: { file, scale }, tokenize?: [text ...], greedy?: [{ ids, count }] }
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const job = JSON.parse(Buffer.concat(chunks).toString('utf8'));

// One thread: several wait for each other by spinning, which a busy machine makes very slow.
const llama = await getLlama({ build: 'never', gpu: false, logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: job.model });
const answer = {};
// Special tokens in the text are read as such; the tokenizer's own leading token is not added.
if (job.tokenize) answer.tokenize = job.tokenize.map((text) => [...model.tokenize(text, true)]);
if (job.greedy) {
  answer.greedy = [];
  const context = await model.createContext({
    contextSize: Math.min(512, model.trainContextSize),
    flashAttention: false,
    // Keys and values in full precision, as ours are: in f16, the default, near ties fall the other way.
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
    ...(job.lora ? { lora: { adapters: [{ filePath: job.lora.file, scale: job.lora.scale ?? 1 }] } } : {}),
  });
  const sequence = context.getSequence();
  for (const { ids, count } of job.greedy) {
    await sequence.clearHistory();
    const out = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      out.push(token);
      if (out.length >= count) break;
    }
    answer.greedy.push(out);
  }
  await context.dispose();
}
console.log(JSON.stringify(answer));
process.exit(0);
