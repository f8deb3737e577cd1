"""Files are told apart by what they hold."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import Trajectories, check_bodies, read_data, summarise_data, write_trajectories
from physode.datasets.bodies import ASTRONOMICAL
from physode.errors import DataError
from physode.rhs import G_GAUSS, NBody, body_columns

_HEADER = """API VERSION: 1.2
API SOURCE: NASA/JPL Horizons API
Target body name: {body}                 {{source: DE441}}
Center body name: Solar System Barycenter (0)     {{source: DE441}}
Output units    : AU-D
Reference frame : ICRF
JDTDB
$$SOE
"""
_EPOCH = "{epoch} = A.D. 2000-Jan-01 12:00:00.0000 TDB\n X = {x} Y = 0.0 Z = 0.0\n VX= 0.0 VY= 0.0 VZ= 0.0\n"


def bodies(**changes) -> Trajectories:
    y = np.random.default_rng(0).normal(size=(2, 5, 12))
    values = {"t": np.linspace(0, 1, 5), "y": y, "columns": body_columns(2), "units": ("",) * 12}
    return Trajectories(**{**values, **changes})


@pytest.fixture
def folder(tmp_path):
    """One file of each kind, with names that say nothing."""
    write_trajectories(tmp_path / "hdf5", bodies())
    (tmp_path / "csv").write_text("# rows of $SOE\nt,x\n0,1\n1,2\n")
    for body, x in (("Sun (10)", 0.0), ("Jupiter (5)", 5.2)):
        rows = "".join(_EPOCH.format(epoch=epoch, x=x) for epoch in (2451545.0, 2451546.0))
        (tmp_path / body.split()[0]).write_text(_HEADER.format(body=body) + rows + "$$EOE\n")
    return tmp_path


def test_each_kind_is_read_by_its_reader(folder):
    assert read_data([folder / "hdf5"]).y.shape == (2, 5, 12)
    assert read_data([str(folder / "csv")]).columns == ("x",)
    found = read_data([folder / "Sun", folder / "Jupiter"])
    assert found.attrs["bodies"] == ["Sun", "Jupiter"]
    assert found.y[0, 0, 3] == 5.2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no file is given"),
        (["gone"], "gone does not exist"),
        (["csv", "csv"], "csv is no table of Horizons: only those are read together"),
        (["hdf5", "csv"], "hdf5 is no table of Horizons: only those are read together"),
        (["Sun", "csv"], r"csv: it holds no table of Horizons \(no \$\$SOE\)"),
        (["Sun", "hdf5"], "hdf5: it holds bytes that are no text"),
        (["Sun"], "Sun: give two bodies or more, one file each"),
    ],
)
def test_files_that_do_not_go_together_are_named(folder, names, message):
    with pytest.raises(DataError, match=message):
        read_data([folder / name for name in names])


@pytest.mark.parametrize("content", [b"", b"no hdf5", b"\x89HDF\r\n\x1a\n truncated"])
def test_a_name_of_HDF5_is_taken_at_its_word(tmp_path, content):
    path = tmp_path / "data.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.h5 is (empty|not an HDF5 file|damaged)"):
        read_data([path])


def test_two_bodies_at_one_place_are_found_in_HDF5_too(tmp_path):
    y = bodies().y
    y[1, 3, 3:6] = y[1, 3, :3]
    path = tmp_path / "data.h5"
    write_trajectories(path, bodies(y=y, attrs={"bodies": ["Sun", "Earth"], "time_unit": "yr"}))
    with pytest.raises(
        DataError, match=r"data\.h5: bodies Sun and Earth are at one place at time 0\.75 yr of trajectory 1"
    ):
        read_data([path])


def test_bodies_that_are_missing_or_share_a_coordinate_are_not_at_one_place():
    y = np.full((1, 5, 12), np.nan)
    y[0, 0, :6] = [1, 2, 3, 1, 2, 4]
    y[0, 1, :2], y[0, 1, 3:5] = 1, 1
    check_bodies(bodies(y=y))
    check_bodies(Trajectories(t=np.arange(2.0), y=np.zeros((1, 2, 6)), columns=tuple("abcdef"), units=("",) * 6))


def test_constants_in_AU_and_years_build_the_system_of_those_units():
    system = NBody([1.0, 1.0], **ASTRONOMICAL)
    assert (system.G, system.time_unit, system.units[0]) == (G_GAUSS, "yr", "AU")


def test_data_of_any_kind_are_summarised_alike(folder):
    write_trajectories(folder / "copy.h5", read_data([folder / "csv"]))
    csv, copy = summarise_data([folder / "csv"]), summarise_data([folder / "copy.h5"])
    assert (csv["format"], csv["schema_version"], copy["format"]) == ("CSV", None, "HDF5")
    for name in ("trajectories", "times", "time", "components", "noise_rms", "sigma", "params", "notes"):
        assert csv[name] == copy[name]
    both = summarise_data([folder / "Sun", folder / "Jupiter"])
    assert (both["format"], both["path"]) == ("Horizons", f"{folder / 'Sun'}, {folder / 'Jupiter'}")
    assert both["bytes"] == sum((folder / name).stat().st_size for name in ("Sun", "Jupiter"))
