"""The first step size, after Hairer, Norsett & Wanner, Solving ODEs I, Sect. II.4."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.norms import scale_of
from physode.solvers.stepper import Rhs
from physode.typing import Norm

__all__ = ["initial_step"]


def initial_step(
    rhs: Rhs,
    *,
    t: Tensor,
    y: Tensor,
    k: Tensor,
    span: Tensor,
    order: int,
    rtol: Tensor | float,
    atol: Tensor | float,
    norm: Norm,
) -> Tensor:
    r"""Return the size, positive, of a first step whose error should be near the tolerance.

    With :math:`d_0 = |y|`, :math:`d_1 = |f|` in the error norm, an Euler step of :math:`h_0 = 0.01 d_0 / d_1` estimates
    the second derivative :math:`d_2`; then :math:`h_1^{p+1} \max(d_1, d_2) = 0.01` and
    :math:`h = \min(100 h_0, h_1)`. The probe stays inside the span.

    Parameters
    ----------
    t, y, k
        The start, the state and its derivative there.
    span
        The signed length of the integration, one value a group.
    order
        The order :math:`p` of the error estimate.
    """
    length = span.abs()
    scale = scale_of(y, y, rtol, atol)
    d0, d1 = norm(y / scale).double(), norm(k / scale).double()
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = torch.where(tiny, 1e-6 * length, 0.01 * d0 / torch.where(tiny, 1.0, d1))
    h0 = torch.minimum(torch.nan_to_num(h0, nan=0.0, posinf=0.0, neginf=0.0), length)
    h0 = torch.where(h0 > 0, h0, 1e-6 * length)
    probe = h0 * torch.sign(span)
    k_probe = rhs(t + probe, y + expand(probe.to(y.dtype), y.ndim) * k)
    d2 = norm((k_probe - k) / scale).double() / h0
    steepest = torch.maximum(d1, d2)
    flat = steepest <= 1e-15
    h1 = torch.where(
        flat, torch.clamp(1e-3 * h0, min=1e-6), (0.01 / torch.where(flat, 1.0, steepest)) ** (1.0 / (order + 1))
    )
    h = torch.minimum(100 * h0, h1)
    return torch.minimum(torch.where(torch.isfinite(h) & (h > 0), h, h0), length)
