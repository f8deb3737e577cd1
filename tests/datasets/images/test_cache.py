"""Decoded images are kept in the user's cache folder, and never used when something has changed."""

from __future__ import annotations

import logging
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from physode.datasets.images import formats as reading_module
from physode.datasets.images import read_images
from physode.datasets.images.cache import cache_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "physode" / "images"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pets"
    for place, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (50 * place, 10, 20)).save(folder / name)
    (folder / "dog" / "2.png").write_bytes(b"")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """How often image files were decoded."""
    calls = []
    usual = reading_module.read_folder

    def counting(*arguments, **options):
        calls.append(options["size"])
        return usual(*arguments, **options)

    monkeypatch.setattr(reading_module, "read_folder", counting)
    return calls


def test_files_are_decoded_once_and_come_back_the_same(source, decoded, cache):
    first = read_images(source, size=4)
    again = read_images(source, size=4)
    assert decoded == [4]
    assert again.digest() == first.digest()
    assert (again.attrs, again.skipped, again.classes) == (first.attrs, first.skipped, first.classes)
    assert len(first.skipped) == 1
    assert len(list(cache.iterdir())) == 1


def test_another_size_is_decoded_for_itself(source, decoded):
    for size in (4, 5, 4, 5):
        assert read_images(source, size=size).x.shape[2:] == (size, size)
    assert decoded == [4, 5]


def test_another_centre_is_decoded_for_itself(source, decoded):
    for centre in (None, 0.5, None, 0.5):
        read_images(source, centre=centre)
    assert decoded == [32, 32]


def _touch(source):
    about = (source / "cat/1.png").stat()
    os.utime(source / "cat/1.png", ns=(about.st_atime_ns, about.st_mtime_ns + 1))


def _grow(source):
    Image.new("RGB", (6, 6)).save(source / "dog" / "9.png")


def _shrink(source):
    (source / "cat/2.png").unlink()


def _rename(source):
    (source / "cat/2.png").rename(source / "dog" / "7.png")


@pytest.mark.parametrize("change", [_touch, _grow, _shrink, _rename])
def test_what_has_changed_is_decoded_again_in_place_of_the_old(source, decoded, cache, change):
    read_images(source)
    change(source)
    fresh = read_images(source, cache=False)
    assert read_images(source).digest() == fresh.digest()
    assert read_images(source).digest() == fresh.digest()
    assert len(decoded) == 3
    assert len(list(cache.iterdir())) == 1


def test_archives_are_kept_too_until_they_change(source, decoded, tmp_path):
    path = tmp_path / "pets.zip"
    for names in (("cat/1.png", "dog/1.png"), ("cat/1.png", "cat/2.png", "dog/1.png")):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.write(source / name, name)
        for _ in range(2):
            assert len(read_images(path)) == len(names)
    assert len(decoded) == 2


@pytest.mark.parametrize("damage", [b"", b"no hdf5", None])
def test_a_damaged_cache_is_ignored_and_written_again(source, decoded, cache, damage):
    first = read_images(source)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert read_images(source).digest() == first.digest()
    assert read_images(source).digest() == first.digest()
    assert len(decoded) == 2


def test_a_cache_that_cannot_be_written_is_done_without(source, decoded, cache, caplog):
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert len(read_images(source)) == 3
        assert len(read_images(source)) == 3
    assert len(decoded) == 2
    assert "cannot be kept" in caplog.text


def test_nothing_is_kept_where_that_is_not_wanted(source, decoded, cache):
    for _ in range(2):
        read_images(source, cache=False)
    assert len(decoded) == 2
    assert not cache.exists()


def test_images_that_are_stored_as_pixels_are_not_kept(tmp_path, cache):
    x = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(4) % 2)
    read_images(tmp_path / "a.npz", size=4)
    assert not cache.exists()


def test_the_cache_lies_where_the_system_wants_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "physode" / "images"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_folder() == tmp_path / "home" / ".cache" / "physode" / "images"
