"""The contestants that run on PyTorch, one adapter each: from a task to its outputs."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

import physode as po
from benchmarks.memory import peak_bytes
from benchmarks.task import Answer, Task, Work, loss_of

__all__ = [
    "Counted",
    "Peer",
    "Runner",
    "Solved",
    "TorchRunner",
    "checkpoints",
    "on_threads",
    "on_union",
    "physode",
    "segments",
    "torch_diff_eq_pack",
    "torch_diff_eq_pack_aca",
    "torch_peer",
    "torchdiffeq",
    "torchode",
    "useful_share",
]


class Runner(Protocol):
    """A contestant with its task."""

    def run(self) -> Any:
        """Do the work once: this is timed."""

    def answer(self, result: Any) -> Answer:
        """Read what :meth:`run` gave."""

    def work(self) -> Work:
        """Do it once more and count."""

    def peak(self) -> int:
        """Return the most bytes that it holds."""


@dataclass(frozen=True)
class Peer:
    """A contestant: what it is called, the package it needs, how it takes up a task; whether it has answers at all.

    It is given ``tolerance`` times the task's tolerances: by another controller, errors are as large at others.
    """

    name: str
    package: str
    prepare: Callable[[Task, bool], Runner]
    obstacle: str | None = None
    compared: bool = True
    tolerance: float = 1.0

    @property
    def missing(self) -> str | None:
        """Why it cannot take part, or None."""
        if importlib.util.find_spec(self.package) is None:
            return f"{self.package} is not installed"
        return self.obstacle

    def held_to(self, factor: float) -> Peer:
        """Return the same contestant at a multiple of the task's tolerances, and called so."""
        return replace(self, name=f"{self.name}, tolerance x {factor:g}", tolerance=factor)


class Solved(NamedTuple):
    """Outputs ``(time, *y0.shape)``, and what the package itself says of its work."""

    y: Tensor
    work: Callable[[], Work]


Solve = Callable[[Task], Solved]


class TorchRunner:
    """A solver in PyTorch with its task: a solve without a graph, or with the gradients of the loss."""

    def __init__(self, solve: Solve, task: Task, gradient: bool, *, counts_itself: bool = False) -> None:
        self.solve, self.task, self.gradient, self.counts_itself = solve, task, gradient, counts_itself

    def run(self) -> Answer:
        return self._run(self.task)[0]

    def answer(self, result: Answer) -> Answer:
        return result

    def work(self) -> Work:
        counted = Counted(self.task.f)
        answer, solved, calls, rows = self._run(self.task if self.counts_itself else self.task.with_f(counted), counted)
        del answer
        told = solved.work()
        if self.counts_itself:
            return told
        return Work(
            calls,
            counted.calls - calls if self.gradient else None,
            rows,
            told.useful,
            counted.accepted or told.accepted,
            counted.rejected if counted.accepted else told.rejected,
        )

    def peak(self) -> int:
        return peak_bytes(self.run)

    def _run(self, task: Task, counted: Counted | None = None) -> tuple[Answer, Solved, int, int]:
        def counts() -> tuple[int, int]:
            return (counted.calls, counted.rows) if counted else (0, 0)

        if not self.gradient:
            with torch.no_grad():
                solved = self.solve(task)
            return Answer(task.kept(solved.y), ()), solved, *counts()
        solved = self.solve(task)
        outputs = task.kept(solved.y)
        seen = counts()
        gradients = torch.autograd.grad(loss_of(outputs), task.wrt)
        return Answer(outputs.detach(), gradients), solved, *seen


def torch_peer(name: str, package: str, solve: Solve, **options: Any) -> Peer:
    """Return a peer of a solve function."""
    obstacle = options.pop("obstacle", None)
    return Peer(name, package, lambda task, gradient: TorchRunner(solve, task, gradient, **options), obstacle)


def physode(
    gradient: Any = "aca", *, name: str = "", compiled: bool = False, mean_norm: bool = False, **options: Any
) -> Peer:
    """Return physode with the gradient method and other arguments of its ``solve``.

    ``mean_norm``: one mean over the whole batch judges the error, as in torchdiffeq, not its hardest sample.
    """
    label = name or f"physode {gradient}"
    label += ", per-sample" if options.get("step_control") == "per-sample" else ""
    label += ", mean norm" if mean_norm else ""
    label += ", compiled" if compiled else ""
    options["compile"] = compiled
    if mean_norm:
        options["norm"] = _mean_norm

    def solve(task: Task) -> Solved:
        found = po.solve(
            task.f, task.y0, task.t, method=task.method, rtol=task.tol, atol=task.absolute, gradient=gradient, **options
        )
        return Solved(found.y, lambda: _work_of(found.stats, task, compiled))

    return torch_peer(label, "physode", solve, counts_itself=compiled)


def checkpoints(**options: Any) -> Peer:
    """Return physode by ACA with every step's graph recomputed, none kept from the forward pass."""
    return physode(po.ACA(memory="checkpoint"), name="physode aca, checkpoints", **options)


def segments(count: int, **options: Any) -> Peer:
    """Return physode by ACA with few checkpoints, the segments between them walked again."""
    return physode(po.ACA(checkpoints=count), name=f"physode aca, {count} checkpoints", **options)


def _mean_norm(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def _work_of(stats: Any, task: Task, compiled: bool) -> Work:
    accepted, rejected = (float(part.double().mean()) for part in (stats.accepted, stats.rejected))
    if compiled and stats.accepted.ndim:  # samples do not wait for each other: calls are those of the longest
        return Work(stats.rhs_forward, stats.rhs_backward, None, None, accepted, rejected)
    rows = stats.rhs_forward * (len(task.y0) if task.y0.ndim > 1 else 1)
    return Work(stats.rhs_forward, stats.rhs_backward, rows, useful_share(stats.attempts), accepted, rejected)


def useful_share(attempts: Tensor) -> float:
    """Return the mean over samples of their attempts over those of the last one to arrive."""
    return float(attempts.double().mean() / attempts.max().clamp(min=1))


def _nothing() -> Work:
    return Work()


_TORCHDIFFEQ = {"dopri5": "dopri5", "heun_euler": "adaptive_heun"}


def torchdiffeq(*, adjoint: bool = False) -> Peer:
    """Return torchdiffeq: back-propagation through the solver (naive), or its adjoint method."""

    def solve(task: Task) -> Solved:
        package = importlib.import_module("torchdiffeq")
        options: dict[str, Any] = {"rtol": task.tol, "atol": task.absolute, "method": _TORCHDIFFEQ[task.method]}
        if adjoint:
            return Solved(
                package.odeint_adjoint(task.f, task.y0, task.t, adjoint_params=task.params, **options), _nothing
            )
        return Solved(package.odeint(task.f, task.y0, task.t, **options), _nothing)

    return torch_peer(f"torchdiffeq {'adjoint' if adjoint else 'naive'}", "torchdiffeq", solve)


_TORCHODE = {"dopri5": "Dopri5", "heun_euler": "Heun"}


def torchode() -> Peer:
    """Return torchode, whose samples have clocks of their own; back-propagation through the solver."""

    def solve(task: Task) -> Solved:
        package = importlib.import_module("torchode")
        y0 = task.y0 if task.y0.ndim > 1 else task.y0[None]
        times = task.t.T if task.t.ndim > 1 else task.t.expand(len(y0), -1)
        term = package.ODETerm(task.f, with_stats=False)
        controller = package.IntegralController(atol=task.absolute, rtol=task.tol, term=term)
        solver = package.AutoDiffAdjoint(getattr(package, _TORCHODE[task.method])(term=term), controller)
        found = solver.solve(package.InitialValueProblem(y0=y0, t_eval=times.contiguous()))
        y = found.ys.transpose(0, 1)

        def work() -> Work:
            steps, accepted = (found.stats[key].double() for key in ("n_steps", "n_accepted"))
            mean = float(accepted.mean())
            return Work(useful=useful_share(steps), accepted=mean, rejected=float(steps.mean()) - mean)

        return Solved(y if task.y0.ndim > 1 else y[:, 0], work)

    return torch_peer("torchode", "torchode", solve)


_TORCH_DIFF_EQ_PACK = {"dopri5": "Dopri5", "heun_euler": "RK12"}


def _pack_options(task: Task) -> dict[str, Any]:
    start, end = float(task.t[0]), float(task.t[-1])
    return {
        "method": _TORCH_DIFF_EQ_PACK[task.method],
        "h": None,
        "t0": start,
        "t1": end,
        "rtol": task.tol,
        "atol": task.absolute,
        "neval_max": 500_000,
        "print_neval": False,
    }


def torch_diff_eq_pack() -> Peer:
    """Return TorchDiffEqPack with outputs on the way: its graph of the accepted steps."""

    def solve(task: Task) -> Solved:
        package = importlib.import_module("TorchDiffEqPack")
        times = [float(time) for time in task.t]
        return Solved(package.odesolve(task.f, task.y0, {**_pack_options(task), "t_eval": times}), _nothing)

    return torch_peer("TorchDiffEqPack, graph of accepted steps", "TorchDiffEqPack", solve)


def torch_diff_eq_pack_aca() -> Peer:
    """Return TorchDiffEqPack's ACA with checkpoints, which gives the end state only: outputs are solved one by one."""

    def solve(task: Task) -> Solved:
        package = importlib.import_module("TorchDiffEqPack")
        states = [task.y0]
        for start, end in zip(task.t[:-1], task.t[1:], strict=True):
            part = replace(task, t=torch.stack([start, end]))
            states.append(package.odesolve_adjoint(task.f, states[-1], _pack_options(part)))
        return Solved(torch.stack(states), _nothing)

    return torch_peer("TorchDiffEqPack ACA", "TorchDiffEqPack", solve)


def on_threads(peer: Peer, count: int) -> Peer:
    """Return a peer that runs on so many of torch's threads."""

    def prepare(task: Task, gradient: bool) -> Runner:
        return _OnThreads(peer.prepare(task, gradient), count)

    return replace(peer, name=f"{peer.name}, {count} threads", prepare=prepare)


@dataclass(frozen=True)
class _OnThreads:
    inner: Runner
    count: int

    def run(self) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(self.count)
        try:
            return self.inner.run()
        finally:
            torch.set_num_threads(before)

    def answer(self, result: Any) -> Answer:
        return self.inner.answer(result)

    def work(self) -> Work:
        return self.inner.work()

    def peak(self) -> int:
        return self.inner.peak()


def on_union(peer: Peer) -> Peer:
    """Return a peer that solves for the union of all samples' times and picks each sample's own.

    The way of packages with one time axis: ``t`` of the task is ``(time, batch)``, that of the peer ``(all times,)``.
    """

    def prepare(task: Task, gradient: bool) -> Runner:
        inner = peer.prepare(task, gradient)
        if not isinstance(inner, TorchRunner):
            raise TypeError(f"{peer.name} does not run on torch")
        solve_union = inner.solve

        def solve(task: Task) -> Solved:
            times, places = torch.unique(task.t, return_inverse=True)
            found = solve_union(replace(task, t=times))
            return Solved(found.y[places, torch.arange(len(task.y0))], found.work)

        return TorchRunner(solve, task, gradient, counts_itself=inner.counts_itself)

    return Peer(f"{peer.name}, on the union", peer.package, prepare, peer.obstacle)


class Counted(torch.nn.Module):
    """A right-hand side that counts its calls and the rows (samples) in them; never timed.

    torchdiffeq tells its verdicts to methods of the right-hand side that are called ``callback_...``.
    """

    def __init__(self, f: torch.nn.Module) -> None:
        super().__init__()
        self.f = f
        self.calls = self.rows = self.accepted = self.rejected = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        self.rows += len(y) if y.ndim > 1 else 1
        found: Tensor = self.f(t, y)
        return found

    def callback_accept_step(self, *_: Any) -> None:
        self.accepted += 1

    def callback_reject_step(self, *_: Any) -> None:
        self.rejected += 1
