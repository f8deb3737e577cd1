"""Tables of series as people have them: columns of any name, wide and long, and what is asked of them."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from physode.datasets import TableOptions, read_csv
from physode.datasets.series import read_series
from physode.equations.columns import read_recordings
from physode.errors import ConfigError, DataError

pd = pytest.importorskip("pandas")

ROLES = {"series": "subject", "time": "minutes", "channel": "analyte", "value": "conc"}


def laboratory(seed: int = 0):
    """A long table of three subjects, two analytes and what does not change: a DataFrame."""
    rng = np.random.default_rng(seed)
    rows = [
        (subject, minutes, analyte, round(float(rng.normal()), 3), age, sex, "drawn late" if minutes > 20 else "")
        for subject, age, sex in (("p1", 41, "f"), ("p2", 52.5, "m"), ("p3", 37, ""))
        for analyte in ("glucose", "lactate")
        for minutes in np.sort(rng.choice(60, 4, replace=False)).tolist()
    ]
    return pd.DataFrame(rows, columns=["subject", "minutes", "analyte", "conc", "age", "sex", "remark"])


def same_as(series, frame, *, time="minutes"):
    """Whether series hold what pandas makes of a long table."""
    for i, name in enumerate(series.names):
        wide = frame[frame.subject == name].pivot(index=time, columns="analyte", values="conc")
        np.testing.assert_array_equal(series.t[i][~np.isnan(series.t[i])], wide.index)
        found = series.y[i, : len(wide)]
        np.testing.assert_array_equal(found, wide[list(series.channels)])
    return set(series.names) == set(frame.subject)


# Long tables.


def test_roles_name_the_columns_of_a_long_table_and_the_rest_is_left_out(tmp_path):
    frame = laboratory()
    frame.to_csv(tmp_path / "lab.csv", index=False)
    found = read_series(tmp_path / "lab.csv", columns=ROLES)
    assert same_as(found, frame)
    assert found.attrs["time_unit"] == "min"
    assert found.attrs["notes"] == [
        "columns left out: age, sex, remark; --static keeps what is the same throughout each series"
    ]


def test_statics_are_one_value_a_series_of_numbers_or_text(tmp_path):
    laboratory().to_csv(tmp_path / "lab.csv", index=False)
    found = read_series(tmp_path / "lab.csv", columns=ROLES, static=["age", "sex"])
    assert found.attrs["statics"] == {"age": [41.0, 52.5, 37.0], "sex": ["f", "m", None]}
    assert found.take([2, 0]).attrs["statics"]["age"] == [37.0, 41.0]
    assert "age, sex do not change: they are no channels, but `statics`; no model takes these" in found.attrs["notes"]


def test_what_changes_is_no_static(tmp_path):
    laboratory().assign(age=np.arange(24)).to_csv(tmp_path / "lab.csv", index=False)
    with pytest.raises(DataError, match=r"row 3: age is 1, of series p1 it was 0 in row 2; --static is for what does"):
        read_series(tmp_path / "lab.csv", columns=ROLES, static=["age"])


def test_the_dialect_is_sniffed_as_of_every_table(tmp_path):
    frame = laboratory()
    text = frame.to_csv(sep=";", decimal=",", index=False, encoding="utf-16")
    with gzip.open(tmp_path / "lab.csv.gz", "wt", encoding="utf-16") as file:
        file.write(text)
    found = read_series(tmp_path / "lab.csv.gz", columns=ROLES)
    assert same_as(found, frame)
    assert (
        found.attrs["understood"] == "semicolons, decimal commas, UTF-16, packed by gzip"
        or "semicolons" in (found.attrs["understood"])
    )


def test_dates_and_workbooks_are_read(tmp_path):
    pytest.importorskip("openpyxl")
    frame = laboratory()
    frame["drawn"] = pd.Timestamp("2024-02-28 23:00") + pd.to_timedelta(frame.minutes, unit="min")
    frame.drop(columns="minutes").to_excel(tmp_path / "lab.xlsx")
    found = read_series(
        tmp_path / "lab.xlsx", columns={**ROLES, "time": "drawn"}, options=TableOptions(time_unit="min")
    )
    assert found.attrs["time_unit"] == "min"
    assert same_as(found, frame.assign(minutes=frame.minutes - frame.minutes.min()))


def test_a_name_that_is_a_unit_declares_it(tmp_path):
    laboratory().to_csv(tmp_path / "lab.csv", index=False)
    hours = read_series(tmp_path / "lab.csv", columns=ROLES, options=TableOptions(time_unit="h"))
    minutes = read_series(tmp_path / "lab.csv", columns=ROLES)
    np.testing.assert_allclose(hours.t * 60, minutes.t, rtol=1e-14)


def test_row_numbers_without_a_name_and_long_remarks_are_in_nobodys_way(tmp_path):
    frame = laboratory().assign(remark="x" * 500)
    frame.to_csv(tmp_path / "lab.csv")
    assert same_as(read_series(tmp_path / "lab.csv", columns=ROLES), frame)


@pytest.mark.parametrize(("series", "channel"), [("experiment", "observable"), ("trajectory", "channel")])
def test_names_of_fits_are_known(series, channel):
    frame = laboratory()
    found = read_series(frame.rename(columns={"subject": series, "minutes": "t", "analyte": channel, "conc": "value"}))
    assert same_as(found, frame)


# Wide tables.


def visits():
    """A wide table: a row a visit of three patients."""
    return pd.DataFrame(
        {
            "patient": [1, 1, 1, 2, 2, 3, 3, 3],
            "time": [0.0, 1, 4, 0.5, 2, 0, 1, 3],
            "pulse [1/min]": [60, np.nan, 62, 70, 71, np.nan, 81, 82],
            "pressure": [1.0, 2, np.nan, 4, 5, 6, 7, 8],
            "pressure_sigma": 0.1,
            "weight": [80, 80, 80, 71.5, 71.5, 65, 65, 65],
            "ward": ["A"] * 5 + ["B"] * 3,
        }
    )


def test_each_column_of_a_wide_table_is_a_channel(tmp_path):
    frame = visits()
    frame.to_csv(tmp_path / "visits.csv", index=False)
    found = read_series(tmp_path / "visits.csv", columns={"series": "patient"}, static=["weight", "ward"])
    assert (found.channels, found.units, found.names) == (("pulse", "pressure"), ("1/min", ""), ("1", "2", "3"))
    for i, (_, rows) in enumerate(frame.groupby("patient")):
        np.testing.assert_array_equal(found.t[i, : len(rows)], rows.time)
        np.testing.assert_array_equal(found.y[i, : len(rows)], rows[["pulse [1/min]", "pressure"]])
    assert found.attrs["statics"] == {"weight": [80, 71.5, 65], "ward": ["A", "A", "B"]}
    assert "columns left out: pressure_sigma" in found.attrs["notes"][0]


def test_channels_may_be_chosen_and_static_ones_are_pointed_out(tmp_path):
    visits().to_csv(tmp_path / "visits.csv", index=False)
    path = tmp_path / "visits.csv"
    chosen = read_series(path, columns={"series": "patient", "value": ["pressure", "pulse"]})
    assert chosen.channels == ("pressure", "pulse")
    notes = read_series(path, columns={"series": "patient"}).attrs["notes"]
    assert "channels that are the same throughout each series: weight; --static weight keeps them apart" in notes


def test_a_wide_table_without_labels_is_one_series():
    found = read_series({"t": [0, 1, 2], "x": [1.0, np.nan, 3.0]})
    assert (len(found), found.channels, found.points.tolist()) == (1, ("x",), [2])


def test_empty_rows_and_columns_are_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("series,time,x,y,empty\na,0,1,,\n,,,,\na,1,2,5,\nb,0,3,4,\n")
    found = read_series(tmp_path / "a.csv")
    assert (found.channels, found.points.tolist()) == (("x", "y"), [2, 1])
    assert "columns left out: empty" in found.attrs["notes"][0]


def test_wide_tables_that_would_not_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr("physode.datasets.series.arrays.LARGEST", 100)
    with pytest.raises(DataError, match=r"2 series of up to 3 times \(series '1'\) and 2 channels would take"):
        read_series({"series": [1, 1, 1, 2], "t": [0, 1, 2, 0], "x": [1, 2, 3, 4], "y": [1, 2, 3, 4]})


# DataFrames.


def test_a_frame_reads_as_its_file(tmp_path):
    frame = laboratory()
    frame.to_csv(tmp_path / "lab.csv", index=False)
    file = read_series(tmp_path / "lab.csv", columns=ROLES, static=["age", "sex"])
    here = read_series(frame, columns=ROLES, static=["age", "sex"])
    assert here.digest() == file.digest()
    assert here.names == file.names
    assert here.attrs["statics"] == file.attrs["statics"]


def test_an_index_types_of_pandas_and_time_zones_are_understood():
    frame = visits().convert_dtypes().set_index(["patient", "time"])
    frame["ward"] = frame.ward.astype("category")
    found = read_series(frame, columns={"series": "patient"}, static=["ward", "weight"])
    np.testing.assert_array_equal(found.y[..., 1][found.mask[..., 1]], [1, 2, 4, 5, 6, 7, 8])
    assert found.attrs["statics"]["ward"] == ["A", "A", "B"]
    when = pd.Timestamp("2024-03-30 12:00", tz="Europe/Berlin") + pd.to_timedelta([0, 36, 72], unit="h")
    dated = read_series({"when": when, "x": [1, 2, 3]}, columns={"time": "when"}, options=TableOptions(time_unit="h"))
    assert dated.t.tolist() == [[0, 36, 72]]  # over a change of the clocks
    unnamed = pd.DataFrame({"x": [1, 2]}, index=pd.to_datetime(["2024-01-01", "2024-01-03"]))
    assert read_series(unnamed, options=TableOptions(time_unit="d")).t.tolist() == [[0, 2]]
    assert read_series({"t": pd.to_timedelta([-90, 30], unit="s"), "x": [1, 2]}).t.tolist() == [[-90, 30]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "the table: it has no columns"),
        ({"t": [0, 1], "x": [1]}, "the table: its columns have 1 to 2 rows; give all the same"),
        ({"t": [0, 1], "x": np.zeros((2, 2))}, r"the table: its column 'x' has the shape \(2, 2\)"),
        ({"t": [0, 1], "x": [1, np.inf]}, "the table: row 2, column x: 'inf' is infinite"),
        (pd.DataFrame({("a", "t"): [0], ("a", "x"): [1]}), "names of several levels"),
    ],
)
def test_frames_that_cannot_be_are_one_line(table, message):
    with pytest.raises(DataError, match=message) as caught:
        read_series(table)
    assert "\n" not in str(caught.value)


# What is not clear is asked for.


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (laboratory(), "none of its columns .* is known to hold times; say what the columns are, such as --columns "
         "series=subject,time=minutes,channel=analyte,value=conc$"),
        (visits(), "time 0 stands in rows 1 and 6, which may be of several series; say what the columns are, such as "
         "--columns series=patient,time=time$"),
        (visits().assign(time=np.arange(8)), r"column ward may label series \(--columns time=time if all rows"),
        (visits().assign(day=0), "its columns time and day may both be times; say what the columns are, such as"),
        ({"series": [1, 1], "channel": ["a", "b"], "t": [0, 1]}, "no column value beside .* by --columns value=NAME"),
        (laboratory().rename(columns={"subject": "series", "minutes": "time"}),
         "row .: series p1, time .* stands in row . already, and column analyte may label channels; say what the "
         "columns are, such as --columns series=series,time=time,channel=analyte,value=conc"),
        ({"t": [3, 4, 1, 2], "id": [1, 1, 2, 2], "x": [1, 2, 3, 4]},
         r"time 1 \(row 3\) stands after 4: sort the rows, unless .*; .* such as --columns series=id,time=t$"),
        ({"t": [0, 1], "note": ["a", "b"]}, "no column beside t holds numbers; .* --columns value=NAME"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_for_with_the_option(table, message):
    with pytest.raises(DataError, match=message) as caught:
        read_series(table)
    assert "\n" not in str(caught.value)


def test_what_was_suggested_makes_sense_of_the_table():
    for table in (laboratory(), visits()):
        with pytest.raises(DataError) as caught:
            read_series(table)
        said = str(caught.value).rpartition("--columns ")[2]
        columns = dict(pair.split("=") for pair in said.split(","))
        assert len(read_series(table, columns=columns)) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject": "a"}, "`columns` knows no 'subject'; columns are series, time, channel, value"),
        ({"time": ["a", "b"]}, "gives time several columns, a, b; give it one"),
        ({"channel": "a", "value": ["b", "c"]}, "gives value several columns, b, c; give it one beside a channel"),
        ({"time": "a", "value": "A"}, "say two things of column 'a'"),
        ({}, "must say what columns are"),
        ({"time": 3}, "must be names; got 3"),
    ],
)
def test_roles_that_cannot_be_are_refused(columns, message):
    with pytest.raises(ConfigError, match=message):
        TableOptions(columns=columns)


def test_a_column_that_is_not_there_is_named_with_its_role():
    with pytest.raises(DataError, match="it has no column dose, as --columns value= says; the columns are subject"):
        read_series(laboratory(), columns={**ROLES, "value": "dose"})
    with pytest.raises(DataError, match="it has no column dose, as --static says"):
        read_series(laboratory(), columns=ROLES, static=["dose"])


# Fits read the same tables.


def test_fits_take_the_same_roles(tmp_path):
    frame = visits().drop(columns=["pressure_sigma", "ward"])
    frame = frame[frame.patient != 2].rename(columns={"time": "seen"}).assign(seen=[0, 1, 3, 0, 1, 3], day=7)
    frame.to_csv(tmp_path / "visits.csv")
    options = TableOptions(columns={"series": "patient", "time": "seen", "value": ["pressure", "weight"]})
    found = read_csv(tmp_path / "visits.csv", options=options)
    assert (found.columns, found.t.tolist()) == (("pressure", "weight"), [0, 1, 3])
    np.testing.assert_array_equal(found.y[1], frame[frame.patient == 3][["pressure", "weight"]])
    long = laboratory()
    long.to_csv(tmp_path / "lab.csv", index=False)
    recordings = read_recordings([tmp_path / "lab.csv"], options=TableOptions(columns=ROLES), texts=True)
    assert [recording.name for recording in recordings] == ["p1", "p2", "p3"]
    glucose = long[(long.subject == "p2") & (long.analyte == "glucose")]
    np.testing.assert_array_equal(recordings[1].columns["glucose"].times, glucose.minutes)
    np.testing.assert_array_equal(recordings[1].columns["glucose"].values, glucose.conc)


def test_what_only_series_have_is_refused_by_fits(tmp_path):
    laboratory().to_csv(tmp_path / "lab.csv", index=False)
    with pytest.raises(DataError, match=r"--columns channel= has a part in tables of series only"):
        read_csv(tmp_path / "lab.csv", options=TableOptions(columns=ROLES))
    with pytest.raises(DataError, match=r"--static has a part in tables of series only"):
        read_csv(tmp_path / "lab.csv", options=TableOptions(static=["age"]))
    with pytest.raises(DataError, match=r"it has no column when, as --columns time= says; the columns are subject"):
        read_csv(tmp_path / "lab.csv", options=TableOptions(columns={"time": "when"}))
