"""From a right-hand side written in Python to a tensor program with every input in view.

``torch.compile``'s front end traces the right-hand side once. Its guards decide at every later solve whether the trace
still holds: another attribute, shape or dtype means another trace, never a wrong answer. What it used beside time and
state, parameters, buffers, closures' tensors and ``args``, become explicit inputs: they can be differentiated.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.compiled.build import Layout, Unsupported, fresh
from physode.compiled.lifting import code_without_numbers, lift_numbers, names_all
from physode.problem.dynamics import Dynamics
from physode.problem.references import code_of
from physode.solvers.clock import expand

__all__ = ["Captured", "Program", "capture"]

_REMEMBERED = 128  # right-hand sides whose traces are kept
_PROGRAMS = 8  # of one code and shape of state
_TRACES = 64  # of them, each by the numbers that it found
_TOO_OFTEN = (
    "numbers that the right-hand side uses, or its shapes, were others too often; pass numbers as tensors in `args`"
)


class Program:
    """A traced right-hand side: a pure function of time, state and further tensors.

    Attributes
    ----------
    compiled
        What was compiled from it, by what it depends on.
    any_layout
        Whether it takes states whose memory is laid out in another way.
    """

    def __init__(self, graph: torch.fx.GraphModule, time: int | None, state: int, inputs: int) -> None:
        self._graph, self._time, self._state, self._inputs = graph, time, state, inputs
        self.compiled: dict[Hashable, Any] = {}
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


@dataclass
class _Trace:
    """A program with the numbers of one trace, and whether a second evaluation was found to follow the same trace."""

    program: Program
    numbers: tuple[Tensor, ...]
    holds: bool = False


@dataclass
class _Tracer:
    """Traces right-hand sides of one code; those that differ in numbers alone share their program."""

    trace: Callable[..., Tensor]
    programs: OrderedDict[Hashable, Program] = field(default_factory=OrderedDict)
    codes: set[Hashable] = field(default_factory=set)
    traces: int = 0
    made: int = 0
    warned: bool = False

    @classmethod
    def fresh(cls) -> _Tracer:
        tracer = cls(_nothing)
        tracer.again()
        return tracer

    def again(self) -> None:
        """Forget the traces, but not their programs."""
        self.traces = self.made = 0
        self.trace = torch.compile(fresh(_evaluate), fullgraph=True, dynamic=False, backend=self._catch)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Let another trace be made: the compiler's own limit is for programs that take long to make."""
        config = torch._dynamo.config
        before = config.recompile_limit
        if self.traces + 1 < before:
            yield
            return
        config.recompile_limit = max(before, _TRACES + 2)
        try:
            yield
        finally:
            config.recompile_limit = before

    def _catch(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        """Keep the traced graph; when called with a solve's tensors, keep these too."""
        trace: _Trace | None = None
        del example

        def run(*inputs: Any) -> Any:
            nonlocal trace
            if trace is None:
                trace = self._trace(graph, inputs)
            _caught.trace, _caught.inputs = trace, inputs
            return (_caught.state,)

        return run

    def _trace(self, graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> _Trace:
        place = _checked(graph, inputs)
        numbers = tuple(lift_numbers(graph))
        roles = place.get(id(_caught.time)), place[id(_caught.state)]
        kind = roles, tuple((tuple(x.shape), x.stride(), x.dtype, x.device) for x in (*inputs, *numbers))
        key = (graph.code if names_all(graph) else object(), kind)
        self.traces += 1
        if key not in self.programs:
            self.made += 1
            if self.made > _PROGRAMS:
                raise Unsupported(_TOO_OFTEN)
            self._warn((code_without_numbers(graph), kind))
            self.programs[key] = Program(graph, *roles, len(inputs) + len(numbers))
            if len(self.programs) > _PROGRAMS:
                self.programs.popitem(last=False)
        return _Trace(self.programs[key], numbers)

    def _warn(self, code: Hashable) -> None:
        if code in self.codes and not self.warned:
            self.warned = True
            warnings.warn(
                "compiling anew: a number that the right-hand side uses has changed where it decides the program; "
                "pass it as a tensor in `args`, or make it a buffer, to compile once for all its values",
                RuntimeWarning,
                stacklevel=2,
            )
        self.codes.add(code)


def _nothing(*_: Any) -> Tensor:
    raise NotImplementedError


class _Caught(threading.local):
    trace: _Trace | None = None
    inputs: tuple[Any, ...] = ()
    time: Tensor
    state: Tensor


_caught = _Caught()
_tracers: OrderedDict[Hashable, _Tracer] = OrderedDict()
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
    tracer = _tracer_of(dynamics, y)
    with _tracing:  # two traces made at once would count as one that does not hold
        if tracer.traces >= _TRACES:
            tracer.again()
        trace, inputs = _call(tracer, dynamics, time, state)
        tensors = (*trace.program.others(inputs), *trace.numbers)
        if not trace.holds:
            again, _ = _call(tracer, dynamics, time, state)
            if again is not trace:
                raise Unsupported(
                    "the right-hand side changes something of its own at every call, which no trace can follow"
                )
            _compare(trace.program, tensors, dynamics, t.detach(), state)
            trace.holds = True
    return Captured(trace.program, tensors)


def _call(tracer: _Tracer, dynamics: Dynamics, time: Tensor, state: Tensor) -> tuple[_Trace, tuple[Tensor, ...]]:
    _caught.trace, _caught.time, _caught.state = None, time, state
    try:
        with torch.no_grad(), tracer.room():
            tracer.trace(dynamics.f, dynamics.packing, dynamics.args, dynamics.time_ndim, time, state)
        return _found()
    except torch._dynamo.exc.FailOnRecompileLimitHit:
        raise Unsupported(_TOO_OFTEN) from None
    finally:
        _caught.trace, _caught.inputs = None, ()
        del _caught.time, _caught.state


def _found() -> tuple[_Trace, tuple[Tensor, ...]]:
    if _caught.trace is None:
        raise Unsupported("the right-hand side is not made of tensor operations that can be traced")
    return _caught.trace, _caught.inputs


def _compare(program: Program, tensors: tuple[Tensor, ...], dynamics: Dynamics, t: Tensor, state: Tensor) -> None:
    """Check what no trace shows: that the value has the state's structure, and does not depend on anything unseen."""
    calls, time, layout = dynamics.calls.count, t.to(dynamics.dtype), Layout.of(state)
    with torch.no_grad():
        expected = dynamics.first(t, state)
        dynamics.calls.count = calls
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


def _evaluate(f: Any, packing: Any, args: Any, time_ndim: int, t: Tensor, y: Tensor) -> Tensor:
    value: Tensor = packing.pack(f(expand(t, time_ndim), packing.unpack(y), *args))
    return value.clone()  # an operation at least: a program without any would not be traced


def _tracer_of(dynamics: Dynamics, y: Tensor) -> _Tracer:
    key = code_of(dynamics.f), tuple(y.shape), y.dtype, y.device
    with _lock:
        if key in _tracers:
            _tracers.move_to_end(key)
        else:
            _tracers[key] = _Tracer.fresh()
            if len(_tracers) > _REMEMBERED:
                _tracers.popitem(last=False)
        return _tracers[key]


def _checked(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> dict[int, int]:
    """Return where each input of a graph is, by identity, after checking that it can be a program."""
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
    return place


def _versions(inputs: Sequence[Tensor]) -> list[int]:
    return [0 if value.is_inference() else value._version for value in inputs]


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
