"""Numbers of groups: clocks, step sizes and norms of errors, one value for all that shares a clock.

The clock of a solve with shared steps and without a graph is a float: it costs a hundredth of what tensors of one
element do, and the only number fetched from the device in an attempt is its error. Clocks that are differentiated, or
that each sample has for itself, are tensors. Rules for steps are written once, with these functions.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar, overload

import torch
from torch import Tensor

from physode.autograd import plain, transformed
from physode.typing import Norm

__all__ = [
    "Grid",
    "N",
    "Number",
    "Verdict",
    "absolute",
    "all_finite",
    "anywhere",
    "as_float",
    "clamp",
    "detached",
    "error_ratio",
    "expand",
    "finite_or",
    "is_shared",
    "isfinite",
    "like_clock",
    "logical_not",
    "maximum",
    "minimum",
    "rms_per_sample",
    "rms_shared",
    "root_mean_square",
    "scale_of",
    "sign",
    "sized",
    "smallest",
    "stacked",
    "tensor_beside",
    "where",
]


Number: TypeAlias = Tensor | float
"""A float, or a tensor of one value a group."""

Verdict: TypeAlias = Tensor | bool
"""A bool, or a tensor of one a group."""

N = TypeVar("N", Tensor, float, Number)
"""A number of the kind that another one has."""

_V = TypeVar("_V", Tensor, bool, Verdict)


_BLOCK = 1024  # rows of a grid that are tensor objects at a time
_LOW = {torch.float64: 1e-145, torch.complex128: 1e-145, torch.float32: 1e-15, torch.complex64: 1e-15}
"""Results from which on no square that counts is lost; sums in half precision are of single precision."""
_SHRINK = {torch.float64: 2.0**-600, torch.float32: 2.0**-80, torch.bfloat16: 2.0**-80, torch.float16: 2.0**-16}
"""What keeps squares of the largest numbers finite."""


class Grid(NamedTuple):
    """Steps: starts, signed sizes and ends, ``(steps, *groups)``, float64."""

    starts: Tensor
    sizes: Tensor
    ends: Tensor

    def rows(self) -> Iterator[Grid]:
        """Give each step's start, size and end; a block of them at a time, as each is a tensor object."""
        for low in range(0, len(self.starts), _BLOCK):
            yield from map(Grid, *(part[low : low + _BLOCK] for part in self))


@overload
def where(condition: Tensor, yes: Number, no: Number) -> Tensor: ...
@overload
def where(condition: Verdict, yes: Number, no: Number) -> Number: ...
def where(condition: Verdict, yes: Number, no: Number) -> Number:
    """Choose between two numbers."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes, no)
    return yes if condition else no


def minimum(a: N, b: N) -> N:
    """Return the smaller of two numbers of one kind; NaN where either is."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.minimum(a, b)
    return a if a <= b or math.isnan(a) else b


def maximum(a: N, b: N) -> N:
    """Return the larger of two numbers of one kind; NaN where either is."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    return a if a >= b or math.isnan(a) else b


def clamp(x: N, low: float | None = None, high: float | None = None) -> N:
    """Hold a number within bounds; NaN stays."""
    if isinstance(x, Tensor):
        return x.clamp(low, high)
    if low is not None and x < low:
        return low
    return high if high is not None and x > high else x


def sign(x: N) -> N:
    """Return -1, 0 or 1."""
    if isinstance(x, Tensor):
        return torch.sign(x)
    return float((x > 0) - (x < 0))


def absolute(x: N) -> N:
    """Return a number without its sign."""
    return x.abs() if isinstance(x, Tensor) else abs(x)


def isfinite(x: Number) -> Verdict:
    """Whether a number is neither NaN nor infinite."""
    return torch.isfinite(x) if isinstance(x, Tensor) else math.isfinite(x)


def finite_or(x: N, otherwise: float) -> N:
    """Return a positive number, or ``otherwise`` where it is NaN or infinite."""
    if isinstance(x, Tensor):
        return torch.nan_to_num(x, nan=otherwise, posinf=otherwise)
    return x if math.isfinite(x) else otherwise


def logical_not(x: _V) -> _V:
    """Return the opposite of a verdict."""
    return ~x if isinstance(x, Tensor) else not x


def anywhere(x: Verdict) -> bool:
    """Whether a verdict holds for any group."""
    return bool(x.any()) if isinstance(x, Tensor) else x


def is_shared(x: Number) -> bool:
    """Whether a number is that of a shared clock."""
    return not isinstance(x, Tensor) or x.ndim == 0


def detached(x: N) -> N:
    """Return a number without its graph."""
    return x.detach() if isinstance(x, Tensor) else x


def as_float(x: Number) -> float:
    """Return a shared clock's number as a float."""
    return float(x.detach()) if isinstance(x, Tensor) else x


def smallest(x: Number) -> float:
    """Return the smallest number of all groups."""
    return float(x.detach().min()) if isinstance(x, Tensor) else x


def stacked(values: Sequence[Number], device: torch.device) -> Tensor:
    """Return numbers of one kind as one float64 tensor, in rows."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    return torch.stack(tensors) if tensors else torch.tensor(values, dtype=torch.float64, device=device)


def expand(values: Tensor, ndim: int) -> Tensor:
    """Shape one value a group, ``()`` or ``(batch,)``, so that it broadcasts against a state of ``ndim`` axes."""
    if values.ndim == 0:
        return values
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def sized(h: N, y: Tensor) -> N:
    """Return step sizes so that they multiply states: a float, or a tensor in the state's dtype."""
    return expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h


def rms_shared(x: Tensor) -> Tensor:
    """Root mean square of one state; of a batch (two axes or more), the largest over the leading axis.

    A mean over the batch would let a thousand easy samples hide the error of a hard one; the largest does not.
    """
    if x.ndim < 2 or x.numel() == 0:
        return root_mean_square(x)
    return rms_per_sample(x).amax()


def rms_per_sample(x: Tensor) -> Tensor:
    """Root mean square over all but the leading axis, ``(batch,)``."""
    if x.ndim == 1:
        return x.abs()
    rows = x.flatten(1)
    if not torch.compiler.is_compiling():
        rows = rows.contiguous()  # one order of summation, however the right-hand side laid out its memory
    return root_mean_square(rows, 1)


def root_mean_square(x: Tensor, dim: int | None = None) -> Tensor:
    """Root mean square over one axis, or over all, of components of any size.

    Squares leave the range of numbers long before their roots do: of such components, as seen by the result, a share of
    the largest one is squared. The others' results keep every bit.
    """
    count = x.numel() if dim is None else x.shape[dim]
    share = 1.0 / math.sqrt(max(count, 1))
    length: Tensor = torch.linalg.vector_norm(x, dim=dim)
    size = length * share
    if torch.compiler.is_compiling():  # one more sum in the same pass; sizes near 0 are of no account there
        shrink = _SHRINK[x.real.dtype if x.is_complex() else x.dtype]
        return torch.where(size < math.inf, size, torch.linalg.vector_norm(x * shrink, dim=dim) * share / shrink)
    low = _LOW.get(x.dtype, 0.0)
    if count == 0 or (not transformed() and _between(size.detach(), low)):
        return size
    span = torch.finfo(x.dtype)
    largest = (x.detach().abs().amax() if dim is None else x.detach().abs().amax(dim, keepdim=True)).clamp(
        span.tiny, span.max
    )
    part: Tensor = torch.linalg.vector_norm(x / largest, dim=dim) * share
    scaled = torch.where(torch.isfinite(part), (part * largest.reshape(part.shape)).clamp(max=span.max), part)
    return torch.where((size > low) & (size < math.inf), size, scaled)


def _between(size: Tensor, low: float) -> bool:
    """Whether all sizes are above ``low`` and finite."""
    if size.ndim == 0:
        return low < size.item() < math.inf
    if not size.numel():
        return True
    smallest, largest = torch.aminmax(size)
    return smallest.item() > low and largest.item() < math.inf


def all_finite(x: Tensor) -> bool:
    """Whether no component is NaN or infinite: one pass over ``x``, as a finite sum has no other terms."""
    values = plain(x)
    return cmath.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())


def scale_of(y0: Tensor, y1: Tensor, rtol: Tensor | float, atol: Tensor | float) -> Tensor:
    """Return the tolerated error ``atol + rtol max(|y0|, |y1|)`` of each component."""
    largest = torch.maximum(y0.abs(), y1.abs())
    if isinstance(rtol, Tensor) and isinstance(atol, Tensor):
        return torch.addcmul(atol, largest, rtol)
    return largest * rtol + atol


def error_ratio(errors: list[Tensor], scale: Tensor, norm: Norm) -> Tensor:
    """Return the size of a step's local error, accepted up to 1, in float64 and one value a group.

    Two estimates are combined as ``e1**2 / sqrt(e1**2 + e2**2 / 100)`` (Hairer, Norsett & Wanner, Sect. II.10).
    """
    sizes = [norm(error / scale).double() for error in errors]
    if len(sizes) == 1:
        return sizes[0]
    fifth, third = (size.square() for size in sizes)
    return fifth / (fifth + 0.01 * third).clamp(min=1e-300).sqrt()


def like_clock(t: Number, value: Tensor) -> Number:
    """Return one value a group as the clock's kind of number; for floats, the one look at the device in an attempt."""
    return value if isinstance(t, Tensor) else float(plain(value).max())


def tensor_beside(value: Number, y: Tensor) -> Tensor:
    """Return a clock's number as a tensor beside ``y``."""
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float64, device=y.device)
