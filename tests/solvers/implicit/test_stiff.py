"""Stiff problems with published solutions; batches; failures of Newton's method."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.rhs import Hires, Oregonator, Pollution, Robertson
from physode.status import Status
from tests.solvers.implicit.problems import ADAPTIVE, FIXED, driven, robertson

pytestmark = pytest.mark.usefixtures("float64")

# Test Set for IVP Solvers (Mazzia & Magherini), release 2.4.
PUBLISHED = {
    Robertson: ([0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050], 1e-6),
    Oregonator: ([0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3], 1e-3),
    Hires: (
        [
            0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
            0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
        ],
        1e-4,
    ),
    Pollution: (
        [
            0.5646255480022769e-01, 0.1342484130422339, 0.4139734331099427e-08, 0.5523140207484359e-02,
            0.2018977262302196e-06, 0.1464541863493966e-06, 0.7784249118997964e-01, 0.3245075353396018,
            0.7494013383880406e-02, 0.1622293157301561e-07, 0.1135863833257075e-07, 0.2230505975721359e-02,
            0.2087162882798630e-03, 0.1396921016840158e-04, 0.8964884856898295e-02, 0.4352846369330103e-17,
            0.6899219696263405e-02, 0.1007803037365946e-03, 0.1772146513969984e-05, 0.5682943292316392e-04,
        ],
        1e-6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", ["rodas5p", "radau5", pytest.param("kencarp5", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_solutions_are_met_within_ten_tolerances(kind, method):
    reference, share = PUBLISHED[kind]
    preset, right = kind.find_preset("classic"), torch.tensor(reference)
    with torch.no_grad():
        end = po.solve(
            kind(), torch.tensor(preset.y0, dtype=torch.float64), [0.0, preset.t_end], method=method, rtol=1e-5,
            atol=1e-5 * share,
        ).y[-1]  # fmt: skip
    assert float(((end - right).abs() / (right.abs() + share)).max()) < 1e-4


def test_van_der_pol_s_jumps_at_mu_1000():
    f = lambda t, y: torch.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])  # noqa: E731
    sol = po.solve(f, torch.tensor([2.0, 0.0]), [0.0, 2000.0], method="rodas5p", rtol=1e-5, atol=1e-8)
    assert torch.allclose(sol.y[-1], torch.tensor([1.706167732170483, -0.8928097010247975e-3]), rtol=1e-4)


def test_robertson_s_species_are_conserved_by_an_esdirk_pair():
    sol = po.solve(robertson, torch.tensor([1.0, 0.0, 0.0]), [0.0, 1e6], method="kencarp5", rtol=1e-4, atol=1e-9)
    assert float(sol.y[-1].sum()) == pytest.approx(1.0, abs=1e-10)
    assert int(sol.stats.attempts) < 100


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_sample_with_steps_of_its_own_is_solved_as_if_alone_bit_for_bit(method):
    mu, y0 = torch.tensor([[1.0], [8.0], [40.0]]), torch.tensor([[2.0, 0.0], [1.0, 0.5], [1.5, 0.1]])
    options = {"method": method, "step_control": "per-sample", "rtol": 1e-3, "atol": 1e-5}
    together = po.solve(driven, y0, [0.0, 0.7, 1.0], args=(mu,), **options)
    assert len(set(together.stats.accepted.tolist())) > 1
    for i in range(3):
        alone = po.solve(driven, y0[i : i + 1], [0.0, 0.7, 1.0], args=(mu[i : i + 1],), **options)
        assert torch.equal(alone.y[:, 0], together.y[:, i])


@pytest.mark.parametrize("method", ["kencarp5", "radau5", "rodas5p"])
def test_backward_in_time_a_stiff_growth_is_a_decay(method):
    sol = po.solve(lambda t, y: 1e4 * (y - torch.sin(t)), torch.zeros(1), [3.0, 0.5], method=method)
    assert float(sol.y[-1]) == pytest.approx(0.479338, abs=1e-3)


@pytest.mark.parametrize("method", ["kencarp5", "radau5"])
def test_where_newton_s_method_fails_the_step_is_rejected_and_a_smaller_one_taken(method):
    f = lambda t, y: -50 * torch.sinh(4 * y)  # noqa: E731
    y0 = torch.tensor([2.0])
    sol = po.solve(f, y0, [0.0, 1.0], method=method, first_step=0.5, rtol=1e-6, atol=1e-9)
    exact = torch.atanh(torch.tanh(2 * y0) * torch.exp(torch.tensor(-200.0))) / 2
    assert int(sol.stats.rejected) > 0
    assert sol.success
    assert float((sol.y[-1] - exact).abs()) < 1e-7


@pytest.mark.parametrize("method", ["implicit_euler", "radauIIA5", "radau5", "kencarp5"])
def test_fixed_steps_whose_equations_have_no_solution_end_with_a_status(method):
    sol = po.solve(lambda t, y: y**2 + 1, torch.zeros(1), [0.0, 8.0], method=method, step_size=4.0, throw=False)
    assert int(sol.status) == Status.NON_FINITE
    assert bool(sol.y[-1].isnan().all())


@pytest.mark.parametrize("method", ["rodas5p", "radau5"])
def test_steps_follow_what_drives_a_stiff_component(method):
    """SciPy's Radau has 5 tolerances at its steps here, and 260 between them."""
    f = lambda t, y: -1e3 * (y - torch.cos(t))  # noqa: E731
    exact = lambda t: (1e6 * torch.cos(t) + 1e3 * torch.sin(t)) / (1e6 + 1)  # noqa: E731
    sol = po.solve(f, torch.ones(1), [0.0, 20.0], method=method, rtol=1e-6, atol=1e-6, dense=True)
    t = torch.linspace(0.0, 20.0, 1001)
    assert float((sol(sol.step_times)[:, 0] - exact(sol.step_times)).abs().max()) < 1e-5
    assert float((sol(t)[:, 0] - exact(t)).abs().max()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_leave_a_state_of_zero(method, control, dtype):
    """There, only the step's own change says what rounding is."""
    y0, t = torch.zeros(2, 1, dtype=dtype), torch.tensor([0.0, 1.0])
    sol = po.solve(lambda t, y: 1 - 3 * y, y0, t, method=method, step_size=0.1, step_control=control)
    exact = (1 - torch.exp(torch.tensor(-3.0))) / 3
    assert torch.allclose(sol.y[-1].double(), exact.expand(2, 1), rtol=0.05)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "auto", "implicit_euler"])
def test_states_without_components_are_solved(method):
    options = {"step_size": 0.5} if method == "implicit_euler" else {}
    assert po.solve(lambda t, y: -y, torch.zeros(0), [0.0, 1.0], method=method, **options).y.shape == (2, 0)
    batch = po.solve(
        lambda t, y: -y, torch.zeros(0, 2), [0.0, 1.0], method=method, step_control="per-sample", **options
    )
    assert batch.y.shape == (2, 0, 2)


def test_one_sample_s_failure_leaves_the_others_alone():
    f = lambda t, y: y**2  # noqa: E731
    sol = po.solve(
        f, torch.tensor([[2.0], [0.1]]), [0.0, 1.0], method="kencarp5", step_control="per-sample", throw=False
    )
    assert int(sol.status[0]) != Status.SUCCESS
    assert float(sol.y[-1, 1]) == pytest.approx(0.1 / 0.9, rel=1e-5)


def test_a_singular_matrix_is_a_rejection():
    """I - h gamma J is singular for the first size exactly: J = 1 / (h gamma)."""
    from physode.solvers.implicit.rosenbrock import RODAS5P

    rate = 1 / (0.5 * RODAS5P.gamma)
    sol = po.solve(lambda t, y: rate * y, torch.ones(1), [0.0, 1.0], method="rodas5p", first_step=0.5)
    assert int(sol.stats.rejected) > 0
    assert float(sol.y[-1]) == pytest.approx(float(torch.exp(torch.tensor(rate))), rel=1e-4)


@pytest.mark.parametrize("method", ["radau5", "kencarp5"])
def test_as_many_steps_as_scipy_s_radau_or_fewer_twice_over(method):
    """At the same tolerance, on van der Pol's oscillator at mu = 1000."""
    solve_ivp = pytest.importorskip("scipy.integrate").solve_ivp
    start, end, options = [2.0, 0.0], 900.0, {"rtol": 1e-5, "atol": 1e-8}
    f = lambda t, y: torch.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])  # noqa: E731
    sol = po.solve(f, torch.tensor(start), [0.0, end], method=method, **options)
    scipy = solve_ivp(
        lambda t, y: [y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]], (0.0, end), start, method="Radau", **options
    )
    assert int(sol.stats.accepted) <= 2 * (len(scipy.t) - 1)
    assert torch.allclose(sol.y[-1], torch.from_numpy(scipy.y[:, -1]), rtol=1e-4)


def test_single_precision_stays_single():
    sol = po.solve(lambda t, y: -1000 * (y - 1), torch.zeros(2, dtype=torch.float32), [0.0, 1.0], method="kencarp5")
    assert sol.y.dtype == torch.float32
    assert torch.allclose(sol.y[-1], torch.ones(2, dtype=torch.float32), atol=1e-4)
