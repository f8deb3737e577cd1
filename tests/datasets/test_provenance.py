"""Files know where they come from."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import physode
from physode.datasets.provenance import git_revision, package_versions, provenance

ROOT = Path(__file__).parents[2]


def test_versions_are_those_installed():
    versions = package_versions()
    assert versions["physode"] == physode.__version__
    assert versions["torch"] == metadata.version("torch")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_revision_is_the_checkout_s(monkeypatch):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a hook of another repository
    assert git_revision().removesuffix("-dirty") == head.strip()


def test_there_is_no_revision_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(physode, "__file__", str(tmp_path / "physode" / "__init__.py"))
    assert git_revision() is None


def test_the_command_line_is_quoted_for_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/physode", "simulate", "--out", "my file.h5"])
    assert provenance()["command"] == "physode simulate --out 'my file.h5'"
