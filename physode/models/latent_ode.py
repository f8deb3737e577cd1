r"""Latent-ODE: a series is the shadow of a path in a latent space (Rubanova et al. 2019; Chen et al. 2018, Sect. 5).

.. math::

    z_0 \sim N(0, 1), \qquad \dot z = f(z), \qquad x_i \sim N(W z(t_i) + b, \sigma^2)

An ODE-RNN that runs backwards in time through the observations gives the approximate posterior
:math:`q(z_0 \mid x) = N(\mu(h), \sigma(h)^2)`, and training raises the evidence lower bound

.. math::

    \mathbb{E}_q [\log p(x \mid z_0)] - w \, \mathrm{KL}(q \,\|\, N(0, 1)) .

With K draws :math:`z_0^k` a series, as in the authors' programs, it raises
:math:`\log \frac1K \sum_k e^{b_k}` with the bound :math:`b_k` by the k-th draws, a mean over all values of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from physode.models.flow import Flow
from physode.models.gaussian import Noise, divergence
from physode.models.observations import Points, Times, compact
from physode.models.recurrent import JumpFlow
from physode.models.series_model import Prediction, SeriesModel, earliest, initialise
from physode.models.solver import EULER, Solver
from physode.rhs.neural import fully_connected

__all__ = ["LatentODE", "Posterior", "Recognition"]

_LOWEST, _HIGHEST = -10.0, 5.0  # of a posterior's log standard deviation


class Posterior(NamedTuple):
    """An approximate posterior of the initial state, N(mean, exp(log_sigma)^2), (B, latent) each."""

    mean: Tensor
    log_sigma: Tensor

    def draw(self, count: int) -> Tensor:
        """Draw initial states, (count, B, latent), from torch's global generator."""
        noise = torch.randn(count, *self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.log_sigma.exp() * noise


class Recognition(nn.Module):
    """From observations to the approximate posterior of the initial state: an ODE-RNN backwards in time.

    Parameters
    ----------
    channels, latent
        C, and the components of the initial state.
    hidden, units, solver
        Of the ODE-RNN, as :class:`~physode.models.recurrent.JumpFlow`.
    """

    def __init__(self, channels: int, latent: int, *, hidden: int, units: Sequence[int], solver: Solver) -> None:
        super().__init__()
        self.jumps = JumpFlow(channels, hidden=hidden, units=units, solver=solver)
        self.head = fully_connected((hidden, max(units, default=hidden), 2 * latent), activation="tanh")

    def forward(self, observed: Points, start: Tensor) -> Posterior:
        """Go from the last observation of each series back to its start, (B,)."""
        observed = compact(observed)  # time between observations is told by neighbouring places
        seen, used = self.jumps.inputs(observed.x, observed.mask), observed.used
        h = self.jumps.begin(observed.x)
        before = torch.cat([start[:, None], observed.t[:, :-1]], 1)
        gaps = torch.where(used, observed.t - before, 0.0)
        for place in reversed(range(observed.t.shape[1])):
            h = self.jumps.jump(h, seen[:, place], used[:, place])
            h = self.jumps(h, gaps[:, place])
        mean, log_sigma = self.head(h).chunk(2, -1)
        return Posterior(mean, log_sigma.clamp(_LOWEST, _HIGHEST))


class LatentODE(SeriesModel):
    """The model with a latent path; see the module's equations.

    Parameters
    ----------
    channels
        C.
    latent
        Components of z.
    units
        Widths of the hidden layers of its right-hand side f.
    hidden, encoder_units
        Of the recognition network: components of its hidden state, and widths of the layers of its right-hand side.
    sigma
        Standard deviation of the observations' noise, see :class:`~physode.models.gaussian.Noise`.
    solver, encoder_solver
        Of the latent path, by default dopri5 with rtol 1e-3 and atol 1e-4 (Rubanova et al. 2019); and of the
        recognition network's flow, by default one Euler step a gap.
    """

    causal = False

    def __init__(
        self,
        channels: int,
        *,
        latent: int = 20,
        units: Sequence[int] = (100, 100),
        hidden: int = 100,
        encoder_units: Sequence[int] = (100,),
        sigma: float | None = None,
        solver: Solver | None = None,
        encoder_solver: Solver | None = None,
    ) -> None:
        super().__init__()
        if solver is None:
            solver = Solver(method="dopri5", rtol=1e-3, atol=1e-4)
        field = fully_connected((latent, *units, latent), activation="tanh")
        self.recognition = Recognition(
            channels,
            latent,
            hidden=hidden,
            units=encoder_units,
            solver=EULER if encoder_solver is None else encoder_solver,
        )
        self.flow = Flow(field, solver=solver)
        self.readout = nn.Linear(latent, channels)
        self.noise = Noise(channels, sigma=sigma)
        self.latent = latent
        initialise(self.flow)

    def loss(self, observed: Points, target: Points, *, kl_weight: float = 1.0, draws: int = 1) -> Tensor:
        """Return the negative evidence lower bound, by draws of the initial state, nats a value."""
        start = earliest(observed, target.times, None)
        posterior = self.recognition(observed, start)
        paths = self._path(posterior.draw(draws), target.times, start)
        likelihood = self.noise.log_density(target.x, self.readout(paths), target.mask)
        bounds = (likelihood - kl_weight * divergence(*posterior)).sum(-1) / target.mask.sum()
        return math.log(draws) - bounds.logsumexp(0)

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Follow the posterior's mean, and `draws` initial states drawn from it."""
        start = earliest(observed, times, start)
        posterior = self.recognition(observed, start)
        latent = self._path(torch.cat([posterior.mean[None], posterior.draw(draws)]), times, start)
        paths: Tensor = self.readout(latent)
        return Prediction(paths[0], paths[1:] if draws else paths, latent[0])

    def log_likelihood(self, observed: Points, target: Points, *, draws: int = 10) -> Tensor:
        """Return that of the target, averaged over initial states drawn from the posterior of the observed."""
        paths = self.predict(observed, target.times, draws=draws).draws
        each = self.noise.log_density(target.x, paths, target.mask)
        return each.logsumexp(0) - math.log(len(paths))

    def sample(self, count: int, times: Tensor) -> Tensor:
        """Draw series from the prior, without noise, at times (Q,) from 0 on: (count, Q, C)."""
        like = self.readout.weight
        z = torch.randn(count, self.latent, dtype=like.dtype, device=like.device)
        t = times.to(torch.float64).expand(count, -1)
        series: Tensor = self.readout(self.flow.path(z, Times(t, torch.ones_like(t, dtype=torch.bool))))
        return series

    def _path(self, z: Tensor, times: Times, start: Tensor) -> Tensor:
        """Follow initial states (L, B, latent) from `start`, (B,): (L, B, Q, latent)."""
        count = len(z)
        since = Times((times.t - start[:, None]).repeat(count, 1), times.used.repeat(count, 1))
        return self.flow.path(z.flatten(0, 1), since).reshape(count, len(start), *times.t.shape[1:], -1)
