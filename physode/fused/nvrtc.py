"""From a kernel's source to code for a GPU: NVIDIA's compiler as a library, and what it is told."""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from physode.fused.cache import Cache, cache_folder
from physode.fused.unsupported import Unsupported

__all__ = ["Bindings", "Target", "are_kept", "bindings", "images", "target_of"]

_log = logging.getLogger(__name__)

_FLAGS = ("--std=c++20", "--disable-warnings")
_AT_ONCE = 4  # compilations


class Bindings(NamedTuple):
    """The official Python modules of CUDA's driver and of its compiler."""

    driver: Any
    nvrtc: Any


class Target(NamedTuple):
    """What is compiled for: a compute capability, ten times its major number plus the minor one.

    ``native``: whether GPUs run it as it is; the driver compiles for the others, which are newer than the compiler.
    """

    capability: int
    native: bool

    @property
    def flag(self) -> str:
        """The compiler's flag."""
        return f"--gpu-architecture={'sm' if self.native else 'compute'}_{self.capability}"

    @property
    def suffix(self) -> str:
        """The ending of a file with such code."""
        return ".cubin" if self.native else ".ptx"


@functools.cache
def bindings() -> Bindings:
    """Return CUDA's Python modules.

    Raises
    ------
    Unsupported
        If they are not installed.
    """
    try:
        return Bindings(*(importlib.import_module(f"cuda.bindings.{name}") for name in ("driver", "nvrtc")))
    except ImportError as error:
        raise Unsupported("kernels for a GPU need CUDA's compiler: pip install cuda-bindings") from error


def target_of(major: int, minor: int) -> Target:
    """Return what to compile for a GPU of this compute capability.

    Raises
    ------
    Unsupported
        If the compiler does not know GPUs so old, or is not there.
    """
    own = 10 * major + minor
    known = [capability for capability in _called("nvrtcGetSupportedArchs") if capability <= own]
    if not known:
        raise Unsupported(f"CUDA's compiler knows no GPU of compute capability {major}.{minor}")
    best = max(known)
    return Target(best, native=best // 10 == major)


def are_kept(texts: Sequence[str], target: Target) -> bool:
    """Whether code from all these sources is on disk."""
    cache = Cache(cache_folder(), target.suffix)
    return all(cache.find(_key(text, target)) is not None for text in texts)


_compiling = threading.Lock()


def images(texts: Sequence[str], target: Target) -> list[bytes]:
    """Return the code from some sources: from disk, or compiled now, beside one another.

    Raises
    ------
    Unsupported
        If the compiler is not there, or it fails; what it said is in the log.
    """
    cache = Cache(cache_folder(), target.suffix)

    def image(text: str) -> bytes:
        key = _key(text, target)
        path = cache.find(key)
        if path is not None:
            return path.read_bytes()
        made = _compiled(text, target)
        try:
            cache.keep(key, made)
        except OSError as error:
            _log.warning("kernels are not kept: %s", error)
        return made

    with _compiling, ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(image, texts))


def _key(text: str, target: Target) -> str:
    major, minor = _called("nvrtcVersion")
    parts = ["CUDA", text, f"{major}.{minor}", *_FLAGS, target.flag]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _compiled(text: str, target: Target) -> bytes:
    program = _called("nvrtcCreateProgram", text.encode(), b"kernel.cu", 0, None, None)
    try:
        options = [flag.encode() for flag in (*_FLAGS, target.flag)]
        if not _succeeds("nvrtcCompileProgram", program, len(options), options):
            _log.error("NVRTC failed:\n%s", _text(program, "ProgramLog").decode(errors="replace"))
            raise Unsupported("CUDA's compiler failed; what it said is in the log of physode.fused.nvrtc")
        return _text(program, "CUBIN" if target.native else "PTX")
    finally:
        _called("nvrtcDestroyProgram", program)


def _text(program: Any, kind: str) -> bytes:
    """Return what a program has: its log, or its code."""
    memory = bytes(_called(f"nvrtcGet{kind}Size", program))
    _called(f"nvrtcGet{kind}", program, memory)  # writes into it
    return memory


def _succeeds(name: str, *arguments: Any) -> bool:
    return bool(_result(name, *arguments)[0] == bindings().nvrtc.nvrtcResult.NVRTC_SUCCESS)


def _called(name: str, *arguments: Any) -> Any:
    """Call a function of the compiler; return its values, alone if there is one.

    Raises
    ------
    Unsupported
        If it fails.
    """
    status, *values = _result(name, *arguments)
    if status != bindings().nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise Unsupported(f"CUDA's compiler fails at {name}: {status!s}")
    return values[0] if len(values) == 1 else values


def _result(name: str, *arguments: Any) -> tuple[Any, ...]:
    function: Callable[..., tuple[Any, ...]] = getattr(bindings().nvrtc, name)
    try:
        return function(*arguments)
    except (RuntimeError, OSError) as error:  # where the library itself is not found
        raise Unsupported(f"CUDA's compiler cannot be loaded: {error}") from error
