"""Models of expressions: solved as SciPy solves them, and differentiated."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po
from physode.equations.expression import EquationError, parse
from physode.equations.model import ChangeFormula, MeasuredFormula, OwnSpread, model_of

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

# Equations, constants, initial values; the right-hand side again by NumPy; the end.
MODELS = {
    "oscillator": (
        {"x": "v", "v": "-k*x - c*v + A*cos(w*t)"},
        {"k": 2.0, "c": 0.3, "A": 1.5, "w": 2.0},
        {"x": "1", "v": "A/w"},
        lambda t, y, k, c, A, w: [y[1], -k * y[0] - c * y[1] + A * np.cos(w * t)],
        8.0,
    ),
    "predators": (
        {"x": "a*x - b*x*y", "y": "d*b*x*y - g*y"},
        {"a": 1.1, "b": 0.4, "d": 0.25, "g": 0.4},
        {"x": "10", "y": "5"},
        lambda t, y, a, b, d, g: [a * y[0] - b * y[0] * y[1], d * b * y[0] * y[1] - g * y[1]],
        20.0,
    ),
    "enzyme with a pulse": (
        {"s": "-V*s^n/(K^n + s^n) + piecewise(r, t >= t1 and t < 2*t1, 0)", "p": "V*s^n/(K^n + s^n)"},
        {"V": 1.0, "K": 0.5, "n": 1.8, "r": 0.7, "t1": 2.0},
        {"s": "2*K", "p": "0"},
        lambda t, y, V, K, n, r, t1: [
            -V * y[0] ** n / (K**n + y[0] ** n) + (r if t1 <= t < 2 * t1 else 0.0),
            V * y[0] ** n / (K**n + y[0] ** n),
        ],
        6.0,
    ),
}


def built(key: str):
    rates, constants, start, _, _ = MODELS[key]
    return model_of(
        list(rates), [parse(each) for each in rates.values()], [parse(start[each]) for each in rates],
        list(constants), list(constants.values()),
    )  # fmt: skip


def rows(model, count: int) -> torch.Tensor:
    return torch.tensor(model.values, dtype=torch.float64).repeat(count, 1)


@pytest.mark.parametrize("key", MODELS)
def test_solutions_are_SciPy_s(key):
    _, constants, _, reference, end = MODELS[key]
    model = built(key)
    p = rows(model, 1)
    breaks = [float(each(dict(zip(model.constants, p[0], strict=True)))) for each in model.breaks]
    times = np.linspace(0.0, end, 9)
    solution = po.solve(
        lambda t, y: model.rhs(t.reshape(1), y, p, y[:, :0]),
        model.initial(p), torch.tensor(times), rtol=1e-10, atol=1e-12, jump_t=breaks or None,
    )  # fmt: skip
    y0 = model.initial(p)[0].numpy()
    expected = [y0]
    for begin, until in pairwise(times):
        stops = [begin, *(each for each in breaks if begin < each < until), until]
        for one, other in pairwise(stops):
            middle = 1e-12 * (other - one)
            y0 = solve_ivp(
                lambda t, y, one=one, other=other, middle=middle: reference(
                    min(max(t, one + middle), other - middle), y, **constants
                ),
                (one, other), y0, method="DOP853", rtol=1e-11, atol=1e-13,
            ).y[:, -1]  # fmt: skip
        expected.append(y0)
    np.testing.assert_allclose(solution.y[:, 0], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("key", MODELS)
def test_derivatives_are_those_of_differences(key):
    model = built(key)
    p = rows(model, 3) * torch.linspace(0.9, 1.1, 3, dtype=torch.float64)[:, None]
    p.requires_grad_(True)
    x = model.initial(p).detach().requires_grad_(True)
    t = torch.tensor([0.3, 2.9, 5.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, p: model.rhs(t, x, p, x[:, :0]), (x, p), check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradcheck(model.initial, (p,))


def test_rows_are_independent_and_can_be_mapped():
    model = built("predators")
    p = rows(model, 4) * torch.rand(4, 4, dtype=torch.float64)
    x, t = torch.rand(4, 2, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    together = model.rhs(t, x, p, x[:, :0])
    one_by_one = torch.stack([model.rhs(t[i : i + 1], x[i : i + 1], p[i : i + 1], x[:1, :0])[0] for i in range(4)])
    mapped = torch.func.vmap(lambda t, x, p: model.rhs(t[None], x[None], p[None], x[None, :0])[0])(t, x, p)
    assert torch.equal(together, one_by_one)
    assert torch.equal(together, mapped)
    jacobian = torch.func.vmap(torch.func.jacfwd(lambda x, p: model.rhs(t[:1], x[None], p[None], x[None, :0])[0]))(x, p)
    a, b, d, g = p.unbind(-1)
    expected = torch.stack([a - b * x[:, 1], -b * x[:, 0], d * b * x[:, 1], d * b * x[:, 0] - g], -1).view(4, 2, 2)
    torch.testing.assert_close(jacobian, expected)


def test_a_pulse_s_edges_are_breaks():
    assert [str(each) for each in built("enzyme with a pulse").breaks] == ["t1", "2*t1"]
    assert built("oscillator").breaks == ()


def test_observables_and_changes_take_what_they_name():
    states, constants, inputs = ("x", "y"), ("k", "s"), ("u",)
    t, x = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    p, u, q = torch.tensor([[5.0, 6.0], [7.0, 8.0]]), torch.tensor([[9.0], [10.0]]), torch.tensor([[0.1], [0.2]])
    measured = MeasuredFormula(parse("s*y + u - t"), states, constants, inputs)
    assert measured(t, x, p, u, q).tolist() == [20.0, 40.0]
    assert MeasuredFormula(parse("3"), states, constants)(t, x, p, u, q).tolist() == [3.0, 3.0]
    torch.testing.assert_close(OwnSpread()(t, x, p, u, q), q[:, 0])
    change = ChangeFormula(parse("x + k*t"), states, constants)
    assert float(change(t[1], x[1], p[1])) == 17.0


def test_models_can_be_sent_to_other_processes():
    model = built("oscillator")
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    p = rows(model, 2)
    assert torch.equal(again.rhs(p[:, 0], p[:, :2], p, p[:, :0]), model.rhs(p[:, 0], p[:, :2], p, p[:, :0]))


def test_a_name_that_nothing_gives_a_value_is_refused():
    with pytest.raises(EquationError, match="nothing gives q, z a value"):
        model_of(["x"], [parse("q*x + z")], [parse("1")], ["k"], [1.0])
