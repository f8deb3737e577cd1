"""Arguments that cannot be used: one line that names the argument, before any long work. And odd ones that can."""

from __future__ import annotations

import functools
import math
import time

import pytest
import torch

import physode as po
from physode.compat import arguments, solving
from physode.compat.torchdiffeq import odeint, odeint_adjoint, odeint_event

pytestmark = pytest.mark.usefixtures("float64")

PEERS = {"odeint": odeint, "odeint_adjoint": functools.partial(odeint_adjoint, adjoint_params=())}
T = torch.tensor([0.0, 1.0], dtype=torch.float64)
Y0 = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)


def decay(t, y):
    return -y


def in_place(t, y):
    return y.mul_(-0.5)


def options(method="dopri5", **given):
    return {"method": method, "options": given}


ODD = {
    # the right-hand side
    "None for the function": ({"func": None}, "`func` must be callable"),
    "a number for the function": ({"func": 1.0}, "`func` must be callable"),
    "a scalar that broadcasts": ({"func": lambda t, y: -y.sum()}, r"`func` must return .* `y0`, \(3,\), got \(\)"),
    "a row that broadcasts": (
        {"func": lambda t, y: -y[0], "y0": torch.ones(4, 3)}, r"`func` must return .* `y0`, \(4, 3\), got \(3,\)",
    ),
    "a column that broadcasts": (
        {"func": lambda t, y: -y[:, :1], "y0": torch.ones(4, 3)}, r"`func` must return .* \(4, 3\), got \(4, 1\)",
    ),
    "a transposed state": (
        {"func": lambda t, y: -y.T, "y0": torch.ones(4, 3)}, r"`func` must return .* \(4, 3\), got \(3, 4\)",
    ),
    "a part that broadcasts": (
        {"func": lambda t, y: (-y[0], y[0].sum()), "y0": (Y0, Y0)}, r"`func`'s part 1 must return .* \(3,\), got \(\)",
    ),
    "too few parts": ({"func": lambda t, y: (-y[0],), "y0": (Y0, Y0)}, "`func` must return a tuple of 2 tensors"),
    "a tensor for parts": ({"func": lambda t, y: -y[0], "y0": (Y0, Y0)}, "`func` must return a tuple of 2 tensors"),
    "no result": ({"func": lambda t, y: None}, "`func` must return a tensor like `y0`, got NoneType; is a `return`"),
    "complex numbers for real ones": ({"func": lambda t, y: 1j * y}, "`func` must return real numbers"),
    "another device": ({"func": lambda t, y: torch.empty(3, device="meta")}, "`func` must return .* device of `y0`"),
    "a state changed in place": ({"func": in_place}, "changes its state `y` in place"),
    "NaN by adaptive steps": ({"func": lambda t, y: y * math.nan}, "non-finite values in state `y`"),
    "NaN by fixed steps": (
        {"func": lambda t, y: y * math.nan, **options("rk4", step_size=0.1)}, "non-finite values in state `y`",
    ),
    "NaN by Adams steps": (
        {"func": lambda t, y: y * math.nan, **options("explicit_adams", step_size=0.1)}, "non-finite values",
    ),
    "NaN late": (
        {"func": lambda t, y: -y / (t < 0.5), **options("euler", step_size=0.1)}, r"non-finite values .* t = 0\.[5-9]",
    ),
    # the state and the times
    "a state of booleans": ({"y0": torch.tensor([True, False])}, "`y0` must be floating point .* torch.bool"),
    "a state of integers": ({"y0": torch.tensor([1, 2])}, "`y0` must be floating point .* torch.int64"),
    "a state that is NaN": ({"y0": Y0 * math.nan}, "`y0` must be finite"),
    "a list for the state": ({"y0": [1.0]}, "`y0` must be a tensor or a tuple of tensors, got list"),
    "numbers as parts": ({"y0": (1.0, 2.0)}, r"`y0\[0\]` must be a tensor, got float"),
    "no parts": ({"y0": ()}, "`y0` is empty"),
    "times that are NaN": ({"t": torch.tensor([0.0, math.nan])}, "`t` must be finite"),
    "a single time that is NaN": ({"t": torch.tensor([math.nan])}, "`t`"),
    "no times": ({"t": torch.tensor([])}, "`t`"),
    # tolerances
    "a negative rtol": ({"rtol": -1e-3}, "`rtol` must be positive"),
    "a negative atol": ({"atol": -1e-3}, "`atol` must be positive"),
    "an rtol that is NaN": ({"rtol": math.nan}, "`rtol` must be positive"),
    "an infinite atol": ({"atol": math.inf}, "`atol` must be positive"),
    "both tolerances zero": ({"rtol": 0.0, "atol": 0.0}, "`rtol` or `atol` must be positive"),
    "both zero in a component": (
        {"rtol": 0.0, "atol": torch.tensor([1e-6, 0.0, 1e-6])}, "`rtol` or `atol` must be positive",
    ),
    "a tolerance in words": ({"rtol": "small"}, "`rtol` must be a number, got 'small'"),
    "a tolerance of None": ({"atol": None}, "`atol` must be a number, got None"),
    "a tolerance of another shape": ({"atol": torch.full((2,), 1e-6)}, r"`atol` must be one number .* \(3,\), got .*2"),
    "a tolerance that enlarges": ({"rtol": torch.full((2, 3), 1e-6)}, r"`rtol` must be one number .* \(3,\)"),
    "a word among tolerances": ({"y0": (Y0, Y0), "rtol": (1e-3, "x")}, "`rtol`"),
    "fixed steps with a negative rtol": ({"rtol": -1.0, "method": "rk4"}, "`rtol` must be positive"),
    # options
    "options in a list": ({"options": ["safety"]}, "`options` must be a dict"),
    "options in words": ({"options": "safety"}, "`options` must be a dict"),
    "a method that is no name": ({"method": 5}, "`method` must be one of"),
    "max_step 0": (options(max_step=0.0), "`max_step` must be positive"),
    "a negative first_step": (options(first_step=-0.1), "`first_step` must be positive"),
    "a first_step that is NaN": (options(first_step=math.nan), "`first_step` must be positive"),
    "a first_step in words": (options(first_step="0.1s"), "`first_step` must be a number"),
    "a negative min_step": (options(min_step=-0.1), "`min_step` must be at least 0"),
    "bounds the wrong way round": (options(min_step=0.5, max_step=0.1), "`min_step` must not be above `max_step`"),
    "no attempts": (options(max_num_steps=0), "`max_num_steps` must be a whole number, at least 1"),
    "half an attempt": (options(max_num_steps=2.5), "`max_num_steps` must be a whole number"),
    "a negative safety": (options(safety=-0.9), "`safety` must lie"),
    "factors the wrong way round": (options(ifactor=0.1), "`ifactor` above 1"),
    "stops in words": (options(jump_t="noon"), "`jump_t` must be times"),
    "stops that are NaN": (options(step_t=[math.nan]), "`step_t` must be finite"),
    "a norm that is none": (options(norm="max"), "norm.* must be a callable"),
    "step_size 0": (options("rk4", step_size=0.0), "`step_size` must be positive"),
    "a negative step_size": (options("rk4", step_size=-0.1), "`step_size` must be positive"),
    "a step_size that is NaN": (options("rk4", step_size=math.nan), "`step_size` must be positive"),
    "a step_size in words": (options("rk4", step_size="0.1s"), "`step_size` must be a number"),
    "scipy_solver with max_step 0": (options("scipy_solver", max_step=0.0), "`max_step` must be positive"),
    # events
    "an event function that is NaN": ({"event_fn": lambda t, y: y[0] * math.nan}, "`event_fn` must return a number"),
    "an event function that is NaN later": (
        {"event_fn": lambda t, y: torch.where(t < 0.5, 1.0, math.nan)}, "event_fn.* is NaN at t = ",
    ),
    "an event of booleans": ({"event_fn": lambda t, y: y[0] < 0.5}, "`event_fn` must return a real tensor"),
    "an event of numbers": ({"event_fn": lambda t, y: 0.5}, "`event_fn` must return a real tensor"),
    "no event function": ({"event_fn": "ground"}, "`event_fn` must be callable"),
    "an event of SciPy's": (
        {"event_fn": lambda t, y: y[0], "method": "scipy_solver"}, "`event_fn`.*'scipy_solver' finds no events",
    ),
    "an event beyond fixed steps": (
        {"event_fn": lambda t, y: y[0] + 1, "method": "rk4"}, "`event_fn` with fixed steps needs .*step_size",
    ),
    "an event that never happens": (
        {"func": lambda t, y: 0.0 * y, "event_fn": lambda t, y: y[0] + 1.0}, "`event_fn` does not cross zero",
    ),
    "an event that never happens in few steps": (
        {
            "func": lambda t, y: torch.cos(9 * t) * torch.ones(3), "event_fn": lambda t, y: y[0] + 9.0,
            **options(max_num_steps=40),
        },
        "`event_fn` does not cross zero .* within 40 steps.*max_num_steps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("what", ODD)
def test_what_cannot_be_used_is_named_in_one_line(what, peer):
    given, message = ODD[what]
    given = {"func": decay, "y0": Y0.clone(), "t": T, **given}
    began = time.monotonic()
    with pytest.raises((ValueError, TypeError, po.errors.SolveError), match=message) as caught:
        PEERS[peer](given.pop("func"), given.pop("y0"), given.pop("t"), **given)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("peer", PEERS)
def test_an_event_that_fixed_steps_never_meet_ends_with_one_line(peer, monkeypatch):
    monkeypatch.setattr(arguments, "EVENT_STEPS", 50)
    monkeypatch.setattr(solving, "EVENT_STEPS", 50)
    with pytest.raises(po.errors.SolveError, match=r"`event_fn` does not cross zero .* within 50 steps"):
        PEERS[peer](decay, Y0, T, event_fn=lambda t, y: y[0] + 1, **options("rk4", step_size=0.1))


ADJOINT = {
    "an unknown option": ({"adjoint_options": {"stepsize": 0.1}}, r"`adjoint_options` \['stepsize'\] are none of"),
    "another method's option": ({"adjoint_options": {"step_size": 0.1}}, "`adjoint_options` .* are none of"),
    "options in a list": ({"adjoint_options": [1]}, "`adjoint_options` must be a dict"),
    "a negative first_step": ({"adjoint_options": {"first_step": -1.0}}, "`first_step` must be positive"),
    "max_step 0": ({"adjoint_options": {"max_step": 0.0}}, "`max_step` must be positive"),
    "a negative step_size": (
        {"adjoint_method": "rk4", "adjoint_options": {"step_size": -1.0}}, "`step_size` must be positive",
    ),
    "an unknown method": ({"adjoint_method": "rk5"}, "`method` must be one of"),
    "a negative tolerance": ({"adjoint_rtol": -1.0}, "`rtol` must be positive"),
    "a tolerance in words": ({"adjoint_atol": "small"}, "`atol` must be a number"),
    "a norm that is none": ({"adjoint_options": {"norm": "max"}}, "norm.* must be a callable or 'seminorm'"),
    "parameters that are none": ({"adjoint_params": (1.0,)}, "`adjoint_params` must be tensors, got float"),
}  # fmt: skip


@pytest.mark.parametrize("what", ADJOINT)
def test_what_the_backward_solve_cannot_use_is_refused_in_the_forward_call(what):
    given, message = ADJOINT[what]
    with pytest.raises((ValueError, TypeError), match=message):
        odeint_adjoint(decay, Y0.clone().requires_grad_(), T, **{"adjoint_params": (), **given})


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize(
    "tolerances",
    [
        {"rtol": 0.0, "atol": 1e-9},
        {"rtol": 1e-9, "atol": 0.0},
        {"rtol": 1e-9, "atol": torch.tensor([0.0, 1e-9, 0.0])},
        {"rtol": torch.tensor([1e-9, 1e-9, 1e-9]), "atol": torch.tensor(1e-9)},
        {"rtol": 0, "atol": torch.full((1,), 1e-9)},
    ],
)
def test_one_tolerance_may_be_zero(peer, tolerances):
    for y0 in (Y0, torch.tensor([1.0, 0.0, -1.0])):
        y = PEERS[peer](decay, y0, T, **tolerances)
        assert torch.allclose(y[-1], y0 * math.exp(-1.0), rtol=1e-6, atol=1e-12)
        assert torch.allclose(po.solve(decay, y0, T, **tolerances).y[-1], y0 * math.exp(-1.0), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "rodas5p", "implicit_midpoint"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rtol": "small"}, "`rtol` must be a number, got 'small'"),
        ({"atol": torch.full((2,), 1e-6)}, r"`atol` must be one number or one a component"),
        ({"rtol": 0.0, "atol": 0.0}, "`rtol` or `atol` must be positive"),
        ({"atol": math.nan}, "`atol` must be positive"),
        ({"first_step": "x"}, "`first_step` must be a number"),
    ],
)
def test_solve_names_odd_tolerances_too(method, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        po.solve(decay, Y0, T, method=method, **given)


BUFFERED = [*((peer, method) for peer in PEERS for method in ("dopri5", "rk4", "implicit_adams")),
            ("solve", "dopri5"), ("solve", "rk4")]  # fmt: skip


@pytest.mark.parametrize(("solved", "method"), BUFFERED)
@pytest.mark.parametrize("how", ["from outside", "made once", "in parts"])
def test_the_same_buffer_at_every_call_is_right(solved, method, how):
    buffer, kept = torch.zeros(2), {}

    def f(t, y):
        y = torch.cat(y) if isinstance(y, tuple) else y
        value = kept.setdefault("value", torch.zeros(2)) if how == "made once" else buffer
        with torch.no_grad():
            torch.stack([y[1], -y[0]], out=value)
        return (value[:1], value[1:]) if how == "in parts" else value

    y0 = (torch.ones(1), torch.zeros(1)) if how == "in parts" else torch.tensor([1.0, 0.0])
    size = {} if method == "dopri5" else {"step_size": 0.01}
    if solved == "solve":
        y = po.solve(f, y0, T, method=method, **size).y
    else:
        y = PEERS[solved](f, y0, T, method=method, options=size)
    end = torch.cat([part[-1] for part in y]) if isinstance(y, tuple) else y[-1]
    assert torch.allclose(end, torch.tensor([math.cos(1.0), -math.sin(1.0)]), atol=2e-6)


def test_parts_with_axes_of_one_and_results_of_other_dtypes_are_taken():
    y = odeint(lambda t, y: (-y[0].reshape(()), -y[1].float()), (torch.ones(1, 1), torch.ones(2)), T)
    assert y[0].shape == (2, 1, 1)
    assert torch.allclose(y[0][-1], torch.full((1, 1), math.exp(-1.0)), rtol=1e-6)
    assert torch.allclose(y[1][-1], torch.full((2,), math.exp(-1.0)), rtol=1e-6)


@pytest.mark.parametrize("interface", [odeint, PEERS["odeint_adjoint"]])
def test_an_event_whose_function_has_no_graph_is_refused_before_the_solve(interface):
    calls = []
    with pytest.raises(ValueError, match="its value has no graph"):
        odeint_event(
            lambda t, y: calls.append(1) or -y, Y0, torch.tensor(0.0), odeint_interface=interface,
            event_fn=lambda t, y: torch.tensor(y[0].item() - 0.5),
        )  # fmt: skip
    assert not calls
