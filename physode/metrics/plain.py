"""Results as what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return nested mappings, sequences and arrays as dictionaries, lists and numbers.

    What is not finite becomes None: JSON has no NaN.
    """
    match value:
        case Mapping():
            return {name: plain(each) for name, each in value.items()}
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case list() | tuple():
            return [plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
