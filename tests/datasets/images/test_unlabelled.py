"""Images without labels, from wherever they are, with the names of their files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from physode.datasets.images import joined, read_images, read_unlabelled, write_images
from physode.errors import DataError

pillow = pytest.importorskip("PIL.Image")


def picture(rng) -> bytes:
    data = io.BytesIO()
    pillow.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("b.png", "a.png", "deep/er/c.png"):
        path = tmp_path / "new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(rng))
    (tmp_path / "new" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "new" / "notes.txt").write_text("no image")
    return tmp_path / "new"


def test_a_folder_of_any_depth_is_read_in_the_order_of_names(folder):
    images = read_unlabelled(folder, size=8)
    assert images.names == ("a.png", "b.png", "deep/er/c.png")
    assert images.x.shape == (3, 3, 8, 8)
    assert [each.path for each in images.skipped] == ["broken.png"]
    assert images.classes == ("unknown",)


def test_one_file_is_one_image(folder):
    images = read_unlabelled(folder / "a.png", size=8)
    assert images.names == ("a.png",)
    np.testing.assert_array_equal(images.x[0], read_unlabelled(folder, size=8).x[0])


def test_an_archive_is_read_as_its_folder(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    packed = read_unlabelled(tmp_path / "new.zip", size=8)
    np.testing.assert_array_equal(packed.x, read_unlabelled(folder, size=8).x)


def test_labels_of_a_file_are_left_out_and_names_kept(tmp_path, bars, folder):
    write_images(tmp_path / "bars.h5", bars)
    images = read_unlabelled(tmp_path / "bars.h5")
    assert set(images.y) == {0}
    assert images.names == ()
    write_images(tmp_path / "new.h5", read_unlabelled(folder, size=8))
    assert read_unlabelled(tmp_path / "new.h5").names == ("a.png", "b.png", "deep/er/c.png")


def test_names_follow_their_images(tmp_path, rng):
    for label in "xy":
        for number in range(3):
            path = tmp_path / "set" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(rng))
    images = read_images(tmp_path / "set", size=8, cache=False)
    assert images.take(images.y == 1).names == ("y/0.png", "y/1.png", "y/2.png")
    assert images.take(np.array([5, 0])).names == ("y/2.png", "x/0.png")


def test_sources_are_joined_with_their_names(folder):
    both = joined([read_unlabelled(folder, size=8), read_unlabelled(folder / "b.png", size=8)])
    assert both.names == ("new/a.png", "new/b.png", "new/deep/er/c.png", "b.png")
    with pytest.raises(DataError, match="different sizes: new 8x8, b 9x9"):
        joined([read_unlabelled(folder, size=8), read_unlabelled(folder / "b.png", size=9)])


@pytest.mark.parametrize(("name", "message"), [("none", "does not exist"), ("empty", "no images"), ("x.png", "cannot")])
def test_what_holds_no_image_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=message):
        read_unlabelled(tmp_path / name)
