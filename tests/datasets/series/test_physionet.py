"""Folders of records like those of PhysioNet's 2012 challenge."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets.series import physionet, read_series
from physode.errors import DataError

NAN = np.nan
STATICS_NOTE = "Age, Gender, Height, ICUType do not change: they are no channels, but `statics`"


def record(number: int, *rows: str, age: float = 54, height: float = -1, weight: float = -1) -> str:
    said = {"RecordID": number, "Age": age, "Gender": 0, "Height": height, "ICUType": 4, "Weight": weight}
    return "\n".join(["Time,Parameter,Value", *(f"00:00,{name},{value}" for name, value in said.items()), *rows, ""])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "set-a"
    folder.mkdir()
    rows = ["00:07,HR,73", "00:07,Temp,35.1", "00:37,HR,77", "48:00,HR,80", "48:00,Weight,81.6"]
    (folder / "132539.txt").write_text(record(132539, *rows))
    (folder / "132540.txt").write_text(record(132540, "01:30,HR,88", "02:00,zeta,4", age=76, height=175.3, weight=76))
    return folder


def notes_of(folder) -> list[str]:
    """What is said of records, without what is said of any series."""
    notes = read_series(folder).attrs["notes"]
    return notes[: notes.index(STATICS_NOTE)]


def test_every_parameter_that_changes_is_a_channel_and_times_are_hours(folder):
    found = read_series(folder)
    assert found.names == ("132539", "132540")
    assert found.channels == ("HR", "Temp", "Weight", "zeta")
    assert found.units == ("1/min", "C", "kg", "")
    np.testing.assert_allclose(found.t, [[7 / 60, 37 / 60, 48], [0, 1.5, 2]], rtol=1e-15)
    np.testing.assert_array_equal(found.y[0], [[73, 35.1, NAN, NAN], [77, NAN, NAN, NAN], [80, NAN, 81.6, NAN]])
    np.testing.assert_array_equal(found.y[1], [[NAN, NAN, 76, NAN], [88, NAN, NAN, NAN], [NAN, NAN, NAN, 4]])


def test_what_does_not_change_is_kept_beside_the_channels(folder):
    attrs = read_series(folder).attrs
    assert attrs["statics"] == {"Age": [54, 76], "Gender": [0, 0], "Height": [None, 175.3], "ICUType": [4, 4]}
    assert (attrs["name"], attrs["source"], attrs["time_unit"]) == ("set-a", str(folder), "h")
    assert notes_of(folder) == ["rows left out with the weight -1, which means unknown: 1"]


def test_several_values_at_one_time_become_their_mean_and_are_counted(folder):
    (folder / "1.txt").write_text(record(1, "00:07,HR,70", "00:07,pH,7", "00:07,HR,76", "00:07,HR,70", weight=70))
    found = read_series(folder)
    assert found.y[0, 1, found.channels.index("HR")] == 72
    assert "times at which a parameter has several values, whose mean is taken: 1" in notes_of(folder)


def test_rows_out_of_order_are_sorted_and_counted(folder):
    (folder / "1.txt").write_text(record(1, "02:00,HR,70", "01:00,HR,76", weight=70))
    found = read_series(folder)
    np.testing.assert_array_equal(found.t[0], [0, 1, 2])
    assert "records whose rows were not in the order of time, and are sorted: 1" in notes_of(folder)


def test_records_rows_and_files_that_are_left_out_are_named(folder):
    (folder / "1.txt").write_text(record(1))
    (folder / "2.txt").write_text(record(2, "01:00,,-1", "01:00,HR,", "01:00,HR,70"))
    (folder / "Outcomes-a.txt").write_text("RecordID,SAPS-I\n")
    found = read_series(folder)
    assert found.names == ("132539", "132540", "2")
    assert found.attrs["statics"]["Age"] == [54, 76, 54]
    assert notes_of(folder) == [
        "other files, which are not read: 1 (Outcomes-a.txt)",
        "records left out, as no value in them changes in time: 1 (1)",
        "rows left out without a parameter: 1",
        "rows left out without a value: 1",
        "rows left out with the weight -1, which means unknown: 2",
    ]


def test_links_out_of_the_folder_are_not_followed_and_are_named(folder, tmp_path):
    (tmp_path / "secret").write_text(record(7, "01:00,HR,70"))
    (folder / "7.txt").symlink_to(tmp_path / "secret")
    assert read_series(folder).names == ("132539", "132540")
    assert notes_of(folder)[0] == "7.txt is not read: a link that leads out of the folder"


def test_a_folder_of_links_alone_is_refused(tmp_path):
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "7.txt").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"no record in it can be read; 7.txt is a link that leads out of the folder"):
        read_series(tmp_path / "set-a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first row must be Time,Parameter,Value, it is 'missing'"),
        (b"time,value\n", "its first row must be Time,Parameter,Value, it is 'time,value'"),
        (b"\xff\xfe\x00", "it holds bytes that are no text"),
        (record(7, "01:00,HR"), "row 8 has 2 cells instead of 3"),
        (record(7, "1 h,HR,70"), "row 8: the time '1 h' is not HH:MM"),
        (record(7, "01:60,HR,70"), "row 8: the time '01:60' is not HH:MM"),
        (record(7, "01:00,HR,fast"), "row 8, column Value: 'fast' is not a number"),
        (record(7, "01:00,HR,inf"), "row 8, column Value: 'inf' is infinite"),
        (record(7, "01:00," + "H" * 101 + ",1"), "is a name of 101 letters"),
        (record(7, "01:00,Age,55"), "row 8: Age is said again, or after 00:00"),
        (record(8, "01:00,HR,70"), "it says that it is record 8; give it that name"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_with_its_row(folder, content, message):
    (folder / "7.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_series(folder)
    assert str(caught.value).startswith(f"{folder / '7.txt'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("_LARGEST", "132539.txt has .* bytes, more than 1; it is no record"),
        ("_LARGEST_FOLDER", "holds records of more than 1 bytes; divide it"),
        ("_MOST_RECORDS", "holds 2 records, more than 1; divide it"),
    ],
)
def test_sizes_are_bounded(folder, monkeypatch, limit, message):
    monkeypatch.setattr(physionet, limit, 1)
    with pytest.raises(DataError, match=message):
        read_series(folder)


def test_records_of_nothing_that_changes_are_no_series(tmp_path):
    (tmp_path / "1.txt").write_text(record(1))
    with pytest.raises(DataError, match="none of its 1 records has a value that changes in time"):
        read_series(tmp_path)


def test_progress_ends_at_one(folder):
    told = []
    read_series(folder, progress=told.append)
    assert told == [1.0]
