"""Kernels on a GPU: their code loaded beside PyTorch's own, and launched on its streams, a thread a sample."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.fused.arguments import Arguments
from physode.fused.graph import Program
from physode.fused.nvrtc import Target, are_kept, bindings, images, target_of
from physode.fused.unsupported import Unsupported

__all__ = ["CudaModule", "Gpu", "check_gradients", "check_program", "gpu", "is_kept", "modules"]

_ENTRIES = ("begin", "walk", "pull", "total")
_BLOCKS = (128, 64, 32)  # threads of a block, the most that leave no multiprocessor without one
_MOST_OPERATIONS = 2**14  # of a right-hand side: one thread takes them one after another
_SHARE = 4  # a quarter of a GPU's memory is the most that threads' own arrays, or all samples' gradients, may take


class Gpu(NamedTuple):
    """A GPU as kernels see it.

    Attributes
    ----------
    device
        Its name in PyTorch.
    context
        The driver's, which PyTorch works in as well.
    target
        What is compiled for it.
    multiprocessors, threads
        How many it has, and how many threads one of them can hold.
    memory
        In bytes.
    """

    device: torch.device
    context: Any
    target: Target
    multiprocessors: int
    threads: int
    memory: int


@functools.cache
def gpu(device: torch.device) -> Gpu:
    """Return a GPU that holds tensors.

    Raises
    ------
    Unsupported
        If CUDA's Python modules are not installed, or kernels cannot be compiled for it.
    """
    driver = bindings().driver
    _call("cuInit", 0)
    number = _call("cuDeviceGet", device.index or 0)
    attribute = driver.CUdevice_attribute

    def of(name: str) -> int:
        return int(_call("cuDeviceGetAttribute", getattr(attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), number))

    return Gpu(
        device,
        _call("cuDevicePrimaryCtxRetain", number),
        target_of(of("COMPUTE_CAPABILITY_MAJOR"), of("COMPUTE_CAPABILITY_MINOR")),
        of("MULTIPROCESSOR_COUNT"),
        of("MAX_THREADS_PER_MULTIPROCESSOR"),
        int(_call("cuDeviceTotalMem", number)),
    )


def check_program(program: Program) -> None:
    """Refuse what is too much for one thread.

    Raises
    ------
    Unsupported
        If a sample's right-hand side takes more operations than pay.
    """
    matrices = (node.matrix for node in program.nodes if node.matrix is not None)
    count = len(program.nodes) + sum(matrix.rows * matrix.columns for matrix in matrices)
    if count > _MOST_OPERATIONS:
        raise Unsupported(f"the right-hand side takes {count:,} operations a sample, too many for one thread of a GPU")


def check_gradients(device: torch.device, samples: int, numbers: int, size: int) -> None:
    """Refuse gradients that take too much memory: of so many numbers, ``size`` bytes each, one set a sample.

    Raises
    ------
    Unsupported
        If they are more than a quarter of the memory.
    """
    if samples * numbers * size > gpu(device).memory // _SHARE:
        raise Unsupported(f"gradients of {numbers:,} numbers for each of {samples:,} samples do not fit on the GPU")


class Function(NamedTuple):
    """An entry: the driver's handle, and how many blocks of each size a multiprocessor holds."""

    handle: Any
    resident: Mapping[int, int]


@dataclass(frozen=True)
class CudaModule:
    """The code of a kernel on one GPU (:class:`~physode.fused.launch.Entries`)."""

    gpu: Gpu
    functions: Mapping[str, Function]
    handle: Any
    group_bytes: int = 0
    shares_gradients: bool = False

    @classmethod
    def load(cls, image: bytes, gpu: Gpu) -> CudaModule:
        """Load what :mod:`physode.fused.nvrtc` has made.

        Raises
        ------
        Unsupported
            If the driver refuses it, or its threads' own arrays would take more than a quarter of the memory.
        """
        with _current(gpu):
            handle = _call("cuModuleLoadData", image)
            functions = {name: made for name in _ENTRIES if (made := _function(handle, name, gpu)) is not None}
        return cls(gpu, functions, handle)

    def launch(self, entry: str, values: Mapping[str, Any]) -> None:
        """Put a launch of an entry on PyTorch's current stream; the host does not wait for it.

        Raises
        ------
        RuntimeError
            If a tensor is not on this GPU, or the driver refuses the launch.
        """
        function = self.functions[entry]
        blocks, threads = _grid(entry, values, function, self.gpu)
        if not blocks:
            return
        arguments = Arguments.of({name: _field(name, value, self.gpu.device) for name, value in values.items()})
        parameters = ctypes.c_void_p(ctypes.addressof(arguments))  # an array of one pointer; the driver copies both
        stream = torch.cuda.current_stream(self.gpu.device).cuda_stream
        where = blocks, 1, 1, threads, 1, 1, 0, stream, ctypes.addressof(parameters), 0
        with _current(self.gpu):
            status, *_ = bindings().driver.cuLaunchKernel(function.handle, *where)
        if not _is_success(status):
            raise RuntimeError(f"the kernel {entry!r} was not launched: {_reason(status)}")


def _grid(entry: str, values: Mapping[str, Any], function: Function, gpu: Gpu) -> tuple[int, int]:
    """Return how many blocks of how many threads: one a gradient's entry, else as many as run at once at most."""
    if entry == "total":
        return len(values["totals"]), _BLOCKS[0]
    samples = values["samples"] if entry == "begin" else values["active"]
    threads = next((size for size in _BLOCKS if samples >= size * gpu.multiprocessors), _BLOCKS[-1])
    return min(-(-samples // threads), gpu.multiprocessors * max(1, function.resident[threads])), threads


def _field(name: str, value: Any, device: torch.device) -> int | float:
    if not isinstance(value, Tensor):
        return value  # type: ignore[no-any-return]
    if value.device != device:
        raise RuntimeError(f"the kernel's argument {name!r} is on {value.device}, not on {device}")
    return value.data_ptr()


_loaded: dict[tuple[torch.device, str], CudaModule] = {}
_loading = threading.Lock()


def modules(texts: Sequence[str], device: torch.device) -> list[CudaModule]:
    """Return the code of some sources on a GPU: in memory, from disk, or compiled now.

    Raises
    ------
    Unsupported
        If there is no compiler, it fails, or the GPU cannot hold the kernels.
    """
    where = gpu(device)
    with _loading:
        missing = [text for text in dict.fromkeys(texts) if (device, text) not in _loaded]
        for text, image in zip(missing, images(missing, where.target), strict=True):
            _loaded[device, text] = CudaModule.load(image, where)
        return [_loaded[device, text] for text in texts]


def is_kept(texts: Sequence[str], device: torch.device) -> bool:
    """Whether code from all these sources is on disk."""
    return are_kept(texts, gpu(device).target)


def _function(module: Any, name: str, gpu: Gpu) -> Function | None:
    """Return an entry; None where the module does not have it."""
    driver = bindings().driver
    status, handle = driver.cuModuleGetFunction(module, f"fused_{name}".encode())
    if status == driver.CUresult.CUDA_ERROR_NOT_FOUND:
        return None
    if not _is_success(status):
        raise Unsupported(f"the GPU's driver fails at cuModuleGetFunction: {_reason(status)}")
    local = int(_call("cuFuncGetAttribute", driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, handle))
    if local * gpu.threads * gpu.multiprocessors > gpu.memory // _SHARE:  # which the driver sets aside for all
        raise Unsupported(f"a thread would take {local:,} bytes of its own, too many for this GPU")
    resident = {size: int(_call("cuOccupancyMaxActiveBlocksPerMultiprocessor", handle, size, 0)) for size in _BLOCKS}
    return Function(handle, resident)


@contextmanager
def _current(gpu: Gpu) -> Iterator[None]:
    """Work in a GPU's context, which need not be that of this thread."""
    _call("cuCtxPushCurrent", gpu.context)
    try:
        yield
    finally:
        _call("cuCtxPopCurrent")


def _call(name: str, *arguments: Any) -> Any:
    """Call a function of the driver, and return its value if it has one.

    Raises
    ------
    Unsupported
        If it fails.
    """
    function: Callable[..., tuple[Any, ...]] = getattr(bindings().driver, name)
    try:
        status, *values = function(*arguments)
    except (RuntimeError, OSError) as error:  # where the library itself is not found
        raise Unsupported(f"the GPU's driver cannot be loaded: {error}") from error
    if not _is_success(status):
        raise Unsupported(f"the GPU's driver fails at {name}: {_reason(status)}")
    return values[0] if values else None


def _is_success(status: Any) -> bool:
    return bool(status == bindings().driver.CUresult.CUDA_SUCCESS)


def _reason(status: Any) -> str:
    found, text = bindings().driver.cuGetErrorString(status)
    return text.decode() if _is_success(found) and text else str(status)
