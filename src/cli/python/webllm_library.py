"""Builds a model library for web-llm 0.2.86 from a Llama-architecture config.json:

    npm run webllm:library -- MODEL_DIR OUT.wasm [--quantization q0f32|q4f32_1] [--schedule software|gpu] [--chunk 128]
        [--wgsl FILE] [--gzip]

OUT.wasm.json beside it says with which versions it was built, its size and its hash. Needs Python 3.11 or later with venv, and emscripten 3.1
(Debian: apt-get install --no-install-recommends emscripten). Everything else goes into an environment of its own, outside of the repository, at
MAQUETTE_WEBLLM_CACHE or ~/.cache/maquette-webllm: 1 GB, and the first build takes a few minutes.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("MAQUETTE_WEBLLM_CACHE", Path.home() / ".cache/maquette-webllm")).absolute()
HEADERS = "apache-tvm-tirx==0.1.0a4"
NOTICE = (
    "Contains the runtime of Apache TVM (Apache License 2.0; Copyright The Apache Software Foundation), and by way of emscripten musl (MIT) and "
    "LLVM's compiler-rt and libc++ (Apache License 2.0 with LLVM exceptions)."
)


def arguments():
    parser = argparse.ArgumentParser(prog="npm run webllm:library --", description="Builds a model library for web-llm 0.2.86.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="a folder with config.json")
    parser.add_argument("out", type=Path, metavar="OUT.wasm")
    parser.add_argument("--quantization", choices=("q0f32", "q4f32_1"), default="q0f32")
    parser.add_argument("--schedule", choices=("software", "gpu"), default="gpu", help="for software GPUs, or tiled for real ones")
    parser.add_argument("--chunk", type=int, default=128, help="most tokens that go in at once")
    parser.add_argument("--wgsl", type=Path, metavar="FILE", help="write the text of all kernels, to see how they are scheduled")
    parser.add_argument("--gzip", action="store_true", help="write OUT.wasm.gz in place of OUT.wasm")
    return parser.parse_args()


def environment() -> Path:
    """The Python of the environment, which is made when it is not there."""
    python = CACHE / "venv/bin/python"
    if not (CACHE / "ready").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements-webllm.txt"], check=True)
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", HEADERS, "-d", CACHE], check=True)
        (CACHE / "ready").touch()
    return python


def run_inside(args) -> None:
    """The build itself, which runs in the environment."""
    from webllm_build import build, wgsl_of

    config = json.loads((args.model / "config.json").read_text())
    wheel = next(CACHE.glob("apache_tvm_tirx-*.whl"))
    said = build(config, args.quantization, args.schedule, args.chunk, args.out, CACHE, wheel)
    data = args.out.read_bytes()
    if args.wgsl is not None:
        args.wgsl.write_text("".join(wgsl_of(args.out).values()))
    said["versions"]["apache-tvm-tirx"] = HEADERS.split("==")[1]
    emcc = subprocess.run(["emcc", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    said = {"webllm": "0.2.86", **said, "emscripten": emcc, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "notice": NOTICE}
    args.out.with_name(args.out.name + ".json").write_text(json.dumps(said, indent=2) + "\n")
    if args.gzip:
        args.out.with_name(args.out.name + ".gz").write_bytes(gzip.compress(data, 9, mtime=0))
        args.out.unlink()
    print(f"{args.out}: {len(data)} bytes, {len(gzip.compress(data, 9))} gzipped, {args.quantization}, schedule {args.schedule}")


def main() -> None:
    args = arguments()
    if not (args.model / "config.json").is_file():
        sys.exit(f"{args.model} has no config.json. Name the folder of a model.")
    if sys.prefix != sys.base_prefix and Path(sys.prefix) == CACHE / "venv":
        run_inside(args)
        return
    if shutil.which("emcc") is None:
        sys.exit("emcc is not there. Install emscripten 3.1 (Debian: apt-get install --no-install-recommends emscripten) and run this again.")
    sys.exit(subprocess.run([environment(), __file__, *sys.argv[1:]]).returncode)


if __name__ == "__main__":
    main()
