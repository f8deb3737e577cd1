"""Text read as expressions, printed, and refused."""

from __future__ import annotations

import contextlib
import inspect
import math
import pickle
import sys

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from physode.equations.expression import Apply, EquationError, Number, apply, name, number, parse
from physode.equations.thresholds import find_times
from physode.equations.tree import postorder

NAMES = ("x", "y", "k1", "β", "lambda", "x'", "e2")
FUNCTIONS = ("sin", "exp", "log", "sqrt", "abs", "sigmoid", "step", "not")


def value(text: str, **values: float) -> float:
    return float(parse(text)({name: torch.tensor(each, dtype=torch.float64) for name, each in values.items()}))


def expressions():
    leaves = st.one_of(
        st.sampled_from(NAMES).map(name),
        st.floats(-100, 100).map(number),
        st.sampled_from([1e300, 1e-300, 1.5e20, 3.0, -2.0]).map(number),
    )

    def operations(inner):
        return st.one_of(
            st.tuples(st.sampled_from(["+", "*"]), st.lists(inner, min_size=2, max_size=4)),
            st.tuples(st.sampled_from(["/", "^", "<", ">=", "==", "!=", "mod", "and", "or"]), st.tuples(inner, inner)),
            st.tuples(st.sampled_from([*FUNCTIONS, "neg"]), st.tuples(inner)),
            st.tuples(st.just("piecewise"), st.tuples(inner, inner, inner)),
            st.tuples(st.sampled_from(["min", "max"]), st.lists(inner, min_size=2, max_size=3)),
        ).map(lambda parts: apply(parts[0], *parts[1]))

    return st.recursive(leaves, operations, max_leaves=25)


@given(expressions())
def test_what_is_printed_is_read_as_the_same(expression):
    # What is no finite number, such as log(-1), can be built but is not read.
    nodes = [node for node in postorder([expression]) if isinstance(node, Apply)]
    assume(not any(all(isinstance(each, Number) for each in node.arguments) for node in nodes))
    again = parse(str(expression))
    assert again == expression
    assert hash(again) == hash(expression)
    assert str(again) == str(expression)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-k*x - c*v + A*cos(w*t)", "-k*x - c*v + A*cos(w*t)"),
        ("((a + b))*(c)", "(a + b)*c"),
        ("a-(b-c)", "a - (b - c)"),
        ("a/(b*c)", "a/(b*c)"),
        ("(a/b)*c", "a/b*c"),
        ("x**-2**y", "x^-2^y"),
        ("(-x)^2", "(-x)^2"),
        ("-x^2", "-x^2"),
        ("2*3*x + 0", "6*x"),
        ("ln(x) + heaviside(t)", "log(x) + step(t)"),
        ("where(x<1 && !(y>2), 1, 0)", "piecewise(1, x < 1 and not y > 2, 0)"),
        ("a·x² − 3×y", "a*x^2 - 3*y"),  # noqa: RUF001
        ("  (1+\n x)*µ", "(1 + x)*μ"),
        ("x'' + 2*x'", "x'' + 2*x'"),
        ("None*f'abc'", "None*f'abc'"),
    ],
)
def test_expressions_are_printed_with_the_fewest_brackets(text, printed):
    assert str(parse(text)) == printed
    assert parse(printed) == parse(text)


def test_precedence_is_that_of_mathematics():
    assert value("-2^2") == -4
    assert value("2^3^2") == 512
    assert value("2^-1") == 0.5
    assert value("x^2*y", x=3.0, y=2.0) == 18
    assert value("8/4/2") == 1
    assert value("7 % 4 - 2*-1") == 5
    assert value("1 - 2 - 3 + x - 4", x=1.0) == -7


def test_functions_have_their_values():
    assert value("log(8, 2)") == pytest.approx(3)
    assert value("atan2(1, x)", x=-1.0) == pytest.approx(3 * math.pi / 4)
    assert value("factorial(5)") == 120
    assert value("max(1, x, 3)", x=7.0) == 7
    assert value("min(x, 3)", x=7.0) == 3
    assert value("step(x) + step(-x)", x=0.0) == 2
    assert value("sigmoid(x)", x=2.0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert value("piecewise(1, x < 0, 2, x < 1, 3)", x=0.5) == 2
    assert value("(x > 1)*2 + (x > 1 or x < 0)", x=3.0) == 3
    assert value("sin(pi/2) + e - exp(1)") == pytest.approx(1)


def test_constants_give_way_to_names_that_are_declared():
    assert parse("e*x").names == {"x"}
    assert parse("e*x", declared={"e"}).names == {"e", "x"}


def test_names_are_replaced_all_at_once():
    expression = parse("x + y*t").substitute({"x": parse("y^2"), "y": parse("x"), "t": number(2)})
    assert str(expression) == "y^2 + x*2"
    assert parse("a*b").substitute({"a": number(2), "b": number(3)}) == number(6)


def test_an_expression_without_a_finite_value_is_left_as_it_is_where_a_number_comes_in():
    inside = parse("piecewise(1/x, y > 0, 0)").substitute({"x": number(0)})
    assert float(inside({"y": torch.tensor(-1.0)})) == 0


def test_expressions_are_values():
    assert pickle.loads(pickle.dumps(parse("sin(x) + 2"))) == parse("sin(x) + 2")
    assert len({parse("a + b"), parse("a+b"), parse("b + a")}) == 2
    assert parse("a + b*a").names == frozenset("ab")


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", None, "there is nothing"),
        ("__import__('os')", 11, "has no place"),
        ("__import__(os)", 0, "there is no function __import__"),
        ("a.b + 1", 0, ".b has no place"),
        ("1 + x.real", 4, ".real has no place"),
        ("a[1]", 1, "'[' has no place"),
        ("lambda: 3", 6, "':' has no place"),
        ("(y := 3)", 3, "':' has no place"),
        ("x = 2", 2, "compare by =="),
        ("f(x)", 0, "the functions are abs, acos"),
        ("2*sine(x)", 2, "did you mean sin?"),
        ("1/0", 0, "1/0 is no finite number"),
        ("x + log(-1)", 4, "log(-1) is no finite number"),
        ("9**9**9", 0, "is no finite number"),
        ("x + 10^400", 4, "is no finite number"),
        ("1e999", 0, "too large"),
        ("x if y else z", 2, "no expression"),
        ("0,5*x", 0, "decimals are written with a point"),
        ("0 < x < 1", 0, "0 < x and x < 1"),
        ('"a"', 0, "has no place"),
        ("(x", 0, "1 opening and 0 closing brackets"),
        ("(((", 2, "3 opening and 0 closing brackets"),
        ("1j*x", 0, "only real numbers"),
        ("1or x", 0, "no expression"),
        ("x // 2", 0, "has no place"),
        ("x | y", 0, "has no place"),
        ("x @ y", 2, "has no place"),
        ("~x", 0, "has no place"),
        ("sin()", 0, "sin cannot take 0 arguments"),
        ("sin(x, y)", 0, "sin cannot take 2 arguments"),
        ("sin(*x)", 0, "has no place before an argument"),
        ("sin(x=1)", 0, "no names"),
        ("pow(x)", 0, "pow takes 2 arguments, not 1"),
        ("piecewise(1, x > 0)", 0, "and last the value otherwise"),
        ("factorial(x)", 0, "factorial takes a whole number"),
        ("[x for x in y]", 0, "has no place"),
        ("{1: 2}", 0, "has no place"),
        ("x # y", 2, "has no place"),
        ("9" * 5000, None, "too long a number"),
        ("(" * 300 + "x" + ")" * 300, None, "nested"),
        ("-" * 300 + "x", None, "nested"),
        ("sin(" * 150 + "x^" * 100 + "x" + ")" * 150, None, "nested"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text, position, reason):
    with pytest.raises(EquationError) as caught:
        parse(text, what="equation of x")
    assert str(caught.value).startswith("equation of x ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    if position is not None:
        assert caught.value.position == position
        assert f"at letter {position + 1} (" in str(caught.value)


def test_texts_that_are_too_long_are_refused():
    with pytest.raises(EquationError, match="has 10001 letters; divide it"):
        parse("x" * 10_001)


def _refusal(text: str) -> str:
    try:
        parse(text)
    except EquationError as error:
        return str(error)
    return ""


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused_in_one_line(text):
    assert _refusal(text).isprintable()


def test_a_function_of_a_declared_name_is_taken_for_a_product():
    with pytest.raises(EquationError, match=r"k is no function; write k\*\(\.\.\.\) for a product"):
        parse("k(x + 1)", declared={"k", "x"})


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("piecewise(1, t > 5, 0)", ["5"]),
        ("piecewise(1, 2*t + a <= 5 and t < b, 0)", ["(5 - a)/2", "b"]),
        ("step(t - lag) - step(t - 3*lag)", ["lag", "3*lag"]),
        ("abs((t - a)/b)", ["-(-a/b)/(1/b)"]),
        ("max(t - 3, 0)", ["3"]),
        ("piecewise(1, x > t, 0) + piecewise(1, sin(t) > 0, 0) + (k > 2)", []),
        ("sin(t)", []),
    ],
)
def test_times_of_steps_and_kinks_are_found(text, times):
    found = find_times(parse(text), states=["x"])
    values = {name: torch.tensor(each, dtype=torch.float64) for name, each in {"a": 1.5, "b": 0.7, "lag": 2.0}.items()}
    assert [float(each(values)) for each in found] == pytest.approx([float(parse(each)(values)) for each in times])


@pytest.mark.parametrize("limit", [1000, 10_000])
def test_long_sums_are_read_or_refused_whatever_python_allows(limit):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, len(inspect.stack()) + 300))
    try:
        with contextlib.suppress(EquationError):
            assert parse("+".join(["x"] * 4500)).names == {"x"}
    finally:
        sys.setrecursionlimit(before)
