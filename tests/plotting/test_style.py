"""Figures in one style, written whole."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from physode.errors import DataError
from physode.plotting.style import finish, label, new_figure, short, stroke, styled


def test_labels_carry_units():
    assert label("time", "yr") == "time (yr)"
    assert label("mu") == "mu"


def test_twenty_one_lines_differ_in_colour_or_dashes():
    assert len({tuple(stroke(index).values()) for index in range(21)}) == 21


def test_long_names_are_cut_and_are_no_mathematics():
    assert short("a" * 21) == "a" * 19 + "…"
    assert short("$x") == r"\$x"


def test_the_style_ends_with_its_block():
    before = mpl.rcParams.copy()
    with styled():
        assert mpl.rcParams["axes.grid"]
    assert mpl.rcParams == before


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_suffix_names_the_format(tmp_path, suffix, magic):
    path = tmp_path / f"figure{suffix}"
    figure = new_figure(1, 1)
    figure.subplots().plot([0, 1])
    assert finish(figure, path) is figure
    assert path.read_bytes().startswith(magic)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_figure_that_cannot_be_drawn_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        finish(new_figure(1, 1), tmp_path / "figure.nonsense")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"the folder .* does not exist"):
        finish(new_figure(1, 1), tmp_path / "nowhere" / "figure.png")
