"""Results described: numbers to the digits that are known, text and HTML, tables as data frames; states of any kind."""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import physode as po
from physode.summary import Summary, decimals, rounded


def decay(t, y):
    return -y


@given(
    value=st.floats(-1e12, 1e12, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-12),
    share=st.floats(1e-12, 1e3),
)
def test_a_rounded_number_is_within_a_twentieth_of_its_error(value, share):
    error = max(abs(value), 1e-3) * share
    text = rounded(value, error)
    assert abs(float(text) - value) <= 0.051 * error + 1e-15 * abs(value)


def test_ends_of_an_interval_differ_where_the_numbers_do():
    low, high = 1.0999999981, 1.0999999999
    assert rounded(low, 5.5e-10) != rounded(high, 5.5e-10)
    assert rounded(0.148112, 0.00045) == "0.14811"
    assert rounded(123456.7, 1200.0) == "123500"


@pytest.mark.parametrize("error", [None, 0.0, -1.0, math.nan, math.inf])
def test_an_error_that_says_nothing_leaves_six_digits(error):
    assert decimals(error) is None
    assert rounded(2 / 3, error) == "0.666667"


def test_names_of_others_are_text_in_a_notebook():
    page = Summary("<b>t</b>", {"<i>": "<script>"}, ("<a>",), (("<img>",),), ("<br>",)).html
    for tag in ("<b>", "<i>", "<script>", "<a>", "<img>", "<br>"):
        assert tag not in page


def test_of_a_long_table_the_rest_is_counted():
    long = Summary("many", {}, ("i",), tuple((str(i),) for i in range(25)))
    assert "... 5 more" in long.text
    assert "... 5 more" in long.html


def test_a_solution_tells_shape_status_and_work():
    sol = po.solve(decay, torch.ones(3, 2, dtype=torch.float64), torch.linspace(0, 1, 4), step_control="per-sample")
    assert repr(sol).startswith("Solution at 4 times from 0 to 1: y (4, 3, 2)\n  status success, steps ")
    assert "evaluations" in sol._repr_html_()
    assert len(repr(sol.stats).splitlines()) == 2


def test_a_solution_names_the_samples_that_failed():
    y0 = torch.tensor([[1.0], [0.1], [2.0]], dtype=torch.float64)
    sol = po.solve(lambda t, y: y**2, y0, [0.0, 2.0], step_control="per-sample", throw=False)
    text = repr(sol)
    assert "2 failed" in text
    assert "sample 0: " in text
    assert "sample 1: " not in text


def test_a_solution_becomes_a_table():
    pytest.importorskip("pandas")
    sol = po.solve(lambda t, y: {"x": -y["x"], "v": y["v"]}, {"x": torch.ones(2), "v": torch.ones(())}, [0.0, 1.0])
    table = sol.to_frame()
    assert list(table.columns) == ["x[0]", "x[1]", "v"]
    assert table.index.name == "t"
    np.testing.assert_array_equal(table["x[1]"], sol.y["x"][:, 1])


def test_a_fit_tells_its_constants_with_their_errors():
    pytest.importorskip("pandas")
    data = po.simulators.simulate_three_body(preset="aca", points=60)
    fit = po.fitting.fit(data, po.fitting.FitConfig(rhs="physical", epochs=4))
    assert repr(fit).startswith("Fit of rhs='physical' to 1 x 60 states: ")
    assert "masses[2]" in repr(fit.report)
    table = fit.to_frame()
    assert list(table.index) == ["masses[1]", "masses[2]", "masses[3]"]
    assert table["fitted"].tolist() == [each.fitted for each in fit.report.constants]


@pytest.mark.parametrize(
    "y0",
    [[1.0, 2.0], (1, 2), np.array([1.0, 2.0]), np.array([1, 2]), torch.tensor([1.0, 2.0], dtype=torch.float64)],
    ids=["list", "whole numbers", "array", "whole array", "tensor"],
)
def test_a_state_may_be_a_list_or_an_array(y0):
    sol = po.solve(decay, y0, np.linspace(0.0, 1.0, 3))
    assert sol.y.dtype == torch.float64
    torch.testing.assert_close(sol.y[-1], torch.tensor([1.0, 2.0], dtype=torch.float64) / math.e, rtol=1e-5, atol=0)


def test_a_state_may_be_a_number_and_an_array_keeps_its_precision():
    assert po.solve(decay, 1.0, [0.0, 1.0]).y.shape == (2,)
    assert po.solve(decay, np.ones(2, dtype=np.float32), [0.0, 1.0]).y.dtype == torch.float32
    assert po.solve(lambda t, y: 1j * y, [1 + 0j], [0.0, 1.0]).y.dtype == torch.complex128


def test_parts_of_a_state_may_be_arrays():
    pair = namedtuple("pair", "x v")
    sol = po.solve(lambda t, y: pair(y.v, -y.x), pair(np.array([1.0]), torch.zeros(1, dtype=torch.float64)), [0.0, 1.0])
    assert isinstance(sol.y, pair)
    assert float(sol.y.x[-1, 0]) == pytest.approx(math.cos(1.0), rel=1e-5)


def test_an_array_that_was_given_is_not_changed_and_not_shared():
    y0 = np.array([1.0, 2.0])
    sol = po.solve(decay, y0, [0.0, 1.0])
    y0[:] = 7.0
    assert sol.y[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("y0", [["a", "b"], [[1.0], [1.0, 2.0]], [], None, True])
def test_what_is_no_state_is_refused(y0):
    with pytest.raises((TypeError, ValueError), match="y0"):
        po.solve(decay, y0, [0.0, 1.0])


def test_times_may_be_a_column_of_a_data_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"t": [0.0, 0.5, 1.0]}, index=[7, 8, 9])
    assert po.solve(decay, [1.0], frame["t"]).y.shape == (3, 1)


def test_a_figure_shows_itself_in_a_notebook():
    from physode.plotting.style import new_figure

    assert new_figure(2.0, 1.0)._repr_png_().startswith(b"\x89PNG")
