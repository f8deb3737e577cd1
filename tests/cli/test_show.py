"""Results become tables and JSON without loss and without side effects on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from physode.cli.show import cell, shorten, show_json, show_pairs, show_table


def test_json_takes_arrays_tensors_paths_and_what_is_not_finite(capsys):
    show_json(
        {
            "a": np.arange(2),
            "b": torch.tensor(1.5),
            "c": np.float32(0.5),
            "d": (float("nan"), float("inf")),
            "e": Path("x"),
        }
    )
    assert json.loads(capsys.readouterr().out) == {"a": [0, 1], "b": 1.5, "c": 0.5, "d": [None, None], "e": "x"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (1 / 3, "0.333333"),
        (123456, "123456"),
        ("plain ünïcode", "plain ünïcode"),
        ("\x1b[31mred\n", "\\x1b[31mred\\n"),
        ([1, None, "a"], "1, -, a"),
        ({"a": 1.0, "b": [2]}, "a 1, b 2"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_long_text_is_cut():
    assert shorten("x" * 10, length=4) == "xxxx... (10 characters)"
    assert shorten("xxxx", length=4) == "xxxx"


def test_tables_print_markup_as_it_is_and_do_not_break_lines_in_a_pipe(capsys):
    long = "x" * 150
    show_table("title [bold]", ["name", "number"], [["[red]a[/red] :smile:", 1.0], [long, None]])
    show_pairs("pairs", {"key": long})
    output = capsys.readouterr().out
    assert "title [bold]" in output
    assert "[red]a[/red] :smile:" in output
    assert output.count(long) == 2
