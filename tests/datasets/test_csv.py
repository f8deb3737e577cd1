"""Tables of text become trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants

from physode.datasets import read_csv
from physode.datasets.bodies import ASTRONOMICAL
from physode.rhs import G_GAUSS, body_columns

LONG = """time,body,x,y,z
0,Sun,0,0,0
0,Earth,1,0,0
0.5,Sun,0,0.1,0
0.5,Earth,-1,0,0.25
"""

WIDE = """Year,Hare,Lynx
1900,30,4
1901,47.2,6.1
1902,70.2,9.8
"""


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


# The long layout.


def test_bodies_become_positions_in_order_of_appearance(read):
    found = read(LONG)
    assert found.columns == body_columns(2)
    assert found.attrs["bodies"] == ["Sun", "Earth"]
    assert (found.attrs["system"], found.attrs["notes"], found.attrs["source"]) == ("n_body", [], "data.csv")
    np.testing.assert_array_equal(found.t, [0.0, 0.5])
    np.testing.assert_array_equal(found.y[0, :, :6], [[0, 0, 0, 1, 0, 0], [0, 0.1, 0, -1, 0, 0.25]])
    assert np.isnan(found.y[..., 6:]).all()
    assert found.sigma is None


@pytest.mark.parametrize("divider", [",", ";", "\t", " ", "   "])
def test_dividers_order_of_columns_and_rows_letter_case_and_comments_do_not_matter(read, divider):
    text = "# of nobody\nZ,Body,TIME,y,X\n0,Sun,0,0,0\n\n0,Sun,0.5,0.1,0\n # more\n0,Earth,0,0,1\n0.25,Earth,0.5,0,-1\n"
    found, plain = read(text.replace(",", divider)), read(LONG)
    np.testing.assert_array_equal(found.t, plain.t)
    np.testing.assert_array_equal(found.y, plain.y)


def test_quoted_cells_a_byte_order_mark_and_foreign_line_ends_are_read(read):
    found = read(b"\xef\xbb\xbf" + LONG.replace("Earth", '"Earth, the"').replace("\n", "\r\n").encode())
    assert found.attrs["bodies"] == ["Sun", "Earth, the"]
    np.testing.assert_array_equal(found.y, read(LONG).y)


def test_velocities_and_deviations_of_positions_go_to_their_columns(read):
    found = read(
        "time,body,x,y,z,vx,vy,vz,sigma\n0,1,0,0,0,1,2,3,0.1\n0,2,1,0,0,4,5,6,0.2\n1,1,0,0,1,7,8,9,0.3\n1,2,1,1,0,0,0,0,0.4"
    )
    np.testing.assert_array_equal(found.y[0, 0, 6:], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(found.sigma[0, :, :6], [[0.1] * 3 + [0.2] * 3, [0.3] * 3 + [0.4] * 3])
    assert np.isnan(found.sigma[..., 6:]).all()


def test_a_component_may_have_deviations_of_its_own(read):
    found = read(
        "t,body,x,y,z,vx,vy,vz,sigma,Z_sigma,vx_sigma\n0,1,0,0,0,1,2,3,1,2,3\n0,2,1,0,0,4,5,6,1,2,3\n1,1,0,0,1,7,8,9,1,2,3\n1,2,1,1,0,0,0,0,1,2,3"
    )
    np.testing.assert_array_equal(found.sigma[0, 0], [1, 1, 2, 1, 1, 2, 3, np.nan, np.nan, 3, np.nan, np.nan])


def test_lengths_times_and_velocities_become_AU_and_years(read):
    found = read(
        "time [s],body,x (km),y (km),z (km),vx [m/s],vy [m/s],vz [m/s],sigma [m]\n"
        "0,a,0,0,0,0,0,0,1000\n0,b,149597870.7,0,-3e8,29784.7,0,1,2000\n"
        "86400,a,1,2,3,4,5,6,1000\n86400,b,5,6,7,8,9,10,1000\n"
    )
    speed = constants.Julian_year / constants.au
    assert found.units == ("AU",) * 6 + ("AU/yr",) * 6
    assert found.attrs["time_unit"] == "yr"
    assert found.attrs["rhs"] == {"G": G_GAUSS, "velocity_scale": 1.0, "softening": 0.0}
    np.testing.assert_allclose(found.t, [0, 1 / 365.25], rtol=1e-15)
    np.testing.assert_allclose(found.y[0, 0, 3:6], [1, 0, -3e11 / constants.au], rtol=1e-15)
    np.testing.assert_allclose(found.y[0, 0, 9:], [29784.7 * speed, 0, speed], rtol=1e-14)
    np.testing.assert_allclose(found.sigma[0, 0, :6], np.repeat([1e3, 2e3], 3) / constants.au, rtol=1e-15)


def test_a_velocity_without_a_unit_has_that_of_positions_over_time(read):
    rows = "\n0,a,0,0,0,0,0,0\n0,b,1,0,0,1,0,0\n1,a,0,0,1,0,0,0\n1,b,1,1,0,0,0,0"
    found = read("time [d],body,x [AU],y [AU],z [AU],vx,vy,vz" + rows)
    assert found.y[0, 0, 9] == 365.25


def test_what_is_in_AU_and_years_keeps_every_bit(read):
    rows = "\n0.1,a,0.1,0.7,0,0.3,0,0\n0.1,b,1,0,0,1,0,0\n0.7,a,0,0,1,0,0,0\n0.7,b,1,1,0,0,0,0"
    found = read("time [yr],body,x [au],y [au],z [au],vx [AU/yr],vy [AU/yr],vz [AU/yr]" + rows)
    assert found.t.tolist() == [0.1, 0.7]
    assert found.y[0, 0, [0, 1, 6]].tolist() == [0.1, 0.7, 0.3]


def test_a_column_of_units_holds_for_positions(read):
    text = (
        LONG.replace("time", "time (yr)")
        .replace("z\n", "z,unit\n")
        .replace("0\n", "0,km\n")
        .replace("0.25\n", "0.25,KM\n")
    )
    found = read(text)
    assert found.y[0, 0, 3] == pytest.approx(1e3 / constants.au, rel=1e-15)
    assert found.units[0] == "AU"


def test_undeclared_units_leave_numbers_and_constants_alone(read):
    found = read(LONG)
    assert (found.units, found.attrs.get("rhs"), found.attrs.get("time_unit")) == (("",) * 12, None, None)


def test_units_declared_in_part_convert_nothing_and_are_noted(read):
    found = read(LONG.replace("x,y,z", "x [km],y [km],z [km]"))
    assert found.y[0, 0, 3] == 1.0
    assert found.units[:6] == ("km",) * 6
    assert found.attrs["notes"] == ["no unit is declared for times; nothing is converted to AU and years"]


def test_a_body_missing_at_some_times_is_NaN_there_and_noted(read):
    found = read(LONG + "0.25,Sun,5,5,5\n".replace("0.25", "1") + "2,Sun,5,nan,5\n2,Earth,1,1,1\n")
    np.testing.assert_array_equal(found.t, [0, 0.5, 1, 2])
    np.testing.assert_array_equal(found.y[0, 2, :6], [5, 5, 5, np.nan, np.nan, np.nan])
    assert found.attrs["notes"] == [
        "body Sun is missing at 1 of 4 times, first at 2; treated as missing",
        "body Earth is missing at 1 of 4 times, first at 1; treated as missing",
    ]


def test_times_may_fall(read):
    head, *rows = LONG.splitlines()
    found = read("\n".join([head, *rows[::-1]]))
    np.testing.assert_array_equal(found.t, [0.5, 0.0])
    assert found.attrs["bodies"] == ["Earth", "Sun"]


def test_rows_without_numbers_are_missing_and_counted(read):
    found = read(LONG + "1,Sun,NA,-,\n1,Earth,,,\n,,,,\n")
    assert found.attrs["notes"][0] == "3 rows hold no number (first: row 6); treated as missing"
    assert np.isnan(found.y[0, 2]).all()


def test_trajectories_on_the_same_times_share_them(read):
    rows = LONG.splitlines()[1:]
    found = read("time,body,x,y,z,trajectory\n" + "\n".join(f"{row},{run}" for run in "ba" for row in rows))
    assert (found.t.shape, found.y.shape) == ((2,), (2, 2, 12))


# The wide layout.


def test_columns_are_components_and_the_one_of_times_is_found_by_name(read):
    found = read(WIDE)
    assert (found.columns, found.units) == (("Hare", "Lynx"), ("", ""))
    np.testing.assert_array_equal(found.t, [1900, 1901, 1902])
    np.testing.assert_array_equal(found.y[0, 1], [47.2, 6.1])
    assert "system" not in found.attrs


def test_labels_of_units_are_kept_and_nothing_is_converted(read):
    found = read("angle [deg];t (s);sigma [deg]\n1;0;0.5\n2;1;0.5\n")
    assert (found.columns, found.units, found.attrs["time_unit"]) == (("angle",), ("deg",), "s")
    np.testing.assert_array_equal(found.y[0, :, 0], [1, 2])
    np.testing.assert_array_equal(found.t, [0, 1])


def test_one_column_of_deviations_serves_all_without_their_own(read):
    found = read("t,x,v,sigma,v_sigma\n0,1,2,0.1,0.2\n1,1,2,0.3,0.4\n")
    np.testing.assert_array_equal(found.sigma[0], [[0.1, 0.2], [0.3, 0.4]])


def test_missing_values_are_counted_by_column(read):
    found = read("t,x,v\n0,1,\n1,nan,\n2,3,4\n")
    assert found.attrs["notes"] == [
        "1 row holds no number (row 3); treated as missing",
        "column x is missing at 1 of 3 times, first at 1; treated as missing",
        "column v is missing at 2 of 3 times, first at 0; treated as missing",
    ]


def test_columns_of_bodies_are_recognised_in_any_order_and_converted(read):
    names = [f"R{body}_{axis} [km]" for axis in "zxy" for body in (2, 1)]
    found = read(f"t [d],{','.join(names)},sigma\n0,1,2,3,4,5,6,0.5\n1,7,8,9,1,2,3,0.5\n")
    assert found.columns == body_columns(2)
    np.testing.assert_allclose(found.y[0, 0, :6] * constants.au / 1e3, [4, 6, 2, 3, 5, 1], rtol=1e-14)
    assert np.isnan(found.y[..., 6:]).all()
    assert np.isnan(found.sigma[..., 6:]).all()
    assert (found.attrs["system"], found.attrs["rhs"], found.attrs["bodies"]) == ("n_body", ASTRONOMICAL, ["1", "2"])


def test_columns_of_velocities_are_taken_too(read):
    found = read(
        ",".join(("t", *body_columns(2)))
        + f"\n0,{','.join(map(str, range(12)))}\n1,{','.join('9876543210ab'.replace('a', '7').replace('b', '8'))}\n"
    )
    np.testing.assert_array_equal(found.y[0, 0], np.arange(12))


def test_trajectories_keep_times_of_their_own(read):
    found = read("trajectory,t,x\na,0,1\na,1,2\nb,0,3\nb,2,4\n")
    np.testing.assert_array_equal(found.t, [[0, 1], [0, 2]])
    np.testing.assert_array_equal(found.y[..., 0], [[1, 2], [3, 4]])


def test_a_trajectory_that_ends_early_is_missing_afterwards(read):
    found = read("trajectory,t,x\na,0,1\nb,0,3\nb,1,4\nb,2,5\na,1,2\n")
    np.testing.assert_array_equal(found.t, [0, 1, 2])
    np.testing.assert_array_equal(found.y[..., 0], [[1, 2, np.nan], [3, 4, 5]])
    assert found.attrs["notes"] == ["column x is missing at 1 of 6 times, first at 2; treated as missing"]


@given(
    values=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=2, max_size=8
    ),
    divider=st.sampled_from([",", ";", "\t", "  "]),
)
@settings(max_examples=50)
def test_numbers_come_back_to_the_last_bit(spare, values, divider):
    rows = [["t", "a", "b", "c"], *([str(i), *map(repr, row)] for i, row in enumerate(values))]
    spare.write_text("\n".join(divider.join(row) for row in rows))
    np.testing.assert_array_equal(read_csv(spare).y[0], values)
