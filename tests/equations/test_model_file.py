"""Model files: what they may say, and what is refused, in one line with file, table and key."""

from __future__ import annotations

import math
import pickle
import textwrap

import pytest

from physode.equations.declarations import Guess
from physode.equations.model_file import read_model
from physode.errors import ConfigError
from physode.estimation.problem import Prior

SWING = """
version = 1
time_unit = "s"
equations = \"\"\"
# a driven oscillator
F = A*cos(w*t)
x' = v
v' = -k*x - c*v
     + F/m + push
\"\"\"
[constants]
k = { guess = 2.0, bounds = [0, 50], unit = "1/s^2", prior = [2.0, 0.5] }
c = 0.1
A = { guess = 1.0, unit = "N", log = true }
w = { value = 2.0, unit = "rad/s" }
m = { guess = 1.0, unit = "kg", free = false }
x0 = { value = 0.0, unit = "m" }
[inputs]
push = { column = "force", kind = "step", unit = "m/s^2" }
[states]
x = { unit = "m", start = "x0" }
v = { start = { guess = 0.0, bounds = [-1, 1] }, unit = "m/s" }
[observables]
pos = { formula = "2*x", unit = "m", noise = "proportional" }
[experiments.B]
begin = -1.0
start = { x = "fit" }
constants = { k = 3.0, c = "2*k" }
changes = [ { time = [1, 2], states = { x = "x + 1" } } ]
"""


@pytest.fixture
def model(tmp_path):
    def read(text: str):
        path = tmp_path / "model.toml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return read_model(path)

    return read


def small(*lines: str, equations: str = "x' = -k*x", constants: str = "k = 1") -> str:
    return "\n".join(
        ["version = 1", f'equations = """{equations}"""', *lines[:1], "[constants]", constants, *lines[1:]]
    )


def test_everything_that_is_declared_is_read(model):
    read = model(SWING).declarations
    assert (read.name, read.time_unit, read.begin) == ("model", "s", None)
    assert [state.name for state in read.states] == ["x", "v"]
    assert str(read.states[1].rate) == "-k*x - c*v + A*cos(w*t)/m + push"
    assert str(read.states[0].start) == "x0"
    assert read.states[1].start == Guess(0.0, -1.0, 1.0)
    k, c, A, w, m, _ = read.constants
    assert k.source == Guess(2.0, 0.0, 50.0, prior=Prior("normal", (2.0, 0.5)))
    assert c.source == Guess(0.1)
    assert A.source == Guess(1.0, 0.0, math.inf, log=True)
    assert (w.source, w.unit) == (2.0, "rad/s")
    assert m.source == Guess(1.0, free=False)
    assert (read.inputs[0].column, read.inputs[0].kind) == ("force", "step")
    assert (read.observables[0].text, read.observables[0].proportional) == ("2*x", True)
    treatment = read.treatments["B"]
    assert treatment.begin == -1.0
    assert treatment.start == {"x": Guess()}
    assert {name: str(each) for name, each in treatment.constants.items()} == {"k": "3", "c": "2*k"}
    assert treatment.changes[0].times == (1.0, 2.0)
    assert read.equations == ("F = A*cos(w*t)", "x' = v", "v' = -k*x - c*v + F/m + push")


def test_equations_are_written_in_several_ways(model):
    rates = [
        model(text).declarations.states[0].rate
        for text in (
            small(),
            small(equations="dx/dt = -k*x"),
            'version = 1\nequations = ["x\' = -k*x"]\n[constants]\nk = 1',
            'version = 1\n[constants]\nk = 1\n[states]\nx = { equation = "x\' = -k*x" }',
            'version = 1\n[constants]\nk = 1\n[states]\nx = { equation = "-k*x" }',
        )
    ]
    assert len(set(rates)) == 1


def test_an_equation_of_higher_order_has_its_derivatives_as_states(model):
    read = model(small('[states]\nx = 1.0\n"x\'" = "k"', equations="x''' = -k*x'' - x'")).declarations
    assert [(state.name, str(state.rate)) for state in read.states] == [
        ("x", "x'"),
        ("x'", "x''"),
        ("x''", "-k*x'' - x'"),
    ]
    assert read.states[0].start == 1.0
    assert str(read.states[1].start) == "k"
    assert read.states[2].start == Guess()


def test_definitions_may_stand_in_any_order_and_depend_on_one_another(model):
    read = model(small(equations="a = 2*b\nx' = a\nb = k*x + time")).declarations
    assert str(read.states[0].rate) == "2*(k*x + t)"


def test_letters_that_look_alike_are_the_same(model):
    read = model(small(equations="x' = -µ*x", constants='"μ" = 1')).declarations
    assert read.constants[0].name == "μ"


def test_constants_may_have_the_names_of_mathematical_constants(model):
    assert model(small(equations="x' = -e*x", constants="e = 2")).declarations.states[0].rate.names == {"e", "x"}


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("[1, 2]", Prior("normal", (1.0, 2.0))),
        ("{ log-normal = [0, 1] }", Prior("log-normal", (0.0, 1.0))),
        ("{ uniform = [0, 1], truncated = true }", Prior("uniform", (0.0, 1.0), truncated=True)),
        ("{ exponential = 3 }", Prior("exponential", (3.0,))),
    ],
)
def test_priors_are_read(model, prior, expected):
    read = model(small(constants=f"k = {{ guess = 1, prior = {prior} }}")).declarations
    assert read.constants[0].source == Guess(1.0, prior=expected)


def test_guesses_that_are_not_given_lie_between_the_bounds(model):
    def guess(entry: str) -> float:
        source = model(small(constants=f"k = {{ {entry} }}")).declarations.constants[0].source
        assert isinstance(source, Guess)
        return source.value

    assert guess("") == 1.0
    assert guess("bounds = [2, 4]") == 3.0
    assert guess("bounds = [1, 100], log = true") == pytest.approx(10.0)
    assert guess("bounds = [5, inf]") == 6.0
    assert guess("bounds = [-inf, -5]") == -6.0
    assert guess("bounds = [0, inf]") == 1.0


def test_model_files_can_be_sent_to_other_processes(model):
    read = model(SWING)
    assert pickle.loads(pickle.dumps(read)) == read


REFUSED = [
    ("equations = \"x' = 1\"", "model.toml, version: is missing; a model file says version = 1"),
    ("version = 2\nequations = \"x' = 1\"", "version: is 2, but this physode reads version 1"),
    ("version = true\nequations = \"x' = 1\"", "version: is True"),
    ("version = 1", "there is no equation; write equations = "),
    ("version = 1\nversion = 1", "cannot be read as TOML: Cannot overwrite a value"),
    ("version = ", "cannot be read as TOML"),
    ("version = 1\nequation = \"x' = 1\"", "model.toml, equation: there is no such key; did you mean equations?"),
    (small(equations="x' = -k*x + q"), "equations: '-k*x + q' names q, which nothing declares; there are k, x"),
    (small(equations="x' = -rat*x*k", constants="k = 1\nrate = 2"), "which nothing declares; did you mean rate?"),
    (small(equations="x' = -k*x\nx' = k"), "x has two equations, \"x' = -k*x\" and \"x' = k\"; remove one"),
    (small(equations="x' = -k*x\nx'' = k"), "x has two equations"),
    (small(equations="x' = -k*x\nx = k"), "x has two equations"),
    (small("", "[states]\ny = 1.0"), "[states] y: has no equation; write equation = \"y' = ...\""),
    (small("", "[states]\ny = 1.0", equations="x' = -k*x*y\ny = k"), "y = ... defines it; write y' = ..."),
    (small("", "[states]\nx = { equation = 'k' }"), "x has two equations"),
    (small("", "[states]\nequations = 'k'"), "must stand above the first [table]"),
    (small(equations="x is k"), "'x is k' is no equation; write x' = ..."),
    (small(equations="x' = __import__('os')"), "has no place in an expression"),
    (small(equations="x' = k.real"), ".real has no place in an expression"),
    (small(equations="x' = 9**9**9*k"), "is no finite number"),
    (small(equations="x' = k*"), "this is no expression"),
    (small(equations="x' = k(x)"), "k is no function; write k*(...)"),
    (small(equations="a = b*k\nb = a\nx' = a"), "a, b depend on one another in a circle"),
    (small(equations="a = 2*q\nx' = k"), "'2*q' names q, which nothing declares"),
    (small(equations="x' = 1"), "[constants] k: nothing depends on it; remove it"),
    (small(equations="x' = 1 + 0*k"), "[constants] k: nothing depends on it; remove it"),
    (small(equations="x' = x - (0/3)*sin(k)*x + k^0"), "[constants] k: nothing depends on it; remove it"),
    (small(equations="x' = 1 + exp(k)^(0*x)"), "[constants] k: nothing depends on it; remove it"),
    (small(equations="x' = u*k", constants="k = 1\n[inputs]\nu = 'u'\nv = 'v'"), "[inputs] v: nothing depends on it"),
    (small(equations="x' = k", constants="k = 1\nx = 2"), "x is a state and a constant; take another name"),
    (small(equations="t' = k"), "t: t has a meaning of its own"),
    (small(constants='"k-1" = 1'), "[constants] k-1: is no name; take letters"),
    (small(constants="k = 'a'"), "[constants] k: must be a number, not the text 'a'"),
    (small(constants="k = nan"), "must be a finite number, not nan"),
    (small(constants="k = { guss = 1 }"), "[constants.k] guss: there is no such key; did you mean guess?"),
    (small(constants="k = { guess = 9, bounds = [0, 5] }"), "[constants.k] guess: 9 is outside of the bounds 0 and 5"),
    (small(constants="k = { bounds = [5, 0] }"), "the lower bound 5 must be below the upper one, 0"),
    (small(constants="k = { bounds = [5] }"), "bounds: must be a list of 2 numbers"),
    (small(constants="k = { guess = -1, log = true }"), "guess: -1 is outside of the bounds 0 and inf"),
    (small(constants="k = { guess = 1, bounds = [-1, 2], log = true }"), "a logarithm asks for numbers above 0"),
    (small(constants="k = { guess = 1, value = 2 }"), "guess: value and guess cannot both be"),
    (small(constants="k = { guess = 1, prior = [1, 0] }"), "prior: the standard deviation must be above 0, not 0"),
    (small(constants="k = { guess = 1, prior = [1] }"), "prior: normal takes 2 numbers, not 1"),
    (small(constants="k = { guess = 1, prior = { uniform = [2, 1] } }"), "the lower end 2 must be below"),
    (small(constants="k = { guess = 1, prior = { norml = [2, 1] } }"), "[constants.k.prior] norml: there is no"),
    (small(constants="k = { guess = 1, per = 'subject' }"), "must be one of all, experiment, not the text"),
    (small(constants="k = { guess = 1, unit = 'm^^2' }"), "[constants.k] unit: 'm^^2' is no unit"),
    (small("", "[states]\nx = 'k*x'"), "depends on the state x, but may depend on constants only"),
    (small("", "[states]\nx = 'k*t'"), "'k*t' depends on time, but may not here"),
    (small("", "[states]\nx = { start = [1] }"), "[states.x] start: must be a number, not [1]"),
    (small("", "[observables]\ny = 'x + z'"), "[observables] y: 'x + z' names z, which nothing declares"),
    (small("", "[observables]\ny = { noise = 'gaussian', formula = 'x' }"), "must be one of constant, proportional"),
    (small("", "[observables]\ny = { sigma = 0, formula = 'x' }"), "sigma: must be above 0, not 0"),
    (small("", "[observables]\ny = { sigma = 1, sigma_column = 's', formula = 'x' }"), "cannot both be"),
    (small("", "[observables]\ny = { column = 'y' }"), "'y' names y, which nothing declares"),
    (small("", "[inputs]\nu = { kind = 'cubic' }", equations="x' = k*u"), "kind: must be one of linear, step, smooth"),
    (small("", "[experiments.A]\nstart = { y = 1 }"), "[experiments.A.start] y: there is no state of this name"),
    (small("", "[experiments.A]\nconstants = { q = 1 }"), "q: there is no constant of this name"),
    (small("", "[experiments.A]\nchanges = [{ time = 1 }]"), "[experiments.A.changes 1] time: changes nothing"),
    (small("", "[experiments.A]\nchanges = [{ states = { x = 1 } }]"), "when? give a time"),
    (small("", "[experiments.A]\nchanges = [{ time = 1, constants = { k = 'x' } }]"), "depends on the state x"),
    (small("", "[experiments]\nA = 3"), "[experiments] A: must be a table, not 3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line(model, text, message):
    with pytest.raises(ConfigError) as caught:
        model(text)
    assert message in str(caught.value)
    assert "model.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def of_length(equation: str, constants: str) -> str:
    """A model whose state x is a length, and whose time is in seconds."""
    return "\n".join([
        "version = 1", "time_unit = 's'", f'equations = "{equation}"', "[constants]", constants,
        "[states]", "x = { unit = 'm' }",
    ])  # fmt: skip


MISFITS = [
    ("x' = -k*x", "k = { guess = 1, unit = 'm' }", "-k*x is in m^2, x' in m/s: dimensions differ"),
    ("x' = -2*k*x", "k = { guess = 1, unit = '1/min' }", "they differ by a factor 60"),
    ("x' = k*(x + t)", "k = { guess = 1, unit = '1/s' }", "x is in m, t in s: dimensions differ"),
    ("x' = k*exp(x)", "k = { guess = 1, unit = '1/s' }", "exp takes a number without dimension, but x is in m"),
    ("x' = k*x + step(x > t)", "k = { guess = 1, unit = '1/s' }", "x is in m, t in s"),
    ("x' = 1 - 3*x*k/2", "k = { guess = 1, unit = 'm' }", "dimensions differ"),
    ("x' = k*2^x", "k = 1", "an exponent takes a number without dimension"),
    ("x' = piecewise(k, t > 1, x)", "k = { guess = 1, unit = '1/s' }", "k is in 1/s, x in m"),
]


@pytest.mark.parametrize(("equation", "constants", "message"), MISFITS)
def test_dimensions_that_do_not_fit_are_refused(model, equation, constants, message):
    with pytest.raises(ConfigError) as caught:
        model(of_length(equation, constants))
    assert "the dimensions of" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("equation", "constants"),
    [
        ("x' = -k*x*60", "k = { guess = 1, unit = '1/min' }"),
        ("x' = -k*x - g*sin(3*x/l)", "k = { guess = 1, unit = '1/s' }\nl = { guess = 1, unit = 'm' }\ng = 9.81"),
        ("x' = k*x^n/(K^n + x^n)", "k = { guess = 1 }\nn = 2\nK = { guess = 1, unit = 'm' }"),
        ("x' = k*x + a", "k = { guess = 1, unit = '1/s' }\na = 1"),
        ("x' = 9.81*t + k*x*cos(2*t)", "k = { guess = 1, unit = '1/s' }"),
        ("x' = piecewise(k*x, t < inf*s, nan*s)", "k = { guess = 1, unit = '1/s' }\ns = 1"),
        ("x' = k*x*sigmoid((t - 3)/0.1)", "k = { guess = 1, unit = '1/s' }"),
        ("x' = sqrt(k*x^2)", "k = { guess = 1, unit = 's^-2' }"),
        ("x' = 0.5*k*max(x, 0)", "k = { guess = 1, unit = 'Hz' }"),
    ],
)
def test_what_is_not_known_of_dimensions_is_no_error(model, equation, constants):
    model(of_length(equation, constants))


def test_other_dimensions_are_checked_too(model):
    begin = "version = 1\ntime_unit = 's'\nequations = \"x' = -k*x\"\n[constants]\nk = { guess = 1, unit = '1/s' }\n"
    for text, message in (
        ("[states]\nx = { unit = 'm', start = 'k' }", "[states] x: the dimensions of x = k"),
        ("[states]\nx = { unit = 'm' }\n[observables]\ny = { formula = 'k*x', unit = 'm' }", "[observables] y"),
        ("[states]\nx = { unit = 'm' }\n[observables]\nx = { sigma = 'k', unit = 'm' }", "its sigma = k"),
        ("[states]\nx = { unit = 'm' }\n[experiments.A]\nstart = { x = 'k' }", "[experiments] A"),
        ("[states]\nx = { unit = 'm' }\n[[changes]]\ntime = 1\nstates = { x = 'x + k' }", "changes: the dimensions"),
    ):
        with pytest.raises(ConfigError) as caught:
            model(begin + text)
        assert message in str(caught.value)


def test_the_spread_of_counts_may_be_their_root(model):
    text = "version = 1\nequations = \"N' = 1\"\n[states]\nN = {{ unit = '{0}' }}\n[observables]\n" + (
        "N = {{ unit = '{0}', sigma = 'sqrt(N)' }}"
    )
    model(text.format("cells"))
    with pytest.raises(ConfigError, match="its sigma = sqrt"):
        model(text.format("kg"))


def test_files_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "model.toml"
    with pytest.raises(ConfigError, match="does not exist"):
        read_model(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no text"):
        read_model(path)
    path.write_bytes(b"# " + b"x" * 1_000_001)
    with pytest.raises(ConfigError, match="more than 1000000"):
        read_model(path)
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deep"):
        read_model(path)
