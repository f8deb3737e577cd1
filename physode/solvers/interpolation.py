r"""Outputs between steps: a step's interpolant, and which step each output lies in.

With :math:`\theta = (t - t_i) / h_i` in :math:`[0, 1]`, a step's interpolant is

.. math::
    y(\theta) = y_i + \sum_{p=1}^{m} \varphi_p(\theta) F_p, \qquad
    \varphi_1 = \theta, \quad \varphi_{2q} = \varphi_{2q-1} (1 - \theta), \quad \varphi_{2q+1} = \varphi_{2q} \theta ,

the form that Hairer, Norsett & Wanner (Solving ODEs I, Sect. II.6) give for dopri5 and DOP853. It is linear in the
state and the stages, exact at both ends, and well conditioned.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.groups import expand

__all__ = ["Location", "interpolate", "locate"]


class Location(NamedTuple):
    """Where outputs lie: in which step of the record, and how far into it.

    ``step`` (outputs, *groups) and ``theta`` of the same shape, float64; ``theta`` is 0 or 1 exactly at steps' ends.
    """

    step: Tensor
    theta: Tensor


def locate(times: Tensor, starts: Tensor, sizes: Tensor, ends: Tensor) -> Location:
    """Find the step that each output time lies in.

    Parameters
    ----------
    times
        Output times, ``(outputs, *groups)``, inside the span that the steps cover.
    starts, sizes, ends
        The steps' starts, signed sizes and ends, ``(steps, *groups)``. A step of size 0 is no step.
    """
    direction = torch.where(ends[-1:] >= starts[:1], 1.0, -1.0)
    rows, wanted = (ends * direction).movedim(0, -1), (times.detach() * direction).movedim(0, -1)
    index = torch.searchsorted(rows.contiguous(), wanted.contiguous()).movedim(-1, 0).clamp(max=len(starts) - 1)
    start, size, end = (values.gather(0, index) for values in (starts, sizes, ends))
    theta = (times - start) / torch.where(size == 0, 1.0, size)
    at_end, at_start = times.detach() == end, times.detach() == start
    # The derivative with respect to the time stays that of theta also where its value is set exactly.
    exact = torch.where(at_end, 1.0, torch.where(at_start, 0.0, theta.detach()))
    return Location(index, theta + (exact - theta.detach()))


def interpolate(location: Location, y_start: Tensor, coefficients: Tensor | None, y_end: Tensor) -> Tensor:
    """Evaluate the interpolants at the located outputs.

    Parameters
    ----------
    location
        Indices into the leading axis of the next three.
    y_start, y_end
        The states at the steps' ends, ``(steps, *state)``.
    coefficients
        The interpolants' coefficients, ``(steps, m, *state)``; None where every output is at a step's end.

    Returns
    -------
    Tensor
        ``(outputs, *state)``.
    """
    index, theta = location
    at_end = theta == 1.0
    ends = _pick(y_end, index)
    if coefficients is None:
        return torch.where(expand_outputs(at_end, y_end), ends, _pick(y_start, index))
    left = theta.to(y_end.real.dtype if y_end.is_complex() else y_end.dtype)
    right = 1.0 - left
    basis = left
    inside = _pick(y_start, index)
    for p in range(coefficients.shape[1]):
        inside = torch.addcmul(inside, expand_outputs(basis, y_end).to(y_end.dtype), _pick(coefficients[:, p], index))
        basis = basis * (right if p % 2 == 0 else left)
    return torch.where(expand_outputs(at_end, y_end), ends, inside)


def expand_outputs(values: Tensor, states: Tensor) -> Tensor:
    """Shape ``(outputs,)`` or ``(outputs, batch)`` values to broadcast against ``(outputs, *state)``."""
    return expand(values, states.ndim)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Take ``values[index]`` along the first axis, sample by sample where the index has a batch axis."""
    if index.ndim == 1:
        return values.index_select(0, index)
    return values[index, torch.arange(index.shape[1], device=index.device)]
