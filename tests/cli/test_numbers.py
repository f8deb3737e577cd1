"""Numeric options: whatever number is given, it is computed with or refused at once, by name and with the remedy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from physode import progress as progress_module
from physode.cli.main import cli
from physode.cli.numbers import Real, Whole, finite_numbers
from physode.datasets import read_trajectories
from physode.progress import Words, showing_progress

HUGE, TINY = ("1e19", "1e308", "10000000000000000000"), ("1e-320",)
NUMERIC = click.types.FloatParamType | click.types.IntParamType
NUMBERS = ("0", "-1", "1e-30", *HUGE, *TINY, "nan", "inf", "-inf")


def commands(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, those within groups, too."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, *path, name)
    else:
        yield " ".join(path), command


OPTIONS = [
    pytest.param(parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in commands(cli)
    for parameter in command.params
    if isinstance(parameter, click.Option)
    and isinstance(parameter.type, click.types.FloatParamType | click.types.IntParamType)
]


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def converted(option: click.Option, text: str) -> tuple[float | None, click.BadParameter | None]:
    """The value of a text, or the refusal."""
    try:
        return option.type.convert(text, option, None), None
    except click.BadParameter as refused:
        refused.param = option
        return None, refused


def without(small: tuple[object, ...], *names: object) -> list[object]:
    """Options in pairs, but for those that are given otherwise."""
    pairs = zip(small[::2], small[1::2], strict=True)
    return [word for name, value in pairs if name not in names for word in (name, value)]


def test_there_are_numeric_options():
    assert len(OPTIONS) > 150


@pytest.mark.parametrize("option", OPTIONS)
def test_every_numeric_option_is_bounded(option):
    assert isinstance(option.type, Real | Whole)


@pytest.mark.parametrize("option", OPTIONS)
def test_what_cannot_be_worked_with_is_refused_by_name_and_with_the_reason(option):
    """Of what is left over, only infinities and NaN go on, where the library says what they should have been."""
    whole = isinstance(option.type, Whole)
    for text in NUMBERS:
        value, refused = converted(option, text)
        if refused is not None:
            assert option.opts[0] in refused.format_message()
            assert any(reason in refused.message for reason in ("range", ": ", "not a"))
        elif whole:
            assert 0 <= value < 2**63
        elif np.isfinite(value):
            assert value == 0 or 1e-150 <= abs(value) <= 1e150
        else:
            assert not option.type.finite


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Real(above=0.0), "1e308", "1e308 is larger than 1e+150: double precision cannot hold its square"),
        (Real(above=0.0), "1e-320", "1e-320 is smaller than 1e-150: its square is 0 in double precision; give 0"),
        (Real(above=0.0), "0", "0.0 is not in the range x>0.0"),
        (Real(0, below=1), "nan", "nan is not a finite number"),
        (Whole(1, largest=8, why="no room; give less"), "9", "9 is larger than 8: no room; give less"),
        (Whole(1, 5), "9", "9 is not in the range 1<=x<=5"),
    ],
)
def test_what_is_said_of_a_number(kind, text, message):
    with pytest.raises(click.BadParameter) as refused:
        kind.convert(text, None, None)
    assert message in refused.value.message


def test_numbers_with_commas_between_are_finite():
    assert finite_numbers("1,-2e3") == (1.0, -2000.0)
    assert finite_numbers("-inf,2", infinite=True) == (-np.inf, 2.0)
    for text, infinite in (("1,nan", True), ("inf,1", False), ("1e308", False), ("1,,2", False)):
        with pytest.raises(click.BadParameter, match="number"):
            finite_numbers(text, infinite=infinite)


SMALL = {
    "threebody": ("--t-end", 0.02, "--points", 4),
    "vanderpol": ("--t-end", 0.1, "--points", 4),
    "lotkavolterra": ("--t-end", 0.1, "--points", 4),
    "periodic": ("--n", 2, "--points", 4),
}
OUT_OF_REACH = [
    ("threebody", ("--n", 10**9)),
    ("threebody", ("--points", 10**9)),
    ("threebody", ("--masses", "1e19", "1e19", "1e19")),
    ("threebody", ("--t-end", "1e19")),
    ("threebody", ("--softening", "1e308")),
    ("threebody", ("--noise", "1e308")),
    ("vanderpol", ("--mu", "1e19")),
    ("vanderpol", ("--t-end", "1e19")),
    ("vanderpol", ("--n", "1" + 19 * "0")),
    ("vanderpol", ("--points", 10**9, "--times", "random")),
    ("lotkavolterra", ("--alpha", "1e19")),
    ("lotkavolterra", ("--n", 10**9, "--vary", 0.1)),
    ("periodic", ("--frequency", "1e30", "1e30")),
    ("periodic", ("--n", 10**9)),
    ("periodic", ("--t-end", "1e-320")),
    ("hopper", ("--n", 10**9)),
    ("hopper", ("--steps", 10**9)),
    ("galaxies", ("--count", 10**9)),
    ("galaxies", ("--noise", "1e-320")),
    ("galaxies", ("--noise", "1e-30")),
]


@pytest.mark.parametrize(("system", "options"), OUT_OF_REACH, ids=str)
def test_what_is_out_of_reach_is_one_line_before_the_work(folder, system, options):
    rest = without(SMALL.get(system, ()), *options)
    result = run("simulate", system, *rest, *options)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert "unexpected" not in result.stderr
    assert result.stderr.count("Error: ") == result.stderr.splitlines()[-1].count("Error: ") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("system", SMALL)
def test_a_simulation_that_succeeds_has_finite_values_or_names_those_that_failed(folder, system):
    command, few = dict(commands(cli))[f"simulate {system}"], () if system == "periodic" else ("--max-steps", 200)
    for option in command.params:
        for text in ("1e-30", "1e10", "1e100") if isinstance(option.type, Real) else ():
            given = [option.opts[0], *[text] * option.nargs]
            result = run("simulate", system, *without(SMALL[system], given[0]), *few, *given, "--force", "--json")
            assert "unexpected" not in result.stderr
            if result.exit_code == 0:
                told = json.loads(result.stdout)
                lost = np.flatnonzero(~np.isfinite(read_trajectories(told["path"]).y).all(axis=(1, 2))).tolist()
                assert lost == [each["trajectory"] for each in told["failures"]]


def test_long_work_says_how_far_it_is_where_there_is_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "_FIRST", 0.01)
    with showing_progress("simul\x1b[31mating") as progress:
        progress(0.5)
        told = ""
        while "50.00%" not in told:
            told += capsys.readouterr().err
            time.sleep(0.01)
    assert re.search(r"simul\\x1b\[31mating: 50.00% after \d+ s, about \d+ s to go", told)


def test_short_work_says_nothing(capsys):
    with showing_progress("simulating") as progress:
        progress(1.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("spec", "seen"), [(None, False), ("ipywidgets", True)])
def test_a_notebook_shows_a_bar_only_where_it_can_draw_one(spec, seen, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress_module, "find_spec", lambda name: spec)
    assert progress_module.is_watched() is seen


def test_an_estimate_is_in_the_unit_that_suits_it():
    words = Words("fitting")
    assert words.line(10.0) == "fitting: under way for 10 s"
    words.tell(1e-3, "epoch 1")
    assert words.line(10.0) == "fitting: 0.10% after 10 s, epoch 1, about 2.77 hours to go"
    words.tell(1e-9)
    assert words.line(10.0).endswith("about 317 years to go")
