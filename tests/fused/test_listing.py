"""The documentation's table of operations is the registry's."""

from __future__ import annotations

from pathlib import Path

from physode.fused.listing import table

PAGE = Path(__file__).parents[2] / "docs" / "fused_operations.md"


def test_the_page_lists_the_registry() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
