"""The kernels of sampling that web-llm runs on the GPU: order, draw, bias, penalties, grammar mask. Plain ones: one thread an output, no barriers."""

from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import op
from tvm.script import tirx as T


def argsort(probs):
    """Probabilities (B, V) in falling order and their indices. A place is the number of larger entries, equal ones by index: V^2 comparisons in V
    threads and one kernel of a few lines, where a sorting network is a hundred kilobytes of text that software GPUs do not finish compiling."""
    B, V = probs.shape
    place = op.tensor_ir_op(places(V), "sort_places", [probs], nn.Tensor.placeholder((B, V), "int32"))
    out = [nn.Tensor.placeholder((B, V), "float32"), nn.Tensor.placeholder((B, V), "int32")]
    return op.tensor_ir_op(scatter(V), "sort_scatter", [probs, place], out)


def places(V: int):
    @T.prim_func(s_tir=True)
    def sort_places(var_probs: T.handle, var_place: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        B = T.int64()
        probs = T.match_buffer(var_probs, (B, V), "float32")
        place = T.match_buffer(var_place, (B, V), "int32")
        for n0 in T.thread_binding((B * T.int64(V) + T.int64(63)) // T.int64(64), "blockIdx.x"):
            for n1 in T.thread_binding(T.int64(64), "threadIdx.x"):
                for j in T.serial(T.int64(V)):
                    with T.sblock("place"):
                        vb = T.axis.spatial(B, (n0 * T.int64(64) + n1) // T.int64(V))
                        vi = T.axis.spatial(T.int64(V), (n0 * T.int64(64) + n1) % T.int64(V))
                        vj = T.axis.reduce(T.int64(V), j)
                        T.where(n0 * T.int64(64) + n1 < B * T.int64(V))
                        T.reads(probs[vb, 0:V])
                        T.writes(place[vb, vi])
                        with T.init():
                            place[vb, vi] = T.int32(0)
                        place[vb, vi] = place[vb, vi] + T.if_then_else(
                            probs[vb, vj] > probs[vb, vi] or (probs[vb, vj] == probs[vb, vi] and vj < vi), T.int32(1), T.int32(0)
                        )

    return sort_places


def scatter(V: int):
    @T.prim_func(s_tir=True)
    def sort_scatter(var_probs: T.handle, var_place: T.handle, var_sorted: T.handle, var_indices: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        B = T.int64()
        probs = T.match_buffer(var_probs, (B, V), "float32")
        place = T.match_buffer(var_place, (B, V), "int32")
        ordered = T.match_buffer(var_sorted, (B, V), "float32")
        indices = T.match_buffer(var_indices, (B, V), "int32")
        for n0 in T.thread_binding((B * T.int64(V) + T.int64(63)) // T.int64(64), "blockIdx.x"):
            for n1 in T.thread_binding(T.int64(64), "threadIdx.x"):
                with T.sblock("scatter"):
                    vb = T.axis.spatial(B, (n0 * T.int64(64) + n1) // T.int64(V))
                    vi = T.axis.spatial(T.int64(V), (n0 * T.int64(64) + n1) % T.int64(V))
                    T.where(n0 * T.int64(64) + n1 < B * T.int64(V))
                    T.reads(probs[vb, vi], place[vb, vi])
                    T.writes(ordered[vb, 0:V], indices[vb, 0:V])
                    ordered[vb, place[vb, vi]] = probs[vb, vi]
                    indices[vb, place[vb, vi]] = T.Cast("int32", vi)

    return sort_scatter


def sample(ordered, indices, uniform, rows, top_p, V: int):
    """One index a sample: of the smallest head of the order with a mass of top_p, the entry in which uniform * mass falls."""
    out = nn.Tensor.placeholder(uniform.shape, "int32")
    return op.tensor_ir_op(draw(V), "sample_top_p", [ordered, indices, uniform, rows, top_p], out)


def draw(V: int):
    @T.prim_func(s_tir=True)
    def sample_top_p(var_sorted: T.handle, var_indices: T.handle, var_uniform: T.handle, var_rows: T.handle, var_top_p: T.handle, var_out: T.handle):
        T.func_attr({"tirx.noalias": True})
        B, N = T.int64(), T.int64()
        ordered = T.match_buffer(var_sorted, (B, V), "float32")
        indices = T.match_buffer(var_indices, (B, V), "int32")
        uniform = T.match_buffer(var_uniform, (N,), "float32")
        rows = T.match_buffer(var_rows, (N,), "int32")
        top_p = T.match_buffer(var_top_p, (B,), "float32")
        out = T.match_buffer(var_out, (N,), "int32")
        mass = T.sblock_alloc_buffer((1,), "float32", scope="local")
        passed = T.sblock_alloc_buffer((1,), "float32", scope="local")
        for n in T.serial(N):
            with T.sblock("draw"):
                vn = T.axis.spatial(N, n)
                T.reads(ordered[0:B, 0:V], indices[0:B, 0:V], uniform[vn], rows[vn], top_p[0:B])
                T.writes(out[vn])
                mass[0] = T.float32(0)
                for v in T.serial(V):
                    if mass[0] < top_p[rows[vn]]:
                        mass[0] = mass[0] + ordered[rows[vn], v]
                passed[0] = T.float32(0)
                out[vn] = indices[rows[vn], 0]
                for v in T.serial(V):
                    if passed[0] <= uniform[vn] * mass[0] and passed[0] < mass[0]:
                        out[vn] = indices[rows[vn], v]
                        passed[0] = passed[0] + ordered[rows[vn], v]

    return sample_top_p


def bias(V: int):
    @T.prim_func(s_tir=True)
    def logit_bias(var_logits: T.handle, var_row: T.handle, var_ids: T.handle, var_bias: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        B, N = T.int64(), T.int64()
        logits = T.match_buffer(var_logits, (B, V), "float32")
        row = T.match_buffer(var_row, (N,), "int32")
        ids = T.match_buffer(var_ids, (N,), "int32")
        added = T.match_buffer(var_bias, (N,), "float32")
        for n0 in T.thread_binding((N + T.int64(63)) // T.int64(64), "blockIdx.x"):
            for n1 in T.thread_binding(T.int64(64), "threadIdx.x"):
                with T.sblock("bias"):
                    vn = T.axis.spatial(N, n0 * T.int64(64) + n1)
                    T.where(n0 * T.int64(64) + n1 < N)
                    T.reads(logits[row[vn], ids[vn]], row[vn], ids[vn], added[vn])
                    T.writes(logits[row[vn], ids[vn]])
                    logits[row[vn], ids[vn]] = logits[row[vn], ids[vn]] + added[vn]

    return logit_bias


def penalty(V: int):
    @T.prim_func(s_tir=True)
    def penalties(var_logits: T.handle, var_seqs: T.handle, var_row: T.handle, var_ids: T.handle, var_count: T.handle, var_strength: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        B, S, N = T.int64(), T.int64(), T.int64()
        logits = T.match_buffer(var_logits, (B, V), "float32")
        seqs = T.match_buffer(var_seqs, (S,), "int32")
        row = T.match_buffer(var_row, (N,), "int32")
        ids = T.match_buffer(var_ids, (N,), "int32")
        count = T.match_buffer(var_count, (N,), "int32")
        strength = T.match_buffer(var_strength, (S, 3), "float32")  # presence, frequency, repetition
        for n0 in T.thread_binding((N + T.int64(63)) // T.int64(64), "blockIdx.x"):
            for n1 in T.thread_binding(T.int64(64), "threadIdx.x"):
                with T.sblock("penalty"):
                    vn = T.axis.spatial(N, n0 * T.int64(64) + n1)
                    T.where(n0 * T.int64(64) + n1 < N)
                    T.reads(logits[0:B, 0:V], seqs[0:S], row[vn], ids[vn], count[vn], strength[0:S, 0:3])
                    T.writes(logits[0:B, 0:V])
                    logits[seqs[row[vn]], ids[vn]] = logits[seqs[row[vn]], ids[vn]] - (
                        strength[row[vn], 0] + T.Cast("float32", count[vn]) * strength[row[vn], 1]
                    )
                    logits[seqs[row[vn]], ids[vn]] = T.if_then_else(
                        logits[seqs[row[vn]], ids[vn]] > T.float32(0),
                        logits[seqs[row[vn]], ids[vn]] / strength[row[vn], 2],
                        logits[seqs[row[vn]], ids[vn]] * strength[row[vn], 2],
                    )

    return penalties


def bitmask(V: int):
    words = -(-V // 32)

    @T.prim_func(s_tir=True)
    def masked(var_logits: T.handle, var_seqs: T.handle, var_mask: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        B, S = T.int64(), T.int64()
        logits = T.match_buffer(var_logits, (B, V), "float32")
        seqs = T.match_buffer(var_seqs, (S,), "int32")
        mask = T.match_buffer(var_mask, (B, words), "int32")
        for n0 in T.thread_binding((S * T.int64(V) + T.int64(63)) // T.int64(64), "blockIdx.x"):
            for n1 in T.thread_binding(T.int64(64), "threadIdx.x"):
                with T.sblock("mask"):
                    vs = T.axis.spatial(S, (n0 * T.int64(64) + n1) // T.int64(V))
                    vv = T.axis.spatial(V, (n0 * T.int64(64) + n1) % T.int64(V))
                    T.where(n0 * T.int64(64) + n1 < S * T.int64(V))
                    T.reads(logits[seqs[vs], vv], seqs[vs], mask[seqs[vs], vv // 32])
                    T.writes(logits[seqs[vs], vv])
                    logits[seqs[vs], vv] = T.if_then_else(
                        (mask[seqs[vs], vv // 32] >> T.Cast("int32", vv % 32)) & 1 == 1, logits[seqs[vs], vv], T.float32(-3.4e38)
                    )

    return masked
