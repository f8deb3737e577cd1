"""ODE-RNN: a hidden state that flows between observations and jumps at them (Rubanova et al. 2019, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from physode.models.flow import Flow
from physode.models.gaussian import Noise
from physode.models.points import Points, Times, merge
from physode.models.series_model import Prediction, SeriesModel, initialise
from physode.models.solver import EULER, Solver
from physode.rhs.neural import fully_connected

__all__ = ["ODERNN", "JumpFlow"]


class JumpFlow(nn.Module):
    r"""A hidden state that follows :math:`\dot h = f(h)` between observations, and takes each one in by a GRU.

    .. math::

        h_i^- = \varphi_{\tau_i}(h_{i-1}), \qquad h_i = \mathrm{GRU}([m_i \odot x_i, m_i], h_i^-)

    with :math:`\varphi` the flow of f, :math:`\tau_i` the time between observations, and masks :math:`m_i`. No time
    passes and no observation is made in places that are not used.

    Parameters
    ----------
    channels
        C.
    hidden
        Components of h.
    units
        Widths of the hidden layers of f.
    solver
        Of the flow.
    """

    def __init__(self, channels: int, *, hidden: int, units: Sequence[int], solver: Solver) -> None:
        super().__init__()
        self.flow = Flow(fully_connected((hidden, *units, hidden), activation="tanh"), solver=solver)
        self.cell = nn.GRUCell(2 * channels, hidden)
        self.hidden = hidden
        initialise(self.flow)

    def begin(self, x: Tensor) -> Tensor:
        """Return the hidden state that knows nothing, (B, hidden), beside observations (B, ...)."""
        return x.new_zeros(len(x), self.hidden)

    def forward(self, h: Tensor, gap: Tensor) -> Tensor:
        """Let time pass: (B, hidden) after gaps (B,)."""
        moved: Tensor = self.flow(h, gap)
        return moved

    def inputs(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return what the GRU sees of observations (B, K, C): (B, K, 2 C)."""
        return torch.cat([torch.where(mask, x, 0.0), mask.to(x.dtype)], -1)

    def jump(self, h: Tensor, seen: Tensor, used: Tensor) -> Tensor:
        """Take observations in, (B, 2 C), by those samples that have one, (B,)."""
        return torch.where(used[:, None], self.cell(seen, h), h)


class ODERNN(SeriesModel):
    """The causal model: what it says of a time is read from the hidden state that earlier observations left.

    Parameters
    ----------
    channels
        C.
    hidden, units
        Components of the hidden state, and widths of the layers of its right-hand side.
    sigma
        Standard deviation of the observations' noise, see :class:`~physode.models.gaussian.Noise`.
    solver
        Of the flow between observations; by default one Euler step a gap.
    """

    causal = True

    def __init__(
        self,
        channels: int,
        *,
        hidden: int = 100,
        units: Sequence[int] = (100,),
        sigma: float | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        self.jumps = JumpFlow(channels, hidden=hidden, units=units, solver=EULER if solver is None else solver)
        self.readout = fully_connected((hidden, hidden, channels), activation="tanh")
        self.noise = Noise(channels, sigma=sigma)

    def loss(self, observed: Points, target: Points, *, kl_weight: float = 1.0) -> Tensor:
        """Return the negative log-likelihood of the target, nats a value."""
        return -self.log_likelihood(observed, target).sum() / target.mask.sum()

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Read the hidden state at times (B, Q), before what is observed at the same times."""
        merged = merge(observed, times)
        seen, used = self.jumps.inputs(merged.x, merged.mask), merged.mask.any(-1)
        h, states = self.jumps.begin(merged.x), []
        for gap, given, now in zip(merged.gaps.unbind(1), seen.unbind(1), used.unbind(1), strict=True):
            h = self.jumps(h, gap)
            states.append(h)
            if bool(now.any()):
                h = self.jumps.jump(h, given, now)
        path = torch.stack(states, 1)
        latent = path.gather(1, merged.places[..., None].expand(-1, -1, path.shape[-1]))
        mean: Tensor = self.readout(latent)
        return Prediction(mean, mean[None], latent)

    def log_likelihood(self, observed: Points, target: Points, *, draws: int = 10) -> Tensor:
        """Return that of the target around the mean path."""
        mean = self.predict(observed, target.times).mean
        return self.noise.log_density(target.x, mean, target.mask)
