"""Tables of text that cannot be used are one line that says what is wrong, and where."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets import align_times, read_csv
from physode.datasets.csv_rows import _outside
from physode.datasets.tables import sources
from physode.errors import DataError

_BODIES = "time,body,x,y,z\n"
LONG = _BODIES + "0,Sun,0,0,0\n0,Earth,1,0,0\n0.5,Sun,0,0.1,0\n0.5,Earth,-1,0,0.25\n"
WIDE = "Year,Hare,Lynx\n1900,30,4\n1901,47.2,6.1\n1902,70.2,9.8\n"
RUNS = "trajectory,t,x,x_sigma\na,0,1,1\na,1,1,1\nb,0,2,2\nb,1,2,2\n"
_TWO = "r1_x,r1_y,r1_z,r2_x,r2_y,r2_z"


@pytest.fixture(scope="module")
def spare(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("csv") / "data.csv"


@pytest.fixture
def read(tmp_path):
    def reader(text: str | bytes):
        path = tmp_path / "data.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path)

    return reader


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_BODIES + "0,a,0,0,0\n0,b,1,0,0\n2,a,0,1,0\n1,a,0,2,0", r"row 5: the time 1 of body a comes after 2"),
        (_BODIES + "0,a,0,0,0\n0,b,1,0,0\n1,a,0,1,0\n0,b,0,2,0", r"rows 3 and 5 both hold the time 0 of body b"),
        (LONG.replace("-1,0,0.25", "0,0.1,0"), r"bodies Sun and Earth are at one place at time 0\.5; correct"),
        (LONG.replace("0.25", "o.25"), r"row 5, column z: 'o\.25' is not a number"),
        (LONG.replace("0.25", "1_0"), r"row 5, column z: '1_0' is not a number"),
        (LONG.replace("0.25", "1e999"), r"row 5, column z: '1e999' is infinite"),
        (LONG.replace("0.25", "-inf"), r"row 5, column z: '-inf' is infinite"),
        (LONG.replace("x,y,z", "x [ly],y [ly],z [ly]"), r"column x has the unit 'ly', not a known length; use AU"),
        (LONG.replace("time", "time [fortnight]"), r"column time has the unit 'fortnight', not a known time"),
        (LONG.replace("x,y,z", "x [km],y,z"), r"column y has no unit, others of its kind have"),
        (_BODIES.replace("z", "z,unit") + "0,a,0,0,0,km\n0,b,1,0,0,AU", r"from 'km' in row 2 to 'AU' in row 3"),
        (_BODIES.replace("z", "z,units") + "0,a,0,0,0,pc\n0,b,1,0,0,pc", r"row 2, column units, has the unit 'pc'"),
        ("time,body,x [km],y [km],z [km],unit\n0,a,0,0,0,km", "declares the unit 'km' and a column of units too"),
        (LONG.replace("time", "when"), r"names no column of times; .*; the row has when, body, x, y, z"),
        ("0,1,2\n1,2,3\n", r"names no column of times"),
        (LONG.replace(",z", ",height"), r"it names bodies, but has no column z"),
        (LONG.replace(",z\n", ",z,vx\n"), r"row 2 has 5 cells, the header 6"),
        ("time,body,x,y,z,vx\n0,a,0,0,0,1\n", r"it has a column vx, but not all of vx, vy and vz"),
        ("time,body,x,y,z,mood\n0,a,0,0,0,1\n", r"column mood is none that a table of bodies may have"),
        ("time,body,x,y,z,X\n0,a,0,0,0,1\n", r"the header names X twice"),
        ("time,body,x,y,,z\n0,a,0,0,0,1\n", r"column 5 of the header has no name"),
        ("time,body,x,y,z\n", "it has no rows below its header"),
        ("# nothing\n\n", "it has no rows, only comments or blank lines"),
        ("t,x\n0,nan\n1,\n", "it holds no value in the columns x"),
        ("t\n0\n1\n", "it has no column beside the times"),
        ("t,x\n1,2\n", r"there is one time only, 1"),
        ("t,x\n0,2\n,3\n", r"row 3 has values but no t"),
        (LONG.replace("0.5,Earth", "0.5,"), r"row 5: column body is empty"),
        (_BODIES + "0,a,0,0,0\n1,a,0,0,1\n", r"its column body names a; give 2 to 1000 bodies"),
        ("t,x,sigma\n0,2,0.1\n1,3,0\n", r"row 3: the standard deviation 0 in column sigma is not above 0"),
        ("t,x,sigma\n0,2,0.1\n1,3,-2\n", r"row 3: the standard deviation -2 in column sigma is not above 0"),
        ("t,x,x_sigma\n0,2,0.1\n1,3,\n", r"row 3: the standard deviation in column x_sigma is missing beside a value"),
        ("t,x,y_sigma\n0,2,0.1\n", r"column y_sigma holds deviations of y, no column"),
        ("t,x [m],sigma [km]\n0,2,1\n1,3,1", r"column sigma has the unit 'km', column x 'm'"),
        ("time,body,x,y,z,sigma [km]\n0,a,0,0,0,1\n", "column sigma has the unit 'km', its values have none"),
        ("t,x,unit\n0,2,m\n", r"column unit has a meaning for bodies only"),
        ("t,r1_x,r1_y,r1_z,r2_x,r2_y\n0,0,0,0,1,1\n", r"those of 2 bodies, but r2_z is missing"),
        ("t,r1_x,r1_y,r1_z\n0,0,0,0\n", r"those of 2 bodies, but r2_x is missing"),
        ("t,v999999999_x\n0,0\n", r"those of 2 bodies, but r1_x is missing"),
        ("t,r1_x,mass\n0,0,0\n", r"column mass stands beside columns of bodies"),
        (f"t,{_TWO}\n0,0,0,0,1,1,1\n1,2,3,4,2,3,4\n", "bodies 1 and 2 are at one place at time 1"),
        ("trajectory,t,x\na,0,1\na,1,2\na,2,5\nb,0,3\nb,0.5,4\n", r"trajectory b has 2 times, trajectory a 3"),
        ("trajectory,t,x\na,0,1\na,1,2\nb,1,3\nb,1,4\n", r"rows 4 and 5 both hold the time 1 of trajectory b"),
        ("trajectory," + LONG.replace("\n0", "\na,0") + "b,0,Sun,0,0,0\n", "trajectory b has no rows of body Earth"),
        ('t,x\n0,"1\n', r"row 2 cannot be divided into cells"),
        (_BODIES + "0,a,0,0,0\n1,a,0,0,1\n1,b,1,0,0\n0,b,1,1,0\n", "times of a and of other bodies run opposite ways"),
        (b"t,x\n0,\xff\n", "row 2, column x: 'ÿ' is not a number"),
        ("t,x" + "y" * 100 + "\n0,1\n", "column 2 of the header has a name of 101 letters"),
        (_BODIES + "0," + "a" * 101 + ",0,0,0\n", "row 2: 'a.*' is a label of 101 letters"),
        ("t,x\n0,\x1b[2J\n", "row 2 holds bytes that are no text"),
        (b"t,x\n0,\x00\n", "row 2 holds bytes that are no text"),
        (b"\x81\x03\x04\x00\x00", "it holds bytes that are no text in Windows-1252; save it as CSV in UTF-8"),
        (b"PK\x03\x04\x00\x00", "it is damaged or no workbook"),
        ("t,x\n0,1" + "0" * 1_000_000, "row 2 has more than 1000000 characters"),
    ],
)  # fmt: skip
def test_bad_tables_are_one_line_with_the_place(read, tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path / 'data.csv'}: ")
    assert "\n" not in str(caught.value)


def test_messages_speak_of_times_as_the_file_has_them(read):
    with pytest.raises(DataError, match="row 4: the time 365 comes after 730"):
        read(f"t [d],{_TWO.replace(',', ' [m],')} [m]\n0,0,0,0,1,1,1\n730,0,0,0,1,1,1\n365,0,0,0,1,1,1")


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), ("", "is empty")])
def test_files_that_are_missing_or_empty_are_said(tmp_path, content, message):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"data.csv {message}"):
        read_csv(path)


def test_tables_that_would_swell_on_common_times_are_refused(read, monkeypatch):
    monkeypatch.setattr(align_times, "_LARGEST", 30)
    with pytest.raises(DataError, match="its common times would hold 36 numbers, most of them missing"):
        read(_BODIES + "0,a,0,0,0\n1,b,1,0,0\n2,b,0,1,0\n")
    with pytest.raises(DataError, match="its common times would hold 32 numbers"):
        read("trajectory,t,x\na,0,1\n" + "".join(f"b,{i},1\n" for i in range(16)))


def test_a_file_beyond_the_limit_is_refused_unread(read, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST", 20)
    with pytest.raises(DataError, match=r"data.csv has \d+ bytes, more than 20"):
        read(LONG)


@given(data=st.data())
@settings(max_examples=150)
def test_damaged_tables_are_read_or_refused_never_more(spare, data):
    whole = data.draw(st.sampled_from([LONG, WIDE, RUNS])).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    spare.write_bytes(whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
    message = ""
    try:
        assert np.isfinite(read_csv(spare).t).all()
    except DataError as error:
        message = str(error)
    assert "\n" not in message


# Headers take time in proportion to their length.


def calls_of(work):
    """How many functions, Python's own included, are called."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_twice_the_columns_take_twice_the_work(tmp_path):
    def calls(columns):
        path = tmp_path / f"{columns}.csv"
        names = ["time", *(f"x{i} [m]" for i in range(columns))]
        path.write_text(f"{','.join(names)}\n{','.join(['0'] * len(names))}\n{','.join(['1'] * len(names))}\n")
        return calls_of(lambda: read_csv(path))

    assert calls(4000) < 2.2 * calls(2000)


class Counted(str):
    """Text that counts the letters that are looked at, from `index` on."""

    looked = 0

    def __getitem__(self, place):
        self.looked += 1
        return super().__getitem__(place)

    def index(self, letter, start):
        found = super().index(letter, start)
        self.looked += found - start
        return found


@pytest.mark.parametrize(
    ("header", "outside"),
    [
        ("(" * 3000, "(" * 3000),
        ("[" * 3000 + ")" * 3000, "[" * 3000 + ")" * 3000),
        ('a,"b,c",(d;e),f;g [h,i', "a,,,f;g [h,i"),
        ('"' * 3001, '"'),
        ("()" * 3000, ""),
    ],
)
def test_every_letter_of_a_header_is_looked_at_once(header, outside):
    text = Counted(header)
    assert "".join(_outside(text)) == outside
    assert text.looked <= len(header)


def test_white_space_as_long_as_a_line_may_be_divides_columns(tmp_path):
    # Looked at from each of its letters, it would take half a million million looks.
    path = tmp_path / "wide.txt"
    path.write_text(f"time{' ' * 900_000}x   [m]\n0 1\n1 2\n")
    assert read_csv(path).units == ("m",)
