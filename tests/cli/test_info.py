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
    ("present", "expected"), [({"clang++"}, "/bin/clang++"), ({"my-cxx", "g++"}, "/bin/my-cxx"), (set(), None)]
)
def test_the_compiler_is_the_one_that_cxx_names_or_the_first_that_is_there(monkeypatch, present, expected):
    monkeypatch.setenv("CXX", "my-cxx")
    monkeypatch.setattr(info.shutil, "which", lambda name: f"/bin/{name}" if name in present else None)
    assert info.describe()["compilers"]["c++"] == expected
