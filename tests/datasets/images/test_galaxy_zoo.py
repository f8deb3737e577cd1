"""Kaggle's Galaxy Zoo is read from its folder, as it is given or unpacked."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from physode.datasets.images import kind_of_images, read_images
from physode.errors import DataError

HEADER = "GalaxyID,Class1.1,Class1.2,Class2.1,Class2.2,Class4.1,Class7.1,Class7.2,Class7.3\n"
ROUND = "0.9,0.1,0,0.1,0,0.6,0.2,0.1"
EDGE_ON = "0.1,0.9,0.8,0.1,0,0.1,0,0"
SPIRAL = "0.1,0.9,0.05,0.85,0.7,0.1,0,0"
UNCLEAR = "0.5,0.5,0.25,0.25,0.2,0.2,0.2,0.1"
ROUND_TO_THOSE_ASKED = "0.7,0.3,0,0.3,0.1,0.4,0.2,0.1"
TABLE = HEADER + "".join(
    f"{number},{shares}\n"
    for number, shares in [(30, SPIRAL), (10, ROUND), (50, UNCLEAR), (20, EDGE_ON), (40, ROUND_TO_THOSE_ASKED)]
)


def picture(red):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_images(folder, *, numbers=(10, 20, 30, 40, 50), packed=False):
    """Write an image for each galaxy, its number for its red."""
    files = {f"images_training_rev1/{number}.jpg": picture(number) for number in numbers}
    if packed:
        with zipfile.ZipFile(folder / "images_training_rev1.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        (folder / "images_training_rev1").mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)


def write_table(folder, text=TABLE, *, packed=False):
    if packed:
        with zipfile.ZipFile(folder / "training_solutions_rev1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("training_solutions_rev1.csv", text)
    else:
        (folder / "training_solutions_rev1.csv").write_text(text)


def read(path, **options):
    return read_images(path, size=4, cache=False, **options)


@pytest.mark.parametrize("packed_table", [False, True])
@pytest.mark.parametrize("packed_images", [False, True])
def test_galaxies_with_a_class_are_read_in_the_order_of_the_table(tmp_path, packed_table, packed_images):
    write_table(tmp_path, packed=packed_table)
    write_images(tmp_path, packed=packed_images)
    images = read(tmp_path)
    assert images.classes == ("completely round", "in-between", "cigar-shaped", "edge-on", "spiral")
    assert images.y.tolist() == [4, 0, 3]
    assert_array_equal(images.x[:, 0, 0, 0], [30, 10, 20])
    assert images.x.shape == (3, 3, 4, 4)
    assert not images.test.any()
    assert not images.skipped
    assert images.attrs["name"] == "galaxy"


def test_counts_stand_beside_the_published_ones_and_those_by_the_other_reading(tmp_path):
    write_table(tmp_path)
    write_images(tmp_path)
    attrs = read(tmp_path).attrs
    assert attrs["found_counts"] == [1, 0, 0, 1, 1]
    assert attrs["conditional_counts"] == [2, 0, 0, 1, 1]
    assert attrs["published_counts"] == [8434, 8069, 578, 3903, 7806]


def test_classes_by_those_who_were_asked_have_more_galaxies(tmp_path):
    write_table(tmp_path)
    write_images(tmp_path)
    images = read(tmp_path, conditional=True)
    assert images.y.tolist() == [4, 0, 3, 0]
    assert images.attrs["found_counts"] == [1, 0, 0, 1, 1]
    with pytest.raises(DataError, match="only Kaggle's Galaxy Zoo has"):
        read(tmp_path / "images_training_rev1", kind="folder", conditional=True)


def test_the_folder_is_recognised_and_may_be_named_by_its_table(tmp_path):
    write_table(tmp_path)
    write_images(tmp_path)
    table = tmp_path / "training_solutions_rev1.csv"
    assert kind_of_images(tmp_path) == kind_of_images(table) == "galaxy-zoo"
    assert read(table).digest() == read(tmp_path).digest() == read(tmp_path, kind="galaxy-zoo").digest()


def test_missing_and_damaged_images_are_skipped_and_named(tmp_path):
    write_table(tmp_path)
    write_images(tmp_path, numbers=(10, 20))
    (tmp_path / "images_training_rev1" / "20.jpg").write_bytes(b"")
    images = read(tmp_path)
    assert images.y.tolist() == [0]
    assert [each.path.rpartition("/")[2] for each in images.skipped] == ["20.jpg", "30.jpg"]
    assert [each.reason for each in images.skipped] == ["empty", "missing"]


def test_the_images_may_lie_beside_the_table(tmp_path):
    write_table(tmp_path)
    write_images(tmp_path)
    for path in (tmp_path / "images_training_rev1").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "images_training_rev1").rmdir()
    assert_array_equal(read(tmp_path).x[:, 0, 0, 0], [30, 10, 20])


def refused(path, **options):
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_table_or_images_one_line_says_what_is_missing(tmp_path):
    write_images(tmp_path, numbers=(50, 60))
    assert "has no training_solutions_rev1.csv" in refused(tmp_path, kind="galaxy-zoo")
    write_table(tmp_path)
    assert "of 5 galaxies in the table 3 have a class, and none of these an image" in refused(tmp_path)


def test_a_damaged_table_is_named_with_its_line(tmp_path):
    write_images(tmp_path)
    write_table(tmp_path, TABLE + "60,0.5\n")
    assert refused(tmp_path).endswith("training_solutions_rev1.csv: line 7 has 2 columns, the first line has 9")
    write_table(tmp_path, "")
    assert "is empty" in refused(tmp_path)
    (tmp_path / "training_solutions_rev1.csv").write_bytes(HEADER.encode() + b"\xff\xfe\n")
    assert "training_solutions_rev1.csv" in refused(tmp_path)
    (tmp_path / "training_solutions_rev1.csv").unlink()
    (tmp_path / "training_solutions_rev1.zip").write_bytes(b"PK\x03\x04 and no more")
    assert "training_solutions_rev1.zip is damaged" in refused(tmp_path)


def test_the_whole_challenge_in_one_archive_is_to_be_unpacked_first(tmp_path):
    with zipfile.ZipFile(tmp_path / "galaxy-zoo-the-galaxy-challenge.zip", "w") as archive:
        archive.writestr("training_solutions_rev1.zip", b"")
        archive.writestr("images_training_rev1.zip", b"")
    assert "unpack it" in refused(tmp_path / "galaxy-zoo-the-galaxy-challenge.zip")


def test_no_threads_change_the_order(tmp_path, rng):
    numbers = rng.permutation(200)
    write_table(tmp_path, HEADER + "".join(f"{number},{SPIRAL if number % 3 else ROUND}\n" for number in numbers))
    write_images(tmp_path, numbers=tuple(map(int, numbers)))
    done = []
    images = read(tmp_path, workers=4, progress=done.append)
    assert_array_equal(images.x[:, 0, 0, 0], numbers)
    assert_array_equal(images.y, np.where(numbers % 3, 4, 0))
    assert done == sorted(done)
    assert done[-1] == 1.0
