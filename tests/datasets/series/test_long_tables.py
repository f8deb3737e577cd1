"""Tables of one row a value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets.series import read_series
from physode.errors import DataError

NAN = np.nan
HEADER = "series,time,channel,value\n"


@pytest.fixture
def read(tmp_path):
    def reading(text: str):
        (tmp_path / "data.csv").write_text(text)
        return read_series(tmp_path / "data.csv")

    return reading


def test_channels_are_merged_into_the_times_of_each_series(read):
    found = read(
        "Value [mV];Channel;Time [ms];series\n# a comment\n1;p;0;b\n7;q;3;a\n2;p;2;b\n"
        "3;q;1;b\n8;p;-1;a\n4;q;2;b\n9;p;3.5;a\n"
    )
    np.testing.assert_array_equal(found.t, [[0, 1, 2], [-1, 3, 3.5]])
    np.testing.assert_array_equal(found.y[0], [[1, NAN], [NAN, 3], [2, 4]])
    np.testing.assert_array_equal(found.y[1], [[8, NAN], [NAN, 7], [9, NAN]])
    assert (found.names, found.channels, found.units) == (("b", "a"), ("p", "q"), ("mV", "mV"))
    assert found.attrs == {
        "name": "data",
        "source": "data.csv",
        "time_unit": "ms",
        "understood": "semicolons",
        "notes": [],
    }


def test_an_empty_value_leaves_its_time_and_is_counted(read):
    found = read(HEADER + "a,0,p,1\na,1,p,\na,2,p,NA\na,3,p,2\nb,0,p,5\nb,1,p,6\n")
    np.testing.assert_array_equal(found.t[0], [0, 1, 2, 3])
    np.testing.assert_array_equal(found.y[0, :, 0], [1, NAN, NAN, 2])
    assert found.attrs["notes"] == [
        "rows without a value: 2 of 6, row 3 the first; their times are kept",
        "times without a value in any channel: 2",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEADER + "a,0,p,1\nb,0,p,1\na,1,p,2\na,0,p,3\n",
            "row 5: series a, channel p, time 0 stands in row 2 already; keep one, or take their mean",
        ),
        (
            HEADER + "a,0,p,1\na,2,p,2\na,0,q,5\na,1.5,p,3\na,1,p,3\n",
            "row 5: series a, channel p, time 1.5 stands after time 2 (row 3); sort the rows by time",
        ),
        (HEADER + "a,0,p,1\na,1,p,inf\n", "row 3, column value: 'inf' is infinite; empty the cell"),
        (HEADER + "a,-inf,p,1\n", "row 2, column time: '-inf' is infinite"),
        (HEADER + "a,0,p,one\n", "row 2, column value: 'one' is not a number"),
        (HEADER + "a,,p,1\n", "row 2 has no time; fill it in"),
        (HEADER + "a,0,p,1\n,1,p,1\n", "row 3 names no series; fill it in"),
        (HEADER + "a,0,,1\n", "row 2 names no channel; fill it in"),
        (HEADER + "a,0,p,1\na,0,q,\n", "channel 'q' has no value in any series; leave it out"),
        (HEADER + "a,0,p,1\nb,0,p,\n", "series 'b' has no value at all; leave it out"),
        (HEADER, "it has no rows below its header"),
        (HEADER + "a,0,p\n", "row 2 has 3 cells, the header 4"),
        (
            "series,time,channel\na,0,p\n",
            "it has no column value beside the labels of channels in channel; say what the columns are, by "
            "--columns value=NAME",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file_and_its_row(read, tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path / 'data.csv'}: {message}")
    assert "\n" not in str(caught.value)


def test_series_that_would_not_fit_in_memory_are_refused(read, monkeypatch):
    monkeypatch.setattr("physode.datasets.series.arrays.LARGEST", 100)
    with pytest.raises(
        DataError, match=r"2 series of up to 4 times \(series 'a'\) and 1 channels would take .* divide it"
    ):
        read(HEADER + "".join(f"a,{i},p,{i}\n" for i in range(4)) + "b,0,p,1\n")


_LABELS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.dictionaries(st.tuples(_LABELS, _NUMBERS, _LABELS), _NUMBERS, min_size=1, max_size=30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_value_comes_back_at_its_series_time_and_channel(tmp_path_factory, values, data):
    values = {(name, time + 0.0, channel): value for (name, time, channel), value in values.items()}
    groups = data.draw(st.permutations(sorted({(name, channel) for name, _, channel in values})))
    path = tmp_path_factory.mktemp("made") / "data.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for name, channel in groups:
            for time in sorted(each[1] for each in values if (each[0], each[2]) == (name, channel)):
                file.write(f"{name},{time!r},{channel},{values[name, time, channel]!r}\n")
    found = read_series(path)
    back = {
        (found.names[i], float(found.t[i, k]), found.channels[c]): float(found.y[i, k, c])
        for i, k, c in np.argwhere(found.mask)
    }
    assert back == values
