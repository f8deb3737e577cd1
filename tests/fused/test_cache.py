"""Kernels on disk: whole or not at all, the user's own, and what was written."""

from __future__ import annotations

import logging
import os

import pytest
import torch
from click.testing import CliRunner

import physode as po
from physode.cli.main import cli
from physode.fused import cache as caching
from physode.fused import compilers
from physode.fused.cache import Cache, cache_folder

KEY = "0" * 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSODE_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(compilers, "_loaded", {})
    po.fused.solving._fusions.clear()
    return tmp_path / "kernels"


def falling(t, y):
    return -0.7 * y


def solved(**options):
    return po.solve(falling, torch.ones(2, dtype=torch.float64), [0.0, 1.0], compile=True, **options).y[-1]


def put(cache, tmp_path, contents=b"kernel", key=KEY):
    made = tmp_path / "made.so"
    made.write_bytes(contents)
    return cache.put(key, made)


def test_the_folder_is_the_one_that_was_named_or_the_users_own(monkeypatch, tmp_path):
    monkeypatch.delenv("PHYSODE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "physode" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "physode" / "kernels"
    monkeypatch.setenv("PHYSODE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_what_is_put_is_found_and_nobody_else_can_read_it(tmp_path):
    cache = Cache(tmp_path / "kernels")
    assert cache.find(KEY) is None
    path = put(cache, tmp_path)
    assert cache.find(KEY) == path
    assert path.read_bytes() == b"kernel"
    assert cache.folder.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0
    assert sorted(each.name for each in cache.folder.iterdir()) == [f"{KEY}.json", f"{KEY}.so"]


@pytest.mark.parametrize("what", ["contents", "digest", "nonsense", "missing"])
def test_what_was_tampered_with_is_not_found(tmp_path, what, caplog):
    cache = Cache(tmp_path / "kernels")
    path = put(cache, tmp_path)
    about = path.with_suffix(".json")
    if what == "contents":
        path.write_bytes(b"other")
    elif what == "digest":
        about.write_text('{"sha256": "12"}')
    elif what == "nonsense":
        about.write_text("[")
    else:
        about.unlink()
    with caplog.at_level(logging.WARNING):
        assert cache.find(KEY) is None
    assert (str(path) in caplog.text) == (what != "missing")


def test_a_folder_that_others_may_write_to_is_not_believed(tmp_path, caplog):
    cache = Cache(tmp_path / "kernels")
    put(cache, tmp_path)
    cache.folder.chmod(0o777)
    assert cache.find(KEY) is None
    assert "not yours alone" in caplog.text
    with pytest.raises(PermissionError, match="PHYSODE_CACHE"):
        put(cache, tmp_path)


def test_the_kernels_used_longest_ago_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "_MOST_BYTES", 25)
    cache = Cache(tmp_path / "kernels")
    for number in range(3):
        path = put(cache, tmp_path, b"x" * 10, key=str(number))
        os.utime(path, (number, number))
    cache.find("1")
    put(cache, tmp_path, b"x" * 10, key="3")
    assert {path.stem for path, _, _ in cache.entries()} == {"1", "3"}


def test_a_kernel_is_compiled_once_and_found_by_the_next_process(folder, monkeypatch):
    expected = solved()
    assert len(list(folder.glob("*.so"))) == 1
    monkeypatch.setattr(compilers, "_loaded", {})
    monkeypatch.setattr(compilers, "_compile", None)
    po.fused.solving._fusions.clear()
    assert torch.equal(solved(), expected)


def test_a_kernel_that_was_tampered_with_is_made_anew(folder, monkeypatch):
    expected = solved()
    (kernel,) = folder.glob("*.so")
    kernel.unlink()  # not written into: it is loaded
    kernel.write_bytes(b"\x7fELF nonsense")
    monkeypatch.setattr(compilers, "_loaded", {})
    po.fused.solving._fusions.clear()
    assert torch.equal(solved(), expected)
    assert kernel.stat().st_size > 1000


@pytest.mark.parametrize("fault", ["read-only", "full", "a file"])
def test_a_folder_that_cannot_be_written_to_costs_the_keeping_alone(folder, monkeypatch, fault, caplog):
    if fault == "a file":
        folder.write_text("")
    else:

        def refuse(self, path, contents):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Cache, "_write", refuse)
    po.fused.solving._fusions.clear()
    torch.testing.assert_close(solved(), torch.full((2,), 0.4965853038, dtype=torch.float64), rtol=1e-5, atol=0)
    assert "not kept" in caplog.text


@pytest.mark.parametrize(("compiler", "said"), [("false", "failed"), ("/no/such/compiler", None)])
def test_a_compiler_that_fails_costs_a_warning_and_no_answer(folder, monkeypatch, compiler, said):
    compilers.cpu_compiler.cache_clear()
    monkeypatch.setenv("CXX", compiler)
    try:
        found = compilers.cpu_compiler()
        if said is None:  # what is not there is passed over
            assert found is None or compiler not in found.command
            return
        po.fused.solving._fusions.clear()
        with pytest.raises(compilers.Unsupported, match=r"compiler .*false failed"):
            compilers.libraries(["nonsense"])
    finally:
        compilers.cpu_compiler.cache_clear()


def test_without_any_compiler_the_reason_names_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(compilers, "cpu_compiler", lambda: None)
    with pytest.raises(compilers.Unsupported, match=r"physode\[compiler\]"):
        compilers.libraries(["nonsense"])


def test_the_command_line_shows_and_empties_the_folder(folder):
    solved()
    shown = CliRunner().invoke(cli, ["cache", "show"])
    assert str(folder) in shown.output.replace("\n", "")
    assert '"kernels": 1' in CliRunner().invoke(cli, ["cache", "show", "--json"]).output
    assert CliRunner().invoke(cli, ["cache", "clear"]).output.startswith("removed 1 kernel from")
    assert CliRunner().invoke(cli, ["cache", "clear"]).output.startswith("removed 0 kernels from")
    assert list(folder.iterdir()) == []
