"""Pixels that are measurements become bytes by a stretch of their own image; FITS files are read, or refused."""

from __future__ import annotations

import gzip
import math
import sys
from contextlib import suppress

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from physode.datasets.images import read_images, read_unlabelled
from physode.datasets.images.image_files import bombs_are_errors, decode
from physode.datasets.images.image_folder import is_image
from physode.datasets.images.measured import UndecodableError, read_fits, stretched
from physode.errors import ConfigError, DataError

BITPIX = {"u1": 8, "i2": 16, "i4": 32, "f4": -32, "f8": -64}


def unit(values, *, first=True, **cards):
    """Return a header and data unit of FITS, written by the standard's own rules (FITS 4.0, Sects. 3 and 4)."""
    values = np.asarray(values)
    kind = {"SIMPLE": "T"} if first else {"XTENSION": "'IMAGE   '"}
    axes = {f"NAXIS{number}": length for number, length in enumerate(values.shape[::-1], 1)}
    ends = {} if first else {"PCOUNT": 0, "GCOUNT": 1}
    head = {**kind, "BITPIX": BITPIX[values.dtype.str[1:]], "NAXIS": values.ndim, **axes, **ends, **cards}
    lines = "".join(f"{name:<8}= {value!s:>20}".ljust(80) for name, value in head.items()) + "END".ljust(80)
    header, data = lines.encode(), values.astype(values.dtype.newbyteorder(">")).tobytes()
    return header.ljust(-len(header) % 2880 + len(header)) + data.ljust(-len(data) % 2880 + len(data), b"\0")


def sky(side=32, seed=0):
    """Return counts of a faint disc in noise, with one star."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] - side / 2
    counts = 100 + 5 * rng.standard_normal((side, side)) + 80 * np.exp(-(rows**2 + columns**2) / 30)
    counts[2, 3] = 60_000
    return counts


# The stretch.


def test_the_stretch_is_asinh_between_two_percentiles():
    values = np.arange(1001.0).reshape(7, 143)  # the 0.5 % and 99.5 % percentiles are 5 and 995
    expected = [
        round(255 * math.asinh(10 * min(1, max(0, (value - 5) / 990))) / math.asinh(10)) for value in range(1001)
    ]
    assert_array_equal(stretched(values).ravel(), expected)


def test_gain_and_zero_point_and_a_single_star_change_nothing():
    counts = sky()
    assert_array_equal(stretched(counts), stretched(4.0 * counts))
    brighter = counts.copy()
    brighter[2, 3] = 1e9
    assert np.abs(stretched(brighter).astype(int) - stretched(counts)).max() <= 1
    disc = stretched(counts)[12:20, 12:20].mean() - stretched(counts)[24:, 24:].mean()
    assert disc > 60
    assert np.abs(stretched(counts + 1000.0).astype(int) - stretched(counts)).max() <= 1


def test_what_is_not_finite_is_the_darkest_or_the_brightest_and_moves_no_limit():
    counts = sky()
    gaps = np.vstack([counts, np.full((1, 32), np.nan)])
    gaps[-1, :2] = np.inf, -np.inf
    assert_array_equal(stretched(gaps)[:-1], stretched(counts))
    assert stretched(gaps)[-1].tolist() == [255, 0] + [0] * 30
    assert not stretched(np.full((3, 3), np.nan)).any()


def test_flat_images_are_black_and_sparse_ones_show_what_they_have():
    assert not stretched(np.full((4, 4), 7.5)).any()
    sparse = np.zeros((40, 40))
    sparse[3, 3] = 2.0
    assert (stretched(sparse)[3, 3], int((stretched(sparse) > 0).sum())) == (255, 1)
    huge = np.array([[-1.7e308, 0.0], [1.0, 1.7e308]])
    assert_array_equal(stretched(huge), stretched(huge / 1e300))


def test_colours_share_their_limits():
    counts = np.stack([sky(), 0.5 * sky(), 0 * sky()], axis=-1)
    pixels = stretched(counts).astype(int)
    assert pixels[16, 16, 0] > pixels[16, 16, 1] > pixels[16, 16, 2] == 0


# FITS.


@pytest.fixture
def astropy():
    return pytest.importorskip("astropy.io.fits")


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
@pytest.mark.usefixtures("astropy")
def test_a_fits_image_is_upright_and_stretched(dtype):
    counts = sky().astype(dtype)
    data = unit(counts)
    assert_array_equal(read_fits(data), counts[::-1])
    assert_array_equal(decode(data, size=32), [stretched(counts[::-1])] * 3)
    assert_array_equal(decode(gzip.compress(data), size=32), decode(data, size=32))


@pytest.mark.usefixtures("astropy")
def test_scaling_and_blanks_of_a_fits_file_are_obeyed():
    counts = np.array([[-32768, -32767], [0, 32767]], dtype="i2")
    assert_array_equal(read_fits(unit(counts, BZERO=32768)), [[32768, 65535], [0, 1]])
    assert_array_equal(read_fits(unit(counts, BLANK=-32767, BSCALE=2.0)), [[0, 65534], [-65536, np.nan]])


@pytest.mark.usefixtures("astropy")
def test_bytes_and_three_planes_of_a_fits_file_are_a_picture():
    planes = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    assert_array_equal(decode(unit(planes), size=8), planes[:, ::-1])
    assert_array_equal(decode(unit(planes[:1]), size=8), planes[[0, 0, 0], ::-1])
    real = planes.astype("f4")
    assert_array_equal(decode(unit(real), size=8), stretched(real[:, ::-1].transpose(1, 2, 0)).transpose(2, 0, 1))


@pytest.mark.usefixtures("astropy")
def test_the_first_image_of_two_or_three_axes_is_taken():
    spectrum, image = np.arange(5, dtype="f4"), sky().astype("f4")
    other = unit(image[:4], first=False)
    assert_array_equal(read_fits(unit(spectrum) + unit(image, first=False) + other), image[::-1])


@pytest.mark.usefixtures("astropy")
def test_compressed_images_of_fits_are_read(astropy, tmp_path):
    counts = sky().astype("i4")
    astropy.HDUList([astropy.PrimaryHDU(), astropy.CompImageHDU(counts)]).writeto(tmp_path / "a.fits.fz")
    assert_array_equal(read_fits((tmp_path / "a.fits.fz").read_bytes()), counts[::-1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (unit(np.zeros((5, 4, 4), "f4")), "5 planes"),
        (unit(np.zeros(4, "f4")), "no image of 2 or 3 axes"),
        (unit(np.zeros((2, 2), "f4"), NAXIS1=90_000_000), "more than"),
        (gzip.compress(unit(np.zeros((9, 9), "f4")))[:-20], "cut off"),
        (gzip.compress(b"no image"), "not an image"),
        (b"\x1f\x8b no archive either", "damaged"),
    ],
    ids=["planes", "axes", "size", "cut", "other", "damaged"],
)  # fmt: skip
@pytest.mark.usefixtures("astropy")
def test_what_is_no_image_is_refused_in_a_few_words(data, message):
    with pytest.raises(UndecodableError, match=message), bombs_are_errors():
        decode(data, size=4)


@pytest.mark.usefixtures("astropy")
def test_a_fits_file_with_a_wrong_byte_is_read_or_refused_and_nothing_else(rng):
    whole = unit(sky(16).astype("f4"), BZERO=0.5)
    with bombs_are_errors():
        for _ in range(60):
            data = bytearray(whole[: rng.integers(8, len(whole) + 1)])
            data[rng.integers(min(800, len(data)))] = rng.integers(256)
            with suppress(UndecodableError):
                assert decode(bytes(data), size=4).shape == (3, 4, 4)


@pytest.mark.usefixtures("astropy")
def test_cutouts_in_folders_keep_their_names_and_pixels(tmp_path):
    names = ["disc/a.fits", "disc/b.FITS", "star/c.fit.gz", "star/d.fits"]
    for seed, name in enumerate(names):
        (tmp_path / "cutouts" / name).parent.mkdir(parents=True, exist_ok=True)
        data = unit(sky(seed=seed).astype("f4"))
        (tmp_path / "cutouts" / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    images = read_images(tmp_path / "cutouts", cache=False, size=32)
    assert images.names == tuple(names)
    assert images.counts() == (2, 2)
    new = read_unlabelled(tmp_path / "cutouts", size=32)
    one = read_unlabelled(tmp_path / "cutouts" / names[2], size=32)
    assert_array_equal(new.x, images.x)
    assert_array_equal(one.x[0], images.x[2])
    assert one.names == ("c.fit.gz",)


def test_fits_files_are_told_by_their_names():
    assert all(map(is_image, ["a.fits", "b/c.FIT", "d.fts", "e.fits.gz", "f.fits.fz"]))
    assert not any(map(is_image, ["a.gz", ".fits", "fits", "b.csv.gz"]))


def test_without_astropy_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "astropy", None)
    monkeypatch.delitem(sys.modules, "astropy.io.fits", raising=False)
    (tmp_path / "a.fits").write_bytes(unit(sky().astype("f4")))
    with pytest.raises(ConfigError, match=r"reading FITS needs astropy; .*'physode\[astronomy\]'"):
        read_unlabelled(tmp_path / "a.fits")
    with pytest.raises(ConfigError, match="astropy"):
        read_unlabelled(tmp_path)


def test_a_damaged_file_alone_is_an_error_that_names_it(tmp_path):
    pytest.importorskip("astropy.io.fits")
    (tmp_path / "a.fits").write_bytes(unit(sky().astype("f4"))[:3000])
    with pytest.raises(DataError, match=r"a\.fits cannot be read: damaged"):
        read_unlabelled(tmp_path / "a.fits")
