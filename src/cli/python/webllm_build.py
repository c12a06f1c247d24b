"""From a config.json to a model library: lower, generate WGSL and wasm, link with the runtime."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import tvm
from tvm import relax
from tvm.s_tir import dlight
from tvm.target import Target

from webllm_model import Llama, Shape
from webllm_precise import lower_precisely
from webllm_runtime import RAISED, runtime_objects

WGSL_TARGET = {"kind": "webgpu", "host": {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"}}
SCHEDULES = {
    "software": lambda: [dlight.gpu.Fallback()],
    "gpu": lambda: [dlight.gpu.Matmul(), dlight.gpu.GEMV(), dlight.gpu.Reduction(), dlight.gpu.GeneralReduction(), dlight.gpu.Fallback()],
}


def whole_or_not(number: float) -> int | float:
    return int(number) if float(number).is_integer() else float(number)


def read_shape(config: dict, quantized: bool, chunk: int) -> Shape:
    if config.get("model_type") != "llama":
        sys.exit(f'The model type is "{config.get("model_type")}". A library is built for "llama" only.')
    for name, wanted in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if config.get(name, wanted) != wanted:
            sys.exit(f"{name} is {config[name]!r}. The program that is built here knows {wanted!r} only.")
    heads = config["num_attention_heads"]
    context = config["max_position_embeddings"]
    # Newer configurations put all of it under one name.
    rope = config.get("rope_parameters") or config
    scaling = rope.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else {})
    if scaling.get("rope_type", "llama3") != "llama3":
        sys.exit(f'The rope scaling is of type "{scaling["rope_type"]}". What can be built: none, and "llama3".')
    return Shape(
        layers=config["num_hidden_layers"], heads=heads, kv_heads=config.get("num_key_value_heads", heads),
        head_size=config.get("head_dim") or config["hidden_size"] // heads, C=config["hidden_size"], F=config["intermediate_size"],
        V=config["vocab_size"], eps=config["rms_norm_eps"], theta=whole_or_not(rope.get("rope_theta", 10000)), rope_scaling=scaling,
        tied=config.get("tie_word_embeddings", False), context=context, chunk=min(chunk, context), quantized=quantized,
    )  # fmt: skip


def memory_of(mod) -> dict[str, int]:
    """Bytes that each function allocates while it runs, from its plan of storage."""
    usage = {}
    for variable, function in mod.functions.items():
        if not isinstance(function, relax.Function):
            continue
        total = 0

        def visit(node):
            nonlocal total
            if isinstance(node, relax.Call) and getattr(node.op, "name", "") == "relax.memory.alloc_storage":
                total += int(node.args[0].values[0])

        relax.analysis.post_order_visit(function, visit)
        usage[variable.name_hint] = total
    return usage


def with_metadata(metadata: dict):
    @tvm.transform.module_pass(opt_level=0)
    def attach(mod, _context):
        builder = relax.BlockBuilder(mod)
        text = json.dumps({**metadata, "memory_usage": memory_of(mod)})
        with builder.function("_metadata", params=[]):
            builder.emit_func_output(tvm.ir.StringImm(text))
        return builder.get()

    return attach


def lowering(schedule: str, metadata: dict, chunk: int):
    bounds = {"seq_len": chunk, "batch": 1, "samples": 1, "seqs": 1, "tokens": chunk}

    @tvm.transform.module_pass(opt_level=0)
    def bounded(mod, _context):
        for variable, function in mod.functions.items():
            if isinstance(function, relax.Function):
                mod[variable] = function.with_attr("tir_var_upper_bound", bounds)
        return mod

    t = relax.transform
    return tvm.transform.Sequential([
        bounded, t.LegalizeOps(), t.AnnotateTIROpPattern(), t.FoldConstant(), t.FuseOps(), t.FuseTIR(), t.DeadCodeElimination(),
        dlight.ApplyDefaultSchedule(*SCHEDULES[schedule]()),
        t.RewriteDataflowReshape(), t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite(), t.StaticPlanBlockMemory(),
        with_metadata(metadata), t.LowerAllocTensor(), t.KillAfterLastUse(), t.LowerRuntimeBuiltin(), t.ComputePrimValue(), t.VMShapeLower(),
        t.AttachGlobalSymbol(),
    ])  # fmt: skip


def link(objects: list[str]):
    def emcc(out, files, options=None, **_):
        settings = ("WASM_BIGINT=1", "STANDALONE_WASM=1", "ALLOW_MEMORY_GROWTH=1", "INITIAL_MEMORY=167772160", "ERROR_ON_UNDEFINED_SYMBOLS=0")
        wraps = [f"-Wl,--wrap={name}" for name in RAISED]
        command = ["emcc", "--no-entry", "-O2", *wraps, *(f"-s{s}" for s in settings), *objects, *files, "-o", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"The library does not link:\n{done.stderr[-6000:]}")

    emcc.object_format = "o"
    return emcc


def build(config: dict, quantization: str, schedule: str, chunk: int, out: Path, cache: Path, tirx_wheel: Path) -> dict:
    """Writes the library to `out` and returns what describes it."""
    lower_precisely()
    target = Target(WGSL_TARGET)
    shape = read_shape(config, quantization == "q4f32_1", chunk)
    model = Llama(shape, target)
    with target:
        mod, params = model.export_tvm(model.spec())
    metadata = {
        "model_type": "llama", "quantization": quantization, "context_window_size": shape.context, "sliding_window_size": -1,
        "attention_sink_size": -1, "prefill_chunk_size": shape.chunk, "tensor_parallel_shards": 1, "pipeline_parallel_stages": 1,
        "disaggregation": False, "kv_state_kind": "kv_cache", "max_batch_size": 1,
        "params": [{"name": name, "shape": [int(n) for n in p.shape], "dtype": str(p.dtype), "preprocs": []} for name, p in params],
        "schedule": schedule,
    }  # fmt: skip
    with target, tvm.transform.PassContext(opt_level=3):
        lowered = lowering(schedule, metadata, shape.chunk)(mod)
        built = relax.build(lowered, target, relax_pipeline=None, system_lib=True)
    built.export_library(str(out), fcompile=link(runtime_objects(cache, tirx_wheel)))
    kernels = wgsl_of(out)
    products = [name for name in kernels if "linear" in name]
    plain = [name for name in products if "var<workgroup>" not in kernels[name]]
    if schedule == "gpu" and plain:
        sys.exit(f"No schedule for real GPUs fits {', '.join(plain)}: its WGSL shares nothing within a workgroup.")
    return {
        "quantization": quantization, "schedule": schedule, "context": shape.context, "chunk": shape.chunk,
        "products": {"kernels": len(products), "throughWorkgroupMemory": len(products) - len(plain)},
        "versions": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi")},
    }  # fmt: skip


def wgsl_of(library: Path) -> dict[str, str]:
    """The text of each kernel, as it lies in the data of the module."""
    text = library.read_bytes().decode("latin-1")
    starts = list(re.finditer(r"// Function: (\w+)\n", text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start[1]: text[start.start() : end].split("\0")[0] for start, end in zip(starts, ends, strict=True)}
