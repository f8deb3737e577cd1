"""The drop-in beside the package whose interface it has: same values, work of the same order, same gradients."""

from __future__ import annotations

import warnings

import pytest
import torch

import physode.compat.torchdiffeq as ours

theirs = pytest.importorskip("torchdiffeq")

ADAPTIVE = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FIXED = ["euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams", "fixed_adams"]
TIMES = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)
Y0 = torch.tensor([1.0, 0.3], dtype=torch.float64)


class Swing(torch.nn.Module):
    """A forced oscillator that counts its evaluations."""

    def __init__(self):
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return torch.stack([y[1], -self.stiffness.to(y.dtype) * y[0] * torch.cos(t)])


def both(name, *args, **kwargs):
    """The same call to both packages, each with a right-hand side of its own."""
    first, second = Swing(), Swing()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Adams' iteration did not converge
        return (
            getattr(ours, name)(first, *args, **kwargs),
            getattr(theirs, name)(second, *args, **kwargs),
            first,
            second,
        )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", FIXED)
def test_fixed_methods_agree_to_rounding(method, reverse):
    t = TIMES.flip(0) if reverse else TIMES
    mine, other, _, _ = both("odeint", Y0, t, method=method)
    torch.testing.assert_close(mine, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("interp", ["linear", "cubic"])
@pytest.mark.parametrize("method", FIXED)
def test_fixed_methods_agree_between_their_steps(method, interp):
    options = {"step_size": 3.0 / 44.0, "interp": interp}
    if "adams" in method:
        options["max_order"] = 5  # theirs, and ours with equal steps, is unstable at higher orders
    mine, other, _, _ = both("odeint", Y0, TIMES, method=method, options=options)
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_agree_within_the_tolerance_with_similar_work(method, reverse):
    t = TIMES[[0, -1]].flip(0) if reverse else TIMES[[0, -1]]
    mine, other, first, second = both("odeint", Y0, t, method=method, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(mine, other, rtol=2e-4, atol=2e-4)
    assert first.calls < 2.5 * second.calls  # theirs reuses a first-order derivative at adaptive_heun's ends


@pytest.mark.parametrize("solver", ["RK45", "DOP853", "LSODA"])
def test_scipy_solver_is_the_same_solver(solver):
    keywords = {"options": {"solver": solver, "max_step": 0.5}}
    first, second = Swing(), Swing()
    mine = ours.odeint(first, Y0, TIMES, method="scipy_solver", **keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that min_step has no meaning to RK45
        other = theirs.odeint(second, Y0, TIMES, method="scipy_solver", **keywords)
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)  # theirs passes LSODA's times in single precision


@pytest.mark.parametrize("interface", ["odeint", "odeint_adjoint"])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "rk4", "heun3"])
def test_gradients_agree(interface, method):
    found = []
    for package in (ours, theirs):
        f, y0, t = Swing(), Y0.clone().requires_grad_(), TIMES.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = "dopri5" if method == "tsit5" and package is theirs else method
            y = getattr(package, interface)(f, y0, t, method=name, rtol=1e-9, atol=1e-11)
            found.append(torch.autograd.grad((y * torch.arange(1.0, 3.0)).sum(), [y0, t, f.stiffness]))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_tuples_of_parts_with_tolerances_of_their_own_agree():
    def f(t, y):
        return y[1].reshape(()), -y[0].reshape(1, 1)

    y0 = (Y0[0], Y0[1].reshape(1, 1))
    mine = ours.odeint(f, y0, TIMES, rtol=(1e-7, 1e-6), atol=(1e-9, 1e-8))
    other = theirs.odeint(f, y0, TIMES, rtol=(1e-7, 1e-6), atol=(1e-9, 1e-8))
    assert [part.shape for part in mine] == [part.shape for part in other]
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_callbacks_of_fixed_steps_get_the_same_arguments(reverse):
    seen = {}
    for package in (ours, theirs):
        f, log = Swing(), []
        f.callback_step = lambda t0, y0, dt, log=log: log.append((float(t0), y0.tolist(), float(dt)))
        t = TIMES.flip(0) if reverse else TIMES
        package.odeint(f, Y0, t, method="rk4", options={"step_size": 0.25})
        seen[package.__name__] = log
    mine, other = seen.values()
    assert len(mine) == len(other) == 12
    torch.testing.assert_close([row[0] for row in mine], [row[0] for row in other])
    torch.testing.assert_close([row[1] for row in mine], [row[1] for row in other])
    torch.testing.assert_close([row[2] for row in mine], [row[2] for row in other])


@pytest.mark.parametrize("options", [{"norm": lambda x: x.abs().max()}, {"max_step": 0.1}, {"first_step": 1e-3}])
def test_step_counts_respond_to_options_as_theirs_do(options):
    mine, other, first, second = both("odeint", Y0, TIMES, options=options)
    torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    assert 0.5 < first.calls / second.calls < 1.5


BAD = {
    "a list for y0": lambda odeint: odeint(Swing(), [Y0], TIMES),
    "a list for t": lambda odeint: odeint(Swing(), Y0, [0.0, 1.0]),
    "integer times": lambda odeint: odeint(Swing(), Y0, torch.tensor([0, 1])),
    "times in two directions": lambda odeint: odeint(Swing(), Y0, torch.tensor([0.0, 2.0, 1.0])),
    "equal times": lambda odeint: odeint(Swing(), Y0, torch.tensor([0.0, 1.0, 1.0])),
    "two-dimensional times": lambda odeint: odeint(Swing(), Y0, TIMES[None]),
    "an unknown method": lambda odeint: odeint(Swing(), Y0, TIMES, method="rk5"),
    "differentiable tolerances": lambda odeint: odeint(Swing(), Y0, TIMES, rtol=torch.tensor(0.1, requires_grad=True)),
    "too many tolerances": lambda odeint: odeint(lambda t, y: y, (Y0,), TIMES, rtol=(1e-3, 1e-3)),
    "a grid and a step": lambda odeint: odeint(
        Swing(), Y0, TIMES, method="rk4", options={"step_size": 0.1, "grid_constructor": lambda f, y, t: t}
    ),
    "a grid that ends early": lambda odeint: odeint(
        Swing(), Y0, TIMES, method="rk4", options={"grid_constructor": lambda f, y, t: t[:-1]}
    ),
    "an unknown interpolation": lambda odeint: odeint(Swing(), Y0, TIMES, method="rk4", options={"interp": "spline"}),
    "a high Adams order": lambda odeint: odeint(Swing(), Y0, TIMES, method="adams", options={"max_order": 13}),
    "repeated stops": lambda odeint: odeint(Swing(), Y0, TIMES, options={"step_t": [1.0], "jump_t": [1.0]}),
    "too few steps": lambda odeint: odeint(Swing(), Y0, TIMES, options={"max_num_steps": 1}),
    "a pole": lambda odeint: odeint(lambda t, y: y**2, Y0, TIMES * 2),
    "NaN": lambda odeint: odeint(lambda t, y: y * torch.nan, Y0, TIMES),
    "an event over many times": lambda odeint: odeint(Swing(), Y0, TIMES, event_fn=lambda t, y: y[0]),
    "an event without a step size": lambda odeint: odeint(
        Swing(), Y0, TIMES[:2], method="rk4", event_fn=lambda t, y: y[0]
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_errors_are_of_the_type_that_scripts_expect(what):
    call = BAD[what]
    if what == "a high Adams order":
        expected: type[BaseException] = AssertionError  # "adams" is our alias of their "implicit_adams"
    else:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever theirs raises
            call(theirs.odeint)
        expected = raised.type
    with pytest.raises(expected):
        call(ours.odeint)


@pytest.mark.parametrize("package", [ours, theirs], ids=["ours", "theirs"])
def test_unknown_options_warn(package):
    with pytest.warns(UserWarning, match="Unexpected arguments"):
        package.odeint(Swing(), Y0, TIMES, options={"step_size": 0.1})


@pytest.mark.parametrize("package", [ours, theirs], ids=["ours", "theirs"])
def test_callbacks_that_a_method_never_calls_warn(package):
    f = Swing()
    f.callback_accept_step = lambda t0, y0, dt: None
    with pytest.warns(UserWarning, match="does not support callbacks"):
        package.odeint(f, Y0, TIMES, method="euler")


def test_the_dense_solution_agrees():
    mine, other, _, _ = both("odeint_dense", Y0, TIMES[0], TIMES[-1])
    for t in (0.1, 1.234, 2.9):
        time = torch.tensor(t, dtype=torch.float64)
        torch.testing.assert_close(mine(time), other(time), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "explicit_adams"])
def test_event_times_and_their_gradients_agree(method):
    options = {"step_size": 0.01, "interp": "cubic"} if method != "dopri5" else {}
    found = []
    for package in (ours, theirs):
        f, y0 = Swing(), Y0.clone().requires_grad_()
        t, y = package.odeint_event(
            f,
            y0,
            torch.tensor(0.0, dtype=torch.float64),
            event_fn=lambda t, y: y[0] + 0.2,
            method=method,
            options=options,
        )
        found.append((t, y, *torch.autograd.grad(t + y[-1, 1], [y0, f.stiffness])))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)
