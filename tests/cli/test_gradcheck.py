"""``physode gradcheck``."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from physode.cli.main import cli
from physode.cli.rhs_spec import find_target
from physode.rhs import SYSTEMS

MODEL = """
import torch


class Swing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.damping = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, t, y):
        return torch.stack([y[1], -torch.sin(y[0]) - self.damping * y[1]])


class Needy:
    def __init__(self, size):
        pass


def make():
    return Swing()


def make_nothing():
    return 3


def plain(t, y):
    return -y


def one(y):
    return -y


def cut(t, y):
    return y[:1]


swing = Swing()
number = 3
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text(MODEL)
    (tmp_path / "broken_model.py").write_text("import nothing_of_this_name")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str):
    return CliRunner().invoke(cli, ["gradcheck", *arguments])


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("name", ["Swing", "make", "swing", "plain"])
def test_what_a_file_defines_is_checked(name):
    result = run(f"own_model.py:{name}", "--y0", "0.5,0", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["method"] for row in found["rows"]] == ["aca", "adjoint", "naive"]
    assert found["rows"][0]["error_y0"] < 1e-8
    assert found["facts"]["parameters"] == (0 if name == "plain" else 1)


@pytest.mark.usefixtures("model")
def test_a_module_on_the_path_and_a_drawn_state():
    first, again = (run("own_model:plain", "--dim", "3", "--seed", "4", "--json").stdout for _ in range(2))
    errors = [[row["error_y0"] for row in json.loads(text)["rows"]] for text in (first, again)]
    assert errors[0] == errors[1]


def test_a_system_of_physode_as_a_table_with_advice():
    result = run("van_der_pol")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert any(line[:1] == ["adjoint"] for line in lines)
    assert "aca agrees with finite differences" in result.stdout


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.presets])
def test_every_system_with_a_preset_can_be_named(name):
    target = find_target(name)
    t, y = torch.zeros((), dtype=torch.float64), torch.tensor(target.y0, dtype=torch.float64)
    f = target.f.double()
    assert f(t, y).shape == y.shape
    assert all(parameter.requires_grad for parameter in f.parameters())


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["own_model.py:nope", "--dim", "2"], 1, "own_model.py has no attribute 'nope'; it has Swing"),
        (["nowhere:f", "--dim", "2"], 1, "there is no module 'nowhere'"),
        (["nowhere.py:f", "--dim", "2"], 1, "there is no file nowhere.py"),
        (
            ["broken_model:f", "--dim", "2"],
            1,
            "broken_model cannot be imported: No module named 'nothing_of_this_name'",
        ),
        (["own_model.py:number", "--dim", "2"], 1, "must be a right-hand side f(t, y), got a int"),
        (["own_model.py:one", "--dim", "2"], 1, "must take two arguments, f(t, y), it needs 1"),
        (["own_model.py:cut", "--dim", "2"], 1, "must have the state's shape (2,), got (1,)"),
        (["own_model.py:Needy", "--dim", "2"], 1, "cannot be made without arguments"),
        (["own_model.py:make_nothing", "--dim", "2"], 1, "it made a int"),
        (["oscillator"], 1, "must be MODULE:RHS, or one of arenstorf, hires, oregonator"),
        ([":f"], 1, "must be MODULE:RHS, such as"),
        (["own_model.py:plain"], 2, "Give an initial state"),
        (["own_model.py:plain", "--y0", "1,x"], 2, "'1,x' is not a list of numbers"),
        (["own_model.py:plain", "--y0", "1,2", "--dim", "3"], 2, "--y0 has 2 numbers, --dim says 3"),
    ],
)
def test_mistakes_are_named_in_one_line(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
