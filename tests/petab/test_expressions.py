"""SymPy's expressions as physode's: the same values, and what cannot be said is named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("libsbml")
pytest.importorskip("petab")

import libsbml
import sympy
from petab.v1.math import sympify_petab
from sbmlmath import sbml_math_to_sympy

from physode.equations.expression import number
from physode.errors import DataError
from physode.petab.from_sympy import TIME, expression_of

VALUES = {"a": 0.7, "b": 0.4, "c": 1.9, TIME: 2.5}


def value(expression):
    return float(expression({name: torch.tensor(x, dtype=torch.float64) for name, x in VALUES.items()}))


FORMULAS = [
    "a * b / c - a + -b ^ 2", "a ^ -2 / (b * c)", "sqrt(a) + 1 / sqrt(c)", "log10(a) + log2(b) + ln(c) + log(a, 3)",
    "exp(-a * time) - abs(b - c) * sign(b - c)", "min(a, b) + max(b, c)", "pow(a, b) + a ^ b ^ c",
    "piecewise(a, a > b && b < c, b, time >= 2, c)", "piecewise(1, !(a > b) || c == 1.9, 0)",
    *(f"{f}(a)" for f in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch")),
    *(f"{f}(b)" for f in ("arcsin", "arccos", "arctan", "arccot", "arcsinh", "arctanh", "arcsech", "arccsch")),
    *(f"{f}(c)" for f in ("arcsec", "arccsc", "arccosh", "arccoth")), "1e-3 * a + 2.5E+2", "true && a", "inf",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_of_petab_have_the_values_that_sympy_gives_them(text):
    expected = sympify_petab(text).subs({sympy.Symbol(name, real=True): x for name, x in VALUES.items()})
    found = value(expression_of(sympify_petab(text, evaluate=False), what="a formula"))
    assert found == pytest.approx(float(expected), rel=1e-14)


MATHEMATICS = [
    ("a^2/(b+c)", 0.49 / 2.3), ("root(3, a)", 0.7 ** (1 / 3)), ("time + avogadro", 2.5 + 6.02214179e23),
    ("quotient(7, 2)", 3.0), ("rem(7.5, 2)", 1.5), ("factorial(4) + ceil(a) + floor(c)", 26.0),
    ("log10(a)", math.log10(0.7)), ("ln(a)", math.log(0.7)), ("xor(a > b, b > c)", 1.0),
    ("implies(a > b, b > c)", 0.0), ("piecewise(1, a < b, 2)", 2.0), ("a < c && b < c", 1.0),
    ("pi + exponentiale", math.pi + math.e), ("1.5e-3 * a", 1.5e-3 * 0.7), ("max(a, b, c)", 1.9), ("not(a > b)", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MATHEMATICS)
def test_mathematics_of_sbml_has_its_values(text, expected):
    parsed = sbml_math_to_sympy(libsbml.parseL3Formula(text), ignore_units=True, evaluate=False)
    assert value(expression_of(parsed, what="a rule")) == pytest.approx(expected, rel=1e-14)


def test_numbers_and_names_are_themselves():
    assert expression_of(sympy.Rational(1, 3), what="x") == number(1 / 3)
    assert expression_of(sympy.Symbol("a"), what="x").names == {"a"}
    assert math.isnan(value(expression_of(sympy.nan, what="x")))
    assert np.isposinf(value(expression_of(sympy.oo, what="x")))


@pytest.mark.parametrize(("text", "name"), [("delay(a, 1)", "delay"), ("rateOf(a)", "rateOf"), ("f(a)", "f")])
def test_what_no_expression_can_say_is_named(text, name):
    parsed = sbml_math_to_sympy(libsbml.parseL3Formula(text), ignore_units=True, evaluate=False)
    with pytest.raises(DataError, match=f"the rule of x uses {name}, which"):
        expression_of(parsed, what="the rule of x")
