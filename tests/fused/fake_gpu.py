"""A GPU that is not there: CUDA's Python modules in place, kernels' CUDA source run by threads of the processor.

What the driver would be handed is checked as the driver checks it. A block's threads run beside one another, blocks one
after another; ``__shared__``, ``__syncthreads`` and ``atomicAdd`` mean what they mean on a GPU.
"""

from __future__ import annotations

import ctypes
import subprocess
import zlib
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from physode.fused.arguments import Arguments
from physode.fused.compilers import cpu_compiler
from physode.fused.nvrtc import Bindings

_BEFORE = """
#include <atomic>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
#define __CUDACC__
#define __device__
#define __global__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __shared__ static
struct Dim { unsigned x; };
static Dim blockDim, gridDim, blockIdx;
static thread_local Dim threadIdx;
static std::barrier<>* meeting;
static void __syncthreads() { meeting->arrive_and_wait(); }
static unsigned long long atomicAdd(unsigned long long* x, unsigned long long y) {
    return __atomic_fetch_add(x, y, __ATOMIC_RELAXED);
}
"""
_BEHIND = """
extern "C" void launch_NAME(const Args* a, unsigned blocks, unsigned threads) {
    gridDim = {blocks};
    blockDim = {threads};
    for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b};
        std::barrier<> all(threads);
        meeting = &all;
        std::vector<std::thread> running;
        for (unsigned i = 0; i < threads; ++i) running.emplace_back([=] { threadIdx = {i}; fused_NAME(*a); });
        for (auto& one : running) one.join();
    }
}
"""
_FLAGS = ["-std=c++20", "-O1", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread", "-w"]


class Result(Enum):
    """Both modules' results."""

    SUCCESS = 0
    COMPILATION = 6
    INVALID_VALUE = 1
    INVALID_CONTEXT = 201
    INVALID_IMAGE = 200
    NOT_FOUND = 500


_DRIVERS = SimpleNamespace(CUDA_SUCCESS=Result.SUCCESS, CUDA_ERROR_NOT_FOUND=Result.NOT_FOUND)
_COMPILERS = SimpleNamespace(NVRTC_SUCCESS=Result.SUCCESS)


class Names(SimpleNamespace):
    """Attributes that stand for themselves."""

    def __getattr__(self, name: str) -> str:
        return name


class FakeGpu:
    """A GPU's properties, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.capability = (9, 0)
        self.known = [75, 80, 90]
        self.multiprocessors = 2
        self.resident = 1
        self.memory = 2**33
        self.local_bytes = 1000
        self.contexts: list[str] = []
        self.compiled: list[tuple[str, list[bytes]]] = []
        self.launches: list[tuple[str, int, int, int]] = []
        self.failing = ""
        self._counter = 0

    @property
    def bindings(self) -> Bindings:
        """The modules."""
        driver = {name: getattr(self, name) for name in dir(self) if name.startswith("cu")}
        nvrtc = {name: getattr(self, name) for name in dir(self) if name.startswith("nvrtc")}
        attributes = {"CUdevice_attribute": Names(), "CUfunction_attribute": Names()}
        return Bindings(
            SimpleNamespace(CUresult=_DRIVERS, **attributes, **driver),
            SimpleNamespace(nvrtcResult=_COMPILERS, **nvrtc),
        )

    # NVRTC

    def nvrtcVersion(self) -> tuple[Any, ...]:
        return Result.SUCCESS, 0, zlib.crc32(f"{_BEFORE}{_BEHIND}{_FLAGS}".encode())  # what is kept is none of CUDA's

    def nvrtcGetSupportedArchs(self) -> tuple[Any, ...]:
        return Result.SUCCESS, self.known

    def nvrtcCreateProgram(self, text: bytes, name: bytes, count: int, headers: None, names: None) -> tuple[Any, ...]:
        assert isinstance(text, bytes)
        assert count == 0
        return Result.SUCCESS, SimpleNamespace(text=text.decode(), image=b"", log=b"\0")

    def nvrtcCompileProgram(self, program: Any, count: int, options: list[bytes]) -> tuple[Any, ...]:
        assert count == len(options)
        self.compiled.append((program.text, options))
        program.log, program.image = self._compile(program.text)
        return (Result.SUCCESS if program.image else Result.COMPILATION,)

    def nvrtcGetProgramLogSize(self, program: Any) -> tuple[Any, ...]:
        return Result.SUCCESS, len(program.log)

    def nvrtcGetProgramLog(self, program: Any, memory: bytes) -> tuple[Any, ...]:
        return self._written(program.log, memory)

    def nvrtcGetCUBINSize(self, program: Any) -> tuple[Any, ...]:
        return Result.SUCCESS, len(program.image)

    def nvrtcGetCUBIN(self, program: Any, memory: bytes) -> tuple[Any, ...]:
        return self._written(program.image, memory)

    def nvrtcDestroyProgram(self, program: Any) -> tuple[Any, ...]:
        return (Result.SUCCESS,)

    @staticmethod
    def _written(contents: bytes, memory: bytes) -> tuple[Any, ...]:
        assert len(memory) == len(contents) > 1
        address = id(memory) + bytes.__basicsize__ - 1
        ctypes.memmove(address, contents, len(contents))
        return (Result.SUCCESS,)

    def _compile(self, text: str) -> tuple[bytes, bytes]:
        compiler = cpu_compiler()
        assert compiler is not None
        self._counter += 1
        path = self.folder / f"{self._counter}.cpp"
        entry = next(line for line in text.splitlines() if line.startswith("#define ENTRY_")).split()[1]
        kept = {"ENTRY_WALK": ("begin", "walk"), "ENTRY_WALK_GRID": ("walk",), "ENTRY_PULL": ("pull", "total")}[entry]
        behind = [_BEHIND.replace("NAME", name) for name in kept]
        path.write_text("\n".join([_BEFORE, text, *behind]))
        made = path.with_suffix(".so")
        done = subprocess.run(
            [*compiler.command, *_FLAGS, str(path), "-o", str(made)], capture_output=True, check=False, timeout=300
        )
        return done.stderr + b"\0", made.read_bytes() if done.returncode == 0 else b""

    # the driver

    def cuInit(self, flags: int) -> tuple[Any, ...]:
        return (Result.SUCCESS,)

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:
        return Result.SUCCESS, ordinal

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[Any, ...]:
        value = {
            "COMPUTE_CAPABILITY_MAJOR": self.capability[0], "COMPUTE_CAPABILITY_MINOR": self.capability[1],
            "MULTIPROCESSOR_COUNT": self.multiprocessors, "MAX_THREADS_PER_MULTIPROCESSOR": 2048,
        }[attribute.removeprefix("CU_DEVICE_ATTRIBUTE_")]  # fmt: skip
        return Result.SUCCESS, value

    def cuDeviceTotalMem(self, device: int) -> tuple[Any, ...]:
        return Result.SUCCESS, self.memory

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[Any, ...]:
        return Result.SUCCESS, f"context of {device}"

    def cuCtxPushCurrent(self, context: str) -> tuple[Any, ...]:
        self.contexts.append(context)
        return (Result.SUCCESS,)

    def cuCtxPopCurrent(self) -> tuple[Any, ...]:
        return Result.SUCCESS, self.contexts.pop()

    def cuModuleLoadData(self, image: bytes) -> tuple[Any, ...]:
        if not self.contexts:
            return Result.INVALID_CONTEXT, None
        if not image.startswith(b"\x7fELF"):
            return Result.INVALID_IMAGE, None
        self._counter += 1
        path = self.folder / f"{self._counter}.so"
        path.write_bytes(image)
        return Result.SUCCESS, ctypes.CDLL(str(path))

    def cuModuleGetFunction(self, module: Any, name: bytes) -> tuple[Any, ...]:
        entry = name.decode().removeprefix("fused_")
        function = getattr(module, f"launch_{entry}", None)
        if function is None:
            return Result.NOT_FOUND, None
        return Result.SUCCESS, (entry, function)

    def cuFuncGetAttribute(self, attribute: str, function: Any) -> tuple[Any, ...]:
        assert attribute == "CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES"
        return Result.SUCCESS, self.local_bytes

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(self, function: Any, size: int, shared: int) -> tuple[Any, ...]:
        return Result.SUCCESS, self.resident

    def cuGetErrorString(self, status: Result) -> tuple[Any, ...]:
        return Result.SUCCESS, status.name.lower().encode()

    def cuLaunchKernel(
        self, function: Any, x: int, y: int, z: int, threads: int, threads_y: int, threads_z: int, shared: int,
        stream: int, parameters: int, extra: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        if not self.contexts:
            return (Result.INVALID_CONTEXT,)
        entry, run = function
        if entry == self.failing or not (0 < x < 2**31 and 0 < threads <= 1024):
            return (Result.INVALID_VALUE,)
        assert (y, z, threads_y, threads_z, shared, extra) == (1, 1, 1, 1, 0, 0)
        pointer = ctypes.cast(parameters, ctypes.POINTER(ctypes.c_void_p))[0]
        arguments = Arguments.from_buffer_copy(ctypes.string_at(pointer, ctypes.sizeof(Arguments)))
        self.launches.append((entry, x, threads, stream))
        run(ctypes.byref(arguments), x, threads)
        return (Result.SUCCESS,)
