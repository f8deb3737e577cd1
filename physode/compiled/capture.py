"""From a right-hand side written in Python to a tensor program with every input in view.

``torch.compile``'s front end traces the right-hand side once. Its guards decide at every later solve whether the trace
still holds: another attribute, shape or dtype means another trace, never a wrong answer. What it used beside time and
state, parameters, buffers, closures' tensors and ``args``, become explicit inputs: they can be differentiated.
"""

from __future__ import annotations

import functools
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.compiled.build import Unsupported, fresh, reason
from physode.compiled.layout import Layout
from physode.dynamics import Dynamics
from physode.solvers.groups import expand
from physode.typing import Norm

__all__ = ["Captured", "Program", "capture", "code_of", "mark_of"]

_REMEMBERED = 128  # right-hand sides whose traces are kept


class Program:
    """A traced right-hand side: a pure function of time, state and further tensors.

    Attributes
    ----------
    compiled
        What was compiled from it, by what it depends on.
    holds
        Whether a second evaluation was found to follow the same trace.
    any_layout
        Whether it takes states whose memory is laid out in another way.
    """

    def __init__(self, graph: torch.fx.GraphModule, time: int | None, state: int, inputs: int) -> None:
        self._graph, self._time, self._state, self._inputs = graph, time, state, inputs
        self.compiled: dict[Hashable, Any] = {}
        self.holds = False
        self.any_layout = True

    def __call__(self, t: Tensor, y: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return dy/dt for the time as the user's function has it."""
        others = iter(tensors)
        full = [t if i == self._time else y if i == self._state else next(others) for i in range(self._inputs)]
        (value,) = self._graph(*full)
        return value  # type: ignore[no-any-return]

    def others(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs beside time and state."""
        return tuple(x for i, x in enumerate(inputs) if i not in (self._time, self._state))


class Captured(NamedTuple):
    """A program and the tensors that it is to be evaluated with now."""

    program: Program
    tensors: tuple[Tensor, ...]


class _Caught(threading.local):
    mark: object = None
    program: Program | None = None
    inputs: tuple[Any, ...] = ()
    time: Tensor
    state: Tensor


_caught = _Caught()
_traces: OrderedDict[Hashable, Callable[..., Tensor]] = OrderedDict()
_lock = threading.Lock()
_tracing = threading.RLock()


def capture(dynamics: Dynamics, t: Tensor, y: Tensor) -> Captured:
    """Trace the right-hand side, or find its trace.

    Parameters
    ----------
    dynamics
        The right-hand side.
    t, y
        A time, one a group, and a packed state, to evaluate at.

    Raises
    ------
    Unsupported
        If it cannot be written as one tensor program, or changes tensors in place.
    """
    if dynamics.conduct.draws.any:
        raise Unsupported("the right-hand side uses dropout, whose mask is drawn once a solve")
    time = t.detach().to(dynamics.dtype, copy=True)
    state = y.detach().clone()
    trace = _trace_of(dynamics, y)
    with _tracing:  # two traces made at once would count as one that does not hold
        program, inputs = _call(trace, dynamics, time, state)
        if not program.holds:
            again, _ = _call(trace, dynamics, time, state)
            if again is not program:
                raise Unsupported(
                    "the right-hand side changes something of its own at every call, which no trace can follow"
                )
            _compare(program, program.others(inputs), dynamics, t.detach(), state)
            program.holds = True
    return Captured(program, program.others(inputs))


def _call(
    trace: Callable[..., Tensor], dynamics: Dynamics, time: Tensor, state: Tensor
) -> tuple[Program, tuple[Tensor, ...]]:
    _caught.program, _caught.time, _caught.state = None, time, state
    try:
        with torch.no_grad():
            trace(dynamics.f, dynamics.packing, dynamics.args, dynamics.time_ndim, time, state)
        return _found()
    except torch._dynamo.exc.FailOnRecompileLimitHit:
        raise Unsupported(
            "numbers that the right-hand side uses, or its shapes, were others too often; "
            "pass numbers as tensors in `args`"
        ) from None
    finally:
        _caught.program, _caught.inputs = None, ()
        del _caught.time, _caught.state


def _found() -> tuple[Program, tuple[Tensor, ...]]:
    if _caught.program is None:
        raise Unsupported("the right-hand side is not made of tensor operations that can be traced")
    return _caught.program, _caught.inputs


def _compare(program: Program, tensors: tuple[Tensor, ...], dynamics: Dynamics, t: Tensor, state: Tensor) -> None:
    """Check what no trace shows: that the value has the state's structure, and does not depend on anything unseen."""
    calls, time, layout = dynamics.calls, t.to(dynamics.dtype), Layout.of(state)
    with torch.no_grad():
        expected = dynamics.first(t, state)
        dynamics.calls = calls
        if not _same(program(time, state, tensors), expected):
            raise Unsupported("the right-hand side is not a function of time and state alone")
        if layout.batch_last:
            try:
                value = program(time, layout.view(layout.store(state)), tensors)
                program.any_layout = _same(value, expected)
            except RuntimeError:  # a view that only contiguous states have
                program.any_layout = False


def _same(found: Tensor, expected: Tensor) -> bool:
    size = torch.nan_to_num(expected, 0.0, 0.0, 0.0).abs().sum() / max(1, expected.numel())
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(size), equal_nan=True)


def code_of(f: Any) -> Hashable:
    """Return what tells right-hand sides of different code apart: a code object or a type."""
    if isinstance(f, functools.partial):
        return ("partial", code_of(f.func))
    if isinstance(f, types.MethodType):
        return code_of(f.__func__)
    if isinstance(f, types.FunctionType):
        return f.__code__
    return (type(f),)


def _evaluate(f: Any, packing: Any, args: Any, time_ndim: int, t: Tensor, y: Tensor) -> Tensor:
    value: Tensor = packing.pack(f(expand(t, time_ndim), packing.unpack(y), *args))
    return value.clone()  # an operation at least: a program without any would not be traced


def _trace_of(dynamics: Dynamics, y: Tensor) -> Callable[..., Tensor]:
    key = code_of(dynamics.f), tuple(y.shape), y.dtype, y.device
    with _lock:
        if key in _traces:
            _traces.move_to_end(key)
        else:
            _traces[key] = torch.compile(fresh(_evaluate), fullgraph=True, dynamic=False, backend=_catch)
            if len(_traces) > _REMEMBERED:
                _traces.popitem(last=False)
        return _traces[key]


def _catch(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    """Keep the traced graph; when called with a solve's tensors, keep these too."""
    program: Program | None = None
    del example

    def run(*inputs: Any) -> Any:
        nonlocal program
        if program is None:
            program = _program(graph, inputs)
        _caught.program, _caught.inputs = program, inputs
        return (_caught.state,)

    return run


def _program(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Program:
    place = {id(value): i for i, value in enumerate(inputs)}
    if id(_caught.state) not in place:
        raise Unsupported("the right-hand side's value does not depend on the state")
    if not all(isinstance(value, Tensor) for value in inputs):
        raise Unsupported("the right-hand side's shapes depend on values")
    _call_views(graph)
    versions = _versions(inputs)
    value, *kept = graph(*inputs)
    if kept:
        raise Unsupported("the right-hand side stores tensors that it computes")
    state = _caught.state
    if (value.shape, value.dtype, value.device) != (state.shape, state.dtype, state.device):
        raise Unsupported("the right-hand side's value is not like the state")  # solved without, the error says how
    if versions != _versions(inputs):
        raise Unsupported("the right-hand side changes tensors in place")
    return Program(graph, place.get(id(_caught.time)), place[id(_caught.state)], len(inputs))


def _versions(inputs: Sequence[Tensor]) -> list[int]:
    return [0 if value.is_inference() else value._version for value in inputs]


def mark_of(norm: Norm, y: Tensor) -> object:
    """Return what stands for a norm's trace: another object wherever numbers, attributes or code of it are others.

    Raises
    ------
    Unsupported
        If it cannot be traced, or uses tensors of its own.
    """
    key = "norm", code_of(getattr(norm, "norm", norm)), tuple(y.shape), y.dtype, y.device
    with _lock:
        if key not in _traces:
            _traces[key] = torch.compile(fresh(_measure), fullgraph=True, dynamic=False, backend=_mark)
        trace = _traces[key]
    try:
        with torch.no_grad():
            trace(norm, torch.zeros_like(y))
        if _caught.mark is None:
            raise Unsupported("its norm is not made of tensor operations that can be traced")
        return _caught.mark
    except Unsupported:
        raise
    except Exception as error:
        raise Unsupported(f"its norm cannot be traced: {reason(error)}") from error
    finally:
        _caught.mark = None


def _measure(norm: Norm, y: Tensor) -> Tensor:
    return norm(y).clone()


def _mark(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    mark = object()
    if len(example) != 1:
        raise Unsupported("its norm uses tensors of its own")

    def run(*inputs: Tensor) -> Any:
        _caught.mark = mark
        return graph(*inputs)

    return run


_VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "T": lambda x: x.permute(*reversed(range(x.ndim))),
    "mT": lambda x: x.transpose(-1, -2),
    "data": lambda x: x.detach(),
}


def _call_views(graph: torch.fx.GraphModule) -> None:
    """Write views that are taken as attributes as calls: loops take attributes out of their body, where they alias."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target is getattr and node.args[1] in _VIEWS:
            node.target, node.args = _VIEWS[node.args[1]], node.args[:1]
    graph.recompile()
