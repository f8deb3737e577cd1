"""``physode info``."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import physode
from physode.cli.commands import info
from physode.cli.main import cli
from physode.fused import compilers
from physode.solvers.methods import METHODS


def run(*arguments: str):
    return CliRunner().invoke(cli, ["info", *arguments])


def test_json_tells_versions_devices_and_methods():
    found = json.loads(run("--json").output)
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["installation"]["physode"] == physode.__version__
    assert Path(found["installation"]["location"]) == Path(physode.__file__).parent
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["devices"][0]["name"] == "cpu"
    assert [method["name"] for method in found["methods"]] == list(METHODS)
    assert {"name": "dopri5", "kind": "explicit", "order": 5, "steps": "adaptive"} in found["methods"]


def test_the_tables_tell_the_same():
    result = run()
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["torch", metadata.version("torch")] in lines
    assert ["rk4", "explicit", "4", "fixed"] in lines
    assert ["radau5", "stiff", "5", "adaptive"] in lines
    assert ["alf", "reversible", "2", "adaptive"] in lines


@pytest.mark.parametrize(
    ("present", "expected"), [({"clang++"}, "clang++"), ({"my-cxx", "g++"}, "my-cxx"), (set(), None)]
)
def test_the_compiler_is_the_one_that_cxx_names_or_the_first_that_is_there(monkeypatch, tmp_path, present, expected):
    for name in present:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("CXX", "my-cxx")
    monkeypatch.setenv("PATH", str(tmp_path))
    compilers.cpu_compiler.cache_clear()
    try:
        shown = info.describe()["compilers"]["c++"]
    finally:
        compilers.cpu_compiler.cache_clear()
    assert shown == (None if expected is None else str(tmp_path / expected))
