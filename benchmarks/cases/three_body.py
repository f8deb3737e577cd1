"""Three bodies, preset aca: dopri5, rtol = atol = 1e-5, 1000 outputs in [0, 1].

Batches start from the preset's state, slightly perturbed. Gradients: in the masses and in the initial states.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

import physode as po
from benchmarks.agreement import Bounds, reference
from benchmarks.costs import Cost, refusal
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.memory import available_bytes
from benchmarks.peers import Peer, physode, torch_diff_eq_pack, torchdiffeq, torchode
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Report, heat_section
from benchmarks.task import Answer, Task, Twin

__all__ = ["contestants", "heat", "problem", "run"]

_G = 0.20048437269236732
_K = 7.239323869320315


def run(settings: Settings) -> Report:
    """Race over batch sizes and precisions, each size foretold from the one before."""
    heats = []
    batches = (1, 100) if settings.quick else (1, 100, 1000, 10_000)
    for dtype in (torch.float32,) if settings.quick else (torch.float32, torch.float64):
        for gradient in (True, False):
            before: Heat | None = None
            for number, batch in enumerate(batches):
                if settings.only and settings.only not in title(batch, dtype, gradient):
                    continue
                factor = batch / batches[number - 1] if number else 1.0
                before = heat(settings, batch, dtype, gradient=gradient, before=before, factor=factor)
                heats.append(before)
    notes = (
        "For the batch, physode (unless it says `per-sample`), torchdiffeq and TorchDiffEqPack have one step size; "
        "torchode and diffrax (unless it says `shared steps`) have one a sample. With one step size physode holds "
        "every sample to the tolerance, the others (and physode's `mean norm`) their mean: fewer steps, larger errors. "
        "Adjoint methods are left out: integrated back through a close encounter, their gradients are wrong. "
        "TorchDiffEqPack's ACA gives the end state only, so its graph of accepted steps runs here. Errors are "
        "relative to a solution at a tenthousandth of the tolerance (B = 10,000: to the first contestant)."
    )
    return Report("\n\n".join([notes, *map(heat_section, heats)]), lambda: bars(heats))


def title(batch: int, dtype: torch.dtype, gradient: bool, end_only: bool = False) -> str:
    """Return a heat's title."""
    what = "forward and gradient" if gradient else "forward"
    end = ", end state" if end_only else ""
    return f"B = {batch:,}, {str(dtype).removeprefix('torch.')}{end}: {what}"


def heat(
    settings: Settings,
    batch: int,
    dtype: torch.dtype,
    *,
    gradient: bool = True,
    peers: Sequence[Peer] | None = None,
    before: Heat | None = None,
    factor: float = 1.0,
    end_only: bool = False,
) -> Heat:
    """Race one batch size and precision, leaving out who could not finish, judged by a smaller race before."""
    task = problem(batch, dtype, end_only=end_only)
    chosen = contestants(batch) if peers is None else peers
    refused = {}
    for peer in chosen if before else ():
        placing = before.find(peer.name) if before else None
        if placing is not None and placing.peak is not None:
            cost = Cost(placing.median, placing.peak).times(factor)
            reason = refusal(cost, longest=settings.longest, available=available_bytes())
            if reason:
                refused[peer.name] = f"{peer.name}: left out, {reason}"
    found = race(
        title(batch, dtype, gradient, end_only),
        task,
        [peer for peer in chosen if peer.name not in refused],
        settings,
        gradient=gradient,
        check=tight_check(min(batch, 100), dtype, gradient, end_only),
        right=right_answer(batch, gradient, end_only) if batch <= 1000 else None,
        bounds=Bounds(1.0, 100.0),  # at this tolerance close encounters are far off: see the errors reported
        peaks=batch == 1000 and peers is None,
    )
    for note in refused.values():
        settings.say(f"  {note}")
    return Heat(found.title, found.placings, (*found.notes, *refused.values()))


def right_answer(batch: int, gradient: bool, end_only: bool = False) -> Answer:
    """Return the answer at a tenthousandth of the tolerance."""
    found = _right_gradient(batch, end_only)
    return found if gradient else found._replace(gradients=())


@cache
def _right_gradient(batch: int, end_only: bool) -> Answer:
    return reference(problem(batch, torch.float64, tol=1e-9, end_only=end_only), True)


@cache
def tight_check(batch: int, dtype: torch.dtype, gradient: bool, end_only: bool = False) -> Check:
    """Return the task on which all must agree: at a hundredth of the tolerance, in the precision that is timed."""
    right = right_answer(batch, gradient, end_only)
    return Check(problem(batch, dtype, 1e-7, end_only=end_only), right, Bounds(1e-2, 1e-1))


def contestants(batch: int) -> list[Peer]:
    """Return who runs at a batch size."""
    ours = [physode(), physode(compiled=True)]
    if batch == 1:
        ours += [physode(po.ACA(parallel=False), name="physode aca, one by one"), physode("naive")]
        return [*ours, torchdiffeq(), torch_diff_eq_pack(), torchode(), diffrax()]
    per_sample: dict[str, Any] = {"step_control": "per-sample"}
    ours += [physode(mean_norm=True), physode(compiled=True, mean_norm=True)]
    ours += [physode(**per_sample), physode(compiled=True, **per_sample)]
    return [*ours, torchdiffeq(), torch_diff_eq_pack(), torchode(), diffrax(), diffrax(shared=True)]


def problem(batch: int, dtype: torch.dtype, tol: float = 1e-5, *, end_only: bool = False) -> Task:
    """Return the task: one trajectory ``(18,)``, or a batch of them; 1000 outputs, or the end state."""
    preset = po.rhs.ThreeBody.find_preset("aca")
    system = po.rhs.ThreeBody.from_preset("aca", masses=[1.0, 1.0, 1.0], learnable=True).to(dtype)
    y0 = torch.tensor(preset.y0, dtype=torch.float64)
    if batch > 1:
        y0 = y0 + 1e-3 * torch.randn(batch, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Task(
        f=system,
        params=tuple(system.parameters()),
        y0=y0.to(dtype).requires_grad_(),
        t=torch.linspace(0.0, 1.0, 2 if end_only else 1000, dtype=dtype),
        tol=tol,
        end_only=end_only,
        twin=Twin(_in_jax),
    )


def _in_jax(t: Any, y: Any, params: Any) -> Any:
    import jax.numpy as jnp

    (masses,) = params
    r, v = y[..., :9].reshape(*y.shape[:-1], 3, 3), y[..., 9:]
    d = r[..., None, :, :] - r[..., :, None, :]
    eye = jnp.eye(3, dtype=y.dtype)
    q = (d * d).sum(-1) + eye
    weight = masses * (1 - eye) / (q * jnp.sqrt(q))
    a = _G * (weight[..., None] * d).sum(-2)
    return jnp.concatenate([_K * v, a.reshape(v.shape)], -1)
