"""What transformers and peft say: reads JSON jobs from standard input, one a line, and answers each with one line, "ANSWER " and JSON. A base is loaded
once and left as it was by every job. A job that fails is answered with {"error": ...}.

  forward  {base, rows: [[id ...] ...], adapter?: folder, greedy?: count, out: file}
           logits of each row one after the other as float32 in `out`; greedy ids with the margin between the two largest logits at each place
  train    {base, config: {r, lora_alpha, target_modules, use_rslora}, init: safetensors file with PEFT names, batches: [{tokens, targets} ...],
            lrs: [...], adamw: {beta1, beta2, eps, weightDecay, clipNorm}}
           the loss of each step; targets are already shifted and -1 where nothing is trained
  adapter  {base, out: folder, seed, rank}
           writes a LoRA with random factors as peft writes it

`base` is a GGUF file (its weights dequantized to float32) or a folder in the Hugging Face layout.
"""
import json
import os
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(2)
loaded = {}


def load_base(path):
    if path not in loaded:
        loaded.clear()
        loaded[path] = read_base(path)
    return loaded[path]


def read_base(path):
    if path.endswith(".gguf"):
        model = AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model.eval()


def forward(job):
    model = load_base(job["base"])
    if job.get("adapter"):
        model = PeftModel.from_pretrained(model, job["adapter"]).eval()
    greedy, margins = [], []
    with torch.no_grad(), open(job["out"], "wb") as out:
        for row in job["rows"]:
            out.write(model(torch.tensor([row])).logits[0].float().numpy().tobytes())
            ids, gaps, past = list(row), [], None
            feed = torch.tensor([ids])
            for _ in range(job.get("greedy", 0)):
                step = model(feed, past_key_values=past, use_cache=True)
                past = step.past_key_values
                top = torch.topk(step.logits[0, -1].float(), 2)
                gaps.append((top.values[0] - top.values[1]).item())
                ids.append(top.indices[0].item())
                feed = torch.tensor([[ids[-1]]])
            greedy.append(ids[len(row):])
            margins.append(gaps)
    answer = {"vocab": model.config.vocab_size, "greedy": greedy, "margins": margins}
    if job.get("adapter"):
        model.unload()
    return answer


def train(job):
    model = load_base(job["base"])
    wanted = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **job["config"])
    model = get_peft_model(model, wanted)
    named = dict(model.named_parameters())
    for name, value in load_file(job["init"]).items():
        target = named[name.replace(".weight", ".default.weight")]
        assert target.shape == value.shape, (name, target.shape, value.shape)
        target.data.copy_(value)
    trained = [p for p in model.parameters() if p.requires_grad]
    options = job["adamw"]
    optimizer = torch.optim.AdamW(trained, lr=1.0, betas=(options["beta1"], options["beta2"]), eps=options["eps"], weight_decay=options["weightDecay"])
    losses, norms = [], []
    for step, lr in enumerate(job["lrs"]):
        batch = job["batches"][step]
        targets = torch.tensor(batch["targets"])
        logits = model(torch.tensor(batch["tokens"])).logits.float()
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-1)
        loss.backward()
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in trained])).item()
        if options["clipNorm"] > 0:
            factor = min(1.0, options["clipNorm"] / (norm + 1e-6))
            for p in trained:
                p.grad.mul_(factor)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        norms.append(norm)
    model.unload()
    return {"losses": losses, "gradNorms": norms}


def adapter(job):
    torch.manual_seed(job["seed"])
    model = get_peft_model(load_base(job["base"]), LoraConfig(
        task_type="CAUSAL_LM", r=job["rank"], lora_alpha=2 * job["rank"], target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=True))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.02)
    model.save_pretrained(job["out"])
    model.unload()
    return {"files": sorted(os.listdir(job["out"]))}


for line in sys.stdin:
    job = json.loads(line)
    try:
        said = {"forward": forward, "train": train, "adapter": adapter}[job["command"]](job)
    except Exception as error:
        loaded.clear()  # it may have been left with an adapter on it
        said = {"error": f"{type(error).__name__}: {error}"}
    print("ANSWER " + json.dumps(said), flush=True)
