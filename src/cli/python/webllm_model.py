"""A Llama-architecture network in Relax, with the functions that web-llm 0.2.86 looks up in a model library."""

from dataclasses import dataclass

from tvm import relax, te, tirx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import op
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache, RopeMode, TIRPagedKVCache
from tvm.target import Target

import webllm_sampling as sampling

GROUP = 32  # weights that share one scale, along the input


@dataclass
class Shape:
    """What of a config.json shapes the program. C channels, F MLP width, V vocabulary, as elsewhere in the project."""

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    C: int
    F: int
    V: int
    eps: float
    theta: int | float
    rope_scaling: dict
    tied: bool
    context: int
    chunk: int
    quantized: bool


class Linear(nn.Module):
    """y = x W^T, held as it is or as q4f32_1: (u - 7) * scale, eight nibbles a word, lowest first. One tensor expression: a schedule can inline the
    reading of the weight into the product and tile both."""

    def __init__(self, inputs: int, outputs: int, quantized: bool):
        self.inputs, self.outputs, self.quantized = inputs, outputs, quantized
        if quantized:
            self.q_weight = nn.Parameter((outputs, -(-inputs // 8)), "uint32")
            self.q_scale = nn.Parameter((outputs, -(-inputs // GROUP)), "float32")
        else:
            self.weight = nn.Parameter((outputs, inputs), "float32")

    def held(self):
        return [self.q_weight, self.q_scale] if self.quantized else [self.weight]

    def forward(self, x):
        def product(x, *held):
            w = dequantized(held[0], held[1], self.inputs) if self.quantized else held[0]
            k = te.reduce_axis((0, self.inputs), "k")
            return te.compute((*x.shape[:-1], self.outputs), lambda b, t, o: te.sum(x[b, t, k] * w[o, k], axis=k), "product")

        return op.tensor_expr_op(product, "linear", [x, *self.held()])

    def rows(self, ids):
        """The rows of `ids` (T): an embedding is a linear read by row."""

        def gather(ids, *held):
            if not self.quantized:
                return te.compute((ids.shape[0], self.inputs), lambda t, c: held[0][ids[t], c], "embedded")
            return te.compute((ids.shape[0], self.inputs), lambda t, c: nibble(held[0], held[1], ids[t], c), "embedded")

        return op.tensor_expr_op(gather, "embedding", [ids, *self.held()])


def nibble(words, scales, row, k):
    code = tirx.bitwise_and(tirx.shift_right(words[row, k // 8], tirx.Cast("uint32", (k % 8) * 4)), tirx.const(15, "uint32"))
    return (tirx.Cast("float32", code) - tirx.const(7.0, "float32")) * scales[row, k // GROUP]


def dequantized(words, scales, inputs: int):
    return te.compute((words.shape[0], inputs), lambda o, k: nibble(words, scales, o, k), "dequantized")


def swiglu(x, width: int):
    def gated(x):
        def at(b, t, f):
            gate = x[b, t, f]
            return gate / (tirx.const(1.0, "float32") + tirx.exp(tirx.const(0.0, "float32") - gate)) * x[b, t, f + width]

        return te.compute((x.shape[0], x.shape[1], width), at, "swiglu")

    return op.tensor_expr_op(gated, "swiglu", [x])


class Attention(nn.Module):
    def __init__(self, s: Shape):
        self.s = s
        self.qkv_proj = Linear(s.C, (s.heads + 2 * s.kv_heads) * s.head_size, s.quantized)
        self.o_proj = Linear(s.heads * s.head_size, s.C, s.quantized)

    def forward(self, x, cache, layer: int):
        s = self.s
        rows, tokens, _ = x.shape
        qkv = op.reshape(self.qkv_proj(x), (rows, tokens, s.heads + 2 * s.kv_heads, s.head_size))
        mixed = cache.attention_with_fused_qkv(layer, qkv, s.heads, s.head_size**-0.5)
        return self.o_proj(op.reshape(mixed, (rows, tokens, s.heads * s.head_size)))


class Mlp(nn.Module):
    def __init__(self, s: Shape):
        self.width = s.F
        self.gate_up_proj = Linear(s.C, 2 * s.F, s.quantized)
        self.down_proj = Linear(s.F, s.C, s.quantized)

    def forward(self, x):
        return self.down_proj(swiglu(self.gate_up_proj(x), self.width))


class Layer(nn.Module):
    def __init__(self, s: Shape):
        self.self_attn = Attention(s)
        self.mlp = Mlp(s)
        self.input_layernorm = nn.RMSNorm(s.C, -1, s.eps, bias=False, dtype="float32")
        self.post_attention_layernorm = nn.RMSNorm(s.C, -1, s.eps, bias=False, dtype="float32")

    def forward(self, x, cache, layer: int):
        x = self.self_attn(self.input_layernorm(x), cache, layer) + x
        return self.mlp(self.post_attention_layernorm(x)) + x


class Network(nn.Module):
    def __init__(self, s: Shape):
        self.embed_tokens = Linear(s.C, s.V, s.quantized)
        self.layers = nn.ModuleList([Layer(s) for _ in range(s.layers)])
        self.norm = nn.RMSNorm(s.C, -1, s.eps, bias=False, dtype="float32")


class Llama(nn.Module):
    def __init__(self, s: Shape, target: Target):
        self.s, self.target = s, target
        self.model = Network(s)
        if not s.tied:
            self.lm_head = Linear(s.C, s.V, s.quantized)

    def embed(self, input_ids: nn.Tensor):
        return self.model.embed_tokens.rows(input_ids)

    def logits(self, x, cache):
        """Logits (1, 1, V) of the last token of x (1, T, C)."""
        for index, layer in enumerate(self.model.layers):
            x = layer(x, cache, index)

        def last(x):
            return te.compute((1, 1, x.shape[2]), lambda b, t, c: x[b, x.shape[1] - 1, c], "last")

        x = self.model.norm(op.tensor_expr_op(last, "last", [x]))
        return (self.model.embed_tokens if self.s.tied else self.lm_head)(x)

    def prefill(self, input_embed: nn.Tensor, paged_kv_cache: PagedKVCache):
        return self.logits(input_embed, paged_kv_cache), paged_kv_cache

    def decode(self, input_embed: nn.Tensor, paged_kv_cache: PagedKVCache):
        return self.logits(input_embed, paged_kv_cache), paged_kv_cache

    def create_tir_paged_kv_cache(self, max_batch_size: tirx.Var, max_total_seq_len: tirx.Var, prefill_chunk_size: tirx.Var, page_size: tirx.Var,
                                  support_sliding_window: tirx.Var):  # fmt: skip
        s = self.s
        return TIRPagedKVCache(
            attn_kind="mha", max_batch_size=max_batch_size, max_total_seq_len=max_total_seq_len, prefill_chunk_size=prefill_chunk_size,
            page_size=page_size, support_sliding_window=support_sliding_window, layer_partition=relax.ShapeExpr([0, s.layers]),
            num_hidden_layers=s.layers, num_attention_heads=s.heads, num_key_value_heads=s.kv_heads, qk_head_dim=s.head_size,
            v_head_dim=s.head_size, mla_original_qk_head_dim=0, mla_original_v_head_dim=0, rope_mode=RopeMode.NORMAL, rope_scale=1,
            rope_theta=s.theta, rope_scaling=s.rope_scaling, rope_ext_factors=relax.prim_value(0), rotary_dim=s.head_size,
            enable_disaggregation=False, dtype="float32", target=self.target,
        )  # fmt: skip

    def softmax_with_temperature(self, logits: nn.Tensor, temperature: nn.Tensor):
        return op.softmax(logits / op.reshape(temperature, (temperature.shape[0], 1, 1)), axis=-1)

    def argsort_probs(self, probs: nn.Tensor):
        return sampling.argsort(probs)

    def sample_with_top_p(self, sorted_probs: nn.Tensor, sorted_indices: nn.Tensor, uniform_samples: nn.Tensor, sample_indices: nn.Tensor,
                          top_p: nn.Tensor):  # fmt: skip
        return sampling.sample(sorted_probs, sorted_indices, uniform_samples, sample_indices, top_p, self.s.V)

    def apply_logit_bias_inplace(self, logits: nn.Tensor, pos2seq_id: nn.Tensor, token_ids: nn.Tensor, logit_bias: nn.Tensor):
        return op.tensor_ir_inplace_op(sampling.bias(self.s.V), "logit_bias", [logits, pos2seq_id, token_ids, logit_bias], 0, same(logits))

    def apply_penalty_inplace(self, logits: nn.Tensor, seq_ids: nn.Tensor, pos2seq_id: nn.Tensor, token_ids: nn.Tensor, token_cnt: nn.Tensor,
                              penalties: nn.Tensor):  # fmt: skip
        args = [logits, seq_ids, pos2seq_id, token_ids, token_cnt, penalties]
        return op.tensor_ir_inplace_op(sampling.penalty(self.s.V), "penalty", args, 0, same(logits))

    def apply_bitmask_inplace(self, logits: nn.Tensor, seq_ids: nn.Tensor, bitmask: nn.Tensor):
        return op.tensor_ir_inplace_op(sampling.bitmask(self.s.V), "bitmask", [logits, seq_ids, bitmask], 0, same(logits))

    def spec(self):
        """Names, shapes and types of all arguments, in the order in which web-llm gives them."""
        V, C = self.s.V, self.s.C
        f32, i32 = (lambda *shape: nn.spec.Tensor(shape, "float32")), (lambda *shape: nn.spec.Tensor(shape, "int32"))
        packed, plain = ({"$": {"param_mode": mode, "effect_mode": "none"}} for mode in ("packed", "none"))
        cache = nn.spec.Object(object_type=PagedKVCache)
        sizes = ("max_batch_size", "max_total_seq_len", "prefill_chunk_size", "page_size", "support_sliding_window")
        functions = {
            "embed": {"input_ids": i32("seq_len"), **packed},
            "prefill": {"input_embed": f32(1, "seq_len", C), "paged_kv_cache": cache, **packed},
            "decode": {"input_embed": f32(1, 1, C), "paged_kv_cache": cache, **packed},
            "create_tir_paged_kv_cache": {**{size: int for size in sizes}, **plain},
            "softmax_with_temperature": {"logits": f32("batch", 1, V), "temperature": f32("batch"), **plain},
            "argsort_probs": {"probs": f32("batch", V), **plain},
            "sample_with_top_p": {
                "sorted_probs": f32("batch", V), "sorted_indices": i32("batch", V), "uniform_samples": f32("samples"),
                "sample_indices": i32("samples"), "top_p": f32("batch"), **plain,
            },
            "apply_logit_bias_inplace": {
                "logits": f32("batch", V), "pos2seq_id": i32("tokens"), "token_ids": i32("tokens"), "logit_bias": f32("tokens"), **plain,
            },
            "apply_penalty_inplace": {
                "logits": f32("batch", V), "seq_ids": i32("seqs"), "pos2seq_id": i32("tokens"), "token_ids": i32("tokens"),
                "token_cnt": i32("tokens"), "penalties": f32("seqs", 3), **plain,
            },
            "apply_bitmask_inplace": {"logits": f32("batch", V), "seq_ids": i32("seqs"), "bitmask": i32("batch", -(-V // 32)), **plain},
        }  # fmt: skip
        return nn.spec.ModuleSpec.from_raw(functions, self)


def same(x):
    return nn.Tensor.placeholder(x.shape, x.dtype)
