"""From a problem and a plan to an outcome, by a kernel."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from physode.fused import cuda
from physode.fused.backward import PassBack, differentiable
from physode.fused.checking import check
from physode.fused.coefficients import FusedMethod, evaluations, interpolant_terms, most_components
from physode.fused.forward import Posed, Walked, walk, walk_grid
from physode.fused.fusion import Fusion, Wanted
from physode.fused.inputs import pack_sample, pack_shared
from physode.fused.kernel import Entry
from physode.fused.launch import Entries
from physode.fused.lowering import Lowered, lower
from physode.fused.recording import Recorded, record
from physode.fused.seeds import Moving
from physode.fused.steps import StepsTaken, step_table
from physode.fused.unsupported import Unsupported
from physode.gradients.aca import ACA
from physode.gradients.output_times import moving_with_times
from physode.gradients.outputs import Outcome, adaptive_clock, times_move
from physode.problem.problem import Problem, UserNorm
from physode.problem.references import code_of
from physode.rhs_state import Hooks
from physode.solvers.driver import Plan
from physode.solvers.implicit.jacobian import structure_for
from physode.solvers.implicit.rosenbrock import Rosenbrock
from physode.solvers.step_control import Controller
from physode.solvers.symplectic.splitting import Splitting

__all__ = ["Prepared", "check_repeatable", "fused", "pack", "prepare", "solve_prepared", "walk_packed"]

_REMEMBERED = 256  # programs
_DTYPES = (torch.float32, torch.float64)


class Shape(NamedTuple):
    """How a packed state is one of samples: how many, of how many components, and whose parts' norms count alone."""

    samples: int
    dimension: int
    groups: tuple[int, ...]
    batched: bool


class Prepared(NamedTuple):
    """A solve that can be fused: the program and what it is to be run on."""

    fusion: Fusion
    shape: Shape
    recorded: Recorded
    entry: Entry
    device: torch.device
    wanted: Wanted | Moving | None = None

    @property
    def at_hand(self) -> bool:
        """Whether its kernels need not be compiled."""
        return self.fusion.at_hand(self.entry, self.wanted, self.device)


_fusions: OrderedDict[Hashable, tuple[Fusion, Shape]] = OrderedDict()
_lock = threading.Lock()


def prepare(problem: Problem, plan: Plan, aca: ACA | None) -> Prepared:
    """Record the right-hand side and find its program.

    Raises
    ------
    Unsupported
        If this problem cannot be fused; the caller then solves without.
    """
    prepared = fused(problem, plan)
    prepared = prepared._replace(wanted=_wanted(problem, plan, aca, prepared.recorded, prepared.fusion.lowered))
    if problem.y0.device.type == "cuda":
        _check_gpu(prepared)
    return prepared


def fused(problem: Problem, plan: Plan) -> Prepared:
    """Record the right-hand side and find its program, for a solve without derivatives.

    Raises
    ------
    Unsupported
        If this problem cannot be fused.
    """
    fusion, shape, recorded = _fusion(problem, _check(problem, plan))
    entry: Entry = "walk_grid" if problem.grid is not None else "walk" if problem.per_sample else "walk_shared"
    if entry == "walk_shared" and shape.samples == 1:
        entry = "walk"
    return Prepared(fusion, shape, recorded, entry, problem.y0.device)


def _check_gpu(prepared: Prepared) -> None:
    """Refuse what kernels for a GPU do not do."""
    fusion, wanted = prepared.fusion, prepared.wanted
    if prepared.entry == "walk_shared":
        raise Unsupported("on a GPU, samples that share one step size are not fused; those with steps of their own are")
    cuda.gpu(prepared.device)
    cuda.check_program(fusion.lowered.program)
    if isinstance(wanted, Wanted):
        size = 4 if fusion.single else 8
        cuda.check_gradients(prepared.device, prepared.shape.samples, len(wanted.shared), size)


def check_repeatable(problem: Problem, plan: Plan, aca: ACA | None) -> None:
    """Raise ``Unsupported`` where evaluations leave traces, or nothing of the kind is fused: after one of them."""
    _check(problem, plan)
    _asks_for(problem, plan, aca)
    _refuse_traces(problem, times=1)


def _refuse_traces(problem: Problem, *, times: int) -> None:
    """Refuse a right-hand side whose evaluations change what it refers to, or what they do; they are not counted."""
    _refuse_hooks(problem.referred.modules)
    calls, t, y0 = problem.dynamics.calls.count, problem.t[0].detach(), problem.y0.detach()
    tapes = {record(problem.dynamics, t, y0).tape for _ in range(times)}
    problem.dynamics.calls.count = calls
    if len(tapes) > 1 or any(place.differs for place in problem.referred.places):
        raise Unsupported("the right-hand side changes something of its own at every call")


def _check(problem: Problem, plan: Plan) -> FusedMethod:
    """Refuse what kernels do not do."""
    y0, steps = problem.y0, problem.steps
    if not isinstance(problem.tableau, FusedMethod):
        raise Unsupported(f"steps of the method {problem.tableau.name} are not fused")
    if isinstance(problem.tableau, Rosenbrock):
        _check_jacobian(problem)
    if y0.dtype not in _DTYPES:
        raise Unsupported(f"states of {str(y0.dtype).removeprefix('torch.')} are not fused")
    if y0.device.type not in ("cpu", "cuda"):
        raise Unsupported(f"there are no kernels for {y0.device.type}")
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


def _check_jacobian(problem: Problem) -> None:
    """Refuse what is known of a Jacobian but not by its right-hand side."""
    if problem.dynamics.jac is not None:
        raise Unsupported("the Jacobian is the user's own")
    if structure_for(problem.dynamics).kind in ("diagonal", "banded"):
        raise Unsupported("systems with banded matrices are not fused")


def _fusion(problem: Problem, method: FusedMethod) -> tuple[Fusion, Shape, Recorded]:
    """Record the right-hand side, and return its program, made once for all records that are equal."""
    t, y0, f = problem.t[0].detach(), problem.y0.detach(), problem.dynamics.f
    if isinstance(f, nn.Module):
        _refuse_hooks(f.modules())
    recorded = record(problem.dynamics, t, y0)
    key = recorded.tape, id(method), problem.per_sample, problem.dynamics.packing, code_of(f)
    with _lock:
        made = _fusions.get(key)
        if made is not None:
            _fusions.move_to_end(key)
            return *made, recorded
    _refuse_traces(problem, times=2)
    found = _lowered(problem, method, recorded)
    with _lock:
        _fusions[key] = found
        if len(_fusions) > _REMEMBERED:
            _fusions.popitem(last=False)
    return *found, recorded


def _refuse_hooks(modules: Iterable[nn.Module]) -> None:
    if Hooks.of(modules).modules:
        raise Unsupported("a module of the right-hand side has backward hooks")


def _lowered(problem: Problem, method: FusedMethod, recorded: Recorded) -> tuple[Fusion, Shape]:
    """Return the program of a record: of a batch of samples if it can be one, else of one sample."""
    failure: Unsupported | None = None
    for shape in dict.fromkeys((_shape(problem, batched=True), _shape(problem, batched=False))):
        if shape.dimension > most_components(method):
            failure = failure or Unsupported(f"a state of {shape.dimension} components is too large")
            continue
        if isinstance(method, Splitting) and shape.dimension != problem.y0.shape[-1]:
            failure = failure or Unsupported("positions and momenta alternate in a state")
            continue
        try:
            lowered = lower(recorded.tape, batch=shape.batched)
        except Unsupported as error:
            failure = failure or error
            continue
        calls = problem.dynamics.calls.count
        t, y0 = problem.t[0].detach(), problem.y0.detach()
        check(lowered, recorded, problem.dynamics, t, y0, batch=shape.batched)
        problem.dynamics.calls.count = calls
        return Fusion(lowered, method, problem.y0.dtype == torch.float32, shape.groups), shape
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


def _asks_for(problem: Problem, plan: Plan, aca: ACA | None, inputs: Sequence[Tensor] = ()) -> bool:
    """Whether gradients are asked for; refuse those that kernels do not give."""
    asked = problem.clock_requires_grad or any(x.requires_grad for x in (problem.y0, *inputs))
    if not (asked and torch.is_grad_enabled()):
        return False
    if aca is None:
        raise Unsupported("of gradients, only gradient='aca' is fused")
    if aca.memory == "graph" or aca.checkpoints is not None or aca.parallel is True:
        raise Unsupported("ACA's options memory='graph', checkpoints and parallel=True are not fused")
    if plan.dense:
        raise Unsupported("gradients of a dense solution are not fused")
    return True


def _wanted(problem: Problem, plan: Plan, aca: ACA | None, recorded: Recorded, lowered: Lowered) -> Wanted | None:
    """Return the gradients that are asked for; None without any."""
    inputs = recorded.inputs
    if not _asks_for(problem, plan, aca, inputs):
        return None
    shared = (range(s.offset, s.offset + s.size) for s in lowered.shared if inputs[s.input].requires_grad)
    sample = (range(s.offset, s.offset + s.size) for s in lowered.sample if inputs[s.input].requires_grad)
    return Wanted(
        frozenset(x for part in shared for x in part),
        frozenset(x for part in sample for x in part),
        problem.clock_requires_grad,
    )


def solve_prepared(problem: Problem, plan: Plan, prepared: Prepared) -> Outcome:
    """Solve by the kernels of a prepared problem, compiled now where they are not at hand.

    Raises
    ------
    Unsupported
        If a compiler fails.
    """
    wanted, recorded, fusion = prepared.wanted, prepared.recorded, prepared.fusion
    forward, back = fusion.kernels(prepared.entry, wanted, prepared.device)
    packed = pack(problem, prepared)
    steps_taken = walk_packed(problem, plan, prepared, forward, packed, nodes=wanted is not None or plan.dense)
    walked = steps_taken.walked
    found = walked.outputs
    if back is not None and isinstance(wanted, Wanted):
        slots = fusion.slots(wanted, prepared.device)
        pass_back = PassBack(
            problem, back, packed.posed, steps_taken, fusion.lowered.program, recorded.inputs, *slots,
            evaluations(fusion.method), bool(fusion.pullbacks(wanted).places.matrices),
        )  # fmt: skip
        found = differentiable(pass_back, packed.y0, packed.shared, packed.sample, found)
    states = found.reshape(len(found), *problem.y0.shape)
    moves = isinstance(wanted, Wanted) and wanted.clock and times_move(problem.t) and not problem.to_outputs
    if moves and walked.longest:
        grid = problem.grid if problem.grid is not None else adaptive_clock(problem.t, steps_taken.clock())
        states = moving_with_times(problem, problem.t, grid, states, whole=True)
    problem.engine.fused = True
    table = step_table(steps_taken, problem.y0.shape, problem.direction) if plan.dense else None
    return Outcome(states, steps_taken, table)


class Packed(NamedTuple):
    """What a kernel solves, and the same with graphs: initial states (samples, D) and numbers (P,), (samples, Q)."""

    posed: Posed
    y0: Tensor
    shared: Tensor
    sample: Tensor


def pack(problem: Problem, prepared: Prepared) -> Packed:
    """Lay out a problem's states and numbers as kernels take them."""
    shape, recorded, lowered, dtype = prepared.shape, prepared.recorded, prepared.fusion.lowered, problem.y0.dtype
    y0 = problem.y0.reshape(shape.samples, shape.dimension)
    shared = pack_shared(lowered, recorded.inputs, recorded.numbers, y0)
    sample = pack_sample(lowered, recorded.inputs, dtype) if lowered.sample else y0.new_empty(shape.samples, 0)
    posed = Posed(
        y0.detach().contiguous(), problem.t.detach(), shared.detach().contiguous(), sample.detach().contiguous(),
        problem.per_sample or shape.samples == 1,
    )  # fmt: skip
    return Packed(posed, y0, shared, sample)


def walk_packed(
    problem: Problem, plan: Plan, prepared: Prepared, kernel: Entries, packed: Packed, *, nodes: bool
) -> StepsTaken:
    """Take the steps; ``nodes``: whether the states at their starts are kept."""
    shape, posed, method, outputs = prepared.shape, packed.posed, prepared.fusion.method, len(problem.t)
    dense = interpolant_terms(method) if plan.dense else 0
    if problem.grid is not None:
        walked = walk_grid(kernel, posed, problem.grid, outputs=outputs, nodes=nodes, dense=dense)
    else:
        assert problem.steps is not None
        steps = problem.steps
        walked = walk(
            kernel, posed, steps, outputs=outputs, nodes=nodes, dense=dense, progress=plan.progress,
            tolerances=(_tolerance(steps.rtol, problem, shape), _tolerance(steps.atol, problem, shape)),
        )  # fmt: skip
    problem.dynamics.calls.count += _evaluations(problem, walked, evaluations(method))
    if problem.grid is not None and plan.progress is not None:
        plan.progress(1.0)
    return StepsTaken(walked, problem.per_sample)


def _evaluations(problem: Problem, walked: Walked, a_step: int) -> int:
    """Return how often the right-hand side was evaluated: where samples differ, by the one that took most attempts."""
    steps = problem.steps
    if steps is None:
        return 1 + walked.longest * a_step
    attempts = int((walked.accepted + walked.rejected).max())
    return 1 + (steps.first_step is None) + attempts * a_step


@lru_cache(maxsize=256)
def _filled(value: float, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((size,), value, dtype=dtype, device=device)


def _tolerance(value: Tensor | float, problem: Problem, shape: Shape) -> Tensor:
    """Return a tolerance of each component of a sample."""
    if not isinstance(value, Tensor):
        return _filled(value, shape.dimension, problem.y0.dtype, problem.y0.device)
    of_state = problem.y0.shape[1:] if shape.batched or problem.per_sample else problem.y0.shape
    if value.ndim > len(of_state):
        if not bool((value == value[:1]).all()):
            raise Unsupported("samples have tolerances of their own")
        value = value[0]
    return value.detach().to(problem.y0).expand(of_state).reshape(-1).contiguous()
