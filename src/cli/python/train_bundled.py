"""Trains the bundled model on texts that src/cli/train-bundled.ts streams. One thread; may be killed at any moment and goes on from its last checkpoint.

    python train_bundled.py --folder DIR --generator "node dist-cli/train-bundled.mjs" [--total 150e6] [--minutes M]
    python train_bundled.py --folder DIR --export OUT.safetensors     the weights of the last checkpoint, float32, by Hugging Face names
    python train_bundled.py --folder DIR --pack OUT.pt                 the checkpoint at half the size; as DIR/checkpoint.pt it goes on
    python train_bundled.py --folder DIR --scores 300                 exact matches of each exam in float32, as JSON
        --weights FILE.safetensors                                     of those weights (an export, a snapshot), not of the last checkpoint
    python train_bundled.py --folder DIR --speed                      tokens a second, float32 against bfloat16

DIR holds checkpoint.pt (replaced whole), log.txt, and snapshots/ (float32 weights every 5 M tokens: the best is chosen by the acceptance table, never by
loss). A file DIR/PAUSE makes it wait, DIR/STOP makes it save and end. DIR/plan.json {"total": tokens} moves the end; the rate falls over the last 40 %.
"""
import argparse
import json
import math
import os
import shlex
import struct
import subprocess
import sys
import time

os.environ.setdefault('OMP_NUM_THREADS', '1')
import numpy as np
import torch
import torch.nn.functional as F

from bundled_model import CONFIG, Llama, Muon, read_safetensors, write_safetensors

torch.set_num_threads(1)
MAGIC, WEIGHT_ONE = 0x4C415631, 200
MUON_RATE, ADAM_RATE, DECAY, WARM_UP_STEPS, FALL = 0.006, 0.002, 0.05, 50, 0.4
QUICK = ('labels noun k=0', 'labels noun k=4', 'labels noun k=4 swapped', 'labels sentence k=0', 'labels sentence k=4', 'labels inline k=4', 'kinds')

parser = argparse.ArgumentParser()
parser.add_argument('--folder', required=True)
parser.add_argument('--generator', default='node dist-cli/train-bundled.mjs')
parser.add_argument('--seed', type=int, default=1)
parser.add_argument('--total', type=float, default=150e6)
parser.add_argument('--minutes', type=float, default=1e9)
parser.add_argument('--precision', choices=('float32', 'bfloat16'), default='bfloat16')
parser.add_argument('--tokens-per-step', type=int, default=1536)
parser.add_argument('--export')
parser.add_argument('--weights', help='for --scores: weights that --export wrote')
parser.add_argument('--pack')
parser.add_argument('--speed', action='store_true')
parser.add_argument('--scores', type=int, help='questions of each exam: prints {seed, items, scores, right} in float32')
parser.add_argument('--scores-seed', type=int, default=2026)
args = parser.parse_args()
os.makedirs(os.path.join(args.folder, 'snapshots'), exist_ok=True)
inside = lambda name: os.path.join(args.folder, name)


def log(text):
    line = f'{time.strftime("%Y-%m-%d %H:%M:%S")} {text}'
    print(line, flush=True)
    with open(inside('log.txt'), 'a') as file:
        file.write(line + '\n')


def generator(*options):
    return subprocess.Popen([*shlex.split(args.generator), '--seed', str(args.seed), *options], stdout=subprocess.PIPE, bufsize=1 << 20)


def steps_from(step):
    """Batches from a step on: ids and weights (B, T + 1), documents (B, T + 1), phase."""
    stream = generator('--step', str(step), '--tokens-per-step', str(args.tokens_per_step)).stdout
    while True:
        head = stream.read(20)
        if len(head) < 20:
            raise RuntimeError('the generator has ended')
        magic, number, rows, width, phase = struct.unpack('<5I', head)
        if magic != MAGIC or number != step:
            raise RuntimeError(f'expected step {step} and read {number}')
        n = rows * width
        body = stream.read(4 * n)
        shape = lambda values: torch.from_numpy(values.astype(np.int64).reshape(rows, width))
        ids = shape(np.frombuffer(body, '<u2', n))
        weights = torch.from_numpy(np.frombuffer(body, 'u1', n, 2 * n).astype(np.float32).reshape(rows, width)) / WEIGHT_ONE
        documents = shape(np.frombuffer(body, 'u1', n, 3 * n))
        yield ids, weights, documents, phase
        step += 1


torch.manual_seed(args.seed)
model = Llama(CONFIG)
model.look_back()
muon = Muon(model.matrices())
own = {id(p) for p in model.matrices()}
others = [p for p in model.parameters() if id(p) not in own]
adam = torch.optim.AdamW(
    [{'params': [p for p in others if p.dim() > 1], 'weight_decay': DECAY}, {'params': [p for p in others if p.dim() == 1], 'weight_decay': 0.0}],
    lr=ADAM_RATE, betas=(0.9, 0.98),
)
autocast = lambda: torch.autocast('cpu', torch.bfloat16, enabled=args.precision == 'bfloat16')
causal = torch.ones(CONFIG['T'], CONFIG['T'], dtype=torch.bool).tril()


def train_step(batch, rate):
    ids, weights, documents, _ = batch
    T = ids.shape[1] - 1
    within = documents[:, :-1]
    allowed = (causal[:T, :T] & (within[:, :, None] == within[:, None, :]))[:, None]
    # No loss across the seam of two documents: a document's first token is foreseen by nothing.
    graded = (weights[:, 1:] > 0) & (documents[:, 1:] == within)
    with autocast():
        hidden = model(ids[:, :-1], allowed)[graded]
        logits = F.linear(hidden, model.embed)
    weight = weights[:, 1:][graded]
    loss = (F.cross_entropy(logits.float(), ids[:, 1:][graded], reduction='none') * weight).sum() / weight.sum()
    for p in model.parameters():
        p.grad = None
    loss.backward()
    torch.nn.utils.clip_grad_norm_(others, 1.0)
    for group in adam.param_groups:
        group['lr'] = ADAM_RATE * rate
    muon.step(MUON_RATE * rate)
    adam.step()
    return loss.item()


@torch.no_grad()
def right_answers(items):
    """Of each item: would greedy decoding give the answer whole? So it is where each token is the likeliest after the right ones before it."""
    right = []
    for at in range(0, len(items), 32):
        some = items[at:at + 32]
        texts = [item['prompt'] + item['answer'] for item in some]
        T = min(CONFIG['T'], max(map(len, texts)))
        ids = torch.zeros(len(some), T, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, :len(text)] = torch.tensor(text[:T])
        with autocast():
            hidden = model(ids, causal[:T, :T][None, None].expand(len(some), 1, T, T))
        for row, item in enumerate(some):
            first = len(item['prompt']) - 1
            said = (hidden[row, first:first + len(item['answer'])].float() @ model.embed.T).argmax(-1).tolist()
            right.append(said == item['answer'])
    return right


def exact_matches(items):
    return sum(right_answers(items)) / max(1, len(items))


def save(step, tokens_of_log):
    state = {
        'model': model.state_dict(), 'muon': muon.buffers, 'adam': adam.state_dict(), 'step': step, 'logged': tokens_of_log,
        'seed': args.seed, 'tokens_per_step': args.tokens_per_step,
    }
    torch.save(state, inside('checkpoint.tmp'))
    os.replace(inside('checkpoint.tmp'), inside('checkpoint.pt'))


def load():
    if not os.path.exists(inside('checkpoint.pt')):
        return 0, 0
    state = torch.load(inside('checkpoint.pt'), weights_only=True)
    if (state['seed'], state['tokens_per_step']) != (args.seed, args.tokens_per_step):
        sys.exit('The checkpoint is of another seed or of another number of tokens a step.')
    model.load_state_dict(state['model'])
    muon.buffers = [buffer.float() for buffer in state['muon']]
    adam.load_state_dict(state['adam'])
    return state['step'], state['logged']


def halved(value, dtype):
    """The same state with its float32 numbers in 16 bits: weights in float16, moments in bfloat16, which holds a square of a small gradient."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype == torch.float32 and value.numel() > 1 else value
    if isinstance(value, dict):
        return {key: halved(one, dtype) for key, one in value.items()}
    return [halved(one, dtype) for one in value] if isinstance(value, list) else value


def planned_total():
    try:
        with open(inside('plan.json')) as file:
            return float(json.load(file)['total'])
    except FileNotFoundError:
        return args.total


def rate_at(step, tokens, total):
    """1 after a short warm-up; a cosine down to 5 % over the last part, so that the end can be moved until it begins."""
    left = min(1.0, max(0.0, (1 - tokens / total) / FALL))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.05 + 0.95 * 0.5 * (1 - math.cos(math.pi * left)))


def evaluate(items, names, count):
    return ' | '.join(f'{name} {100 * exact_matches([item for item in items if item["name"] == name][:count]):.0f}' for name in names)


def about(step):
    """What an export says of itself."""
    return {'tokens': str(step * args.tokens_per_step), 'seed': str(args.seed)}


def main():
    step, logged = load()
    if args.export:
        write_safetensors(args.export, model.hugging_face(), about(step))
        print(f'{args.export}: weights after {step * args.tokens_per_step / 1e6:.2f} M tokens')
        return
    if args.pack:
        state = torch.load(inside('checkpoint.pt'), weights_only=True)
        packed = {key: halved(value, torch.float16 if key == 'model' else torch.bfloat16) for key, value in state.items()}
        torch.save(packed, args.pack)
        print(f'{args.pack}: {os.path.getsize(args.pack) / 1e6:.1f} MB at {step * args.tokens_per_step / 1e6:.2f} M tokens')
        return
    if args.scores:
        args.precision = 'float32'
        tokens = step * args.tokens_per_step
        if args.weights:
            tensors, metadata = read_safetensors(args.weights)
            model.take(tensors)
            tokens = int(metadata.get('tokens', 0))
        stream = generator('--exam', str(args.scores), '--seed', str(args.scores_seed)).stdout
        items = [json.loads(line) for line in stream]
        names = dict.fromkeys(item['name'] for item in items)
        right = {name: right_answers([item for item in items if item['name'] == name]) for name in names}
        print(json.dumps({
            'seed': args.scores_seed, 'items': args.scores, 'tokens': tokens,
            'scores': {name: sum(one) / len(one) for name, one in right.items()},
            # Question by question, so that another engine's answers can be compared one by one.
            'right': {name: ''.join('1' if is_right else '0' for is_right in one) for name, one in right.items()},
        }, indent=1))
        return
    if args.speed:
        for precision in ('float32', 'bfloat16', 'float32', 'bfloat16'):
            args.precision = precision
            batches = steps_from(9000)
            held = [next(batches) for _ in range(25)]
            for batch in held[:5]:
                train_step(batch, 0.0)
            start, cpu = time.time(), time.process_time()
            for batch in held[5:]:
                train_step(batch, 0.0)
            n = 20 * args.tokens_per_step
            print(f'{precision}: {n / (time.time() - start):.0f} tokens/s, {n / (time.process_time() - cpu):.0f} tokens per CPU second', flush=True)
        return
    exams = generator('--exam', '200')
    items = [json.loads(line) for line in exams.stdout]
    names = list(dict.fromkeys(item['name'] for item in items))
    log(f'start at step {step}, {step * args.tokens_per_step / 1e6:.2f} M tokens of {planned_total() / 1e6:.0f} M, {sum(p.numel() for p in model.parameters())} parameters, {args.precision}')
    started = saved = time.time()
    losses, cpu, since = [], time.process_time(), step
    batches = steps_from(step)
    while True:
        tokens = step * args.tokens_per_step
        if tokens - logged >= 1e6 or (step % 163 == 0 and tokens < 4.2e6 and losses):
            whole = tokens - logged >= 1e6 and tokens // 4e6 != logged // 4e6
            speed = (step - since) * args.tokens_per_step / max(1e-9, time.process_time() - cpu)
            log(f'{tokens / 1e6:.2f} M loss {np.mean(losses):.3f} ({speed:.0f} tokens per CPU second) | {evaluate(items, names if whole else QUICK, 100)}')
            losses, since = [], step
            if tokens - logged >= 1e6:
                if tokens // 5e6 != logged // 5e6:
                    write_safetensors(inside(f'snapshots/{tokens // 1000000:04d}M.safetensors'), model.hugging_face(), about(step))
                logged = tokens
            save(step, logged)
            saved, cpu = time.time(), time.process_time()
        total = planned_total() if step % 50 == 0 or step == since else total
        stop = os.path.exists(inside('STOP'))
        if stop or tokens >= total or (time.time() - started) / 60 > args.minutes:
            save(step, logged)
            if tokens >= total:
                write_safetensors(inside('final.safetensors'), model.hugging_face(), about(step))
            log(f'ends at {tokens / 1e6:.2f} M tokens ({"asked to" if stop else "as planned"}) | {evaluate(items, names, 200)}')
            return
        if os.path.exists(inside('PAUSE')):
            save(step, logged)
            while os.path.exists(inside('PAUSE')) and not os.path.exists(inside('STOP')):
                time.sleep(5)
        loss = train_step(next(batches), rate_at(step, tokens, total))
        if not math.isfinite(loss):
            sys.exit('The loss is not a number; the last checkpoint stands.')
        losses.append(loss)
        step += 1
        if time.time() - saved > 180:
            save(step, logged)
            saved = time.time()


main()
