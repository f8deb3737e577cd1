"""One writer a file, one process a folder: others are refused by name, and the dead hold nobody up."""

from __future__ import annotations

import os
import signal
import time

import pytest

from physode.datasets import atomic_write, locks
from physode.datasets.atomic_write import replacing, write_text
from physode.datasets.locks import claimed_folder, remains
from physode.errors import DataError
from tests.disks import another_process, exit_codes


def names(folder):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_writers_at_once_one_is_told_and_the_other_s_file_is_there(tmp_path, overwrite):
    path = tmp_path / "out"

    def write(word):
        with replacing(path, overwrite=overwrite) as part:
            time.sleep(0.6)  # longer than any patience
            part.write_text(word)

    for _ in range(2):
        codes = exit_codes([lambda: write("0"), lambda: write("1")])
        assert sorted(codes) == [0, 1]
        assert path.read_text() == str(codes.index(0))
        assert names(tmp_path) == ["out"]
        path.unlink()


def test_a_writer_in_another_process_is_named_and_its_death_frees_the_name(tmp_path):
    path = tmp_path / "out"
    with another_process(lambda: replacing(path)):
        (part,) = names(tmp_path)
        with pytest.raises(DataError, match=rf"out is being written by another process, as .*{part}; wait for it"):
            write_text(path, "mine")
        assert names(tmp_path) == [part]
        write_text(tmp_path / "out2", "another file is another matter")
    assert remains(path) == [tmp_path / part]
    write_text(path, "mine")
    assert names(tmp_path) == ["out", "out2"]


def test_a_file_that_comes_meanwhile_is_kept_without_force(tmp_path):
    path = tmp_path / "out"

    def write(overwrite):
        with replacing(path, overwrite=overwrite) as part:
            part.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(DataError, match="out exists already"):
        write(False)
    assert path.read_text() == "theirs"
    write(True)
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_give_the_name_at_the_same_moment_one_is_told(tmp_path, monkeypatch, links):
    path = tmp_path / "out"
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    publish = atomic_write._publish

    def late(part, final, *, overwrite):  # after the last look
        final.write_text("theirs")
        publish(part, final, overwrite=overwrite)

    write_text(path, "first")
    assert path.read_text() == "first"
    path.unlink()
    monkeypatch.setattr(atomic_write, "_publish", late)
    with pytest.raises(DataError, match="it was made meanwhile, and is kept"):
        write_text(path, "mine")
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["out"]


def test_parts_of_other_files_are_left_alone(tmp_path):
    others = [".out.h5.0123abcd.part", ".out.0123abcd.part.h5", ".outer.0123abcd.part", "out.0123abcd.part"]
    for name in [*others, ".out.0123abcd.part"]:
        (tmp_path / name).write_text("")
    write_text(tmp_path / "out", "text")
    assert names(tmp_path) == sorted([*others, "out"])


def test_a_killed_writer_s_part_goes_with_the_next_success_and_not_before(tmp_path):
    path = tmp_path / "out"
    with another_process(lambda: replacing(path)):
        pass
    (part,) = names(tmp_path)

    def fail():
        with replacing(path):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert names(tmp_path) == [part]
    write_text(path, "text")
    assert names(tmp_path) == ["out"]


# Folders.


@pytest.mark.parametrize("closed", [False, True])
def test_a_folder_in_use_names_the_process_and_the_machine(tmp_path, monkeypatch, closed):
    folder = tmp_path / "run"
    (folder / "another").mkdir(parents=True)
    if closed:  # no lock can be made beside it: it is in it
        opened = locks._opened
        monkeypatch.setattr(
            locks, "_opened", lambda path, flags=0: refused() if path.parent == tmp_path else opened(path, flags)
        )

    def refused():
        raise PermissionError(13, "Permission denied")

    with another_process(lambda: claimed_folder(folder)) as pid:
        found = rf"run is in use by process {pid} on {os.uname().nodename}; wait for it, end it, or choose another"
        with pytest.raises(DataError, match=found), claimed_folder(folder):
            pytest.fail("both are in")
        with claimed_folder(folder / "another") if closed else claimed_folder(tmp_path / "another"):
            pass
    with claimed_folder(folder):  # the other is dead, its lock file still there
        with claimed_folder(tmp_path / "run"):
            pass
        with pytest.raises(DataError, match=f"in use by process {os.getpid()}"):
            in_a_thread(lambda: claimed_folder(folder).__enter__())
    assert names(tmp_path) == ["run"]
    assert names(folder) == ["another"]
    assert not names(folder / "another")


def in_a_thread(work):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_many_that_want_a_folder_get_it_one_at_a_time(tmp_path):
    log = tmp_path / "log"

    def work():
        while True:
            try:
                with claimed_folder(tmp_path / "run"):
                    with log.open("a") as file:
                        file.write("in\n")
                    time.sleep(0.01)
                    with log.open("a") as file:
                        file.write("out\n")
                return
            except DataError:
                time.sleep(0.01)

    assert exit_codes([work] * 4) == [0] * 4
    assert log.read_text() == "in\nout\n" * 4
    assert names(tmp_path) == ["log"]


def test_a_process_ends_with_torchrun_that_has_started_it():
    """The one in the middle, which stands for torchrun's agent, is killed; its child's end of the pipe closes."""
    ended, open_end = os.pipe()
    agent = os.fork()
    if agent == 0:
        os.environ["TORCHELASTIC_RUN_ID"] = "1"
        if os.fork() == 0:
            from physode.training.distributed import end_with_torchrun

            end_with_torchrun()
            os.write(open_end, b"y")
            signal.pause()
        os.close(open_end)
        signal.pause()
    os.close(open_end)
    assert os.read(ended, 1) == b"y"
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    assert os.read(ended, 1) == b""
    os.close(ended)
