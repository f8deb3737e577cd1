"""A Latent-ODE on torchdiffeq, as its users write it; for benchmarks only.

One time axis serves a batch: the recognition network goes through all times at which any sample is observed, one Euler
step between two of them and a masked GRU at each, and the latent path is solved for all times at which any sample is
asked.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch
from torch import Tensor, nn

from physode.models import LatentODE
from physode.models.gaussian import divergence
from physode.models.latent_ode import Posterior
from physode.models.observations import Points

__all__ = ["UnionLatentODE"]


class _Field(nn.Module):
    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        found: Tensor = self.f(z)
        return found


class UnionLatentODE(nn.Module):
    """The same networks and loss, on the union of all samples' times.

    Parameters
    ----------
    model
        Whose networks are copied.
    adjoint
        Whether the latent path's gradient is the adjoint method's, or that of the solver's operations.
    """

    def __init__(self, model: LatentODE, *, adjoint: bool) -> None:
        super().__init__()
        self.model, self.adjoint = copy.deepcopy(model), adjoint

    def loss(self, observed: Points, target: Points) -> Tensor:
        """Return the negative evidence lower bound by one draw, nats a value; all samples begin at the first time."""
        model = self.model
        times, places = torch.unique(target.t, return_inverse=True)
        posterior = self._recognise(observed, times[0])
        path = self._path(posterior.draw(1)[0], times)
        own = path[places, torch.arange(len(target.t))[:, None]]
        likelihood = model.noise.log_density(target.x, model.readout(own), target.mask)
        return -(likelihood - divergence(*posterior)).sum() / target.mask.sum()

    def _recognise(self, observed: Points, start: Tensor) -> Posterior:
        jumps = self.model.recognition.jumps
        times, x, mask = _on_union(observed)
        seen, used = jumps.inputs(x, mask), mask.any(-1)
        gaps = times.diff(prepend=start[None]).to(x.dtype)
        h = jumps.begin(x)
        for place in reversed(range(len(times))):
            h = torch.where(used[:, place, None], jumps.cell(seen[:, place], h), h)
            h = h + gaps[place] * jumps.flow.f(h)
        mean, log_sigma = self.model.recognition.head(h).chunk(2, -1)
        return Posterior(mean, log_sigma.clamp(-10.0, 5.0))

    def _path(self, z: Tensor, times: Tensor) -> Tensor:
        package = importlib.import_module("torchdiffeq")
        field, solver = _Field(self.model.flow.f), self.model.flow.solver
        options: dict[str, Any] = {"method": "dopri5", "rtol": solver.rtol, "atol": solver.atol}
        if self.adjoint:
            options["adjoint_params"] = tuple(field.parameters())
        solve = package.odeint_adjoint if self.adjoint else package.odeint
        found: Tensor = solve(field, z, times, **options)
        return found


def _on_union(points: Points) -> tuple[Tensor, Tensor, Tensor]:
    """Return all times (U,) of a batch, and its observations and masks there, (B, U, C)."""
    times, places = torch.unique(points.t, return_inverse=True)
    x = points.x.new_zeros(len(points.t), len(times), points.x.shape[-1])
    index = places[..., None].expand_as(points.x)
    return times, x.scatter_add(1, index, points.x), torch.zeros_like(x).scatter_add(1, index, points.mask.to(x)) > 0
