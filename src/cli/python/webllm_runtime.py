"""The TVM runtime for WebAssembly, compiled from the C++ sources inside the wheels: the part of every model library that does not depend on the model."""

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tvm
import tvm_ffi

TVM = Path(tvm.__file__).parent
FFI = Path(tvm_ffi.__file__).parent

# Headers that the wheel leaves out. What they declare is not reached in a browser: profiling ranges do nothing, base64 streams end the program.
STAND_INS = {
    "include/tvm/support/cuda/nvtx.h": """#pragma once
#include <string>
namespace tvm { namespace support {
struct NVTXScopedRange { explicit NVTXScopedRange(const char*) {} explicit NVTXScopedRange(const std::string&) {} };
} }
""",
    "src/support/bytes_io.h": "#pragma once\n#include <tvm/support/bytes_io.h>\n",
    "src/support/utils.h": """#pragma once
#include <string>
#include <vector>
namespace tvm { namespace support {
inline bool StartsWith(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }
inline bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
} }
""",
    "src/support/base64.h": """#pragma once
#include <cstdlib>
#include <string>
#include <tvm/support/io.h>
namespace tvm { namespace support {
struct Base64OutStream : Stream {
  explicit Base64OutStream(Stream*) {}
  size_t Read(void*, size_t) final { std::abort(); }
  size_t Write(const void*, size_t) final { std::abort(); }
  void Finish(bool = true) {}
};
struct Base64InStream : Stream {
  explicit Base64InStream(Stream*) {}
  void InitPosition() {}
  size_t Read(void*, size_t) final { std::abort(); }
  size_t Write(const void*, size_t) final { std::abort(); }
};
} }
""",
}

# Remote calls have no place in a page. The local session stays, since tvmjs_support registers one; a module over a remote one is never made.
LEFT_OUT = (
    "src/runtime/extra/contrib/sort/sort.cc",
    "src/runtime/rpc/rpc_channel.cc",
    "src/runtime/rpc/rpc_endpoint.cc",
    "src/runtime/rpc/rpc_event_impl.cc",
    "src/runtime/rpc/rpc_module.cc",
    "3rdparty/tvm-ffi/src/ffi/testing/testing.cc",
)
NO_REMOTE = """
namespace tvm { namespace runtime {
ffi::Module CreateRPCSessionModule(std::shared_ptr<RPCSession>) { std::abort(); }
} }
"""
# What generated code finds wrong with an argument is raised through these two and ends the program, so it is said before.
RAISED = ("TVMFFIErrorSetRaisedFromCStr", "TVMFFIErrorSetRaisedFromCStrParts")
TOLD = """#include <stdint.h>
#include <stdio.h>
void __real_TVMFFIErrorSetRaisedFromCStr(const char* kind, const char* message);
void __wrap_TVMFFIErrorSetRaisedFromCStr(const char* kind, const char* message) {
  fprintf(stderr, "%s: %s\\n", kind, message);
  __real_TVMFFIErrorSetRaisedFromCStr(kind, message);
}
void __real_TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count);
void __wrap_TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t i = 0; i < count; ++i) if (parts[i] != 0) fputs(parts[i], stderr);
  fputs("\\n", stderr);
  __real_TVMFFIErrorSetRaisedFromCStrParts(kind, parts, count);
}
"""
UNITS = ("wasm_runtime", "tvmjs_support", "webgpu_runtime")


def lay_out(build: Path, tirx_wheel: Path) -> Path:
    """A copy of the sources with the stand-ins beside them, at `build`/tvm."""
    root = build / "tvm"
    shutil.rmtree(root, ignore_errors=True)
    for part in ("src", "include", "web"):
        shutil.copytree(TVM / part, root / part)
    (root / "3rdparty/tvm-ffi").mkdir(parents=True)
    for part in ("src", "include", "3rdparty/dlpack/include"):
        shutil.copytree(FFI / part, root / "3rdparty/tvm-ffi" / part)
    support = root / "include/tvm/support"
    support.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(tirx_wheel) as wheel:
        for name in ("io.h", "serializer.h", "bytes_io.h"):
            (support / name).write_bytes(wheel.read(f"tvm_tirx/include/tvm/support/{name}"))
    for name, text in STAND_INS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    unit = root / "web/emcc/wasm_runtime.cc"
    lines = [line for line in unit.read_text().splitlines() if not any(f'"{name}"' in line for name in LEFT_OUT)]
    unit.write_text("\n".join(lines) + NO_REMOTE)
    return root


def compile_unit(root: Path, name: str, out: Path) -> None:
    # Relative paths: the objects hold the names of source files, and say the same wherever they were built.
    flags = ["-I.", "-Iinclude", "-I3rdparty/tvm-ffi/include", "-I3rdparty/tvm-ffi/3rdparty/dlpack/include"]
    command = ["emcc", "-std=c++17", "-O2", *flags, "-c", f"web/emcc/{name}.cc", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    if done.returncode != 0:
        sys.exit(f"{name}.cc does not compile:\n{done.stderr[-6000:]}")


def runtime_objects(build: Path, tirx_wheel: Path) -> list[str]:
    """The three objects, compiled once (about a minute) and kept. `build` is a folder outside of the repository."""
    objects = {name: build / f"{name}.o" for name in UNITS}
    missing = [name for name, path in objects.items() if not path.exists()]
    if missing:
        root = lay_out(build, tirx_wheel)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: compile_unit(root, name, objects[name]), missing))
    told = build / "told.o"
    if not told.exists():
        (build / "told.c").write_text(TOLD)
        subprocess.run(["emcc", "-O2", "-c", str(build / "told.c"), "-o", str(told)], check=True)
    return [str(path) for path in (*objects.values(), told)]
