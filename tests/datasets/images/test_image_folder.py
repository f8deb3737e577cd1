"""Images in a folder for each class, on disk or in an archive, become labelled images."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from physode.datasets.images import image_files, kind_of_images, read_images
from physode.errors import DataError

SPLIT = ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "train/cat/4.png", "test/dog/5.png")


def picture(red, *, mode="RGB", side=8, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (side, side), (red, 0, 0)).convert(mode).save(file, kind)
    return file.getvalue()


def red_of(name):
    """Return the red of an image's file: its number, 0 where it has none."""
    digits = "".join(letter for letter in Path(name).stem if letter.isdigit())
    return int(digits or 0)


def files_of(names, extra=None):
    return {name: picture(red_of(name)) for name in names} | (extra or {})


def write_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_tar(path, files):
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read(path, **options):
    return read_images(path, size=4, cache=False, **options)


def reds(images):
    return images.x[:, 0, 0, 0].tolist()


@pytest.fixture(params=["folder", "set.tar", "set.tar.gz", "set.tar.xz", "set.tar.bz2", "set.zip"])
def write(request, tmp_path):
    """Write files as a folder or as an archive."""

    def writer(files):
        if request.param == "folder":
            return write_folder(tmp_path / "set", files)
        return (write_zip if request.param == "set.zip" else write_tar)(tmp_path / request.param, files)

    return writer


def test_a_folder_a_class(write):
    images = read(write(files_of(["dog/2.png", "cat/3.png", "cat/1.png"])))
    assert images.classes == ("cat", "dog")
    assert images.y.tolist() == [0, 0, 1]
    assert reds(images) == [1, 3, 2]
    assert not images.test.any()
    assert images.attrs["name"] == "set"


def test_training_and_test_images_are_told_apart(write):
    path = write(files_of(SPLIT))
    images = read(path)
    assert kind_of_images(path) == "folder"
    assert images.classes == ("cat", "dog")
    assert (reds(images.training()), images.training().y.tolist()) == ([1, 4, 2], [0, 0, 1])
    assert (reds(images.testing()), images.testing().y.tolist()) == ([3, 5], [0, 1])


def test_what_lies_around_the_classes_is_passed_over(write):
    images = read(write(files_of(f"data/birds/{name}" for name in SPLIT)))
    assert images.classes == ("cat", "dog")
    assert images.test.sum() == 2


def test_what_lies_below_a_class_belongs_to_it(write):
    images = read(write(files_of(["cat/1.png", "cat/black/2.png", "dog/3.png"])))
    assert images.classes == ("cat", "dog")
    assert dict(zip(reds(images), images.y.tolist(), strict=True)) == {1: 0, 2: 0, 3: 1}


def test_only_test_images_without_training_images_are_an_ordinary_set(write):
    images = read(write(files_of(["validation/cat/1.png", "validation/dog/2.png"])))
    assert images.classes == ("cat", "dog")
    assert not images.test.any()


def test_a_class_named_train_among_others_is_a_class(write):
    images = read(write(files_of(["train/1.png", "plane/2.png", "ship/3.png"])))
    assert images.classes == ("plane", "ship", "train")


def test_images_of_any_size_mode_and_format_stand_side_by_side(write):
    files = {
        "a/10.jpg": picture(200, kind="JPEG", side=50),
        "a/20.jpeg": picture(200, mode="CMYK", kind="JPEG"),
        "a/30.PNG": picture(200, mode="RGBA", side=3),
        "b/40.gif": picture(200, mode="P", kind="GIF"),
        "b/50.tif": picture(200, kind="TIFF", side=1),
        "b/60.bmp": picture(200, kind="BMP"),
    }
    images = read(write(files))
    assert images.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.x.shape == (6, 3, 4, 4)
    assert np.abs(images.x[:, 0].astype(int) - 200).max() < 8
    assert images.x[:, 1:].max() < 8


def test_hidden_files_and_what_is_no_image_is_passed_over(write):
    extra = {
        "README.md": b"words",
        "cat/notes.txt": b"words",
        "cat/.hidden.png": b"",
        ".thumbnails/1.png": b"",
        "__MACOSX/cat/._1.png": b"",
    }
    images = read(write(files_of(["cat/1.png", "dog/2.png"], extra)))
    assert images.classes == ("cat", "dog")
    assert not images.skipped


def test_broken_images_are_skipped_counted_and_named(write):
    whole = picture(9, kind="JPEG", side=64)
    extra = {
        "cat/empty.jpg": b"",
        "cat/short.jpg": whole[:-30],
        "dog/words.png": b"these are words",
        "stray.png": picture(1),
    }
    images = read(write(files_of(["cat/1.png", "dog/2.png"], extra)))
    assert reds(images) == [1, 2]
    found = {each.path: each.reason for each in images.skipped}
    assert list(found) == ["cat/empty.jpg", "cat/short.jpg", "dog/words.png", "stray.png"]
    assert found["cat/empty.jpg"] == "empty"
    assert found["cat/short.jpg"].startswith("damaged")
    assert found["dog/words.png"] == "not an image"
    assert found["stray.png"] == "in no folder of a class"


def test_pillows_warnings_reach_nobody_and_filters_are_as_before(tmp_path):
    exif = b"II*\x00\x08\x00\x00\x00\xff\x7f"  # a table of tags that ends too early
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\x00\x00" + exif)
    write_folder(tmp_path, {"a/1.jpg": file.getvalue(), "b/2.png": picture(2)})
    before = list(warnings.filters)
    images = read(tmp_path)
    assert len(images) + len(images.skipped) == 2
    assert list(warnings.filters) == before


def refused(path):
    with pytest.raises(DataError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_source_without_images_in_classes_is_one_line(write):
    assert "give each class a folder: CLASS/image.jpg" in refused(write(files_of(["1.png", "2.png"])))


def test_a_source_of_words_is_one_line(write):
    assert "holds no images" in refused(write({"cat/notes.txt": b"words"}))


def test_a_source_with_no_image_that_can_be_read_is_one_line(write):
    message = refused(write({"cat/1.png": b"", "dog/2.png": b"words"}))
    assert "none of 2 images can be read; cat/1.png: empty" in message


def test_an_empty_folder_and_one_that_is_not_there_are_one_line(tmp_path):
    assert "holds no images (it is empty)" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nothing")


def test_images_of_one_class_are_read_and_refused_for_training(write):
    images = read(write(files_of(["cat/1.png", "cat/2.png"])))
    assert images.classes == ("cat",)
    with pytest.raises(DataError, match="of one class, 'cat'; a classifier needs those of two"):
        images.check()


def test_the_order_is_that_of_the_paths_whatever_the_threads_do(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(image_files, "_CHUNK", 3)
    names = [f"{'cat' if number % 2 else 'dog'}/{number:03}.png" for number in rng.permutation(120)]
    path = write_tar(tmp_path / "set.tar", files_of(names))
    done = []
    images = read(path, workers=7, progress=done.append)
    assert reds(images) == [*range(1, 120, 2), *range(0, 120, 2)]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert images.digest() == read(path, workers=1).digest()


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_that_lead_out_of_a_folder_are_skipped_and_named(tmp_path):
    write_folder(tmp_path / "set", files_of(["cat/1.png", "dog/2.png"]))
    write_folder(tmp_path, {"secret.png": picture(77), "more/3.png": picture(3)})
    (tmp_path / "set" / "cat" / "9.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "set" / "dog" / "8.png").symlink_to(tmp_path / "set" / "cat" / "1.png")
    (tmp_path / "set" / "cow").symlink_to(tmp_path / "more", target_is_directory=True)
    images = read(tmp_path / "set")
    assert_array_equal(reds(images), [1, 2, 1])
    assert [each.path for each in images.skipped] == ["cat/9.png", "cow/"]


def test_members_of_an_archive_that_lead_out_of_it_are_skipped_and_named(tmp_path):
    files = files_of(["cat/1.png", "dog/2.png", "../cat/3.png", "/cat/4.png"])
    images = read(write_tar(tmp_path / "set.tar", files))
    assert reds(images) == [1, 2]
    assert [each.path for each in images.skipped] == ["../cat/3.png", "/cat/4.png"]


def test_too_many_pixels_are_refused_before_memory_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_MOST_PIXELS_IN_ALL", 31)
    assert "2 images of 4 x 4 pixels are too many" in refused(write_folder(tmp_path, files_of(["a/1.png", "b/2.png"])))
