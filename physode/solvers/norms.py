"""Norms of local errors, and the error ratio that a controller judges."""

from __future__ import annotations

import cmath
import math

import torch
from torch import Tensor

from physode.transforms import plain, transformed
from physode.typing import Norm

__all__ = ["all_finite", "error_ratio", "rms_per_sample", "rms_shared", "root_mean_square", "scale_of"]

_LOW = {torch.float64: 1e-145, torch.complex128: 1e-145, torch.float32: 1e-15, torch.complex64: 1e-15}
"""Results from which on no square that counts is lost; sums in half precision are of single precision."""
_SHRINK = {torch.float64: 2.0**-600, torch.float32: 2.0**-80, torch.bfloat16: 2.0**-80, torch.float16: 2.0**-16}
"""What keeps squares of the largest numbers finite."""


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
