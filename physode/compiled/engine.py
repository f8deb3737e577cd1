"""The compiled functions of one right-hand side's program, method and shape of problem."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from physode.compiled.build import Compiled, Layout, Unsupported, fresh, reason
from physode.compiled.capture import Program
from physode.compiled.forward import Walk, grid_walk, walking
from physode.compiled.loops import Loop, Replayed, as_program
from physode.compiled.pullback import pulling, pulling_chunks
from physode.compiled.reading import gather_each, scatter_each
from physode.problem.problem import Problem, UserNorm
from physode.problem.references import code_of
from physode.solvers.step_control import Adaptive
from physode.solvers.tableaus import Tableau
from physode.typing import Norm

__all__ = ["Engine", "engine_of", "mark_of"]


_BLOCK_BYTES = {False: 2**23, True: 2**28}  # of steps in a block; samples with steps of their own read all outputs once
_BLOCK_ROWS = 256
_PARALLEL_DIMENSION = 16  # components of a state beyond which Jacobians cost more than replaying one by one
_CHUNK = 16  # steps differentiated at once
_REPLAYED = {"cuda"}  # devices whose loops are replays of one turn


@dataclass
class Engine:
    """What is compiled once and used by every solve alike.

    Attributes
    ----------
    rows
        The steps of a block.
    columns
        The rows stored for a step: its start's state, and the interpolant's coefficients if ``dense``.
    chunk
        The steps that the backward pass differentiates at once.
    """

    program: Program
    tableau: Tableau
    steps: Adaptive | None
    layout: Layout
    dense: bool
    device: torch.device
    rows: int
    chunk: int
    functions: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        """Stored rows of a step."""
        return 1 + (self.tableau.interpolant_terms if self.dense else 0)

    def walk(self, *inputs: Any) -> tuple[Walk, Tensor]:
        """Take adaptive attempts, see :func:`~physode.compiled.forward.walking`."""
        steps = self.steps
        assert steps is not None
        make = lambda: walking(self.program, steps, self.layout, dense=self.dense)  # noqa: E731
        *walk, summary = self._loop("walk", make, None, inputs)
        return Walk(*walk), summary

    def walk_grid(self, count: int, *inputs: Any) -> tuple[Tensor, ...]:
        """Take a grid's steps, see :func:`~physode.compiled.forward.grid_walk`."""
        make = lambda: grid_walk(self.program, self.tableau, self.layout, dense=self.dense)  # noqa: E731
        return self._loop("march", make, count, (torch.tensor(count, device=self.device), *inputs))

    def pull(self, wanted: tuple[int, ...], clock_too: bool, count: int, *inputs: Any) -> tuple[Tensor, ...]:
        """Pull a block of steps back, see :func:`~physode.compiled.pullback.pulling`."""
        chunk = self.chunk

        def make() -> Loop:
            what, dense = (self.program, self.tableau, self.layout, wanted), self.dense
            if chunk == 1:
                return pulling(*what, dense=dense, clock_too=clock_too)
            return pulling_chunks(*what, dense=dense, clock_too=clock_too, chunk=chunk)

        turns = -(-count // chunk)
        key = "pull", wanted, clock_too
        return self._loop(key, make, turns, (torch.tensor(count, device=self.device), *inputs))

    def _loop(
        self, key: Hashable, make: Callable[[], Loop], turns: int | None, inputs: tuple[Any, ...]
    ) -> tuple[Tensor, ...]:
        found = self.functions.get(key)
        if self.device.type not in _REPLAYED:
            if found is None:
                found = self.functions[key] = Compiled(as_program(make()), self.device)
            return found(*inputs)
        if found is None:
            found = self.functions[key] = Replayed(make(), self.device)
        return found(*inputs, turns=turns)

    def gather_each(self, *inputs: Tensor) -> None:
        """Read outputs of samples with steps of their own, in place."""
        self._function(("gather", len(inputs[1])), lambda: gather_each(self.layout.batch_last))(*inputs)

    def scatter_each(self, *inputs: Tensor) -> None:
        """Gather their cotangents, in place."""
        count = len(inputs[1])
        self._loop(("scatter", count), lambda: scatter_each(self.layout.batch_last), count, inputs)

    def has(self, key: Hashable) -> bool:
        """Whether a function is compiled already."""
        return key in self.functions

    def _function(
        self, key: Hashable, make: Callable[[], Callable[..., tuple[Tensor, ...]]]
    ) -> Callable[..., tuple[Tensor, ...]]:
        found = self.functions.get(key)
        if found is None:
            found = self.functions[key] = Compiled(make(), self.device)
        return found


def engine_of(problem: Problem, program: Program, layout: Layout, *, dense: bool, parallel: bool) -> Engine:
    """Return the engine for a problem like this, kept with its program.

    ``parallel``: pull steps of small states with a shared clock back many at a time. That compiles twice as long and
    saves a quarter (two components) to nothing (eighteen) of a gradient.
    """
    y0, steps, t = problem.y0, problem.steps, problem.t
    chosen: Hashable = None
    if steps is not None:
        controller = type(steps.controller), tuple(vars(steps.controller).items())
        norm = mark_of(steps.norm, y0.detach()) if isinstance(steps.norm, UserNorm) else steps.norm
        chosen = controller, norm, steps.first_step, steps.min_step, steps.max_step
        chosen = (*chosen, *(_shape(value) for value in (steps.rtol, steps.atol)))
    key = (*_shape(y0), y0.device, t.shape[1:], dense, parallel, problem.tableau, problem.dynamics.packing, chosen)
    try:
        engine: Engine | None = program.compiled.get(key)
    except TypeError:
        raise Unsupported("its norm, controller or packing cannot be told apart from others") from None
    if engine is None:
        assert isinstance(problem.tableau, Tableau)
        columns = 1 + (problem.tableau.interpolant_terms if dense else 0)
        budget = _BLOCK_BYTES[t.ndim == 2] // max(1, columns * y0.numel() * y0.element_size())
        rows = max(8, min(_BLOCK_ROWS, budget))
        chunk = min(rows, _CHUNK) if parallel and t.ndim == 1 and y0.numel() <= _PARALLEL_DIMENSION else 1
        engine = Engine(program, problem.tableau, steps, layout, dense, y0.device, rows, chunk)
        program.compiled[key] = engine
    return engine


def _shape(value: Tensor | float) -> tuple[Any, ...]:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else ()


class _Caught(threading.local):
    mark: object = None


_caught = _Caught()
_marks: dict[Hashable, Callable[..., Tensor]] = {}
_lock = threading.Lock()


def mark_of(norm: Norm, y: Tensor) -> object:
    """Return what stands for a norm's trace: another object wherever numbers, attributes or code of it are others.

    Raises
    ------
    Unsupported
        If it cannot be traced, or uses tensors of its own.
    """
    key = "norm", code_of(getattr(norm, "norm", norm)), tuple(y.shape), y.dtype, y.device
    with _lock:
        if key not in _marks:
            _marks[key] = torch.compile(fresh(_measure), fullgraph=True, dynamic=False, backend=_mark)
        trace = _marks[key]
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
