"""Dates and elapsed times become numbers on one clock, or one line that says why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets import read_csv
from physode.datasets.series import read_series
from physode.datasets.table import Table, TableOptions, read_table
from physode.errors import DataError

pandas = pytest.importorskip("pandas")


@pytest.fixture
def read(tmp_path):
    def reader(times: list[str], header: str = "date", **options) -> Table:
        path = tmp_path / "data.csv"
        path.write_text(f"{header};x\n" + "".join(f"{time};{i}\n" for i, time in enumerate(times)))
        return read_table(path, options=TableOptions(**options))

    return reader


@pytest.mark.parametrize(
    ("times", "options", "understood"),
    [
        (["2020-03-01", "2020-03-02", "2020-06-30"], {}, "date from dates (2020-03-01 to 2020-06-30, in seconds)"),
        (["2020-03-01", "2020-06-30"], {"time_unit": "d"}, "date from dates (2020-03-01 to 2020-06-30, in days)"),
        (["2020/03/01", "2020/06/30"], {}, None),
        (["2020-3-1", "2020-6-30"], {}, None),
        (["1 Mar 2020", "30 Jun 2020"], {}, None),
        (["01-Mar-2020", "30-JUN-2020"], {}, None),
        (["01/03/2020", "30/06/2020"], {}, "date from dates (2020-03-01 to 2020-06-30, day first, in seconds)"),
        (["03/01/2020", "06/30/2020"], {}, "date from dates (2020-03-01 to 2020-06-30, month first, in seconds)"),
        (["01.03.2020", "30.06.2020"], {}, None),
        (["01/03/2020", "03/04/2020"], {"dayfirst": True}, None),
        (["01/03/2020", "03/04/2020"], {"dayfirst": False}, None),
        (["03/03/2020", "04/04/2020"], {}, None),
        (["2020-03-01T00:30", "2020-03-01T12:00"], {}, None),
        (["2020-03-01 00:30:00", "2020-03-01 12:00:01.25"], {}, None),
        (["2020-03-01 00:30:00", "2020-03-01 12:00:01.123456789"], {"time_unit": "min"}, None),
        (["3/1/2020 9:30 AM", "3/31/2020 12:15 PM", "3/31/2020 12:15:30 pm"], {}, None),
        (["2020-03-01T00:30Z", "2020-03-01T12:00Z"], {}, None),
        (["2020-03-01 00:30+01:00", "2020-03-01 12:00+0100"], {"time_unit": "h"}, None),
        (["0001-01-01", "9999-12-31"], {"time_unit": "yr"}, None),
        (["1900-02-28", "1900-03-01", "2000-02-29", "2000-03-01"], {"time_unit": "week"}, None),
    ],
)
def test_dates_are_as_pandas_reads_them_since_the_first(read, times, options, understood):
    table = read(times, **options)
    day_first = options.get("dayfirst", times[-1].startswith("30"))
    stamps = [pandas.to_datetime(each, dayfirst=day_first and each[4] not in "-/") for each in times]
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400, "week": 7 * 86400, "yr": 365.25 * 86400}[
        options.get("time_unit", "s")
    ]
    expected = [
        ((each.to_pydatetime(warn=False) - stamps[0].to_pydatetime()) / timedelta(seconds=1) + each.nanosecond / 1e9)
        / size
        for each in stamps
    ]
    np.testing.assert_allclose(table.numbers["date"], expected, rtol=1e-15)
    assert table.origin == stamps[0].to_pydatetime()
    assert table.units["date"] == options.get("time_unit", "s")
    if understood is not None:
        assert table.understood == f"semicolons, {understood}"


def test_the_origin_is_the_earliest_and_missing_dates_are_missing(read):
    table = read(["", "2020-03-02", "NA", "2020-03-01"], header="date [d]")
    np.testing.assert_array_equal(table.numbers["date"], [np.nan, 1, np.nan, 0])
    assert (table.origin, table.units["date"]) == (datetime(2020, 3, 1), "d")


def test_zones_that_are_one_are_kept_and_others_become_UTC(read):
    one = read(["2020-03-01T00:00+02:00", "2020-03-01T01:00+02:00"])
    assert one.origin == datetime(2020, 3, 1, tzinfo=timezone(timedelta(hours=2)))
    assert one.origin.utcoffset() == timedelta(hours=2)
    two = read(["2020-03-29T00:30+01:00", "2020-03-29T03:30+02:00", "2020-03-29T03:30Z"])
    assert two.numbers["date"].tolist() == [0, 7200, 14400]
    assert (two.origin.tzinfo, two.origin) == (UTC, datetime(2020, 3, 28, 23, 30, tzinfo=UTC))
    assert "zones differ, all in UTC" in two.understood


def test_all_columns_of_dates_have_one_origin(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("date,dose,x\n2020-03-02,2020-03-01,1\n2020-03-03,2020-03-01,2\n")
    table = read_table(path, times=frozenset({"date", "dose"}), options=TableOptions(time_unit="d"))
    assert table.numbers["date"].tolist() == [1, 2]
    assert table.numbers["dose"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("times", "header", "expected"),
    [
        (["00:00:01", "01:30:00", "100:00:00.5"], "time", [1, 5400, 360000.5]),
        (["-00:00:30", "0:00:00,25", "00:01:00"], "time", [-30, 0.25, 60]),
        (["0 days 00:00:01", "1 days 02:00:00.500000", "-1 days +23:00:00"], "time", [1, 93600.5, -3600]),
        (["1 day, 0:00:01", "2 days"], "time", [86401, 172800]),
        (["00:30", "12:15", "24:00"], "time [hh:mm]", [1800, 44100, 86400]),
        (["00:30", "12:15.5", "90:00"], "time [mm:ss]", [30, 735.5, 5400]),
        (["00:30:00", "12:00:00"], "time [h]", [0.5, 12]),
    ],
)
def test_elapsed_times_are_counted_from_zero(read, times, header, expected):
    table = read(times, header=header)
    assert table.numbers["time"].tolist() == expected
    assert table.origin is None
    assert table.units["time"] == ("h" if "[h]" in header else "s")


@given(st.timedeltas(min_value=timedelta(days=-999), max_value=timedelta(days=9999)))
@settings(max_examples=100)
def test_elapsed_times_come_back_as_Python_and_pandas_write_them(tmp_path_factory, elapsed):
    path = tmp_path_factory.getbasetemp() / "elapsed.csv"
    for text in (str(elapsed), str(pandas.Timedelta(elapsed))):
        path.write_text(f't;x\n"{text}";1\n')
        assert read_table(path).numbers["t"][0] == pytest.approx(elapsed.total_seconds(), rel=1e-14, abs=1e-9)


@given(
    st.lists(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), min_size=1, max_size=5),
    st.data(),
)
@settings(max_examples=100)
def test_dates_in_any_form_come_back_to_the_microsecond_or_ask(tmp_path_factory, dates, data):
    path = tmp_path_factory.getbasetemp() / "dates.csv"
    form = data.draw(st.sampled_from(["%Y-%m-%dT%H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "%m/%d/%Y %I:%M:%S.%f %p"]))
    texts = [each.strftime(form.replace("%Y", f"{each.year:04}")) for each in dates]
    path.write_text("t,x\n" + "".join(f"{text},1\n" for text in texts))
    if form[1] != "Y" and all(each.day <= 12 for each in dates) and any(each.day != each.month for each in dates):
        with pytest.raises(DataError, match="--dayfirst or --monthfirst"):
            read_table(path)
        return
    table = read_table(path)
    first = min(dates)
    assert table.origin == first
    np.testing.assert_allclose(
        table.numbers["t"], [(each - first) / timedelta(seconds=1) for each in dates], rtol=1e-15
    )


@pytest.mark.parametrize(
    ("times", "header", "message"),
    [
        (["03/04/2025", "04/04/2025"], "date", "row 2, column date: '03/04/2025' may have the day or the month first"),
        (["03.04.2025", "04.05.2025"], "date", "say which: --dayfirst or --monthfirst"),
        (["13/04/2025", "04/13/2025"], "date", "'13/04/2025' has the day first, .*'04/13/2025' the month"),
        (["2020-03-01", "17"], "date", "row 3, column date: '17' is a number, row 2, column date: '2020-03-01' is a"),
        (["17", "2020-03-01"], "date", "row 3, column date: '2020-03-01' is a date or an elapsed time, row 2, .*'17'"),
        (["00:00:01", "17"], "t", "row 3, column t: '17' is a number, others are elapsed times"),
        (["00:00:01", "2020-03-01"], "t", "row 3, column t: '2020-03-01' is no elapsed time"),
        (["2020-03-01", "00:00:01"], "t", "row 3, column t: '00:00:01' is no date"),
        (["2020-03-01", "01/31/2020"], "t", "'01/31/2020' is written otherwise than row 2, column t: '2020-03-01'"),
        (["2020-03-01T00:00", "2020-03-01T00:00Z"], "t", "has a time zone, .* has none; give all of them one, or none"),
        (["2021-02-29", "2021-03-01"], "t", "row 2, column t: '2021-02-29' is no date of the calendar"),
        (["2021-13-01", "2021-03-01"], "t", "'2021-13-01' is no date of the calendar"),
        (["31/04/2021", "2/03/2021"], "t", "'31/04/2021' is no date of the calendar"),
        (["2021-03-01 24:00", "2021-03-01"], "t", "'2021-03-01 24:00' is not a number or a time"),
        (["2021-03-01 13:00 PM"], "t", "is not a number or a time"),
        (
            ["12:30", "13:30"],
            "time",
            r"may be hours and minutes, or minutes and seconds; .* time \[hh:mm\] or \[mm:ss\]",
        ),
        (["20200301", "20200302"], "date", "column date holds 20200301, which may be a number or the date 2020-03-01"),
        (["01/02/25", "31/02/25"], "date", "is not a number or a time"),
        (["Monday", "Tuesday"], "date", "'Monday' is not a number or a time; write 0.5, 2025-03-31 12:00 or 01:30:00"),
        (["2020-03-01T00:00 Europe/Berlin"], "date", "is not a number or a time"),
    ],
)
def test_times_that_are_mixed_wrong_or_open_are_one_line(read, times, header, message):
    with pytest.raises(DataError, match=message) as caught:
        read(times, header=header)
    assert "\n" not in str(caught.value)


def test_options_that_dates_contradict_are_one_line(read):
    with pytest.raises(DataError, match="'13/04/2025' has no month first, as the options say"):
        read(["13/04/2025"], dayfirst=False)


def test_dates_beside_times_of_day_are_to_be_joined(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("date,time,x\n2020-03-01,12:00:00,1\n2020-03-01,12:30:00,2\n")
    with pytest.raises(DataError, match=r"column date holds dates, column time times of day .*; join them as"):
        read_table(path)


@pytest.mark.parametrize(
    ("header", "unit", "expected", "label"),
    [
        ("t [h]", "d", [1, 2], "d"),
        ("t [min]", "s", [1440, 2880], "s"),
        ("t (weeks)", "d", [168, 336], "d"),
        ("t", "d", [24, 48], "d"),
        ("t [h]", None, [24, 48], "h"),
        ("t [fortnights]", None, [24, 48], "fortnights"),
    ],
)
def test_numbers_come_in_the_unit_that_is_asked_for(read, header, unit, expected, label):
    table = read(["24", "48"], header=header, time_unit=unit)
    assert table.units["t"] == label
    np.testing.assert_allclose(table.numbers["t"], expected, rtol=1e-15)


def test_a_unit_that_is_not_known_is_not_converted(read):
    with pytest.raises(DataError, match="times in 'fortnights' cannot be brought to d; use s, min, h, d, week, yr"):
        read(["1", "2"], header="t [fortnights]", time_unit="d")


def test_trajectories_and_series_have_times_from_dates(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("date,infected\n2020-03-01,1\n2020-03-03,2\n")
    found = read_csv(path, options=TableOptions(time_unit="d"))
    assert found.t.tolist() == [0, 2]
    assert (found.attrs["time_unit"], found.attrs["time_origin"]) == ("d", "2020-03-01T00:00:00")
    assert found.attrs["understood"] == "date from dates (2020-03-01 to 2020-03-03, in days)"
    path.write_text("series,time,channel,value\na,00:01:00,p,1\na,00:02:00,p,2\n")
    assert read_series(path).t.tolist() == [[60, 120]]


def test_bodies_with_dates_come_in_years(tmp_path):
    path = tmp_path / "data.csv"
    rows = "".join(f"2020-01-0{k},{body},{k},{body},0\n" for k in (1, 2) for body in (1, 2))
    path.write_text("date,body,x [AU],y [AU],z [AU]\n" + rows)
    found = read_csv(path)
    np.testing.assert_allclose(found.t, [0, 1 / 365.25], rtol=1e-15)
    assert found.attrs["time_unit"] == "yr"
