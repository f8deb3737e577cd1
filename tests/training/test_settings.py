"""Settings are declared once: checked, kept, described and made into options from one field each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from physode.cli.options import given_settings, options_of
from physode.errors import ConfigError
from physode.training.settings import SHARE, UNIT, WIDTH, Range, Settings, setting, whole


@dataclass(frozen=True)
class Oven(Settings):
    """How bread is baked."""

    bread: str = setting("rye", "Which bread.", choices=("rye", "spelt"))
    loaves: int = setting(2, "How many.", whole(1, largest=8, why="no oven holds them; give less"))
    heat: float = setting(230.0, "Degrees.", Range(above=0, largest=1e3, why="it burns; give less"))
    steam: float | None = setting(None, "Share of the time.", SHARE, shown="by bread")
    fan: bool = setting(False, "Whether air moves.")
    trays: tuple[int, ...] = setting((1, 2), "Widths of trays.", WIDTH, example=(3, 4))
    spices: Mapping[str, tuple[float, ...]] = setting({}, "Grams by name.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bread": "stone"}, "`bread` must be one of rye, spelt; got 'stone'"),
        ({"loaves": 0}, "`loaves` must be a whole number, at least 1; got 0"),
        ({"loaves": True}, "`loaves` must be a whole number, at least 1; got True"),
        ({"loaves": 9}, "`loaves` must not be larger than 8: no oven holds them; give less; got 9"),
        ({"heat": float("inf")}, "`heat` must be above 0, finite; got inf"),
        ({"heat": "hot"}, "`heat` must be above 0, finite; got 'hot'"),
        ({"steam": 1.0}, "`steam` must be between 0 and 1; got 1.0"),
        ({"fan": 1}, "`fan` must be true or false; got 1"),
        ({"trays": 3}, "`trays` must be whole numbers, at least 1, such as (3, 4); got 3"),
        ({"trays": (3, 0)}, "`trays` must be whole numbers, at least 1, such as (3, 4); got (3, 0)"),
        ({"spices": {"salt": 3.0}}, "`spices` must hold lists of numbers; got {'salt': 3.0}"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_with_what_can(values, message):
    with pytest.raises(ConfigError) as refused:
        Oven(**values)
    assert str(refused.value) == message


def test_sizes_of_real_numbers_are_the_command_line_s_business():
    assert Oven(heat=1e9).heat == 1e9


def test_what_was_kept_is_read_and_unknown_names_are_refused():
    oven = Oven(trays=(5,), spices={"salt": (1.0, 2.0)})
    kept = oven.as_dict()
    assert kept == {
        "bread": "rye", "loaves": 2, "heat": 230.0, "fan": False, "trays": [5], "spices": {"salt": [1.0, 2.0]},
    }  # fmt: skip
    assert Oven.from_dict(kept) == oven
    with pytest.raises(ConfigError, match=r"^unknown settings: colour$"):
        Oven.from_dict({"colour": "brown"})


def test_the_docstring_has_every_setting():
    assert Oven.__doc__ is not None
    assert Oven.__doc__.startswith("How bread is baked.\n\nAttributes\n----------\nbread\n    Which bread.\n")
    assert Oven.__doc__.endswith("spices\n    Grams by name.")


@click.command()
@options_of(Oven, without=("spices",))
def bake(**options: object) -> None:
    click.echo(repr(given_settings(Oven, options)))


def test_options_are_those_of_the_fields():
    shown = " ".join(CliRunner().invoke(bake, ["--help"]).output.split())
    for text in (
        "--bread [rye|spelt] Which bread. [default: rye]",
        "--loaves INTEGER RANGE How many. [default: 2] [x>=1]",
        "--heat FLOAT RANGE Degrees. [default: 230] [x>0]",
        "--steam FLOAT RANGE Share of the time. [default: by bread] [0.0<x<1.0]",
        "--fan / --no-fan Whether air moves. [default: no]",
        "--trays A,B,... Widths of trays.",
    ):
        assert text in shown
    assert CliRunner().invoke(bake, []).output == "{}\n"
    given = CliRunner().invoke(bake, ["--no-fan", "--trays", "3,4", "--loaves", "1"])
    assert given.output == "{'loaves': 1, 'fan': False, 'trays': (3, 4)}\n"


def test_options_refuse_what_cannot_be_worked_with():
    for words, message in ((["--heat", "1e4"], "larger than 1000: it burns"), (["--loaves", "9"], "larger than 8: no")):
        refused = CliRunner().invoke(bake, words)
        assert refused.exit_code == 2
        assert message in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (UNIT, "from 0 to below 1"),
        (Range(0, 1), "from 0 to 1"),
        (Range(above=0, most=1), "above 0, at most 1"),
        (Range(0), "at least 0, finite"),
        (Range(), "finite"),
        (Range(above=0, finite=False), "above 0"),
        (whole(0, 2**63 - 1), "from 0 to 9223372036854775807"),
    ],
)
def test_a_range_in_words(within, words):
    assert str(within) == words


def test_settings_do_not_wait_for_torch():
    modules = "physode.images.config, physode.series.config, physode.fitting.config, physode.cli.commands.train"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
