"""Expressions computed by torch: values and derivatives of every operation, in every way that torch has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physode.equations.expression import EquationError, parse
from physode.equations.operations import FUNCTIONS
from physode.equations.program import Program
from physode.equations.thresholds import find_times

# torch's forward mode scripts its own formulas
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

# Each operation with points at which it is smooth.
SMOOTH = [
    ("x + y - 2", 0.3, 1.7),
    ("3 - x", 0.3, 0.0),
    ("-x*y + 2*(x - y)", 0.3, 1.7),
    ("x/y + 2/x + y/3 + 1/y", 0.3, 1.7),
    ("x^y + x^2 + x^3 + x^-1.5 + 2^x + x^0.5", 0.3, 1.7),
    ("sin(x) + cos(y)*tan(x)", 0.3, 1.7),
    ("asin(x) + acos(x) + atan(y) + atan2(x, y) + atan2(2, x) + atan2(y, 3)", 0.3, 1.7),
    ("sinh(x) + cosh(x) + tanh(y) + asinh(x) + acosh(y) + atanh(x)", 0.3, 1.7),
    ("exp(x) + log(y) + log10(y) + log2(x) + log(x, 3) + log(x, y) + sqrt(x)", 0.3, 1.7),
    ("abs(-x) + sign(x)*y + floor(y)*x + ceil(x)*y", 0.3, 1.7),
    ("min(x, y, 5) + max(x, 0.1) + min(2, y) + max(x, y)", 0.3, 1.7),
    ("mod(y, x) + mod(y, 0.4) + mod(7, x)", 0.3, 1.7),
    ("step(x)*y + sigmoid(x*y)", 0.3, 1.7),
    ("piecewise(x^2, x < y, y) + piecewise(y, x >= y, x < 0, x, 2)", 0.3, 1.7),
    ("(x < y)*x + (x > 2 or y > 1)*y + (not x == y)*x*y + piecewise(x, y, 0)", 0.3, 1.7),
]


def columns(*values, dtype=torch.float64, grad=True):
    return [torch.tensor(each, dtype=dtype, requires_grad=grad) for each in values]


def reference(text: str, x, y):
    """The same by NumPy; the text is this file's own."""
    scope = {
        **{name: operation.value for name, operation in FUNCTIONS.items()},
        "log": lambda x, base=np.e: np.log(x) / np.log(base),
        "min": lambda *each: np.minimum.reduce(np.broadcast_arrays(*each)),
        "max": lambda *each: np.maximum.reduce(np.broadcast_arrays(*each)),
        "piecewise": lambda *each: each[0] if each[1] else (each[2] if len(each) == 3 or each[3] else each[4]),
        "step": lambda x: float(x >= 0),
    }
    return eval(text.replace("^", "**"), {}, {**scope, "x": x, "y": y})


@pytest.mark.parametrize(("text", "x", "y"), SMOOTH)
def test_values_are_NumPy_s(text, x, y):
    value = Program([parse(text)], ["x", "y"])(columns([x], [y]))[0]
    np.testing.assert_allclose(value.detach(), [reference(text, x, y)], rtol=1e-14)


@pytest.mark.parametrize(("text", "x", "y"), SMOOTH)
def test_derivatives_are_those_of_differences_in_every_mode(text, x, y):
    program = Program([parse(text)], ["x", "y"])

    def f(x, y):
        return program([x, y])[0]

    inputs = columns([x, x + 0.01], [y, y - 0.02])
    assert torch.autograd.gradcheck(f, inputs, check_forward_ad=True, check_batched_grad=True)
    reverse = torch.func.jacrev(f, argnums=(0, 1))(*columns(x, y, grad=False))
    forward = torch.func.jacfwd(f, argnums=(0, 1))(*columns(x, y, grad=False))
    mapped = torch.func.vmap(torch.func.grad(f))(*columns([x, x], [y, y], grad=False))
    torch.testing.assert_close(torch.stack(reverse), torch.stack(forward))
    torch.testing.assert_close(mapped, reverse[0].expand(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_take_the_dtype_of_the_columns(dtype):
    texts = ["2", "x > 1", "piecewise(1, x > 1, 2)", "2/x + atan2(1, x)", "min(x, 1) + 1e-3", "piecewise(1, x, 0)"]
    program = Program([parse(text) for text in texts], ["x"])
    for value in program([torch.tensor([0.5, 2.0], dtype=dtype)]):
        assert value.dtype == dtype
        assert value.shape == (2,)


def test_columns_of_several_shapes_broadcast():
    value = Program([parse("a*x + (a > 0)")], ["a", "x"])([torch.ones(()), torch.arange(3.0)])[0]
    assert value.tolist() == [1.0, 2.0, 3.0]
    assert parse("a*x")({"a": torch.ones(2, 1), "x": torch.ones(3), "other": torch.ones(7)}).shape == (2, 3)
    assert parse("3")({"a": torch.ones((), dtype=torch.float32)}).dtype == torch.float32
    assert float(parse("3")({})) == 3.0


# Each is finite and smooth at 0, while what is not selected there is not.
BRANCHES = [
    ("piecewise(sin(x)/x, abs(x) > 1e-9, 1 + x)", 1.0),
    ("piecewise(x*log(x), x > 0, 2*x)", 2.0),
    ("piecewise(3*x, x <= 0, sqrt(x))", 3.0),
    ("piecewise(exp(1000/x), x > 1, x)", 1.0),
    ("piecewise(1/x, x > 1, 1/(x*x), x > 0.5, 5*x)", 5.0),
    ("piecewise(5*x, x < 0.5, 1/x, x < 0.7, log(-1 - x))", 5.0),
    ("piecewise(piecewise(1/x, x > 1, x + sqrt(-1 - x)), x > 0.5, 7*x)", 7.0),
    ("piecewise(piecewise(1/x, x > 1, 4*x), x < 0.5, sqrt(x))", 4.0),
    ("2*piecewise(x^-1, x > 0, x) + x", 3.0),
    ("piecewise(acosh(1 - x + x^0.5), x > 0, x)", 1.0),
    ("where(x > 0, x^k, -x^2)", 0.0),
]


@pytest.mark.parametrize(("text", "slope"), BRANCHES)
def test_what_is_not_selected_has_no_part_in_derivatives(text, slope):
    program = Program([parse(text)], ["x", "k"])

    def f(x, k):
        return program([x, k])[0]

    x, k = columns([0.0, 0.0], [0.5, 1.0])
    first = torch.autograd.grad(f(x, k).sum(), (x, k), create_graph=True, allow_unused=True)
    assert first[0].tolist() == [slope, slope]
    assert first[1] is None or first[1].tolist() == [0.0, 0.0]
    if first[0].requires_grad:
        assert torch.isfinite(torch.autograd.grad(first[0].sum(), x, allow_unused=True)[0]).all()
    tangents = torch.func.jvp(lambda x: f(x, k.detach()), (x.detach(),), (torch.ones(2, dtype=torch.float64),))[1]
    assert tangents.tolist() == [slope, slope]
    assert torch.func.jacrev(f)(*columns(0.0, 0.5, grad=False)) == slope


@pytest.mark.parametrize(("text", "slopes"), [("x^2", (0, 0)), ("x^3*n", (0, 0)), ("x^n", (0, 0)), ("x^1", (1, 0))])
def test_powers_of_zero_have_their_derivatives(text, slopes):
    program = Program([parse(text)], ["x", "n"])
    x, n = columns(0.0, 2.5)
    value = program([x, n])[0]
    derivatives = torch.autograd.grad(value, (x, n), allow_unused=True)
    assert [0.0 if each is None else float(each) for each in derivatives] == list(slopes)


def test_what_expressions_have_in_common_is_computed_once(monkeypatch):
    program = Program([parse("sin(w*t) + x"), parse("2*sin(w*t)"), parse("x - sin(w*t)")], ["t", "w", "x"])
    calls = [step[0] for step in program._steps]
    assert calls.count(torch.sin) == 1
    assert calls.count(torch.neg) == 0
    assert len(calls) == 5


def test_a_name_that_has_no_column_is_refused():
    with pytest.raises(EquationError, match=r"x \+ z depends on z, which has no value"):
        Program([parse("x + z")], ["x"])
    with pytest.raises(EquationError, match="depends on z, which has no value"):
        parse("x + z")({"x": torch.ones(1)})


def test_long_and_deep_expressions_need_no_recursion():
    expression = parse("x")
    for _ in range(5000):
        expression = parse("y/z + z").substitute({"y": expression})
    program = Program([expression], ["x", "z"])
    assert float(program(columns(0.0, 2.0, grad=False))[0]) == pytest.approx(4.0)
    assert find_times(parse("+".join(["x*step(t - 1)"] * 400))) == (parse("1"),)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_sums_and_products_are_taken_from_left_to_right(x, y):
    value = Program([parse("x*3 + y*y - x - 0.1 - 2*-y*x/7")], ["x", "y"])(columns(x, y, grad=False))[0]
    assert float(value) == x * 3 + y * y - x - 0.1 - 2 * -y * x / 7
