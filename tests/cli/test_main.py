"""The command line as a whole: every command is found, explained and fails politely."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from physode.cli import main as main_module
from physode.cli.errors import reporting
from physode.cli.main import COMMANDS, cli
from physode.errors import DataError

ROOT = Path(__file__).parents[2]


def run(*arguments: str):
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def failing(monkeypatch):
    """A command `fail` that raises what it is given."""

    def install(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setitem(COMMANDS, "fail", "Fail.")
        module = type(sys)("physode.cli.commands.fail")
        module.command = command
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return install


def test_help_lists_every_command_with_its_help():
    output = run("--help").output
    for name, text in COMMANDS.items():
        assert f"  {name}" in output
        assert text in output


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_answers_without_loading_anything_heavy(arguments):
    script = f"""
import sys
from physode.cli.main import cli
try:
    cli({arguments!r}, prog_name="physode")
except SystemExit as stop:
    assert stop.code == 0
print("loaded", *sys.modules.keys() & {{"torch", "scipy", "h5py", "matplotlib"}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"physode {name}" in result.output.partition("Examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_its_page_of_the_docs(name):
    assert f"physode {name}" in (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["inspect"], ["inspect", "a.h5", "--nonsense"]])
def test_wrong_usage_exits_with_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("data.h5 is empty;\n  make it again"), "data.h5 is empty; make it again"),
        (ValueError("`rtol` must be positive, got -1"), "`rtol` must be positive, got -1"),
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: Permission denied"),
        (
            RuntimeError("CUDA error: [1]\nmore"),
            "unexpected RuntimeError: CUDA error: [1] more; "
            "run it again with --debug to see where, and please report it",
        ),
        (ValueError(), "unexpected ValueError: ; run it again with --debug to see where, and please report it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_one_line_and_exit_with_1(failing, error, message):
    failing(error)
    result = run("fail")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {message}\n")


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(failing, arguments):
    error = DataError("data.h5 is empty")
    failing(error)
    result = run(*arguments)
    assert result.exception is error
    assert result.exit_code == 1


def test_debug_behind_a_double_dash_is_an_argument():
    assert "--debug does not exist" in run("inspect", "--", "--debug").stderr


def test_ctrl_c_is_one_line_and_exits_with_130(failing):
    failing(KeyboardInterrupt())
    result = run("fail")
    assert (result.exit_code, result.stderr) == (130, "Error: interrupted\n")


def test_a_reader_that_has_gone_is_no_error(failing):
    failing(BrokenPipeError(32, "Broken pipe"))
    result = run("fail")
    assert (result.exit_code, result.stderr) == (1, "")


def test_click_s_own_endings_pass_through():
    for ending in (click.UsageError("x"), click.Abort(), click.exceptions.Exit(0)):
        with pytest.raises(type(ending)), reporting(debug=False):
            raise ending


def test_the_console_script_is_the_group(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["physode", "nonsense"])
    with pytest.raises(SystemExit, match="2"):
        main_module.main()
