"""Right-hand sides held against PyTorch's own autograd: values, and derivatives both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.fused.differentiation import Pullback, jacobian, pullback, pushforward
from physode.fused.evaluation import evaluate
from physode.fused.inputs import pack_sample, pack_shared
from physode.fused.lowering import Lowered, lower
from physode.fused.recording import Recorded, record
from physode.problem.dynamics import Dynamics
from physode.problem.packing import Packing
from physode.problem.problem import make_dynamics


class Case(NamedTuple):
    recorded: Recorded
    lowered: Lowered
    time: Tensor  # as f takes it
    y: Tensor


def dynamics_of(f: Callable[..., Any], y: Any, args: Sequence[Any] = (), *, per_sample: bool = False) -> Dynamics:
    packing = Packing.of(y, per_sample=per_sample)
    packed = packing.pack(y)
    times = torch.tensor([0.0, 2.0], dtype=torch.float64)
    if per_sample:
        times = times[:, None].expand(2, len(packed))
    return make_dynamics(f, tuple(args), packing, packed, times, drawing=False)


def lowered(
    f: Callable[..., Any], y: Tensor, args: Sequence[Any] = (), *, batch: bool = True, own_times: bool = False
) -> Case:
    dynamics = dynamics_of(f, y, args, per_sample=own_times)
    t = 0.3 + torch.rand(len(y), dtype=torch.float64) if own_times else torch.tensor(0.7, dtype=torch.float64)
    recorded = record(dynamics, t, y)
    return Case(recorded, lower(recorded.tape, batch=batch), dynamics.time(t), y)


def hold(
    f: Callable[..., Any],
    y: Tensor,
    args: Sequence[Tensor] = (),
    *,
    batch: bool = True,
    own_times: bool = False,
    derivatives: bool = True,
    tolerance: float = 1e-9,
) -> Lowered:
    """Compare a right-hand side's program with it, and its derivatives with PyTorch's."""
    case = lowered(f, y, args, batch=batch, own_times=own_times)
    recorded, program = case.recorded, case.lowered.program
    rows = len(y) if batch else 1
    leaves: dict[Any, Tensor] = {
        "state": y.detach().reshape(rows, -1),
        "time": case.time.detach().reshape(-1, 1).expand(rows, 1),
        "shared": pack_shared(case.lowered, recorded.inputs, recorded.numbers, y),
    }
    if case.lowered.sample:
        leaves["sample"] = pack_sample(case.lowered, recorded.inputs, y.dtype)
    numbers = {kind: leaf.detach() for kind, leaf in leaves.items()}
    value = evaluate(program.nodes, numbers, program.outputs).expand(rows, -1)
    torch.testing.assert_close(
        value.reshape(y.shape), f(case.time, y, *args).detach(), rtol=tolerance, atol=tolerance, equal_nan=True
    )
    if derivatives:
        _hold_derivatives(f, case, leaves, args, tolerance=tolerance)
    return case.lowered


def _hold_derivatives(
    f: Callable[..., Any], case: Case, leaves: dict[Any, Tensor], args: Sequence[Tensor], *, tolerance: float
) -> None:
    program = case.lowered.program
    rows, dimension = leaves["state"].shape
    numbers = {kind: leaf.detach() for kind, leaf in leaves.items()}
    cotangent = torch.randn(rows, dimension, dtype=case.y.dtype)
    y, time = case.y.detach().requires_grad_(), case.time.detach().requires_grad_()
    wanted = [y, time, *(arg for arg in args if arg.requires_grad)]
    value = f(time, y, *args)
    by_torch = [
        torch.zeros_like(x) if gradient is None else gradient
        for x, gradient in zip(
            wanted,
            torch.autograd.grad(value, wanted, cotangent.reshape(y.shape), allow_unused=True)
            if value.requires_grad
            else [None] * len(wanted),
            strict=True,
        )
    ]
    pulled = pullback(program)
    gradients = gradients_of(pulled, {**numbers, "cotangent": cotangent})
    ours = [gradients["state"].reshape(y.shape)]
    by_time = gradients["time"]
    ours.append(by_time.reshape(time.shape) if time.numel() == rows else by_time.sum().reshape(time.shape))
    carried = [leaf for kind, leaf in leaves.items() if kind in ("shared", "sample") and leaf.requires_grad]
    given = [gradients[kind] for kind in ("shared", "sample") if kind in leaves and leaves[kind].requires_grad]
    if len(wanted) > 2:
        by_args = torch.autograd.grad(carried, wanted[2:], given, allow_unused=True) if carried else ()
        ours += [
            torch.zeros_like(x) if gradient is None else gradient
            for x, gradient in zip(wanted[2:], by_args or [None] * len(wanted[2:]), strict=True)
        ]
    for own, theirs in zip(ours, by_torch, strict=True):
        torch.testing.assert_close(own, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    _hold_pushforward(case, numbers, gradients, cotangent, tolerance=tolerance)
    _hold_jacobian(case, numbers, gradients, cotangent, tolerance=tolerance)


def gradients_of(pulled: Pullback, leaves: dict[Any, Tensor]) -> dict[str, Tensor]:
    """Evaluate a pullback, and put what it gives in its places."""
    rows = len(leaves["state"])

    def of(nodes: Sequence[int]) -> Tensor:
        return evaluate(pulled.nodes, leaves, nodes).expand(rows, -1)

    found = {"state": of(pulled.state)}
    if pulled.time is not None:
        found["time"] = of([pulled.time])
    shared = torch.zeros_like(leaves["shared"])
    if pulled.shared:
        shared[[slot for slot, _ in pulled.shared]] += of([node for _, node in pulled.shared]).sum(0)
    for part in pulled.outer:
        m = part.matrix
        elements = shared.as_strided((m.rows, m.columns), (m.by_row, m.by_column), m.offset)
        elements += of(part.rows).mT @ of(part.columns)
    found["shared"] = shared
    if "sample" in leaves:
        sample = torch.zeros_like(leaves["sample"])
        if pulled.sample:
            sample[:, [slot for slot, _ in pulled.sample]] += of([node for _, node in pulled.sample])
        found["sample"] = sample
    return found


def _hold_pushforward(
    case: Case, numbers: dict[Any, Tensor], gradients: dict[str, Tensor], cotangent: Tensor, *, tolerance: float
) -> None:
    """See that cotangents times derivatives in a direction are gradients times the direction."""
    program = case.lowered.program
    pushed = pushforward(program, shared=range(program.shared), sample=range(program.sample), time=True)
    kinds = [kind for kind in ("state", "shared", "sample", "time") if kind in numbers]
    directions = {kind: torch.randn_like(numbers[kind]) for kind in kinds}
    tangent = torch.cat([directions[kind].expand(len(cotangent), -1) for kind in kinds], -1)
    change = evaluate(pushed.nodes, {**numbers, "tangent": tangent}, pushed.tangents)
    forward = (change * cotangent).sum()
    backward = sum((directions[kind] * gradients[kind]).sum() for kind in kinds)
    torch.testing.assert_close(forward, backward, rtol=1e3 * tolerance, atol=1e3 * tolerance, equal_nan=True)


def _hold_jacobian(
    case: Case, numbers: dict[Any, Tensor], gradients: dict[str, Tensor], cotangent: Tensor, *, tolerance: float
) -> None:
    found = jacobian(case.lowered.program)
    rows, dimension = cotangent.shape
    full = cotangent.new_zeros(rows, dimension, dimension + 1)
    entries = [*found.entries, *((row, dimension, node) for row, node in found.time)]
    if entries:
        values = evaluate(found.nodes, numbers, [node for *_, node in entries]).expand(rows, -1)
        for place, (row, column, _) in enumerate(entries):
            full[:, row, column] = values[:, place]
    product = (cotangent[:, None, :] @ full)[:, 0]
    wanted = torch.cat([gradients["state"], gradients["time"]], -1)
    torch.testing.assert_close(product, wanted, rtol=1e3 * tolerance, atol=1e3 * tolerance, equal_nan=True)
