"""The front door: shapes, structures, directions, status, and what bad input gets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po
from physode.solvers.tableaus import METHODS
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")

ADAPTIVE = [name for name, tableau in METHODS.items() if tableau.adaptive]


def _slow_if_coarse(method):
    """Order 2 takes many times the steps of the others."""
    return pytest.param(method, marks=pytest.mark.slow) if method == "heun_euler" else method


def decay(t, y):
    return -y


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_solution_agrees_with_scipy(method):
    y0 = np.array([2.0, 0.0])
    times = np.linspace(0.0, 4.0, 9)
    reference = solve_ivp(
        lambda t, y: [y[1], 1.5 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 4), y0, "DOP853", times, rtol=1e-12, atol=1e-13
    )
    rtol = 1e-5 if method == "heun_euler" else 1e-8
    sol = po.solve(van_der_pol, torch.tensor(y0), times, args=(torch.tensor(1.5),), method=method, rtol=rtol, atol=rtol)
    assert np.abs(sol.y.numpy() - reference.y.T).max() < 100 * rtol


def test_times_may_fall():
    sol = po.solve(decay, torch.ones(1), [2.0, 1.0, 0.0], rtol=1e-10, atol=1e-12)
    assert sol.y.flatten().tolist() == pytest.approx([1.0, math.e, math.e**2], rel=1e-9)


def test_any_shape_of_state_is_solved():
    for shape in [(), (3,), (2, 3), (2, 3, 4)]:
        sol = po.solve(decay, torch.ones(shape), [0.0, 0.5, 1.0])
        assert sol.y.shape == (3, *shape)
        assert torch.allclose(sol.y[-1], torch.full(shape, math.exp(-1)), atol=1e-6)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_dict_and_a_tuple_of_tensors_are_states(control):
    def f(t, y):
        return {"a": -y["a"], "b": 2 * y["a"][..., None] * torch.ones_like(y["b"])}

    y0 = {"a": torch.ones(4, 2), "b": torch.zeros(4, 2, 3)}
    sol = po.solve(f, y0, [0.0, 1.0], step_control=control)
    assert sol.y["a"].shape == (2, 4, 2)
    assert sol.y["b"].shape == (2, 4, 2, 3)
    assert torch.allclose(sol.y["b"][-1], torch.full((4, 2, 3), 2 * (1 - math.exp(-1))), atol=1e-5)
    pair = po.solve(lambda t, y: (y[1], -y[0]), (torch.ones(4, 1), torch.zeros(4, 1)), [0.0, 1.0], step_control=control)
    assert isinstance(pair.y, tuple)
    assert torch.allclose(pair.y[0][-1], torch.full((4, 1), math.cos(1.0)), atol=1e-5)


def test_complex_states_are_solved():
    sol = po.solve(lambda t, y: 1j * y, torch.ones(2, dtype=torch.complex128), [0.0, 2.0], rtol=1e-10, atol=1e-12)
    assert abs(complex(sol.y[-1, 0]) - complex(math.cos(2), math.sin(2))) < 1e-9


def test_outputs_are_of_the_states_dtype_and_the_clock_is_double():
    seen = []

    def f(t, y):
        seen.append(t.dtype)
        return -y

    sol = po.solve(f, torch.ones(2, dtype=torch.float32), [0.0, 1.0])
    assert sol.y.dtype == torch.float32
    assert set(seen) == {torch.float32}
    assert sol.step_times.dtype == torch.float64


def test_a_float32_state_far_from_time_zero_does_not_lose_the_clock():
    start = 1e6
    times = torch.tensor([start, start + 1.0], dtype=torch.float64)
    sol = po.solve(decay, torch.ones(1, dtype=torch.float32), times, rtol=1e-6, atol=1e-8)
    assert float(sol.y[-1]) == pytest.approx(math.exp(-1), rel=1e-5)


@pytest.mark.parametrize("method", [_slow_if_coarse(name) for name in METHODS])
def test_the_right_hand_side_is_never_called_outside_the_span(method):
    for first, last in [(0.1, 0.7), (0.7, 0.1)]:
        seen = []

        def f(t, y):
            seen.append(float(t))  # noqa: B023
            return torch.sqrt(torch.tensor(1.0)) * -y

        po.solve(f, torch.ones(1), [first, 0.33, last], method=method, rtol=1e-9, atol=1e-9)
        assert min(seen) >= 0.1
        assert max(seen) <= 0.7


def test_steps_are_not_cut_at_outputs():
    few = po.solve(Spiral(), torch.tensor([1.0, 0.0]), [0.0, 5.0])
    many = po.solve(Spiral(), torch.tensor([1.0, 0.0]), torch.linspace(0, 5, 333))
    assert torch.equal(few.step_times, many.step_times)
    assert torch.equal(few.y[-1], many.y[-1])


@pytest.mark.parametrize("method", [*map(_slow_if_coarse, ADAPTIVE), "rk4"])
def test_a_dense_solution_passes_through_the_outputs(method):
    times = torch.linspace(0, 3, 17)
    step = {"step_size": 0.1} if method == "rk4" else {}
    sol = po.solve(Spiral(), torch.tensor([1.0, 0.0]), times, method=method, dense=True, **step)
    assert torch.allclose(sol(times), sol.y, atol=1e-14, rtol=0)
    assert sol(1.0).shape == (2,)
    with pytest.raises(ValueError, match="inside the solved span from 0 to 3"):
        sol(3.1)


@pytest.mark.parametrize("span", [[0.0, 3.0], [3.0, 0.0]])
def test_a_dense_solution_takes_times_in_any_order(span):
    sol = po.solve(Spiral(), torch.tensor([1.0, 0.0]), span, dense=True)
    times = torch.tensor([1.0, 3.0, 0.5, 2.0])
    expected = torch.stack([sol(float(t)) for t in times])
    assert torch.equal(sol(times), expected)


def test_a_solution_without_interpolants_says_how_to_keep_them():
    with pytest.raises(ValueError, match="dense=True"):
        po.solve(decay, torch.ones(1), [0.0, 1.0])(0.5)


def test_progress_ends_at_one():
    seen = []
    po.solve(Spiral(), torch.tensor([1.0, 0.0]), [0.0, 5.0], progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_per_sample_times_give_each_sample_its_own_span():
    times = torch.tensor([[0.0, 1.0], [0.5, 3.0], [1.0, 2.0 + 3.0]])
    sol = po.solve(decay, torch.ones(2, 1), times, step_control="per-sample", rtol=1e-9, atol=1e-11)
    assert torch.allclose(sol.y[..., 0], torch.exp(-(times - times[0])), atol=1e-8)


class TestFailures:
    def test_a_pole_ends_with_a_named_status(self):
        sol = po.solve(lambda t, y: y * y, torch.ones(1), [0.0, 0.5, 2.0], throw=False)
        assert sol.failures[0][0] is po.Status.STEP_UNDERFLOW
        assert sol.failures[0][1] == pytest.approx(1.0, abs=1e-3)
        assert float(sol.y[1]) == pytest.approx(2.0, rel=1e-4)
        assert math.isnan(float(sol.y[2]))

    @pytest.mark.parametrize("gradient", ["aca", "adjoint", "naive"])
    def test_samples_of_one_number_fail_and_have_gradients_like_others(self, gradient):
        squared = lambda t, y: torch.exp(y * y)  # noqa: E731
        sol = po.solve(
            squared, torch.tensor([0.5, 3.0]), [0.0, 0.3], method="euler", step_size=0.1, step_control="per-sample",
            throw=False,
        )  # fmt: skip
        assert sol.status.tolist() == [po.Status.SUCCESS, po.Status.NON_FINITE]
        y0 = torch.tensor([0.5, 0.3], requires_grad=True)
        y = po.solve(decay, y0, [0.0, 1.0], step_control="per-sample", gradient=gradient).y
        (found,) = torch.autograd.grad(y[-1].sum(), y0)
        torch.testing.assert_close(found, torch.full((2,), math.exp(-1.0)), rtol=1e-5, atol=0)

    def test_the_error_names_reason_time_and_sample(self):
        with pytest.raises(po.errors.SolveError, match=r"stopped at t = 1\.0.*step size fell below"):
            po.solve(lambda t, y: y * y, torch.ones(1), [0.0, 2.0])
        with pytest.raises(po.errors.SolveError, match=r"sample 1 stopped at t = 1\.0"):
            po.solve(lambda t, y: y * y, torch.tensor([[0.1], [1.0]]), [0.0, 2.0], step_control="per-sample")

    def test_nan_from_the_right_hand_side_is_named_not_returned(self):
        def f(t, y):
            return torch.where(t < 0.5, -y, torch.nan)

        with pytest.raises(po.errors.SolveError, match="NaN or infinite"):
            po.solve(f, torch.ones(2), [0.0, 1.0])
        sol = po.solve(f, torch.ones(2), [0.0, 1.0], throw=False)
        assert sol.failures[0][0] is po.Status.NON_FINITE
        assert sol.failures[0][1] == pytest.approx(0.5, abs=1e-6)

    def test_nan_at_the_start_is_named(self):
        sol = po.solve(lambda t, y: y * torch.nan, torch.ones(2), [0.0, 1.0], throw=False)
        assert sol.failures[0] == (po.Status.NON_FINITE, 0.0)
        assert sol.y[0].tolist() == [1.0, 1.0]
        assert bool(sol.y[1].isnan().all())

    def test_a_sample_that_fails_at_its_start_has_no_later_outputs(self):
        f = lambda t, y: torch.where(y > 1.5, torch.nan, -y)  # noqa: E731
        y0, options = torch.tensor([[0.1], [2.0]]), {"step_control": "per-sample", "throw": False, "dense": True}
        for times in ([0.0, 0.5, 1.0], [1.0, 0.5, 0.8 - 0.8]):
            sol = po.solve(f, y0, times, **options)
            assert list(sol.failures) == [1]
            assert sol.y[0].flatten().tolist() == [0.1, 2.0]
            assert bool(sol.y[1:, 1].isnan().all())
            assert bool(sol.y[1:, 0].isfinite().all())
            assert bool(sol(0.25)[1].isnan().all())

    def test_a_fixed_step_method_names_its_overflow(self):
        sol = po.solve(lambda t, y: y**3, torch.ones(1) * 10, [0.0, 5.0], method="rk4", step_size=0.1, throw=False)
        assert sol.failures[0][0] is po.Status.NON_FINITE
        assert 0 < sol.failures[0][1] < 5

    def test_max_steps_ends_with_its_status_and_the_partial_solution(self):
        times = torch.linspace(0, 100, 101)
        sol = po.solve(Spiral(), torch.tensor([1.0, 0.0]), times, max_steps=20, throw=False)
        assert sol.failures[0][0] is po.Status.MAX_STEPS
        reached = times <= sol.failures[0][1]
        assert bool(sol.y[reached].isfinite().all())
        assert bool(sol.y[~reached].isnan().all())

    def test_min_step_ends_with_a_status(self):
        sol = po.solve(lambda t, y: -1e6 * (y - t.cos()), torch.zeros(1), [0.0, 1.0], min_step=1e-2, throw=False)
        assert sol.failures[0][0] is po.Status.STEP_UNDERFLOW

    def test_one_bad_sample_leaves_the_others_alone_bit_for_bit(self):
        good = torch.tensor([[0.1], [0.2], [0.3]])
        bad = torch.tensor([[0.1], [torch.nan], [0.2], [5.0], [0.3]])
        alone = po.solve(lambda t, y: y * y, good, [0.0, 1.0, 2.0], step_control="per-sample")
        mixed = po.solve(lambda t, y: y * y, bad, [0.0, 1.0, 2.0], step_control="per-sample", throw=False)
        assert torch.equal(mixed.y[:, [0, 2, 4]], alone.y)
        assert {i: status for i, (status, _) in mixed.failures.items()} == {
            1: po.Status.NON_FINITE,
            3: po.Status.STEP_UNDERFLOW,
        }


class TestIndependenceOfTheBatch:
    @pytest.mark.parametrize("method", [_slow_if_coarse(name) for name in ADAPTIVE])
    def test_a_sample_is_the_same_alone_in_a_batch_and_permuted(self, method):
        generator = torch.Generator().manual_seed(1)
        y0 = torch.randn(13, 2, generator=generator)
        mu = torch.rand(13, 1, generator=generator) * 5
        times = torch.linspace(0, 2, 11)
        tolerances = {"rtol": 1e-4, "atol": 1e-6, "step_control": "per-sample", "method": method}
        batch = po.solve(van_der_pol, y0, times, args=(mu,), **tolerances)
        order = torch.randperm(13, generator=generator)
        permuted = po.solve(van_der_pol, y0[order], times, args=(mu[order],), **tolerances)
        assert torch.equal(permuted.y, batch.y[:, order])
        assert torch.equal(permuted.stats.accepted, batch.stats.accepted[order])
        for i in (0, 5, 12):
            alone = po.solve(van_der_pol, y0[i : i + 1], times, args=(mu[i : i + 1],), **tolerances)
            assert torch.equal(alone.y[:, 0], batch.y[:, i])

    def test_the_error_of_a_hard_sample_is_not_diluted_by_easy_ones(self):
        hard = torch.tensor([[2.0, 0.0]])
        easy = torch.zeros(999, 2)
        mu = torch.tensor(5.0)
        alone = po.solve(van_der_pol, hard, [0.0, 10.0], args=(mu,))
        crowd = po.solve(van_der_pol, torch.cat([hard, easy]), [0.0, 10.0], args=(mu,))
        assert int(crowd.stats.accepted) == int(alone.stats.accepted)
        assert torch.equal(crowd.y[:, :1], alone.y)


class TestBadInput:
    @pytest.mark.parametrize("method", ["dopri5", "rk4", "rodas5p"])
    @pytest.mark.parametrize("per_sample", [False, True])
    def test_a_state_changed_in_place_is_refused_and_stays(self, method, per_sample):
        y0 = torch.ones(2, 2)

        def careless(t, y):
            y *= -1
            return y.clone()

        control = "per-sample" if per_sample else "shared"
        with torch.no_grad(), pytest.raises(ValueError, match="changes its state `y` in place"):
            po.solve(careless, y0.clone(), [0.0, 1.0], method=method, step_control=control)

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ([0.0], "at least two times"),
            (5.0, "at least two times, a start and an end; got one number"),
            ([0.0, 2.0, 1.0], r"strictly increasing or decreasing, got \[0, 2, 1\]; sort it first"),
            ([0.0, 0.0, 1.0], "strictly increasing or decreasing"),
            ([0.0, float("nan")], "`t` must be finite"),
            ([[0.0, 1.0]], "shape"),
            (torch.tensor([1j, 2j]), "`t` must be real"),
        ],
    )
    def test_times(self, times, message):
        with pytest.raises(ValueError, match=message):
            po.solve(decay, torch.ones(1), times)

    @pytest.mark.parametrize(
        ("y0", "message"),
        [
            (torch.tensor([1.0, float("inf")]), "`y0` must be finite, got 1 NaN or infinite"),
            (torch.tensor([1, 2]), r"floating point or complex, got torch.int64; convert it: y0.double\(\)"),
            ((torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float32)), "share one dtype and device"),
            ((), "`y0` is empty"),
        ],
    )
    def test_initial_states(self, y0, message):
        with pytest.raises(ValueError, match=message):
            po.solve(decay, y0, [0.0, 1.0])

    @pytest.mark.parametrize(
        ("f", "error", "message"),
        [
            (lambda t, y: None, TypeError, "must return a tensor, got NoneType; is a `return` missing"),
            (lambda t, y: [y[0], y[1]], TypeError, r"got list; write torch.stack\(\[...\]\)"),
            (lambda t, y: y.numpy(), TypeError, "got ndarray; write it with torch's functions"),
            (lambda t, y: y[:1], ValueError, r"state's shape \(2,\), got \(1,\)"),
            (lambda t, y: y.float(), ValueError, "state's dtype torch.float64, got torch.float32"),
            (3, TypeError, "`f` must be callable"),
        ],
    )
    def test_right_hand_sides(self, f, error, message):
        with pytest.raises(error, match=message):
            po.solve(f, torch.ones(2), [0.0, 1.0])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "RK45"}, "`method` must be one of euler, .*dopri8.*; got 'RK45'; in .* SciPy's take 'dopri5'"),
            ({"gradient": "exact"}, "`gradient` must be one of 'aca', 'adjoint', 'naive'"),
            ({"rtol": -1e-3}, "`rtol` must be positive"),
            ({"atol": -1e-3}, "`atol` must be positive"),
            ({"step_size": 0.0}, "`step_size` must be positive"),
            ({"step_size": 1e-9}, "more than `max_steps`"),
            ({"first_step": float("nan")}, "`first_step` must be positive"),
            ({"max_steps": 0}, "`max_steps` must be a whole number, at least 1"),
            ({"step_control": "mine"}, "`step_control` must be 'shared' or 'per-sample'"),
            ({"grid": torch.tensor([0.0, 0.5])}, "`grid` must start at t.0. and end at t.-1."),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            po.solve(decay, torch.ones(1), [0.0, 1.0], **options)

    def test_a_batch_and_times_that_do_not_match(self):
        with pytest.raises(ValueError, match=r"\(time, batch=3\), got \(2, 4\)"):
            po.solve(decay, torch.ones(3, 1), torch.rand(2, 4), step_control="per-sample")

    @pytest.mark.parametrize(("args", "kind"), [(torch.ones(1), "tensor"), (0.3, "float"), ("k", "str"), ({}, "dict")])
    def test_args_that_are_no_tuple(self, args, kind):
        with pytest.raises(TypeError, match=rf"got a {kind}; write args=(\({kind},\)|tuple\(values)"):
            po.solve(decay, torch.ones(1), [0.0, 1.0], args=args)

    def test_an_unknown_option_is_refused(self):
        with pytest.raises(TypeError, match="unexpected keyword"):
            po.solve(decay, torch.ones(1), [0.0, 1.0], options={})
