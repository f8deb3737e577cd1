"""States of any structure, tensor, tuple, list or dict, as the one tensor that the engine works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Packing", "as_state", "as_times"]


def as_times(t: Any) -> Tensor:
    """Return times given as numbers, an array or a column of a data frame in float64; tensors pass as they are.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If they are no numbers.
    """
    if isinstance(t, Tensor):
        return t
    array = np.asarray(t) if hasattr(t, "__array__") else None
    if array is not None and array.dtype.kind not in "iuf":
        raise TypeError(f"times must be numbers, got {array.dtype}")
    return torch.as_tensor(t if array is None else array.astype(np.float64), dtype=torch.float64)


def as_state(y0: Any) -> Any:
    """Return a state given as numbers, lists of numbers or arrays as tensors; tensors pass as they are.

    Numbers are double precision, as NumPy's are, and arrays keep their precision; whole numbers become double, too.
    In a tuple, list or dict of parts, each part is made a tensor by itself.
    """
    if isinstance(y0, Mapping):
        return {key: as_state(part) for key, part in y0.items()}
    if isinstance(y0, tuple | list) and any(isinstance(part, Tensor) or hasattr(part, "__array__") for part in y0):
        parts = [as_state(part) for part in y0]
        return type(y0)(*parts) if hasattr(y0, "_fields") else type(y0)(parts)
    if isinstance(y0, Tensor) or not isinstance(y0, int | float | complex | list | tuple | np.ndarray | np.generic):
        return as_state(y0.__array__()) if hasattr(y0, "__array__") and not isinstance(y0, Tensor) else y0
    try:
        array = np.asarray(y0)
    except ValueError:  # lists of unequal lengths: the error is that of what is no tensor
        return y0
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    return torch.from_numpy(array.copy()) if array.dtype.kind in "fc" and array.size else y0


@dataclass(frozen=True)
class Packing:
    """How a state's parts lie in one tensor.

    A single tensor is left as it is. Parts of a tuple, list or dict are flattened and joined along the last axis:
    ``(D,)``, or ``(batch, D)`` where the leading axis of every part is the batch (``per_sample``).

    Attributes
    ----------
    keys
        Names or positions of the parts; None for a single tensor.
    kind
        The structure's type: ``tuple``, ``list`` or ``dict``.
    shapes
        Each part's shape, without the batch axis if ``per_sample``.
    """

    keys: tuple[Any, ...] | None
    kind: type
    shapes: tuple[tuple[int, ...], ...]
    per_sample: bool

    @classmethod
    def of(cls, y0: Any, *, per_sample: bool) -> Packing:
        """Describe the structure of ``y0``."""
        if isinstance(y0, Tensor):
            return cls(None, Tensor, (tuple(y0.shape[per_sample:]),), per_sample)
        keys, parts = _parts(y0)
        if not parts:
            raise ValueError("`y0` is empty; give at least one tensor")
        for key, part in zip(keys, parts, strict=True):
            if not isinstance(part, Tensor):
                raise TypeError(f"`y0[{key!r}]` must be a tensor, got {type(part).__name__}")
        return cls(keys, dict if isinstance(y0, Mapping) else type(y0), _shapes(parts, per_sample), per_sample)

    @property
    def sizes(self) -> list[int]:
        """Each part's number of elements (per sample)."""
        return [torch.Size(shape).numel() for shape in self.shapes]

    def pack(self, state: Any) -> Tensor:
        """Join the parts of ``state``."""
        if self.keys is None:
            return state  # type: ignore[no-any-return]
        parts = [state[key] for key in self.keys]
        lead = int(self.per_sample)
        return torch.cat([part.flatten(lead) if part.ndim > lead else part.unsqueeze(-1) for part in parts], -1)

    def unpack(self, packed: Tensor, leading: int = 0) -> Any:
        """Split a packed state; ``leading`` further axes (time, say) stand in front."""
        if self.keys is None:
            return packed
        axes = packed.shape[: leading + int(self.per_sample)]
        parts = torch.split(packed, self.sizes, -1)
        return self.like([part.reshape(axes + shape) for part, shape in zip(parts, self.shapes, strict=True)])

    def like(self, parts: Sequence[Any]) -> Any:
        """Arrange ``parts`` in the state's structure."""
        if self.keys is None:
            return parts[0]
        if self.kind is dict:
            return dict(zip(self.keys, parts, strict=True))
        if hasattr(self.kind, "_fields"):
            return self.kind(*parts)
        return self.kind(parts)

    def components(self, packed: Tensor) -> list[Tensor]:
        """Split a packed state into its parts, each in its own shape."""
        return self.parts(self.unpack(packed))

    def parts(self, state: Any) -> list[Tensor]:
        """Return the parts of a state in the user's structure."""
        return [state] if self.keys is None else [state[key] for key in self.keys]


def _parts(state: Any) -> tuple[tuple[Any, ...], list[Any]]:
    if isinstance(state, Mapping):
        return tuple(state), list(state.values())
    if isinstance(state, (tuple, list)):
        return tuple(range(len(state))), list(state)
    raise TypeError(f"`y0` must be a tensor, or a tuple, list or dict of tensors; got {type(state).__name__}")


def _shapes(parts: Sequence[Tensor], per_sample: bool) -> tuple[tuple[int, ...], ...]:
    if per_sample and len({part.shape[:1] for part in parts}) > 1:
        raise ValueError(
            "with step_control='per-sample' every part of `y0` needs the same leading (batch) axis, got shapes "
            + ", ".join(str(tuple(part.shape)) for part in parts)
        )
    return tuple(tuple(part.shape[per_sample:]) for part in parts)
