"""Compiling a tensor program once, so that every later call of the same shapes reuses it."""

from __future__ import annotations

import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Compiled", "Layout", "Unsupported", "fresh", "reason"]


_compiling = threading.RLock()  # what compiles notes things in its own attributes and sets options of the compiler

_F = TypeVar("_F", bound=Callable[..., Any])

# Few intermediates are stored and more is recomputed where it is read: stored ones get layouts of their own, and mixed
# layouts cost up to ten times (three bodies, B = 1000: 4.7 ms a pulled-back step against 0.41 ms).
_OPTIONS: dict[str, Any] = {"realize_reads_threshold": 8, "realize_opcount_threshold": 100}


class Unsupported(Exception):  # noqa: N818 - no error: the solve goes on without
    """A solve cannot be compiled; the message says why, in words for the user."""


def fresh(function: _F) -> _F:
    """Return ``function`` with a code object of its own.

    The compiler keeps its results by code object, few for each; functions made by one ``def`` would share them.
    """
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy  # type: ignore[return-value]


class Compiled:
    """A function of tensors, compiled for the shapes of its first call; it returns a tuple of tensors.

    The first call goes through the compiler's front end. It notes which input of the compiled program each argument is,
    and later calls go to that program directly: their shapes are known to agree, since the caller keeps one of these
    for each.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self._options = dict(_OPTIONS)
        if device.type == "cpu":
            self._options["cpp_wrapper"] = True  # a driver in C++: loops run without the interpreter
        self._front = torch.compile(fresh(function), fullgraph=True, dynamic=False, backend=self._build)
        self._program: Callable[..., Sequence[Tensor]] | None = None
        self._inputs: Sequence[Tensor] = ()
        self._outputs: Sequence[Tensor] = ()
        self._order: list[int] = []
        self._places: list[int] = []

    def __call__(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Call with tensors and (nested) tuples of tensors."""
        with torch.no_grad():
            if self._program is None:
                with _compiling:
                    if self._program is None:
                        return self._first(arguments)
            flat = list(_flat(arguments))
            found = self._program(*[flat[i] for i in self._order])
            return tuple([found[i] for i in self._places])

    def _first(self, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, of no use to those who solve equations
            results = self._front(*arguments)
        flat = {id(tensor): i for i, tensor in enumerate(_flat(arguments))}
        outputs = {id(tensor): i for i, tensor in enumerate(self._outputs)}
        self._order = [flat[id(tensor)] for tensor in self._inputs]
        self._places = [outputs[id(tensor)] for tensor in results]
        self._program, self._inputs, self._outputs = self._built, (), ()
        return tuple(results)

    def _build(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        from torch._inductor.compile_fx import compile_fx

        with _one_kernel_a_loop():
            built: Any = compile_fx(graph, example, config_patches=self._options)
        self._built: Callable[..., Sequence[Tensor]] = built

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            self._inputs, self._outputs = inputs, self._built(*inputs)
            return self._outputs

        return run


def _flat(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        else:
            yield from _flat(argument)


@contextmanager
def _one_kernel_a_loop() -> Iterator[None]:
    """Keep loop nests in kernels of their own, so that their buffers can be used again.

    Grouped in one kernel, as the compiler likes it, every buffer is allocated anew for each attempt, which takes most
    of a small system's time (three bodies: 2.3 ms a pass back in place of 1.5 ms).
    """
    try:
        from torch._inductor.codegen.cpp import CppScheduling
    except ImportError:
        yield
        return
    before = getattr(CppScheduling, "MAX_FUSED_KERNEL_ARGS_NUM", None)
    CppScheduling.MAX_FUSED_KERNEL_ARGS_NUM = 1
    try:
        yield
    finally:
        if before is not None:
            CppScheduling.MAX_FUSED_KERNEL_ARGS_NUM = before


def reason(error: BaseException) -> str:
    """Return an exception's first telling line."""
    error = getattr(error, "inner_exception", error)  # behind the compiler's "backend raised"
    text = str(error).strip() or type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


_SMALL_SAMPLE = 64  # components; wider samples fill vector registers by themselves
_SMALL_BATCH = 8


class Layout(NamedTuple):
    """From states ``(batch, *rest)`` to rows as stored and back.

    With ``batch_last`` a row is ``(*rest, batch)``: the loops over a batch of small samples then run along memory, in
    vector registers (three bodies, B = 1000: 115 microseconds an attempt in place of 247).
    """

    batch_last: bool

    @classmethod
    def of(cls, y: Tensor) -> Layout:
        """Choose the layout of states shaped like ``y``."""
        return cls(y.ndim >= 2 and len(y) >= _SMALL_BATCH and y[0].numel() <= _SMALL_SAMPLE)

    def rows(self, states: Tensor, leading: int = 0) -> Tensor:
        """Return states in the order of rows, a view; ``leading`` further axes stand in front."""
        return states.movedim(leading, -1) if self.batch_last else states

    def store(self, states: Tensor, leading: int = 0) -> Tensor:
        """Return states as rows, contiguous."""
        return self.rows(states, leading).contiguous()

    def view(self, rows: Tensor, leading: int = 0) -> Tensor:
        """Return rows as states, a view."""
        return rows.movedim(-1, leading) if self.batch_last else rows
