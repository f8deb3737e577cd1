"""Compositions of leapfrogs by kernels: the uncompiled solve's states and gradients, energy, reversal in time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import physode as po
from tests.fused.same import assert_same, close, loss_of

pytestmark = pytest.mark.usefixtures("float64")

TIMES = torch.tensor([0.0, 0.31, 1.0, 2.0], dtype=torch.float64)  # inside of steps, and at their ends


class Driven(nn.Module):
    """Two coupled pendulums, pushed in turn, with a mass that depends on momentum."""

    separable = True

    def velocity(self, t: Tensor, p: Tensor, k: Tensor) -> Tensor:
        return k[..., 1:] * p * (1.0 + 0.1 * p * p)

    def force(self, t: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return -k[..., :1] * torch.sin(q + 0.3 * q.flip(-1)) + 0.1 * torch.cos(3.0 * t)

    def forward(self, t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        q, p = y.split(2, -1)
        return torch.cat((self.velocity(t, p, k), self.force(t, q, k)), -1)


class Free(Driven):
    """The same without pushes and with a plain mass."""

    def velocity(self, t: Tensor, p: Tensor, k: Tensor) -> Tensor:
        return k[..., 1:] * p

    def force(self, t: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return -k[..., :1] * torch.sin(q)

    def energy(self, y: Tensor, k: Tensor) -> Tensor:
        q, p = y.split(2, -1)
        return (0.5 * k[..., 1:] * p * p - k[..., :1] * torch.cos(q)).sum(-1)


def posed(samples: int) -> tuple[Tensor, Tensor]:
    y0, k = torch.tensor([1.0, 0.5, 0.2, -0.3]), torch.tensor([1.3, 0.7])
    if samples:
        y0 = y0 + torch.linspace(0.0, 0.2, 4 * samples).reshape(samples, 4)
        k = k * torch.linspace(0.9, 1.1, 2 * samples).reshape(samples, 2)
    return y0.requires_grad_(), k.requires_grad_()


@pytest.mark.parametrize(
    ("method", "samples", "control"),
    [
        ("leapfrog", 0, "shared"),
        ("yoshida4", 11, "shared"),
        pytest.param("suzuki4", 3, "per-sample", marks=pytest.mark.slow),
    ],
)
def test_states_and_gradients_are_those_of_the_uncompiled_solve(method, samples, control):
    y0, k = posed(samples)
    assert_same(
        Driven(), y0, TIMES, leaves=[y0, k], args=(k,), method=method, step_size=0.05, step_control=control,
        outputs=1e-14, gradients=1e-12,
    )  # fmt: skip


def test_gradients_in_times_and_steps_are_those_of_the_uncompiled_solve():
    y0, k = posed(3)
    times, grid = TIMES.clone().requires_grad_(), torch.linspace(0.0, 2.0, 37)
    assert_same(
        Driven(), y0, times, leaves=[y0, k, times], args=(k,), method="leapfrog", grid=grid, step_control="per-sample",
        outputs=1e-14, gradients=1e-12,
    )  # fmt: skip


def test_energy_stays_and_a_step_backwards_leads_to_the_start():
    y0, k = posed(5)
    free, times = Free(), torch.linspace(0.0, 100.0, 51)
    with torch.no_grad():
        options = {"args": (k,), "method": "yoshida4", "step_size": 0.1, "step_control": "per-sample", "compile": True}
        sol = po.solve(free, y0, times, **options)
        energy = free.energy(sol.y, k)
        assert float((energy - energy[0]).abs().max()) < 1e-4
        back = po.solve(free, sol.y[-1], times.flip(0), **options)
    close(back.y[-1], y0, 1e-11)


def test_a_gradient_is_the_slope_of_the_numerical_solution():
    y0, k = posed(0)

    def loss(k: Tensor) -> Tensor:
        return loss_of(po.solve(Driven(), y0, TIMES, args=(k,), method="leapfrog", step_size=0.05, compile=True).y)

    (gradient,) = torch.autograd.grad(loss(k), k)
    with torch.no_grad():
        for i in range(2):
            moved = 1e-6 * torch.eye(2)[i]
            slope = (loss(k + moved) - loss(k - moved)) / 2e-6
            assert slope.item() == pytest.approx(gradient[i].item(), rel=1e-8)


@pytest.mark.slow
def test_a_pair_of_positions_and_velocities_is_a_state():
    def swing(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return y[1], -torch.sin(y[0])

    y0 = (torch.tensor([0.3, 1.2], requires_grad=True), torch.tensor([0.1, -0.4], requires_grad=True))
    assert_same(swing, y0, TIMES, leaves=[*y0], method="yoshida4", step_size=0.1, outputs=1e-14, gradients=1e-12)


def test_positions_and_momenta_that_alternate_are_not_fused():
    class Rows(Free):
        def forward(self, t: Tensor, y: Tensor, k: Tensor) -> Tensor:
            q, p = y.split(1, -1)
            return torch.cat((self.velocity(t, p, k), self.force(t, q, k)), -1)

    y0, k = torch.ones(3, 2, 2), torch.tensor([1.0, 1.0])
    with pytest.warns(RuntimeWarning, match="alternate"):
        po.solve(Rows(), y0, TIMES, args=(k,), method="leapfrog", step_size=0.1, compile=True)
