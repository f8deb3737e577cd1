"""Summaries of series agree with the arrays."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import summarise_data
from physode.datasets.series import IrregularSeries, read_series, write_series


def test_counts_spans_ranges_and_shares(tmp_path):
    t = np.array([[0.0, 1.0, 2.0, 4.0], [1.0, 1.5, np.nan, np.nan], [0.5, 1.0, 1.5, np.nan]])
    y = np.random.default_rng(0).normal(size=(3, 4, 2))
    y[np.isnan(t)] = np.nan
    y[0, :3, 1] = np.nan
    attrs = {"time_unit": "h", "name": "toy"}
    made = IrregularSeries.of_arrays(t, y, channels=["p", "q"], units=["kPa", ""], attrs=attrs)
    write_series(tmp_path / "a.h5", made)
    found = summarise_data([tmp_path / "a.h5"])
    assert found["series"] == 3
    assert (found["format"], found["schema_version"]) == ("HDF5", 1)
    assert found["bytes"] == (tmp_path / "a.h5").stat().st_size
    assert found["points"] == {"min": 2, "median": 3.0, "max": 4}
    assert found["time"] == {"first": 0.0, "last": 4.0, "shortest": 0.5, "longest": 4.0, "unit": "h"}
    p, q = found["channels"]
    assert p == {"name": "p", "unit": "kPa", "observed": 1.0, "min": np.nanmin(y[..., 0]), "max": np.nanmax(y[..., 0])}
    assert q["observed"] == pytest.approx(6 / 9)
    assert found["digest"] == made.digest()
    assert (found["notes"], found["attributes"]["name"]) == ([], "toy")


def test_tables_and_folders_are_summarised_by_what_reads_them(tmp_path):
    (tmp_path / "data.csv").write_text("series,time,channel,value\na,0,p,1\na,1,p,2\n")
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "1.txt").write_text("Time,Parameter,Value\n01:00,HR,1\n02:00,HR,3\n")
    (tmp_path / "set-a" / "other").write_text("something")
    table, folder = summarise_data([tmp_path / "data.csv"]), summarise_data([tmp_path / "set-a"])
    assert (table["format"], table["schema_version"], table["channels"][0]["max"]) == ("CSV", None, 2.0)
    assert (folder["format"], folder["bytes"]) == ("PhysioNet 2012", (tmp_path / "set-a" / "1.txt").stat().st_size)
    assert folder["notes"] == read_series(tmp_path / "set-a").attrs["notes"]
