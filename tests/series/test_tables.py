"""Models of series that are given as tables: trained on, and asked, in the columns that people have."""

from __future__ import annotations

import numpy as np
import pytest

import physode as po
from physode.datasets import TableOptions
from physode.datasets.series import IrregularSeries, read_series
from physode.errors import ConfigError, DataError
from physode.series.run import SeriesRun

SMALL = {"model": "gru", "hidden": 4, "epochs": 1, "batch": 8}


def table(count=12, seed=0):
    """A wide table: a row a visit, 5 visits of each subject."""
    t = np.sort(np.random.default_rng(seed).uniform(0, 4, (count, 5)))
    return {
        "subject": np.repeat(np.arange(count), 5),
        "hours": t.ravel(),
        "x": np.sin(t).ravel(),
        "v": np.cos(t).ravel(),
        "age": np.repeat(np.arange(count) + 40, 5),
    }


COLUMNS = {"series": "subject", "time": "hours"}


def test_a_table_trains_and_is_asked_as_arrays_are():
    found = table()
    made = po.series.fit(found, columns=COLUMNS, static=["age"], **SMALL)
    t, y = found["hours"].reshape(12, 5), np.stack([found["x"], found["v"]], 1).reshape(12, 5, 2)
    same = po.series.fit(t, y, channels=("x", "v"), **SMALL)
    assert made.channels == ("x", "v")
    ahead = [4.5, 5.0]
    np.testing.assert_array_equal(made.extrapolate(found, at=ahead).mean, same.extrapolate(t, y, at=ahead).mean)
    series = read_series(found, columns=COLUMNS, static=["age"])
    np.testing.assert_array_equal(po.series.fit(series, **SMALL).interpolate(series, at=[1.0]).mean,
                                  same.interpolate(t, y, at=[1.0]).mean)  # fmt: skip


def test_channels_in_another_order_or_fewer_are_put_in_their_places():
    found = table()
    model = po.series.fit(found, columns=COLUMNS, static=["age"], **SMALL)
    turned = {name: found[name] for name in ("age", "v", "hours", "x", "subject")}
    np.testing.assert_array_equal(model.interpolate(turned, at=[1.0]).mean, model.interpolate(found, at=[1.0]).mean)
    fewer = {name: found[name] for name in ("subject", "hours", "v")}
    assert model.interpolate(fewer, at=[1.0]).mean.shape == (12, 1, 2)
    with pytest.raises(DataError, match="it has the channels w, none of x, v"):
        model.interpolate({"subject": [0, 0], "hours": [0, 1], "w": [1, 2]}, at=[1.0])


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((np.arange(3.0),), {}, r"give times and values, fit\(t, y\), or a table; got a ndarray alone"),
        ((table(), None, [1]), {}, "`mask` goes with arrays"),
        ((table(),), {"channels": ("x",)}, "`channels` and `channel_units` are for arrays"),
        ((np.arange(3.0), np.zeros((4, 3, 1))), {"columns": COLUMNS}, "`columns` and `static` are for tables"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, settings, message):
    with pytest.raises(ConfigError, match=message):
        po.series.fit(*arguments, **settings, **SMALL)


def test_a_run_keeps_how_its_table_was_read(tmp_path):
    options = TableOptions(columns=COLUMNS, static=["age"], decimal=",")
    about = {"data": tmp_path / "a.csv", "channels": ["x"], "units": [""], "time_unit": "h", "digest": "0"}
    po.series.create_series_run(tmp_path / "run", po.series.SeriesConfig(), **about, table=options)
    run = po.series.open_series_run(tmp_path / "run")
    assert run.reading == options
    (tmp_path / "a.csv").write_text("subject;hours;x;age\n1;0,5;1;3\n1;1,5;2;3\n")
    assert run.read().attrs["statics"] == {"age": [3.0]}
    t = np.arange(4.0)
    from physode.datasets.series import write_series

    write_series(tmp_path / "b.h5", IrregularSeries.of_arrays(t, np.ones((2, 4, 1)) * t[:, None]))
    assert len(run.read(tmp_path / "b.h5")) == 2  # what is known of tables has no part in it
    (tmp_path / "c.csv").write_text("id,hours,x\n1,0.5,1\n1,1.5,2\n")
    other = TableOptions(columns={"series": "id", "time": "hours"}, decimal=".")
    assert run.read(tmp_path / "c.csv", options=other).names == ("1",)
    with pytest.raises(DataError, match="it has no column subject, as --columns series= says"):
        run.read(tmp_path / "c.csv", options=TableOptions(decimal="."))
    (tmp_path / "d.csv").write_text("subject;hours [min];x\n1;30;1\n1;90;2\n")
    assert run.read(tmp_path / "d.csv").t.tolist() == [[0.5, 1.5]]
    damaged = (tmp_path / "run" / "config.toml").read_text().replace('decimal = ","', 'decimal = ";"')
    (tmp_path / "run" / "config.toml").write_text(damaged)
    with pytest.raises(ConfigError, match=r"config.toml: `decimal` must be one of"):
        _ = po.series.open_series_run(tmp_path / "run").reading


def test_runs_without_tables_keep_nothing(tmp_path):
    about = {"data": tmp_path, "channels": ["x"], "units": [""], "time_unit": "", "digest": "0"}
    made = po.series.create_series_run(tmp_path / "run", po.series.SeriesConfig(), **about)
    assert SeriesRun.open(made.path).reading == TableOptions()
    assert "[table]" not in (made.path / "config.toml").read_text()
