"""Fused solves beside others: each test starts without what others measured, and can see what is compiled."""

from __future__ import annotations

import pytest

import physode.solve  # noqa: F401 - the front door first: the parts behind it import one another
from physode.fused import choice, compilers


@pytest.fixture(autouse=True)
def _forget() -> None:
    choice.forget()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The source of every kernel that is asked for during the test and is not in memory yet."""
    texts: list[str] = []
    monkeypatch.setattr(compilers, "_loaded", {})
    key = compilers._key

    def noted(text: str, compiler: compilers.Compiler) -> str:
        digest = key(text, compiler)
        if digest not in compilers._loaded:
            texts.append(text)
        return digest

    monkeypatch.setattr(compilers, "_key", noted)
    return texts
