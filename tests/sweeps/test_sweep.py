"""Sweeps of any function: their cases, their table, what fails, what is kept."""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import os
import sys

import numpy as np
import pytest

import physode as po
from physode.errors import ConfigError, DataError
from physode.sweeps.axes import cases_of, parse_axes, parse_values
from physode.sweeps.functions import digest_of
from physode.sweeps.table import Table

needs_cluster = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs physode[cluster]")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5:1.5:11", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]),
        ("2:1:3", [2.0, 1.5, 1.0]),
        ("1:5:1", [1.0]),
        ("0:4", [0, 1, 2, 3]),
        ("1,2.5,fast", [1, 2.5, "fast"]),
        ("7", [7]),
    ],
)
def test_grid_expressions_are_the_numbers_one_would_write(text, values):
    found = parse_values(text)
    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


def test_logarithmic_grids_end_where_they_say():
    found = parse_values("1e-3:1e3:7:log")
    assert (found[0], found[-1]) == (1e-3, 1e3)
    np.testing.assert_allclose(found, np.logspace(-3, 3, 7), rtol=1e-14)


@pytest.mark.parametrize(
    "text", ["a:b", "3:1", "1:2:x", "1:2:0", "nan:1:3", "1:2:3:lin", "-1:1:3:log", "1,,2", "0:1:2:log:5", "0:99999999"]
)
def test_what_is_no_grid_is_refused(text):
    with pytest.raises(ConfigError):
        parse_values(text)


def test_axes_make_all_combinations_with_rows_of_a_table_taken_together(tmp_path):
    (tmp_path / "cases.csv").write_text("mu,x\n1,0.5\n2,0.25\n")
    found = parse_axes([f"@{tmp_path / 'cases.csv'}", "seed=0:2"])
    assert found == [
        {"mu": 1.0, "x": 0.5, "seed": 0},
        {"mu": 1.0, "x": 0.5, "seed": 1},
        {"mu": 2.0, "x": 0.25, "seed": 0},
        {"mu": 2.0, "x": 0.25, "seed": 1},
    ]
    with pytest.raises(ConfigError, match="runs over 'mu' twice"):
        parse_axes([f"@{tmp_path / 'cases.csv'}", "mu=1,2"])
    with pytest.raises(ConfigError, match="not of the form NAME=VALUES"):
        parse_axes(["mu"])


def test_cases_come_from_arrays_ranges_lists_and_frames():
    assert cases_of({"a": np.array([1.0, 2.0]), "b": range(1)}) == [{"a": 1.0, "b": 0}, {"a": 2.0, "b": 0}]
    assert cases_of([{"a": np.float64(1.5)}, {"a": 2}]) == [{"a": 1.5}, {"a": 2}]
    with pytest.raises(ConfigError, match="no values of 'a'"):
        cases_of({"a": []})
    with pytest.raises(ConfigError, match="must be values by name"):
        cases_of(3)


def test_a_case_that_raises_loses_itself_alone(tmp_path):
    def quotient(a, b):
        return {"quotient": a / b, "exact": a % b == 0}

    table = po.sweep(quotient, {"a": "3:5", "b": [2.0, 0.0]}, out=tmp_path / "table.csv")
    assert table["status"] == ["done", "failed", "done", "failed"]
    assert table["quotient"] == [1.5, None, 2.0, None]
    assert table["reason"][1].startswith("ZeroDivisionError")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert rows[2] == {"a": "4", "b": "2.0", "status": "done", "reason": "", "quotient": "2.0", "exact": "True"}
    with pytest.raises(DataError, match="exists"):
        po.sweep(quotient, {"a": [1], "b": [1]}, out=tmp_path / "table.csv")


def test_one_number_is_called_value():
    assert po.sweep(lambda x: x * 0.1, {"x": [3]})["value"] == [3 * 0.1]


def test_what_was_computed_is_taken_from_the_folder_until_the_code_changes(tmp_path):
    log = tmp_path / "calls"

    def calls():
        return log.read_text().split()

    def once(x):
        with log.open("a") as file:
            file.write(f"{x} ")
        if x == 2 and log.read_text().count("2") < 2:
            raise ValueError("not yet")
        return x

    def other(x):
        with log.open("a") as file:
            file.write(f"{x} ")
        return -x

    log.touch()
    first = po.sweep(once, {"x": range(3)}, folder=tmp_path / "sweep")
    again = po.sweep(once, {"x": range(4)}, folder=tmp_path / "sweep")
    assert first.statuses == {"done": 2, "failed": 1}
    assert again["value"] == [0, 1, 2, 3]
    assert calls() == ["0", "1", "2", "2", "3"]
    assert po.sweep(other, {"x": range(2)}, folder=tmp_path / "sweep")["value"] == [0, -1]
    assert calls()[5:] == ["0", "1"]


def test_digests_tell_code_and_what_it_has_at_hand_apart():
    def maker(a):
        return lambda x, b=2: x + a + b

    assert digest_of(maker(1)) == digest_of(maker(1))
    assert digest_of(maker(1)) != digest_of(maker(2))
    assert digest_of(maker(1)) != digest_of(lambda x, b=3: x + 1 + b)
    assert digest_of(functools.partial(maker, 1)) != digest_of(functools.partial(maker, 2))


def test_a_result_may_not_hide_a_column_of_the_sweep():
    table = po.sweep(lambda x: {"x": 1}, {"x": [3]})
    assert table["status"] == ["failed"]
    assert "'x', which is a column of the table already" in table["reason"][0]


def test_a_function_that_speaks_of_physode_can_be_sent_elsewhere():
    cloudpickle = pytest.importorskip("cloudpickle")
    told = {"po": po, "__name__": "__main__"}
    exec("def half(x):\n    return po.solve(lambda t, y: -y, [x], [0.0, 1.0]).y[-1]", told)
    arrived = cloudpickle.loads(cloudpickle.dumps(told["half"]))
    assert arrived.__globals__["po"] is po
    assert float(arrived(1.0)) == pytest.approx(np.exp(-1), rel=1e-4)


@needs_cluster
@pytest.mark.slow
def test_a_case_that_kills_its_process_loses_itself_alone_and_tables_are_the_same():
    def divide(x):
        if x == 3:
            os._exit(1)
        return x / 7

    table = po.sweep(divide, {"x": range(6)}, jobs=2)
    assert table["status"] == ["done"] * 3 + ["lost"] + ["done"] * 2
    assert "its process died" in table["reason"][3]
    spared = [{"x": x} for x in (0, 1, 2, 4, 5)]
    assert po.sweep(divide, spared, jobs=2).text() == po.sweep(divide, spared).text()


def test_tables_hold_numbers_with_all_digits_and_nothing_for_nan():
    table = Table.of([{"a": 0.1 + 0.2, "status": "done"}, {"a": float("nan"), "b": np.float64(2.5), "status": "done"}])
    assert table.text() == "a,status,b\n0.30000000000000004,done,\n,done,2.5\n"
    assert (len(table), table.statuses) == (2, {"done": 2})
    assert "2 done" in repr(table)
    with pytest.raises(KeyError, match="no column 'c'"):
        table["c"]


def test_a_table_is_csv_or_parquet(tmp_path, monkeypatch):
    table = Table.of([{"a": 1}])
    with pytest.raises(ConfigError, match=r"neither .csv nor .parquet"):
        table.write(tmp_path / "table.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"Parquet needs pyarrow; .*pip install 'physode\[parquet\]'"):
        table.write(tmp_path / "table.parquet")


def test_parquet_keeps_kinds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = Table.of([{"a": 1, "b": 2.5, "status": "done"}, {"a": 2, "b": 3, "reason": "no", "status": "failed"}])
    table.write(tmp_path / "table.parquet")
    assert parquet.read_table(tmp_path / "table.parquet").to_pydict() == {
        "a": [1, 2], "b": [2.5, 3.0], "status": ["done", "failed"], "reason": [None, "no"],
    }  # fmt: skip
