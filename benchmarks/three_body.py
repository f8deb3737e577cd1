"""Three bodies, preset aca: dopri5, rtol = atol = 1e-5, 1000 outputs, the loss its mean square.

Peers are run where they are installed (extra ``bench``). Before anything is timed, every contestant's outputs and
gradient in the masses are compared at a tight tolerance in double precision.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

import physode as po
from benchmarks.race import Contestant, race, table

__all__ = ["run"]

Solver = Callable[[torch.nn.Module, Tensor, Tensor, float], Tensor]
"""From the system, the initial state, the times and the tolerance to the outputs ``(time, 18)``."""


def run(rounds: int) -> str:
    """Time one solve, and one solve with its gradient."""
    solvers = _solvers()
    system, y0, t = _problem(torch.float64)
    _check_agreement(solvers, system, y0, t[::50])
    system, y0, t = _problem(torch.float32)
    with_gradient = [Contestant(name, _work(solve, system, y0, t)) for name, solve in solvers.items()]
    forward = [
        Contestant(name, torch.no_grad()(_forward(solve, system, y0, t)))
        for name, solve in solvers.items()
        if name in ("physode aca", "torchdiffeq naive", "torchode")
    ]
    return "\n\n".join(
        [
            table("Three bodies, B = 1, float32, eager: forward and gradient", race(with_gradient, rounds)),
            table("Three bodies, B = 1, float32, eager: forward", race(forward, rounds)),
        ]
    )


def _problem(dtype: torch.dtype) -> tuple[torch.nn.Module, Tensor, Tensor]:
    preset = po.rhs.ThreeBody.find_preset("aca")
    system = po.rhs.ThreeBody.from_preset("aca", masses=[1.0, 1.0, 1.0], learnable=True).to(dtype)
    return system, torch.tensor(preset.y0, dtype=dtype), torch.linspace(0.0, 1.0, 1000, dtype=dtype)


def _solvers() -> dict[str, Solver]:
    def physode(gradient: object) -> Solver:
        return lambda f, y0, t, tol: po.solve(f, y0, t, rtol=tol, atol=tol, gradient=gradient).y

    found: dict[str, Solver] = {
        "physode aca": physode("aca"),
        "physode aca, one by one": physode(po.ACA(parallel=False)),
        "physode naive": physode("naive"),
    }
    if _installed("torchdiffeq"):
        import torchdiffeq

        found["torchdiffeq naive"] = lambda f, y0, t, tol: torchdiffeq.odeint(f, y0, t, rtol=tol, atol=tol)
    if _installed("TorchDiffEqPack"):
        found["TorchDiffEqPack, graph of accepted steps"] = _torch_aca
    if _installed("torchode"):
        found["torchode"] = _torchode
    return found


def _torch_aca(f: torch.nn.Module, y0: Tensor, t: Tensor, tol: float) -> Tensor:
    from TorchDiffEqPack import odesolve  # odesolve_adjoint, its ACA with checkpoints, gives the end state only

    times = [float(time) for time in t]
    options = {"method": "Dopri5", "h": None, "t0": times[0], "t1": times[-1], "rtol": tol, "atol": tol}
    options |= {"t_eval": times, "neval_max": 500_000, "print_neval": False, "regenerate_graph": True}
    return odesolve(f, y0, options)


def _torchode(f: torch.nn.Module, y0: Tensor, t: Tensor, tol: float) -> Tensor:
    import torchode

    term = torchode.ODETerm(lambda time, y: f(time, y))
    method = torchode.Dopri5(term=term)
    controller = torchode.IntegralController(atol=tol, rtol=tol, term=term)
    problem = torchode.InitialValueProblem(y0=y0[None], t_eval=t[None])
    return torchode.AutoDiffAdjoint(method, controller).solve(problem).ys[0]


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _forward(solve: Solver, system: torch.nn.Module, y0: Tensor, t: Tensor) -> Callable[[], Tensor]:
    return lambda: solve(system, y0, t, 1e-5)


def _work(solve: Solver, system: torch.nn.Module, y0: Tensor, t: Tensor) -> Callable[[], object]:
    return lambda: _gradient(solve, system, y0, t, 1e-5)


def _gradient(solve: Solver, system: torch.nn.Module, y0: Tensor, t: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    y = solve(system, y0, t, tol)
    (gradient,) = torch.autograd.grad(y.square().mean(), list(system.parameters()))
    return y.detach(), gradient


def _check_agreement(solvers: dict[str, Solver], system: torch.nn.Module, y0: Tensor, t: Tensor) -> None:
    expected = _gradient(solvers["physode aca"], system, y0, t, 1e-10)
    for name, solve in solvers.items():
        for found, right in zip(_gradient(solve, system, y0, t, 1e-10), expected, strict=True):
            error = float((found - right).abs().max() / right.abs().max())
            if not error < 1e-3:  # TorchDiffEqPack's cubic outputs are right to 1.3e-4, the others to 1e-5
                raise SystemExit(f"{name} disagrees by {error:.1e}: nothing is timed")
