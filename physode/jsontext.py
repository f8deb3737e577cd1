"""JSON that every reader takes: what it cannot say as a number (NaN, infinities) becomes null, arrays become lists."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["dumps", "plain"]


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON text (RFC 8259, which knows no ``NaN`` and no ``Infinity``)."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Return `value` as what JSON can say: None, truth values, finite numbers, text, lists and mappings of these."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if hasattr(value, "tolist"):  # NumPy's and torch's arrays and numbers
            return plain(value.tolist())
        case _:
            return str(value)
