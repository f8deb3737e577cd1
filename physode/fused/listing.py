"""The operations that the fused engine has, as the documentation lists them."""

from __future__ import annotations

from physode.fused import lowering
from physode.fused.rules import RULES

__all__ = ["table"]

_ = lowering  # which enters all rules


def table() -> str:
    """Return the operations as a table in Markdown, a row a group, by PyTorch's names."""
    groups: dict[str, set[str]] = {}
    for name, rule in RULES.items():
        packet = name.removeprefix("aten.").rpartition(".")[0]
        groups.setdefault(rule.group, set()).add(packet)
    rows = [f"| {group} | {', '.join(f'`{name}`' for name in sorted(groups[group]))} |" for group in sorted(groups)]
    return "\n".join(["| | operations, as PyTorch dispatches them |", "| --- | --- |", *rows, ""])
