"""The method that switches: explicit where it is not stiff, implicit where it is, step by step."""

from __future__ import annotations

import pytest
import torch

import physode as po
from tests.solvers.implicit.problems import driven

pytestmark = pytest.mark.usefixtures("float64")


def test_it_stays_explicit_where_nothing_is_stiff():
    sol = po.solve(driven, torch.tensor([2.0, 0.0]), [0.0, 3.0], args=(1.0,), method="auto", rtol=1e-6)
    tight = po.solve(driven, torch.tensor([2.0, 0.0]), [0.0, 3.0], args=(1.0,), method="dopri8", rtol=1e-10, atol=1e-12)
    assert sol.stats.by_method["rodas5p"] == 0
    assert sol.stats.by_method["tsit5"] == int(sol.stats.attempts)
    assert torch.allclose(sol.y[-1], tight.y[-1], atol=1e-5)


def test_it_takes_both_methods_steps_and_says_how_many():
    f = lambda t, y: torch.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])  # noqa: E731
    sol = po.solve(f, torch.tensor([2.0, 0.0]), [0.0, 900.0], method="auto", rtol=1e-4, atol=1e-7)
    same = po.solve(f, torch.tensor([2.0, 0.0]), [0.0, 900.0], method="rodas5p", rtol=1e-6, atol=1e-9)
    assert min(sol.stats.by_method.values()) > 10
    assert sum(sol.stats.by_method.values()) == int(sol.stats.attempts) < 300
    assert torch.allclose(sol.y[-1], same.y[-1], rtol=1e-3)


def test_other_methods_have_nothing_to_say_of_it():
    assert po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], method="rodas5p").stats.by_method == {}


@pytest.mark.parametrize("way", [po.ACA(memory="checkpoint", parallel=False), po.ACA(parallel=True)])
def test_replays_take_the_steps_that_were_taken(way):
    """Mapping over steps cannot branch on values: the parallel pass gives way to the sequential one."""
    mu, y0 = torch.tensor([[1.0], [50.0]], requires_grad=True), torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    options = {"args": (mu,), "method": "auto", "rtol": 1e-3, "atol": 1e-5, "step_control": "per-sample"}
    found = []
    for gradient in (way, po.ACA(memory="graph")):
        sol = po.solve(driven, y0, torch.linspace(0, 2, 5), gradient=gradient, **options)
        found.append(torch.autograd.grad(sol.y.square().sum(), mu)[0])
    assert min(sol.stats.by_method.values()) > 0
    assert torch.allclose(found[0], found[1], rtol=1e-10)
    alone = po.solve(driven, y0[1:], torch.linspace(0, 2, 5), **{**options, "args": (mu[1:],)})
    assert torch.equal(alone.y[:, 0], sol.y[:, 1])


def test_it_cannot_be_mapped_and_says_so():
    with pytest.raises(RuntimeError, match="'auto' chooses by values"):
        torch.func.vmap(lambda y: po.solve(lambda t, y: -y * y, y, [0.0, 1.0], method="auto").y)(torch.ones(3, 2))


@pytest.mark.parametrize("options", [{"step_size": 0.1}, {"grid": torch.linspace(0, 1, 11, dtype=torch.float64)}])
def test_given_steps_are_counted_by_each_solve_alone(options):
    for _ in range(3):
        sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], method="auto", **options)
        assert sol.stats.by_method == {"tsit5": 10, "rodas5p": 0}
