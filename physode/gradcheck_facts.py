"""What can be seen of a right-hand side that its gradients depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.functional import jacobian as jacobian_of

from physode.problem.parameters import Referred
from physode.solve import solve

__all__ = ["is_deterministic", "stability", "unregistered"]

_STATES = 16  # along the solution, at which the Jacobian is looked at
_LARGEST = 200  # components of a state up to which it is


def is_deterministic(f: Callable[..., Any], t: Tensor, y: Tensor) -> bool:
    """Whether two evaluations at one place agree to the last bit."""
    time = t.to(y.dtype)
    with torch.no_grad():
        one, other = f(time, y.detach()), f(time, y.detach())
    return torch.equal(one, other) or bool((one.isnan() & other.isnan() | (one == other)).all())


def unregistered(f: Callable[..., Any], leaves: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the tensors that ``f`` depends on and that no module it calls upon has registered."""
    known = {id(parameter) for module in Referred.by(f).modules for parameter in module.parameters()}
    return tuple(tuple(leaf.shape) for leaf in leaves if id(leaf) not in known)


def stability(f: Callable[..., Any], y0: Tensor, steps: Tensor, options: dict[str, Any]) -> float | None:
    r"""Return the median of :math:`h |\lambda|` over steps, with the eigenvalue that decays fastest; None if too large.

    An explicit method is stable up to some number between 2 and 6. Where steps stay close to it all along, it is
    stability that keeps them small, not accuracy: the problem is stiff.
    """
    if y0.numel() > _LARGEST or len(steps) < 3:
        return None
    rows = torch.linspace(0, len(steps) - 2, min(_STATES, len(steps) - 1)).long()
    sizes = steps.diff().abs()[rows]
    with torch.no_grad():
        times = torch.cat([steps[:1], steps[rows[1:]], steps[-1:]])
        states = solve(f, y0.detach(), times, **{**options, "grid": steps, "step_size": None}).y[:-1]
    found = []
    for t, y, h in zip(times, states, sizes, strict=False):
        jacobian = jacobian_of(lambda y: f(t.to(y.dtype), y), y)  # type: ignore[no-untyped-call] # noqa: B023
        assert isinstance(jacobian, Tensor)
        values = torch.linalg.eigvals(jacobian.detach().reshape(y.numel(), y.numel()))
        decay = values[values.real < 0.0]
        found.append(float(decay.abs().max() * h) if len(decay) else 0.0)
    return float(torch.tensor(found).median())
