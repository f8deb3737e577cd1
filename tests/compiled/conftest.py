"""Compiled solves beside uncompiled ones: each test starts without what others measured or warned of."""

from __future__ import annotations

import importlib

import pytest

import physode.solve  # noqa: F401 - the front door first: the parts behind it import one another
from physode.compiled import choice
from physode.compiled.build import Compiled
from physode.fused import choice as fused


@pytest.fixture(autouse=True)
def _without_the_fused_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise fused.Unsupported("left aside")

    choice.forget()
    monkeypatch.setattr(fused, "solve_with", refuse)
    monkeypatch.setattr(importlib.import_module("physode.solve"), "_has_graphs", lambda problem: True)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for every program that the compiler is asked for during the test."""
    found: list[object] = []
    build = Compiled._build

    def counted(self: Compiled, *inputs: object) -> object:
        found.append(self)
        return build(self, *inputs)

    monkeypatch.setattr(Compiled, "_build", counted)
    return found
