"""From a kernel's source to a library that is loaded: the compilers of this machine, and what they are told."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from physode.fused.cache import Cache, cache_folder
from physode.fused.launch import Library
from physode.fused.unsupported import Unsupported

__all__ = ["Compiler", "cpu_compiler", "is_kept", "libraries", "vector_functions"]

_log = logging.getLogger(__name__)

_FLAGS = (
    "-std=c++20", "-O2", "-march=native", "-mprefer-vector-width=512", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-fPIC", "-shared", "-pthread", "-w",
)  # fmt: skip
_LONGEST = 600.0  # seconds that a compiler may take
_GLIBC_VECTORS = (2, 35)  # the first release with all of the functions that are used


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the command's words, and what tells it from another version of itself."""

    command: tuple[str, ...]
    identity: str

    @property
    def name(self) -> str:
        """The command as users know it."""
        return shlex.join(self.command)


@functools.cache
def cpu_compiler() -> Compiler | None:
    """Return the C++ compiler: ``$CXX``, ``g++``, ``clang++``, ``c++``, or the one that the package ziglang brings."""
    named = os.environ.get("CXX")
    for words in (*([tuple(shlex.split(named))] if named else []), ("g++",), ("clang++",), ("c++",)):
        path = shutil.which(words[0])
        if path is not None:
            real = Path(path).resolve()
            about = real.stat()
            return Compiler((path, *words[1:]), f"{real} {about.st_size} {about.st_mtime_ns}")
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.origin is not None:
        about = Path(spec.origin).stat()
        return Compiler((sys.executable, "-m", "ziglang", "c++"), f"{spec.origin} {about.st_mtime_ns}")
    return None


@functools.cache
def vector_functions() -> bool:
    """Whether the C library has vector versions of exp, sin and their kind."""
    name, version = platform.libc_ver()
    if name != "glibc" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return numbers >= _GLIBC_VECTORS


@functools.cache
def _processor() -> str:
    """Return what tells processors apart, for whose own instructions kernels are compiled."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
        return "\n".join(sorted(set(kept)))
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"


def _key(text: str, compiler: Compiler) -> str:
    parts = [text, compiler.identity, *_FLAGS, _processor(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_kept(texts: Sequence[str]) -> bool:
    """Whether libraries of all these sources are on disk."""
    compiler = cpu_compiler()
    cache = Cache(cache_folder())
    return compiler is not None and all(cache.find(_key(text, compiler)) is not None for text in texts)


_loaded: dict[str, Library] = {}
_loading = threading.Lock()


def libraries(texts: Sequence[str]) -> list[Library]:
    """Return libraries of some sources: in memory, from disk, or compiled now, beside one another.

    Raises
    ------
    Unsupported
        If there is no compiler, or it fails; what it said is in the log.
    """
    compiler = cpu_compiler()
    if compiler is None:
        raise Unsupported("there is no C++ compiler; install g++ or clang, or physode[compiler]")
    with _loading:
        keys = [_key(text, compiler) for text in texts]
        cache = Cache(cache_folder())
        missing: dict[str, str] = {}
        for key, text in zip(keys, texts, strict=True):
            if key not in _loaded:
                path = cache.find(key)
                if path is None:
                    missing[key] = text
                else:
                    _loaded[key] = Library.load(path)
        if missing:
            _compile(missing, compiler, cache)
        return [_loaded[key] for key in keys]


def _compile(sources: dict[str, str], compiler: Compiler, cache: Cache) -> None:
    """Compile sources beside one another, keep the libraries and load them."""
    with tempfile.TemporaryDirectory(prefix="physode-") as folder:
        running = {}
        for key, text in sources.items():
            path = Path(folder) / f"{key}.cpp"
            path.write_text(text, encoding="utf-8")
            running[key] = _started(compiler, path)
        for key, process in running.items():
            _finish(process, compiler)
            made = Path(folder) / f"{key}.so"
            try:
                path = cache.put(key, made)
            except OSError as error:
                _log.warning("kernels are not kept: %s", error)
                path = made
            _loaded[key] = Library.load(path)


def _started(compiler: Compiler, path: Path) -> subprocess.Popen[bytes]:
    libraries = ["-lmvec"] if vector_functions() else []
    command = [*compiler.command, *_FLAGS, os.fspath(path), "-o", os.fspath(path.with_suffix(".so")), *libraries]
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Unsupported(f"the compiler {compiler.name} does not start: {error}") from error


def _finish(process: subprocess.Popen[bytes], compiler: Compiler) -> None:
    try:
        _, said = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Unsupported(f"the compiler {compiler.name} took longer than {_LONGEST:.0f} s") from None
    if process.returncode:
        _log.error("%s failed:\n%s", compiler.name, said.decode(errors="replace"))
        raise Unsupported(f"the compiler {compiler.name} failed; what it said is in the log of physode.fused.compilers")
