"""From a problem and a plan to an outcome, by a kernel."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from physode.fused.backward import PassBack, differentiable
from physode.fused.compilers import is_kept, libraries, vector_functions
from physode.fused.differentiation import Pullback, pullback
from physode.fused.emission import Entry, Kernel, gradient_slots, source
from physode.fused.forward import Posed, Walked, walk, walk_grid
from physode.fused.inputs import pack_sample, pack_shared
from physode.fused.launch import Library
from physode.fused.lowering import Lowered, lower
from physode.fused.recording import Recorded, record
from physode.fused.steps import StepsTaken, step_table
from physode.fused.unsupported import Unsupported
from physode.gradients.aca import ACA
from physode.gradients.output_times import moving_with_times
from physode.gradients.outputs import Outcome, adaptive_clock, times_move
from physode.problem.problem import Problem, UserNorm
from physode.problem.references import code_of
from physode.rhs_state import Hooks
from physode.solvers.driver import Plan
from physode.solvers.step_control import Controller
from physode.solvers.tableaus import Tableau

__all__ = ["Fusion", "Prepared", "prepare", "solve_prepared"]

_REMEMBERED = 256  # programs
_MOST_COMPONENTS = 2048  # of a sample's state
_DTYPES = (torch.float32, torch.float64)


class Shape(NamedTuple):
    """How a packed state is one of samples: how many, of how many components, and whose parts' norms count alone."""

    samples: int
    dimension: int
    groups: tuple[int, ...]
    batched: bool


@dataclass
class Fusion:
    """A right-hand side with a method: the program, and the kernels made from it so far."""

    lowered: Lowered
    tableau: Tableau
    single: bool
    groups: tuple[int, ...]
    _pullbacks: dict[Hashable, Pullback] = field(default_factory=dict)
    _slots: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _texts: dict[Hashable, str] = field(default_factory=dict)
    _libraries: dict[Hashable, Library] = field(default_factory=dict)

    def pullback(self, wanted: Wanted) -> Pullback:
        """Return the vector-Jacobian product with the gradients that are wanted."""
        if wanted not in self._pullbacks:
            self._pullbacks[wanted] = pullback(
                self.lowered.program, time=wanted.clock, shared=wanted.shared, sample=wanted.sample
            )
        return self._pullbacks[wanted]

    def slots(self, wanted: Wanted) -> tuple[Tensor, Tensor]:
        """Return which numbers, shared and each sample's, the entries of a pass back's gradients belong to."""
        if wanted not in self._slots:
            pulled = self.pullback(wanted)
            shared, sample = gradient_slots(pulled), [slot for slot, _ in pulled.sample]
            self._slots[wanted] = torch.tensor(shared, dtype=torch.int64), torch.tensor(sample, dtype=torch.int64)
        return self._slots[wanted]

    def text(self, entry: Entry, wanted: Wanted | None = None) -> str:
        """Return the source of a kernel."""
        if (entry, wanted) not in self._texts:
            kernel = Kernel(
                entry, self.lowered.program, self.tableau, self.single, self.groups,
                None if wanted is None else self.pullback(wanted), clock_too=wanted is not None and wanted.clock,
            )  # fmt: skip
            self._texts[entry, wanted] = source(kernel, vector_functions=vector_functions())
        return self._texts[entry, wanted]

    def kernels(self, entry: Entry, wanted: Wanted | None) -> tuple[Library, Library | None]:
        """Return the kernel of a solve, and that of its pass back where gradients are wanted, compiled if need be."""
        keys: list[tuple[Entry, Wanted | None]] = [(entry, None)] + ([] if wanted is None else [("pull", wanted)])
        missing = [key for key in keys if key not in self._libraries]
        if missing:
            made = libraries([self.text(*key) for key in missing])
            self._libraries.update(zip(missing, made, strict=True))
        return self._libraries[keys[0]], self._libraries[keys[1]] if wanted is not None else None

    def at_hand(self, entry: Entry, wanted: Wanted | None) -> bool:
        """Whether no kernel need be compiled."""
        keys: list[tuple[Entry, Wanted | None]] = [(entry, None)] + ([] if wanted is None else [("pull", wanted)])
        missing = [key for key in keys if key not in self._libraries]
        return not missing or is_kept([self.text(*key) for key in missing])


class Wanted(NamedTuple):
    """Which gradients are asked for beside that of the initial state: slots of numbers, and the clock."""

    shared: frozenset[int]
    sample: frozenset[int]
    clock: bool


class Prepared(NamedTuple):
    """A solve that can be fused: the program and what it is to be run on."""

    fusion: Fusion
    shape: Shape
    recorded: Recorded
    entry: Entry
    wanted: Wanted | None

    @property
    def at_hand(self) -> bool:
        """Whether its kernels need not be compiled."""
        return self.fusion.at_hand(self.entry, self.wanted)


_fusions: OrderedDict[Hashable, tuple[Fusion, Shape]] = OrderedDict()
_lock = threading.Lock()


def prepare(problem: Problem, plan: Plan, aca: ACA | None) -> Prepared:
    """Record the right-hand side and find its program.

    Raises
    ------
    Unsupported
        If this problem cannot be fused; the caller then solves without.
    """
    tableau = _check(problem, plan)
    fusion, shape, recorded = _fusion(problem, tableau)
    entry: Entry = "walk_grid" if problem.grid is not None else "walk" if problem.per_sample else "walk_shared"
    if entry == "walk_shared" and shape.samples == 1:
        entry = "walk"
    return Prepared(fusion, shape, recorded, entry, _wanted(problem, plan, aca, recorded, fusion.lowered))


def _check(problem: Problem, plan: Plan) -> Tableau:
    """Refuse what kernels do not do."""
    y0, steps = problem.y0, problem.steps
    if not isinstance(problem.tableau, Tableau):
        raise Unsupported(f"the method {problem.tableau.name} is not an explicit Runge-Kutta method")
    if y0.dtype not in _DTYPES:
        raise Unsupported(f"states of {str(y0.dtype).removeprefix('torch.')} are not fused")
    if y0.device.type != "cpu":
        raise Unsupported(f"kernels for {y0.device.type} are not there yet")
    if plan.recorder is not None:
        raise Unsupported("`record` looks at every step")
    if plan.detector is not None or plan.round_watch is not None:
        raise Unsupported("events look at every step")
    if plan.monitor is not None or plan.max_seconds < math.inf:
        raise Unsupported("`monitor` and `max_seconds` ask after each step")
    if forward_ad._current_level >= 0:
        raise Unsupported("derivatives in forward mode are asked for")
    if torch.is_inference_mode_enabled() or y0.is_inference():
        raise Unsupported("tensors of inference mode take part")
    if steps is not None:
        if type(steps.controller) is not Controller:
            raise Unsupported("the controller is the user's own")
        if isinstance(steps.norm, UserNorm):
            raise Unsupported("the norm is the user's own")
        if steps.left is not None:
            raise Unsupported("samples have numbers of attempts of their own")
    return problem.tableau


def _fusion(problem: Problem, tableau: Tableau) -> tuple[Fusion, Shape, Recorded]:
    """Record the right-hand side, and return its program, made once for all records that are equal."""
    t, y0, f = problem.t[0].detach(), problem.y0.detach(), problem.dynamics.f
    if isinstance(f, nn.Module):
        _refuse_hooks(f.modules())
    recorded = record(problem.dynamics, t, y0)
    key = recorded.tape, id(tableau), problem.per_sample, problem.dynamics.packing, code_of(f)
    with _lock:
        made = _fusions.get(key)
        if made is not None:
            _fusions.move_to_end(key)
            return *made, recorded
    _refuse_hooks(problem.referred.modules)
    first = record(problem.dynamics, t, y0)
    again = record(problem.dynamics, t, y0)
    if first.tape != again.tape or any(place.differs for place in problem.referred.places):
        raise Unsupported("the right-hand side changes something of its own at every call")
    found = _lowered(problem, tableau, recorded)
    with _lock:
        _fusions[key] = found
        if len(_fusions) > _REMEMBERED:
            _fusions.popitem(last=False)
    return *found, recorded


def _refuse_hooks(modules: Iterable[nn.Module]) -> None:
    if Hooks.of(modules).modules:
        raise Unsupported("a module of the right-hand side has backward hooks")


def _lowered(problem: Problem, tableau: Tableau, recorded: Recorded) -> tuple[Fusion, Shape]:
    """Return the program of a record: of a batch of samples if it can be one, else of one sample."""
    failure: Unsupported | None = None
    for shape in dict.fromkeys((_shape(problem, batched=True), _shape(problem, batched=False))):
        if shape.dimension > _MOST_COMPONENTS:
            failure = failure or Unsupported(f"a state of {shape.dimension} components is too large")
            continue
        try:
            lowered = lower(recorded.tape, batch=shape.batched)
        except Unsupported as error:
            failure = failure or error
            continue
        return Fusion(lowered, tableau, problem.y0.dtype == torch.float32, shape.groups), shape
    assert failure is not None
    raise failure


def _shape(problem: Problem, *, batched: bool) -> Shape:
    """Return how a state is seen: as a batch of samples, where it is or looks like one, or as one sample."""
    shape, packing = problem.y0.shape, problem.dynamics.packing
    sizes = [math.prod(part) for part in packing.shapes]
    if problem.per_sample:
        bounds = _bounds(sizes)
        return Shape(shape[0], bounds[-1], bounds, batched=shape[0] > 1)
    if batched and packing.keys is None and len(shape) >= 2 and shape[0] > 1:
        return Shape(shape[0], sizes[0] // shape[0], (0, sizes[0] // shape[0]), batched=True)
    rows = [part[0] if len(part) >= 2 else 1 for part in packing.shapes]
    norms = [size // count for size, count in zip(sizes, rows, strict=True) for _ in range(count)]
    return Shape(1, sum(sizes), _bounds(norms), batched=False)


def _bounds(sizes: list[int]) -> tuple[int, ...]:
    bounds = [0]
    for size in sizes:
        bounds.append(bounds[-1] + size)
    return tuple(bounds)


def _wanted(problem: Problem, plan: Plan, aca: ACA | None, recorded: Recorded, lowered: Lowered) -> Wanted | None:
    """Return the gradients that are asked for; None without any."""
    if not torch.is_grad_enabled():
        return None
    times = [problem.t] if problem.grid is None else [problem.t, *problem.grid]
    clock = any(part.requires_grad for part in times)
    inputs = recorded.inputs
    if not (clock or problem.y0.requires_grad or any(x.requires_grad for x in inputs)):
        return None
    if aca is None:
        raise Unsupported("of gradients, only gradient='aca' is fused")
    if aca.memory == "graph" or aca.checkpoints is not None or aca.parallel is True:
        raise Unsupported("ACA's options memory='graph', checkpoints and parallel=True are not fused")
    if plan.dense:
        raise Unsupported("gradients of a dense solution are not fused")
    shared = (range(s.offset, s.offset + s.size) for s in lowered.shared if inputs[s.input].requires_grad)
    sample = (range(s.offset, s.offset + s.size) for s in lowered.sample if inputs[s.input].requires_grad)
    return Wanted(frozenset(x for part in shared for x in part), frozenset(x for part in sample for x in part), clock)


def solve_prepared(problem: Problem, plan: Plan, prepared: Prepared) -> Outcome:
    """Solve by the kernels of a prepared problem, compiled now where they are not at hand.

    Raises
    ------
    Unsupported
        If a compiler fails.
    """
    fusion, shape = prepared.fusion, prepared.shape
    forward, back = fusion.kernels(prepared.entry, prepared.wanted)
    recorded, lowered, dtype = prepared.recorded, fusion.lowered, problem.y0.dtype
    y0 = problem.y0.reshape(shape.samples, shape.dimension)
    shared = pack_shared(lowered, recorded.inputs, recorded.numbers, dtype)
    sample = pack_sample(lowered, recorded.inputs, dtype) if lowered.sample else y0.new_empty(shape.samples, 0)
    posed = Posed(
        y0.detach().contiguous(), problem.t.detach(), shared.detach().contiguous(), sample.detach().contiguous(),
        problem.per_sample or shape.samples == 1,
    )  # fmt: skip
    wanted = prepared.wanted
    nodes, dense = wanted is not None or plan.dense, fusion.tableau.interpolant_terms if plan.dense else 0
    outputs = len(problem.t)
    if problem.grid is not None:
        walked = walk_grid(forward, posed, problem.grid, outputs=outputs, nodes=nodes, dense=dense)
    else:
        assert problem.steps is not None
        steps = problem.steps
        walked = walk(
            forward, posed, steps, outputs=outputs, nodes=nodes, dense=dense, progress=plan.progress,
            tolerances=(_tolerance(steps.rtol, problem, shape), _tolerance(steps.atol, problem, shape)),
        )  # fmt: skip
    steps_taken = StepsTaken(walked, problem.per_sample)
    problem.dynamics.calls.count += _evaluations(problem, walked)
    if problem.grid is not None and plan.progress is not None:
        plan.progress(1.0)
    found = walked.outputs
    if back is not None and wanted is not None:
        slots = fusion.slots(wanted)
        pass_back = PassBack(
            problem, back, posed, steps_taken, lowered.program, recorded.inputs, *slots, fusion.tableau.stages
        )  # fmt: skip
        found = differentiable(pass_back, y0, shared, sample, found)
    states = found.reshape(outputs, *problem.y0.shape)
    moves = wanted is not None and wanted.clock and times_move(problem.t) and not problem.to_outputs
    if moves and walked.longest:
        grid = problem.grid if problem.grid is not None else adaptive_clock(problem.t, steps_taken.clock())
        states = moving_with_times(problem, problem.t, grid, states, whole=True)
    table = step_table(steps_taken, problem.y0.shape, problem.direction) if plan.dense else None
    return Outcome(states, steps_taken, table)


def _evaluations(problem: Problem, walked: Walked) -> int:
    """Return how often the right-hand side was evaluated: where samples differ, by the one that took most attempts."""
    tableau, steps = problem.tableau, problem.steps
    if steps is None:
        return 1 + walked.longest * tableau.stages
    attempts = int((walked.accepted + walked.rejected).max())
    return 1 + (steps.first_step is None) + attempts * tableau.stages


@lru_cache(maxsize=256)
def _filled(value: float, size: int, dtype: torch.dtype) -> Tensor:
    return torch.full((size,), value, dtype=dtype)


def _tolerance(value: Tensor | float, problem: Problem, shape: Shape) -> Tensor:
    """Return a tolerance of each component of a sample."""
    if not isinstance(value, Tensor):
        return _filled(value, shape.dimension, problem.y0.dtype)
    of_state = problem.y0.shape[1:] if shape.batched or problem.per_sample else problem.y0.shape
    if value.ndim > len(of_state):
        if value.shape[0] != 1:
            raise Unsupported("samples have tolerances of their own")
        value = value[0]
    return value.detach().to(problem.y0.dtype).expand(of_state).reshape(-1).contiguous()
