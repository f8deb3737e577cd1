"""Vector tables in the layouts of JPL Horizons, written here with numbers of our own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import constants

from physode.datasets import read_horizons
from physode.errors import DataError
from physode.rhs import body_columns

AU_KM = constants.au / 1e3
EPOCHS = 2459945.5 + np.array([0.0, 10.0, 25.0])
SUN = np.array(
    [[1e-3, 2e-3, -3e-4, 1e-6, 2e-6, 3e-6], [2e-3, 1e-3, 5e-4, 4e-6, 5e-6, 6e-6], [0.0, 1e-3, 0, 0, 1e-6, 0]]
)
JUPITER = SUN + np.array([4.9, -0.7, 0.1, 1e-3, 7e-3, -2e-5])


def labelled(epoch: float, state: np.ndarray, scale: str) -> str:
    """One epoch as lines of labels."""
    lines = [f"{epoch:.9f} = A.D. 2023-Jan-01 00:00:00.0000 {scale} "]
    for names in (("X ", "Y ", "Z "), ("VX", "VY", "VZ"))[: len(state) // 3]:
        lines.append("".join(f" {name}={value:22.15E}" for name, value in zip(names, state[:3], strict=True)))
        state = state[3:]
    return "\n".join(lines)


def table(
    body: str = "Sun (10)",
    states: np.ndarray = SUN,
    epochs: np.ndarray = EPOCHS,
    *,
    comma: bool = False,
    ranges: bool = False,
    units: str = "AU-D",
    center: str = "Solar System Barycenter (0)",
    frame: str = "Ecliptic of J2000.0",
    scale: str = "TDB",
    kind: str = "GEOMETRIC cartesian states",
) -> str:
    """The text of a table, as much of it as tells something."""
    names = ["X", "Y", "Z", "VX", "VY", "VZ"][: states.shape[1]]
    if ranges:
        names += ["LT", "RG", "RR"]
    if comma:
        columns = ", ".join([f"            JD{scale}", f"Calendar Date ({scale})", *names]) + ","
        rows = [
            f"{epoch:.9f}, A.D. 2023-Jan-01 00:00:00.0000, "
            + "".join(f" {value:22.15E}," for value in [*state, *([0.5] * 3 if ranges else [])])
            for epoch, state in zip(epochs, states, strict=True)
        ]
    else:
        columns = f"JD{scale}\n   X     Y     Z\n   VX    VY    VZ"
        extra = "\n LT= 3.3E-02 RG= 4.9E+00 RR= 1.0E-03" if ranges else ""
        rows = [labelled(epoch, state, scale) + extra for epoch, state in zip(epochs, states, strict=True)]
    stars = "*" * 79
    return "\n".join([
        "API VERSION: 1.2", "API SOURCE: NASA/JPL Horizons API", "", stars,
        " Revised: January 1, 2020    Some body    GM= 1.0+-0.1, X = none", stars,
        f"Target body name: {body:<32}{{source: DE441}}",
        f"Center body name: {center:<32}{{source: DE441}}",
        "Center-site name: BODY CENTER", stars,
        f"Start time      : A.D. 2023-Jan-01 00:00:00.0000 {scale}", stars,
        f"Output units    : {units:<60}",
        f"Output type     : {kind}",
        f"Reference frame : {frame}", stars,
        columns, stars, "$$SOE", *rows, "$$EOE", stars, "", "TIME", "  JDUT is explained here.",
    ])  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def reader(*texts: str):
        paths = [tmp_path / f"{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return read_horizons(paths)

    return reader


@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("ranges", [False, True])
def test_two_tables_are_one_trajectory_in_AU_and_years(read, comma, ranges):
    jupiter = "Jupiter Barycenter (5)"
    found = read(table(comma=comma, ranges=ranges), table(jupiter, JUPITER, comma=comma, ranges=ranges))
    assert found.columns == body_columns(2)
    assert found.units == ("AU",) * 6 + ("AU/yr",) * 6
    np.testing.assert_array_equal(found.t, [0, 10 / 365.25, 25 / 365.25])
    np.testing.assert_allclose(found.y[0, :, :6], np.hstack([SUN[:, :3], JUPITER[:, :3]]), rtol=1e-15)
    np.testing.assert_allclose(found.y[0, :, 6:] / 365.25, np.hstack([SUN[:, 3:], JUPITER[:, 3:]]), rtol=1e-15)
    about = {name: found.attrs[name] for name in ("bodies", "epoch", "time_unit", "time_scale", "center", "frame")}
    assert about == {
        "bodies": ["Sun", "Jupiter Barycenter"],
        "epoch": 2459945.5,
        "time_unit": "yr",
        "time_scale": "TDB",
        "center": "Solar System Barycenter (0)",
        "frame": "Ecliptic of J2000.0",
    }
    assert (found.attrs["system"], found.attrs["notes"], found.attrs["source"]) == ("n_body", [], ["0.txt", "1.txt"])


def test_the_gravitational_constant_is_that_of_the_sun_s_mass(read):
    rhs = read(table(), table("Jupiter (5)", JUPITER)).attrs["rhs"]
    au, year = constants.au, constants.Julian_year
    assert rhs["G"] == pytest.approx(1.32712440041279419e20 * year**2 / au**3, rel=1e-10)  # GM of the Sun in DE440
    assert (rhs["velocity_scale"], rhs["softening"]) == (1.0, 0.0)


@pytest.mark.parametrize(("units", "seconds"), [("KM-S", 86400.0), ("KM-D", 1.0)])
def test_kilometres_are_converted(read, units, seconds):
    def in_km(states):
        return states * AU_KM / np.repeat([1.0, seconds], 3)

    found = read(table(states=in_km(SUN), units=units), table("Jupiter (5)", in_km(JUPITER), units=units))
    np.testing.assert_allclose(found.y, read(table(), table("Jupiter (5)", JUPITER)).y, rtol=1e-14, atol=1e-18)


@pytest.mark.parametrize("comma", [False, True])
def test_tables_of_positions_have_no_velocities(read, comma):
    found = read(table(states=SUN[:, :3], comma=comma), table("Jupiter (5)", JUPITER[:, :3], comma=comma))
    assert np.isnan(found.y[..., 6:]).all()
    np.testing.assert_allclose(found.y[0, :, 3:6], JUPITER[:, :3], rtol=1e-15)


def test_bodies_are_NaN_at_epochs_of_others(read):
    found = read(table(states=SUN[1:], epochs=EPOCHS[1:]), table("Jupiter (5)", JUPITER[:2], epochs=EPOCHS[:2]))
    assert found.attrs["epoch"] == EPOCHS[0]
    assert np.isnan(found.y[0, 0, :3]).all()
    assert np.isnan(found.y[0, 2, 3:6]).all()
    assert np.isfinite(found.y[0, 1]).all()
    assert found.attrs["notes"][0] == "body Sun is missing at 1 of 3 times, first at 0 yr; treated as missing"


def test_the_answer_of_the_API_in_JSON_is_read_too(read):
    def answer(text):
        return json.dumps({"signature": {"source": "NASA/JPL Horizons API", "version": "1.2"}, "result": text})

    found = read(answer(table()), answer(table("Jupiter (5)", JUPITER)))
    np.testing.assert_array_equal(found.y, read(table(), table("Jupiter (5)", JUPITER)).y)


def test_older_names_of_time_scale_and_axes_are_understood(read):
    frame = "ICRF/J2000.0\nCoordinate systm: Ecliptic and Mean Equinox of Reference Epoch"
    found = read(*(table(*which, scale="CT", frame=frame) for which in (("Sun (10)", SUN), ("Jupiter (5)", JUPITER))))
    assert found.attrs["time_scale"] == "TDB"
    assert found.attrs["frame"] == "ICRF/J2000.0, Ecliptic and Mean Equinox of Reference Epoch"


def test_a_centre_that_is_itself_attracted_and_uneven_times_are_noted(read):
    texts = [
        table("Earth (399)", SUN, center="Sun (10)", scale="UT"),
        table("Jupiter (5)", JUPITER, center="Sun (10)", scale="UT"),
    ]
    first, second = read(*texts).attrs["notes"]
    assert first.startswith("positions are relative to Sun (10), which is itself attracted")
    assert second.startswith("times are UT")


def test_bodies_of_one_name_keep_their_numbers(read):
    assert read(table("Pan (618)"), table("Pan (9)", JUPITER)).attrs["bodies"] == ["Pan (618)", "Pan (9)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"center": "Sun (10)"},
            r"1\.txt: its centre is 'Sun \(10\)', that of .*0\.txt 'Solar System Barycenter \(0\)'",
        ),
        ({"frame": "ICRF"}, r"1\.txt: its reference frame is 'ICRF', that of .*0\.txt 'Ecliptic of J2000\.0'"),
        ({"scale": "UT"}, r"1\.txt: its time scale is 'UT', that of .*0\.txt 'TDB'"),
        ({"body": "Sun (10)"}, r"1\.txt: it holds Sun \(10\), as does .*0\.txt; give each body once"),
        ({"states": SUN}, r"bodies Sun and Jupiter are at one place at time 0 yr"),
        ({"kind": "LT CORRECTED cartesian states"}, "corrected for light time; ask Horizons for VEC_CORR='NONE'"),
        ({"units": "FURLONG-D"}, "its output units are 'FURLONG-D'; ask Horizons for AU-D"),
        ({"epochs": EPOCHS[[0, 2, 1]]}, r"1\.txt: row \d+: the time 2459955\.5 comes after 2459970\.5"),
        ({"epochs": EPOCHS[[0, 0, 1]]}, "both hold the time 2459945.5; keep one"),
        ({"epochs": EPOCHS[::-1]}, "run opposite ways"),
    ],
)
def test_tables_that_do_not_go_together_are_named(read, changes, message):
    with pytest.raises(DataError, match=message):
        read(table(), table(**{"body": "Jupiter (5)", "states": JUPITER, **changes}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$$SOE", "", r"it holds no table of Horizons \(no \$\$SOE\)"),
        ("$$EOE", "", r"its table is cut off: \$\$SOE without \$\$EOE"),
        ("$$EOE", "$$EOE\n$$SOE", "it holds 2 tables; save one body a file"),
        ("Target body name:", "Target:", "its header has no line 'Target body name'"),
        ("Output units    :", "Units:", "its header has no line 'Output units'"),
        ("JDTDB", "JD", "does not say JDTDB, JDTT or JDUT"),
        (" Z = ", " Q = ", r"row \d+: the state has no Z"),
        ("E-06", "E-O6", r"row \d+: '.*E-O6' is not a number"),
        (" X =", " ", r"row \d+: the state has no X"),
        ("= A.D.", "", "its numbers have no labels; ask Horizons for VEC_LABELS='YES'"),
    ],
)
def test_a_table_that_is_damaged_is_said(read, old, new, message):
    with pytest.raises(DataError, match=message) as caught:
        read(table("Jupiter (5)", JUPITER), table().replace(old, new))
    assert "1.txt: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_row_of_another_length_is_found(read):
    with pytest.raises(DataError, match=r"row \d+ has 8 cells, the header of the table 9"):
        read(table("Jupiter (5)", JUPITER), table(comma=True).replace("00:00:00.0000, ", "00:00:00.0000 ", 1))


def test_a_table_without_rows_is_found(read):
    with pytest.raises(DataError, match="its table has no rows"):
        read(table("Jupiter (5)", JUPITER), table(states=SUN[:0], epochs=EPOCHS[:0], comma=True))


@pytest.mark.parametrize(
    "answer",
    [
        "API VERSION: 1.2\nAPI SOURCE: NASA/JPL Horizons API\n\nNo ephemeris for target X after A.D. 2030\n",
        json.dumps({"signature": {}, "error": "No ephemeris for target X after A.D. 2030"}),
        json.dumps({"signature": {}, "result": "stars\nNo ephemeris for target X after A.D. 2030"}),
    ],
)
def test_a_refusal_of_Horizons_is_quoted(read, answer):
    with pytest.raises(DataError, match=r"no \$\$SOE\); Horizons says: No ephemeris for target X after A\.D\. 2030"):
        read(answer, table())


@pytest.mark.parametrize("content", ["{", '{"result": [', "[" * 10_000, '{"result": ' + "[" * 100_000])
def test_what_is_no_JSON_is_refused(read, content):
    with pytest.raises(DataError, match=r"0\.txt: it"):
        read(content, table())


def test_one_body_is_too_few(read):
    with pytest.raises(DataError, match=r"0\.txt: give two bodies or more, one file each"):
        read(table())
    with pytest.raises(DataError, match="no file: give two"):
        read_horizons([])
