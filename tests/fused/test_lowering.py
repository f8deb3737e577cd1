"""Programs of one sample: batches on any axis, numbers of each sample's own, tensors assembled in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import physode as po
from physode.fused.lowering import lower
from physode.fused.products import UNROLLED
from physode.fused.recording import record
from physode.fused.unsupported import Unsupported
from tests.fused.holding import dynamics_of, hold, lowered

FLOAT = torch.float64


def rand(*shape: int) -> Tensor:
    return 0.2 + torch.rand(shape, dtype=FLOAT)


def free(*shape: int) -> Tensor:
    return rand(*shape).requires_grad_()


SYSTEMS: dict[str, tuple[Callable[[], Any], int]] = {
    "three bodies": (lambda: po.rhs.ThreeBody(masses=(1.0, 2.0, 3.0)), 18),
    "four bodies": (lambda: po.rhs.NBody(masses=(1.0, 2.0, 3.0, 0.5), softening=0.1), 24),
    "Lorenz": (po.rhs.Lorenz, 3),
    "van der Pol": (po.rhs.VanDerPol, 2),
    "Robertson": (po.rhs.Robertson, 3),
    "HIRES": (po.rhs.Hires, 8),
    "Oregonator": (po.rhs.Oregonator, 3),
    "Pollution": (po.rhs.Pollution, 20),
    "Arenstorf": (po.rhs.Arenstorf, 4),
    "Lotka-Volterra": (po.rhs.LotkaVolterra, 2),
    "pendulum": (po.rhs.Pendulum, 2),
    "oscillator": (po.rhs.HarmonicOscillator, 2),
    "MLP": (lambda: po.rhs.MLP(3, hidden=(16, 16), time=True).double(), 3),
    "SiLU": (lambda: po.rhs.MLP(3, hidden=(9,), activation="silu").double(), 3),
    "augmented bodies": (lambda: po.rhs.AugmentedNBody(2).double(), 12),
    "hybrid": (lambda: po.rhs.Hybrid(po.rhs.Lorenz(), po.rhs.MLP(3, hidden=(4,)).double(), acts_on=["y"]), 3),
    "energy": (lambda: po.rhs.Hamiltonian(lambda q, p: (p**2 / 2 - torch.cos(q)).sum(-1)), 4),
}


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems(name: str, batch: bool) -> None:
    make, dimension = SYSTEMS[name]
    hold(make(), rand(3, dimension) if batch else rand(dimension), batch=batch, tolerance=1e-8)


def test_a_network_of_an_energy() -> None:
    """Gradients that the right-hand side takes itself are operations like others."""
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    hold(po.rhs.Hamiltonian(lambda q, p: net(torch.cat((q, p), -1)).squeeze(-1)), rand(3, 4))


@pytest.mark.parametrize("own_times", [True, False])
def test_masses_of_each_sample_where_the_batch_is_the_last_axis(own_times: bool) -> None:
    program = hold(po.rhs.NBody(masses=rand(5, 3), learnable=True), rand(5, 18), own_times=own_times)
    assert program.program.sample == 3


@pytest.mark.parametrize("own_times", [True, False])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (1, 3), (3,), (), (1, 1)])
def test_arguments_of_any_shape_that_broadcasts(shape: tuple[int, ...], own_times: bool) -> None:
    def f(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
        p = p[:, None] if p.shape == (4,) else p
        return p * y + torch.cos(p * t) * y.sin()

    made = hold(f, rand(4, 3), (free(*shape),), own_times=own_times)
    assert made.program.sample == (math.prod(shape) // 4 if shape[:1] == (4,) else 0)


def test_an_argument_with_a_row_a_sample_that_meets_the_time_alone() -> None:
    def f(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
        return -y + torch.cos(p * t)[:, None]

    assert hold(f, rand(4, 3), (free(4),)).program.sample == 1


def test_as_many_components_as_samples() -> None:
    """Which axis is the batch is not told by its length alone."""
    y = rand(3, 3)
    assert hold(lambda t, y, p: p * y + torch.cos(p * t), y, (free(3),)).program.sample == 0
    assert hold(lambda t, y, p: p[:, None] * y, y, (free(3),)).program.sample == 1
    hold(lambda t, y: y + y.mean(-1, keepdim=True), y)
    hold(lambda t, y: y @ y.new_tensor([[1.0, 2.0, 3.0]] * 3) + y.sum(1)[:, None], y)
    with pytest.raises(Unsupported, match="mixes samples"):
        lowered(lambda t, y: y + y.mean(0), y)
    with pytest.raises(Unsupported, match="mixes samples"):
        lowered(lambda t, y: y + y.diagonal()[:, None], y)
    with pytest.raises(Unsupported, match="mixes samples"):
        lowered(lambda t, y: y + y.T, y)


def test_programs_are_the_same_for_batches_of_any_size() -> None:
    def f(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
        u, v = y.T
        return torch.stack((v * p, 0.3 * u.sin() - t * p), 1)

    made = [lowered(f, rand(n, 2), (free(n),)).lowered for n in (7, 1000)]
    assert made[0] == made[1]


def test_a_batch_that_is_folded_into_other_axes() -> None:
    """As linear layers fold their input's leading axes."""
    layer = nn.Linear(3, 2).double()
    back = nn.Linear(2, 3).double()
    hold(lambda t, y: back(layer(y.reshape(-1, 2, 3)).tanh()).reshape(y.shape), rand(4, 6))
    hold(
        lambda t, y: back(layer(y.reshape(-1, 2, 3).transpose(0, 1)).tanh()).transpose(0, 1).reshape(y.shape),
        rand(4, 6),
    )
    hold(lambda t, y: (y.reshape(-1, 3) * torch.arange(3, dtype=FLOAT)).reshape(-1, 6), rand(4, 6))


def assembled(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    out = torch.empty_like(y)
    out[..., 0] = y[..., 1]
    out[..., 1] = -p * y[..., 0].sin()
    out[..., 1] += 0.25 * t
    out[..., 2:].copy_(y[..., :1] * y[..., 2:])
    return out


def zeros_without_a_batch(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    out = torch.zeros(y.shape, dtype=y.dtype)
    out[..., 0] = y[..., 1] * p
    out[..., 2] += y[..., 0]
    return out


def turned(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    turn = torch.eye(3, dtype=y.dtype).repeat(*y.shape[:-1], 1, 1)
    turn[..., 0, 0] = y[..., 0].cos()
    turn[..., 0, 1] = -y[..., 0].sin()
    return (turn @ y.unsqueeze(-1)).squeeze(-1) * p.unsqueeze(-1)


def unbound(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    return torch.stack((a * b, p * c, (a + b).mul_(c).neg_()), -1)


def masked(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    keep = torch.tensor([True, False, True])
    rate = torch.where(keep, y, 0.0)
    rate[..., ~keep] = p.unsqueeze(-1)
    return rate.masked_fill(y > 0.9, 0.25)


def gathered(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[..., [0, 2]] = y[..., [1, 0]] * p.unsqueeze(-1)
    out.index_add_(-1, torch.tensor([0, 1, 1]), y.sin())
    return out


def listed(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    rows = [y[..., i] * (i + 0.3) for i in range(3)]
    return torch.stack(rows, dim=-1) * p.unsqueeze(-1)


@pytest.mark.parametrize("f", [assembled, zeros_without_a_batch, turned, unbound, masked, gathered, listed])
def test_ways_of_putting_a_derivative_together(f: Callable[..., Tensor]) -> None:
    hold(f, rand(4, 3), (free(4),))
    hold(f, rand(4, 3), (free(4),), own_times=False)
    hold(f, rand(3), (free(),), batch=False)


def test_einsum_and_matrix_products() -> None:
    w, p = free(3, 3), free(4, 3, 3)
    y = rand(4, 3)
    hold(lambda t, y, w: torch.einsum("ij,bj->bi", w, y), y, (w,))
    hold(lambda t, y, w: y @ w + (w @ y[..., None])[..., 0], y, (w,))
    assert hold(lambda t, y, p: torch.einsum("bij,bj->bi", p, y), y, (p,)).program.sample == 9
    hold(lambda t, y, p: (p @ y[..., None]).squeeze(-1), y, (p,))
    hold(lambda t, y, w: w @ y + y @ w, rand(3), (w,), batch=False)
    hold(lambda t, y: (y @ y.T) @ y, rand(2, 3), batch=False)


def test_linear_systems_whose_columns_are_samples() -> None:
    m = torch.tensor([[3.0, 1.0], [0.5, 2.0]], dtype=FLOAT, requires_grad=True)
    hold(lambda t, y, m: torch.linalg.solve(m * (1.0 + t), y.mT).mT, rand(4, 2), (m,))


def test_large_shared_matrices_stay_whole() -> None:
    w = free(12, 12)
    y = rand(4, 12)
    for f in (
        lambda t, y, w: y @ w,
        lambda t, y, w: (w @ y[..., None]).squeeze(-1),
        lambda t, y, w: torch.nn.functional.linear(y, w, w[0]).tanh(),
        lambda t, y, w: y @ w.expand(4, 12, 12)[0],
    ):
        program = hold(f, y, (w,)).program
        assert sum(node.op == "matvec" for node in program.nodes) == 1
        assert UNROLLED < 12 * 12
    hold(lambda t, y, w: w @ y + y @ w, rand(12), (w,), batch=False)
    hold(lambda t, y, w: w[:, :6] @ y[:6] + (y[6:] @ w[6:]), rand(12), (w,), batch=False)


def test_small_shared_matrices_are_written_out() -> None:
    program = hold(lambda t, y, w: y @ w, rand(4, 3), (free(3, 3),)).program
    assert all(node.op != "matvec" for node in program.nodes)


def test_states_of_several_parts() -> None:
    def f(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": y["v"], "v": -y["x"] * y["k"][:, None], "k": torch.zeros_like(y["k"])}

    y = {"x": rand(4, 2), "v": rand(4, 2), "k": rand(4)}
    dynamics = dynamics_of(f, y, per_sample=True)
    packed = dynamics.packing.pack(y)
    made = record(dynamics, torch.full((4,), 0.5, dtype=FLOAT), packed)
    assert lower(made.tape, batch=True).program.dimension == 5


def test_a_constant_derivative_and_the_state_itself() -> None:
    hold(lambda t, y, p: p.expand_as(y), rand(4, 3), (free(3),))
    assert hold(lambda t, y, p: p.expand_as(y), rand(4, 3), (free(4, 1),)).program.sample == 1
    hold(lambda t, y: torch.ones_like(y), rand(4, 3))
    hold(lambda t, y: torch.zeros(4, 3, dtype=FLOAT), rand(4, 3))
    hold(lambda t, y: y, rand(4, 3))
    hold(lambda t, y: t.expand(y.shape), rand(4, 3))


def test_numbers_that_change_are_the_same_program() -> None:
    def f(factor: float) -> Any:
        return lowered(lambda t, y: factor * y, rand(4, 3)).lowered

    assert f(0.3) == f(0.7)
    assert f(0.3) != f(2.0)


def test_programs_that_are_too_large_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"too large: \d+ operations"):
        lowered(lambda t, y: torch.cumsum(y[..., None] * y[..., None, :], -1).sum(-1), rand(2, 200))


def test_what_the_result_does_not_need_is_not_lowered() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        y.sort(-1)
        y.mean(0)
        return y.sin()

    assert len(lowered(f, rand(4, 3)).lowered.program.nodes) == 6


def test_single_precision() -> None:
    y = rand(4, 18).float()
    hold(po.rhs.ThreeBody(masses=(1.0, 2.0, 3.0)), y, tolerance=2e-4)
    hold(lambda t, y: y * torch.tensor(2.5, dtype=FLOAT) + t, y, tolerance=1e-5)
