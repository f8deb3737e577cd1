"""What a kernel is called with: one structure, declared once, as C's text and for ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

__all__ = ["Arguments", "structure"]

_LONG, _DOUBLE, _SCALARS, _DOUBLES, _LONGS, _BYTES = "Long", "double", "S*", "double*", "Long*", "void*"

_FIELDS: dict[str, tuple[str, ...]] = {
    _LONG: (
        "samples", "active", "threads", "count", "rows", "max_steps", "predictive", "integral_only",
        "clock_by_sample", "times_by_row", "times_by_sample", "grid_by_row", "clock_by_row", "clock_by_step",
        "taken_by_row", "parts", "chunk", "columns", "width", "seeds_by_sample",
    ),
    _DOUBLE: (
        "first_step", "min_step", "max_step", "safety", "min_factor", "max_factor", "proportional", "integral",
        "derivative",
    ),
    _SCALARS: (
        "p", "q", "y", "k", "rtol", "atol", "outputs", "nodes", "dense", "cotangents", "d_y", "d_p", "d_q", "totals",
        "tangents", "seeds", "jacobian",
    ),
    _DOUBLES: ("t0", "t1", "times", "starts", "sizes", "ends", "d_starts", "d_sizes", "d_theta"),
    _LONGS: ("counter", "order", "taken", "last_output", "written"),
    _BYTES: ("saved", "scratch"),
}  # fmt: skip
"""Names by kind. Every field has 8 bytes, so that the structure has no gaps.

``samples`` of the batch, of which ``active`` ones are in this launch, by ``order``; ``count`` outputs of each; ``rows``
of a record."""


def _layout() -> list[tuple[str, Any]]:
    kinds: dict[str, Any] = {_LONG: ctypes.c_int64, _DOUBLE: ctypes.c_double}
    return [(name, kinds.get(kind, ctypes.c_void_p)) for kind, names in _FIELDS.items() for name in names]


class Arguments(ctypes.Structure):
    """The structure as Python fills it; pointers that are not given are null."""

    _fields_ = _layout()

    @classmethod
    def of(cls, values: Mapping[str, int | float]) -> Arguments:
        """Return the structure with some of its fields given: numbers, or tensors' addresses."""
        return cls(**values)


def structure() -> str:
    """Return the structure's declaration in C."""
    lines = []
    for kind, names in _FIELDS.items():
        star = "*" if kind.endswith("*") else ""
        lines.append(f"    {kind.removesuffix('*')} {', '.join(star + name for name in names)};")
    return "struct Args {\n" + "\n".join(lines) + "\n};\n"
