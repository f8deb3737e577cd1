"""Folders and archives from others are read where they lie: nothing leads out of them, and nothing is unbounded."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from physode.datasets.images import containers
from physode.datasets.images.containers import Folder, Tar, Zip, is_tar
from physode.datasets.images.images import Skipped
from physode.errors import DataError

FILES = {"cat/2.jpg": b"two", "cat/10.jpg": b"ten", "dog/1.jpg": b"one", "README": b"words"}


def tar_of(path, files=None, *, mode="w", members=()):
    with tarfile.open(path, mode) as archive:
        for name, data in (FILES if files is None else files).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return path


def zip_of(path, files=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (FILES if files is None else files).items():
            archive.writestr(name, data)
    return path


def folder_of(path):
    for name, data in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture(params=["folder", "tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def container(request, tmp_path):
    path = tmp_path / f"images.{request.param}"
    match request.param:
        case "folder":
            return Folder(folder_of(path))
        case "zip":
            return Zip(zip_of(path))
        case kind:
            return Tar(tar_of(path, mode=f"w:{kind.removeprefix('tar').removeprefix('.')}"))


def test_files_are_listed_by_name_with_their_sizes(container):
    assert [(each.name, each.size) for each in container.listing.entries] == [
        ("README", 5),
        ("cat/10.jpg", 3),
        ("cat/2.jpg", 3),
        ("dog/1.jpg", 3),
    ]
    assert container.listing.skipped == []


def test_contents_are_those_asked_for(container):
    assert dict(container.contents({"cat/2.jpg", "README"})) == {"cat/2.jpg": b"two", "README": b"words"}


def test_a_tar_is_known_by_its_bytes(tmp_path):
    assert is_tar(tar_of(tmp_path / "a.tar"))
    assert is_tar(tar_of(tmp_path / "a.tgz", mode="w:gz"))
    assert is_tar(tar_of(tmp_path / "without_ending"))
    assert not is_tar(zip_of(tmp_path / "a.zip"))
    (tmp_path / "numbers.csv").write_text("a,b\n")
    assert not is_tar(tmp_path / "numbers.csv")


@pytest.mark.parametrize(
    "name", ["/etc/cat/1.jpg", "../cat/1.jpg", "cat/../../1.jpg", "C:/cat/1.jpg", "cat\\..\\1.jpg"]
)
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_paths_that_lead_out_of_an_archive_are_skipped(tmp_path, name, make):
    path = make(tmp_path / "images", {name: b"data", "dog/1.jpg": b"one"})
    container = (Tar if make is tar_of else Zip)(path)
    assert [each.name for each in container.listing.entries] == ["dog/1.jpg"]
    (skipped,) = container.listing.skipped
    assert skipped.reason == "its path leads out of the archive"


@pytest.mark.parametrize(
    "member",
    [
        link("cat/1.jpg", "/etc/passwd"),
        link("cat/1.jpg", "../../secret"),
        link("cat/1.jpg", "dog/1.jpg", tarfile.LNKTYPE),
        link("cat/1.jpg", "", tarfile.CHRTYPE),
        link("cat/1.jpg", "", tarfile.FIFOTYPE),
    ],
    ids=["absolute", "relative", "hard", "device", "pipe"],
)
def test_links_and_devices_in_a_tar_are_never_followed(tmp_path, member):
    container = Tar(tar_of(tmp_path / "images.tar", members=[member]))
    assert "cat/1.jpg" not in [each.name for each in container.listing.entries]
    assert [(each.path, each.reason) for each in container.listing.skipped] == [
        ("cat/1.jpg", "a link or a device, no regular file")
    ]
    assert dict(container.contents({"cat/1.jpg"})) == {}


def test_links_out_of_a_folder_are_not_followed_and_links_inside_are(tmp_path):
    root = folder_of(tmp_path / "images")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "cat" / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "cat" / "in.jpg").symlink_to(root / "dog" / "1.jpg")
    (root / "cat" / "nowhere.jpg").symlink_to(root / "nothing.jpg")
    (root / "fox").symlink_to(root / "dog")
    listing = Folder(root).listing
    assert "cat/in.jpg" in [each.name for each in listing.entries]
    assert {each.path: each.reason for each in listing.skipped} == {
        "cat/out.jpg": "a link that leads out of the folder",
        "cat/nowhere.jpg": "no regular file",
        "fox/": "a link to a folder",
    }


def test_a_link_that_leads_in_a_circle_is_skipped_and_the_other_files_are_read(tmp_path):
    root = folder_of(tmp_path / "images")
    (root / "cat" / "self.jpg").symlink_to(root / "cat" / "self.jpg")
    (root / "cat" / "one.jpg").symlink_to("two.jpg")
    (root / "cat" / "two.jpg").symlink_to("one.jpg")
    (root / "around").symlink_to(root)
    os.mkfifo(root / "cat" / "pipe.jpg")
    listing = Folder(root).listing
    assert [each.name for each in listing.entries] == sorted(FILES)
    assert {each.path: each.reason for each in listing.skipped} == {
        **{f"cat/{name}.jpg": "a link that leads round in a circle" for name in ("self", "one", "two")},
        "cat/pipe.jpg": "no regular file",
        "around/": "a link to a folder",
    }


@pytest.mark.parametrize("kind", [Folder, Tar, Zip])
def test_files_above_the_bound_are_not_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(containers, "LARGEST_FILE", 4)
    make = {Folder: folder_of, Tar: tar_of, Zip: zip_of}[kind]
    listing = kind(make(tmp_path / "images")).listing
    assert "README" not in [each.name for each in listing.entries]
    assert [(each.path, each.reason) for each in listing.skipped] == [("README", "5 bytes, more than 4")]


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "_MOST_BYTES", 100_000)
    files = {f"cat/{i}.jpg": bytes(30_000) for i in range(10)}
    for container in (
        Tar(tar_of(tmp_path / "bomb.tar.xz", files, mode="w:xz")),
        Zip(zip_of(tmp_path / "bomb.zip", files)),
    ):
        with pytest.raises(DataError, match=r"bomb\..*: it holds more than 100000 bytes unpacked"):
            _ = container.listing


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MOST_FILES", 3)
    for container in (Tar(tar_of(tmp_path / "many.tar")), Zip(zip_of(tmp_path / "many.zip"))):
        with pytest.raises(DataError, match=r"many\..*: it holds more than 3 files"):
            _ = container.listing


def test_a_tar_that_declares_a_huge_header_is_refused_before_memory_is_set_aside(tmp_path):
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.PAX_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="it asks for 4294967296 bytes at once"):
        _ = Tar(tmp_path / "a.tar").listing


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_truncated_archive_is_one_error(tmp_path, kind, share, rng):
    files = {f"cat/{i}.jpg": rng.bytes(3000) for i in range(5)}
    whole = tmp_path / f"whole.{kind}"
    if kind == "zip":
        zip_of(whole, files)
    else:
        tar_of(whole, files, mode=f"w:{kind.removeprefix('tar').removeprefix('.')}")
    path = tmp_path / f"part.{kind}"
    path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    container = Zip(path) if kind == "zip" else Tar(path)
    with pytest.raises(DataError, match="damaged or incomplete, get it again"):
        dict(container.contents({entry.name for entry in container.listing.entries}))


PACKINGS = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


def packed_as(kind, path):
    """An archive of files that no packing makes much shorter."""
    rng = np.random.default_rng(0)
    # A name beyond ASCII stands in a part of a tar that has no checksum of its own.
    dog = "dog" if kind == "tar" else "dög"
    files = {f"{'cat' if i % 2 else dog}/{i}.jpg": rng.bytes(300 + i) for i in range(6)}
    if kind == "zip":
        return files, Zip(zip_of(path, files))
    return files, Tar(tar_of(path, files, mode=f"w:{kind.removeprefix('tar').removeprefix('.')}"))


def told(container):
    """What an archive gives of its files, and which it says that it leaves out; None where it is refused by name."""
    try:
        listing = container.listing
        contents = dict(container.contents({entry.name for entry in listing.entries}))
    except DataError as error:
        assert str(error).startswith(str(container.path))  # noqa: PT017 - refused, or read: both are right
        return None
    skipped = {each.path for each in listing.skipped} | {n for n, data in contents.items() if isinstance(data, Skipped)}
    return {name: data for name, data in contents.items() if name not in skipped}, skipped


@pytest.mark.parametrize("kind", PACKINGS)
def test_no_flipped_bit_of_an_archive_leaves_out_a_file_without_a_word(tmp_path, kind):
    files, container = packed_as(kind, tmp_path / f"images.{kind}")
    whole = container.path.read_bytes()
    refused, draws = 0, np.random.default_rng(1).choice(8 * len(whole), 400, replace=False)
    for bit in map(int, draws):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        container.path.write_bytes(damaged)
        found = told(type(container)(container.path))
        refused += found is None
        if found is not None:
            kept, skipped = found
            assert kept.keys() | skipped == files.keys()
            # The bytes of a file in a bare tar have no checksum.
            assert kind == "tar" or all(kept[name] == files[name] for name in kept)
    assert refused > {"tar": 20, "zip": 5}.get(kind, 300)


@pytest.mark.parametrize("kind", PACKINGS)
def test_no_archive_that_is_cut_leaves_out_a_file_without_a_word(tmp_path, kind):
    files, container = packed_as(kind, tmp_path / f"images.{kind}")
    whole = container.path.read_bytes()
    for size in (*range(0, len(whole), 64), *range(len(whole) - 64, len(whole))):
        container.path.write_bytes(whole[:size])
        found = told(type(container)(container.path))
        assert found is None or found == (files, set())  # what is cut off is then padding


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_hole_in_a_tar_is_no_end(tmp_path, kind):
    _, container = packed_as("tar", tmp_path / "images.tar")
    whole = bytearray(container.path.read_bytes())
    whole[1024:1536] = bytes(512)  # the second file's header
    path = tmp_path / f"holed.{kind}"
    path.write_bytes(gzip.compress(whole) if kind == "tar.gz" else whole)
    with pytest.raises(DataError, match="neither a file's header nor its end at byte 1024"):
        _ = Tar(path).listing


def test_a_gzip_whose_checksum_is_wrong_is_refused(tmp_path):
    _, container = packed_as("tar.gz", tmp_path / "images.tar.gz")
    whole = bytearray(container.path.read_bytes())
    whole[-8] ^= 1
    container.path.write_bytes(whole)
    with pytest.raises(DataError, match=r"images.tar.gz is damaged or incomplete, get it again: CRC check failed"):
        _ = container.listing


def test_the_directory_of_a_zip_that_lacks_a_file_is_refused(tmp_path):
    files = {f"cat/{i}.jpg": b"data" for i in range(6)}
    path = zip_of(tmp_path / "images.zip", files)
    whole = bytearray(path.read_bytes())
    entry = 46 + len("cat/0.jpg")
    start = len(whole) - 22 - 6 * entry
    shorter = whole[:start] + whole[start + entry :]  # the first entry, and the size that says so
    struct.pack_into("<I", shorter, len(shorter) - 10, 5 * entry)
    path.write_bytes(shorter)
    with pytest.raises(DataError, match="its directory lists 5 files, but ends with another number of them"):
        _ = Zip(path).listing


def test_a_damaged_file_of_a_zip_is_skipped_and_the_others_are_read(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"cat/1.jpg": bytes(range(256)) * 4, "dog/1.jpg": b"one"})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    found = dict(Zip(path).contents({"cat/1.jpg", "dog/1.jpg"}))
    assert found["dog/1.jpg"] == b"one"
    assert found["cat/1.jpg"].reason.startswith("cannot be unpacked: ")
