"""States that an autonomous differential equation carries through time, each sample by a duration of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physode.gradients import ACA, Adjoint, GradientMethod, find_gradient
from physode.models.observations import Times
from physode.models.solver import Solver
from physode.models.solver_stats import Solving
from physode.problem.checks import checked_method
from physode.solve import solve
from physode.solvers.runge_kutta import take_step

__all__ = ["Flow"]

_INSTANT = 1e-6  # how long a state is followed where nothing of it is asked for


class Flow(Solving):
    r"""The flow :math:`\varphi_\tau` of :math:`\dot z = f(z)`: :math:`\varphi_\tau(z(0)) = z(\tau)`.

    Every sample has its own clock and step sizes: what becomes of it does not depend on the others in its batch.

    Parameters
    ----------
    f
        A module from and to states (B, D).
    solver
        How it is integrated. Its fixed `step` is a share of the duration in :meth:`forward`, and a time in
        :meth:`path`.
    """

    def __init__(self, f: nn.Module, *, solver: Solver) -> None:
        super().__init__()
        self.f, self.solver = f, solver

    def forward(self, z: Tensor, duration: Tensor) -> Tensor:
        """Carry states (B, D) on by durations (B,), float64, at least 0: (B, D)."""
        if not self.solver.adaptive and not isinstance(self._gradient(), Adjoint):
            return self._steps(z, duration)  # ACA's gradient on fixed steps is that of their graph
        scale = duration.to(z.dtype)[:, None]
        solution = solve(
            lambda t, z, scale: scale * self.f(z),
            z,
            (0.0, 1.0),
            args=(scale,),
            step_control="per-sample",
            **{**self.solver.arguments(), "gradient": self._gradient()},
        )
        self._count(solve=solution.stats)
        end: Tensor = solution.y[-1]
        return end

    def path(self, z: Tensor, times: Times) -> Tensor:
        """Follow states (B, D) from time 0, and return them at times (B, Q), float64, at least 0: (B, Q, D).

        Times rise in each row where they are used; where they are not, the result is the initial state.
        """
        clock, places = _own_clocks(times)
        if len(clock) == 1:
            return z[:, None].expand(-1, times.t.shape[1], -1)
        arguments = {**self.solver.arguments(), "gradient": self._gradient()}
        solution = solve(lambda t, z: self.f(z), z, clock, step_control="per-sample", skip_finished=True, **arguments)
        self._count(solve=solution.stats)
        states: Tensor = solution.y
        return states.transpose(0, 1).gather(1, places[..., None].expand(-1, -1, z.shape[1]))

    def extra_repr(self) -> str:
        """Describe the solver."""
        return f"solver={self.solver}"

    def _gradient(self) -> GradientMethod:
        """Return the gradient method; a network's Jacobians cost more than pulling its steps back one by one."""
        return ACA(parallel=False) if self.solver.gradient == "aca" else find_gradient(self.solver.gradient)

    def _steps(self, z: Tensor, duration: Tensor) -> Tensor:
        tableau = checked_method(self.solver.method)
        count = 1 if self.solver.step is None else round(1.0 / self.solver.step)
        h = duration / count
        for _ in range(count):
            z = take_step(lambda t, z: self.f(z), tableau, 0.0, z, h).y
        self._count(evaluations=count * tableau.stages, steps=count)
        return z


def _own_clocks(times: Times) -> tuple[Tensor, Tensor]:
    """Return strictly rising times (M + 1, B) from 0 that hold all those used, and the place of each, (B, Q).

    A sample that needs fewer than M times gets more of them before its first: they cost reading, and no step. Numbers
    are dense near 0, so that there is room however close its times are.
    """
    after = times.used & (times.t > 0.0)
    counts = after.sum(1, keepdim=True)
    longest = int(counts.max()) if len(counts) else 0
    order = torch.argsort(~after, dim=1, stable=True)[:, :longest]
    sorted_times = torch.cat([torch.zeros_like(times.t[:, :1]), times.t.gather(1, order)], 1)
    first = torch.where(counts > 0, sorted_times[:, :2][:, -1:], _INSTANT)
    place, more = torch.arange(longest + 1, device=times.t.device), longest - counts
    own = sorted_times.gather(1, (place - more).clamp(min=0))
    clock = torch.where(place > more, own, first * (place / (more + 1)))
    return clock.T.contiguous(), torch.where(after, after.cumsum(1) + more, 0)
