"""What reaches a terminal: no escape sequences of others' names; and streams that were closed."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from physode.cli.errors import reporting
from physode.cli.main import cli
from physode.cli.show import show_pairs, show_table

RED = "\x1b[31m"


def run(*arguments: str):
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", f"{RED}x.h5"),
        ("simulate", "periodic", "--out", f"{RED}/x.h5"),
        ("plot", f"{RED}run"),
        (f"{RED}inspect",),
        (f"--{RED}debug",),
        ("fit", "--init", RED),
        ("gradcheck", f"{RED}.py:f"),
        ("train", f"{RED}images"),
        ("reproduce", f"{RED}fig4"),
        ("fit", f"--{RED}lr", "1"),
    ],
    ids=repr,
)
def test_escape_sequences_of_names_are_shown_and_not_obeyed(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert "\x1b" not in result.output
    assert "x1b[31m" in result.stderr


def test_titles_and_heads_of_tables_are_free_of_escape_sequences(capsys):
    show_table(f"{RED}title", [f"{RED}column"], [["a"]])
    show_pairs(f"{RED}pairs", {f"{RED}name": f"{RED}value"})
    assert "\x1b" not in capsys.readouterr().out


def test_a_folder_s_name_is_free_of_escape_sequences_in_what_is_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("simulate", "periodic", "--n", "2", "--points", "3", "--out", f"{RED}.h5")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\\x1b[31m.h5" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error_and_no_data_file_gets_its_number(tmp_path, closed):
    words = f"{sys.executable} -m physode simulate periodic --n 2 --points 3 {closed}"
    done = subprocess.run(["/bin/sh", "-c", words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "unexpected" not in done.stderr
    shown = run("inspect", str(tmp_path / "periodic.h5"), "--json")
    assert json.loads(shown.stdout)["trajectories"] == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8 bytes\nframe #0: x"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("Storage size calculation overflowed with sizes=[3, 1962454900]"),
        MemoryError(),
    ],
    ids=str,
)
def test_memory_that_does_not_suffice_is_no_fault_of_the_program(error):
    with pytest.raises(click.ClickException) as caught, reporting(debug=False):
        raise error
    assert caught.value.message.startswith("there is not enough memory (")
    assert caught.value.message.endswith("); ask for less at a time")
    assert "frame #" not in caught.value.message
    assert caught.value.exit_code == 1
