"""The bundled model as PyTorch trains it: a Llama of micro's size, heads that look back at the start, and Muon."""
import json
import math
import struct

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(V=2048, C=128, L=5, NH=4, NKV=2, HS=32, F=352, T=512, theta=10000.0, eps=1e-5)
LINEARS = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj')
"""Layer, head, distance: at the start these heads attend to the token that far back. With them few-shot labels are learned, without them they are not
(1.3 M tokens to the first jump, against never). A label is three tokens behind a one-word input in the chat layout, one in dense pairs."""
LOOK_BACK = ((0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 1, 3))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        shape = {
            'q_proj': (c['NH'] * c['HS'], c['C']), 'k_proj': (c['NKV'] * c['HS'], c['C']), 'v_proj': (c['NKV'] * c['HS'], c['C']),
            'o_proj': (c['C'], c['NH'] * c['HS']), 'gate_proj': (c['F'], c['C']), 'up_proj': (c['F'], c['C']), 'down_proj': (c['C'], c['F']),
        }
        for name, (rows, columns) in shape.items():
            # What writes into the residual stream starts small.
            scale = 0.15 if name in ('o_proj', 'down_proj') else 0.5
            setattr(self, name, nn.Parameter(torch.randn(rows, columns) * scale / math.sqrt(columns)))
        self.input_norm = nn.Parameter(torch.ones(c['C']))
        self.mlp_norm = nn.Parameter(torch.ones(c['C']))


class Llama(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.c = c
        self.embed = nn.Parameter(torch.randn(c['V'], c['C']) * 0.04)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c['L']))
        self.norm = nn.Parameter(torch.ones(c['C']))
        frequency = c['theta'] ** (-torch.arange(0, c['HS'], 2).float() / c['HS'])
        angle = torch.arange(c['T']).float()[:, None] * frequency
        self.register_buffer('cos', torch.cat([angle.cos(), angle.cos()], 1), persistent=False)
        self.register_buffer('sin', torch.cat([angle.sin(), angle.sin()], 1), persistent=False)

    def rmsnorm(self, x, gain):
        return F.rms_norm(x, (self.c['C'],), gain, self.c['eps'])

    def rope(self, x):
        T, half = x.shape[2], self.c['HS'] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[:T].to(x.dtype) + turned * self.sin[:T].to(x.dtype)

    def forward(self, ids, allowed):
        """ids (B, T); allowed (B, 1, T, T) bool: which keys a query may see. Returns the hidden state in front of the head, (B, T, C)."""
        B, T = ids.shape
        c = self.c
        heads = lambda x, n: x.view(B, T, n, c['HS']).transpose(1, 2)
        hidden = torch.where(allowed, 0.0, -1e4)
        x = F.embedding(ids, self.embed)
        for layer in self.layers:
            h = self.rmsnorm(x, layer.input_norm)
            q = self.rope(heads(F.linear(h, layer.q_proj), c['NH']))
            k = self.rope(heads(F.linear(h, layer.k_proj), c['NKV'])).repeat_interleave(c['NH'] // c['NKV'], 1)
            v = heads(F.linear(h, layer.v_proj), c['NKV']).repeat_interleave(c['NH'] // c['NKV'], 1)
            # Written out: on a CPU the fused kernel's backward takes longer than this (18.5 against 13.5 ms for 6 x 256 tokens, bfloat16).
            with torch.autocast('cpu', enabled=False):
                weights = torch.softmax(q @ (k * c['HS'] ** -0.5).transpose(-1, -2) + hidden.to(q.dtype), -1)
                y = weights @ v.to(q.dtype)
            x = x + F.linear(y.transpose(1, 2).reshape(B, T, -1), layer.o_proj)
            h = self.rmsnorm(x, layer.mlp_norm)
            x = x + F.linear(F.silu(F.linear(h, layer.gate_proj)) * F.linear(h, layer.up_proj), layer.down_proj)
        return self.rmsnorm(x, self.norm)

    @torch.no_grad()
    def look_back(self, constant=0.08, height=6.5, pairs=4):
        """Embedding channel 0 becomes the same for all tokens; queries and keys of LOOK_BACK's heads read it at rotary phases that peak at the
        distance. What is left of the head's own rows is small. An ordinary Llama afterwards."""
        c = self.c
        frequency = c['theta'] ** (-torch.arange(0, c['HS'], 2).float() / c['HS'])
        self.embed[:, 0] = constant
        # What channel 0 is after the first RMSNorm.
        seen = constant / math.sqrt(0.04 ** 2 * (c['C'] - 1) / c['C'] + constant ** 2 / c['C'])
        shared = {(layer, head // (c['NH'] // c['NKV'])) for layer, head, _ in LOOK_BACK}
        for layer, kv in shared:
            self.layers[layer].k_proj[kv * c['HS']:(kv + 1) * c['HS']] *= 0.05
            self.layers[layer].k_proj[kv * c['HS']:kv * c['HS'] + pairs, 0] = height / seen
        for layer, head, distance in LOOK_BACK:
            q = self.layers[layer].q_proj
            first = head * c['HS']
            q[first:first + c['HS']] *= 0.05
            for i in range(pairs):
                phase = float(frequency[i]) * distance
                q[first + i, 0] = height / seen * math.cos(phase)
                q[first + i + c['HS'] // 2, 0] = -height / seen * math.sin(phase)

    def matrices(self):
        return [getattr(layer, name) for layer in self.layers for name in LINEARS]

    def named(self):
        """Parameters by their Hugging Face names; the head is the embedding."""
        out = {'model.embed_tokens.weight': self.embed, 'model.norm.weight': self.norm}
        for i, layer in enumerate(self.layers):
            for name in LINEARS:
                block = 'mlp' if name in ('gate_proj', 'up_proj', 'down_proj') else 'self_attn'
                out[f'model.layers.{i}.{block}.{name}.weight'] = getattr(layer, name)
            out[f'model.layers.{i}.input_layernorm.weight'] = layer.input_norm
            out[f'model.layers.{i}.post_attention_layernorm.weight'] = layer.mlp_norm
        return out

    def hugging_face(self):
        return {name: value.detach().float().contiguous() for name, value in self.named().items()}

    @torch.no_grad()
    def take(self, tensors):
        """Weights by their Hugging Face names, as hugging_face() gives them."""
        for name, value in self.named().items():
            value.copy_(tensors[name])


def write_safetensors(path, tensors, metadata):
    header, at = {'__metadata__': metadata}, 0
    for name, value in tensors.items():
        size = value.numel() * 4
        header[name] = {'dtype': 'F32', 'shape': list(value.shape), 'data_offsets': [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for value in tensors.values():
            file.write(value.numpy().astype('<f4').tobytes())


def read_safetensors(path):
    """Tensors by name, and the file's metadata."""
    with open(path, 'rb') as file:
        size = struct.unpack('<Q', file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    metadata = header.pop('__metadata__', {})
    if any(entry['dtype'] != 'F32' for entry in header.values()):
        raise ValueError(f'{path} is not in float32.')
    view = lambda entry: torch.frombuffer(bytearray(data[slice(*entry['data_offsets'])]), dtype=torch.float32).view(entry['shape'])
    return {name: view(entry) for name, entry in header.items()}, metadata


class Muon:
    """Momentum whose update is made nearly orthogonal by five Newton-Schulz steps. Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    Matrices of one shape go through together."""

    def __init__(self, params, momentum=0.95, decay=0.01):
        groups = {}
        for p in params:
            groups.setdefault(tuple(p.shape), []).append(p)
        self.groups = list(groups.values())
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, rate):
        for group, buffer in zip(self.groups, self.buffers):
            gradient = torch.stack([p.grad for p in group])
            buffer.mul_(self.momentum).add_(gradient)
            x = gradient.add(buffer, alpha=self.momentum)
            tall = x.shape[1] > x.shape[2]
            if tall:
                x = x.transpose(1, 2)
            # bfloat16 is enough for a direction (and halves the time of these products).
            x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).bfloat16()
            for _ in range(5):
                a = torch.bmm(x, x.transpose(1, 2))
                x = 3.4445 * x + torch.bmm(-4.7750 * a + 2.0315 * torch.bmm(a, a), x)
            if tall:
                x = x.transpose(1, 2)
            scale = max(1.0, x.shape[1] / x.shape[2]) ** 0.5
            for p, update in zip(group, x.float()):
                p.mul_(1 - rate * self.decay).add_(update, alpha=-rate * scale)
