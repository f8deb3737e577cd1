"""Whether a file can be written is known before the work: kind, name, folder; what is no regular file is left alone.

Everything here stays within the test's own folder.
"""

from __future__ import annotations

import os
import socket
import stat
from types import SimpleNamespace

import pytest

from physode.datasets import files
from physode.datasets.atomic_write import replacing, write_text
from physode.datasets.files import check_different, check_folder, check_output
from physode.errors import DataError
from tests.conftest import unread

KINDS = {
    "pipe": (lambda path: os.mkfifo(path), "it is a pipe"),
    "socket": (lambda path: bind(path), "it is a socket"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "link to nothing": (lambda path: path.symlink_to(path.parent / "nothing"), "it is a link to nothing"),
    "link to itself": (lambda path: path.symlink_to(path), "it is a link that leads nowhere"),
    "link to a pipe": (lambda path: (os.mkfifo(path.parent / "a"), path.symlink_to("a")), "it is a pipe"),
    "link to a folder": (lambda path: ((path.parent / "a").mkdir(), path.symlink_to("a")), "it is a folder"),
}


def bind(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # in the working folder: a socket's path is short


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, kind, overwrite):
    make, reason = KINDS[kind]
    path = tmp_path / "out.h5"
    make(path)
    before = unread(path)
    with pytest.raises(DataError, match=f"cannot write .*out.h5: {reason}"):
        check_output(path, overwrite=overwrite)
    with pytest.raises(DataError, match=reason), replacing(path, overwrite=overwrite):
        pytest.fail("begun")
    assert unread(path) == before
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_stays_a_device(tmp_path):
    path = tmp_path / "out.h5"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(DataError, match="it is a device"):
        check_output(path, overwrite=True)
    assert stat.S_ISCHR(path.stat().st_mode)


def test_a_link_to_a_file_is_replaced_when_told_and_the_file_is_kept(tmp_path):
    (tmp_path / "theirs").write_text("precious")
    path = tmp_path / "out"
    path.symlink_to("theirs")
    with pytest.raises(DataError, match="exists already"):
        write_text(path, "new")
    write_text(path, "new", overwrite=True)
    assert (path.is_symlink(), path.read_text()) == (False, "new")
    assert (tmp_path / "theirs").read_text() == "precious"


@pytest.mark.parametrize("letter", ["x", "ö", "日"])
def test_names_may_be_as_long_as_the_file_system_lets_them(tmp_path, letter):
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    longest = letter * (most // len(letter.encode()))
    for name in (longest, longest[:-1] + ".", longest[: len(longest) - 5]):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"too long|bytes, of at most"):
        check_output(tmp_path / (longest + letter))
    with pytest.raises(DataError, match=r"too long|bytes, of at most"):
        check_folder(tmp_path / (longest + letter))
    assert not list(tmp_path.iterdir())


def test_a_path_that_leaves_no_room_for_a_part_is_refused_before_the_work(tmp_path):
    folder = "f" * 200
    deep = "/".join([folder] * 20)
    for length in range(4085 - len(deep), 4110 - len(deep)):
        path = f"{deep}/{'n' * min(255, length)}"
        with pytest.raises(DataError, match=r"does not exist|too long|longer than"):
            check_output(path)


def test_a_folder_that_is_missing_a_file_or_closed_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the folder missing does not exist; create it first"):
        check_output("missing/out")
    check_output("missing/deeper/out", make=True)
    with pytest.raises(DataError, match="cannot write file/out: file is not a folder"):
        check_output("file/out")
    with pytest.raises(DataError, match="cannot write into file/new: file is not a folder"):
        check_folder("file/new")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for check in (check_output, check_folder):
        with pytest.raises(DataError, match="may not be written to; choose another"):
            check("out")


def test_two_outputs_in_one_file_are_refused(tmp_path):
    (tmp_path / "here").symlink_to(".")
    with pytest.raises(DataError, match="--out and --figure are one file"):
        check_different(out=tmp_path / "a", figure=tmp_path / "here" / "a")
    check_different(out=tmp_path / "a", figure=None)
    check_different(out=tmp_path / "a", figure=tmp_path / "b")


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: check_folder(path.parent / "run")])
def test_on_windows_nothing_is_written_and_the_remedy_is_named(tmp_path, monkeypatch, write):
    monkeypatch.setattr(files, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(DataError, match=r"cannot write .*: on Windows physode .* writes none; run it under WSL"):
        write(tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())
