"""Recurrent networks that are told how much time has passed: the baselines without an equation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from physode.models.gaussian import Noise
from physode.models.points import Points, Times, merge
from physode.models.series_model import Prediction, SeriesModel
from physode.rhs.neural import fully_connected

__all__ = ["GapRNN"]


class GapRNN(SeriesModel):
    r"""A recurrent network with time gaps as an input (the RNN and RNN-GRU of the ACA paper's Table 4).

    .. math::

        h_i = \mathrm{RNN}([m_{i-1} \odot x_{i-1}, m_{i-1}, \tau_i], h_{i-1}), \qquad \hat x_i = W h_i + b

    over the observed and the wanted times in their order, :math:`\tau_i` after one another: what it says of a time
    depends on earlier observations only.

    Parameters
    ----------
    channels
        C.
    cell
        ``"rnn"`` (tanh) or ``"gru"``.
    hidden
        Components of the hidden state.
    sigma
        Standard deviation of the observations' noise, see :class:`~physode.models.gaussian.Noise`.
    """

    causal = True

    def __init__(
        self, channels: int, *, cell: Literal["rnn", "gru"] = "gru", hidden: int = 100, sigma: float | None = None
    ) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU}[cell]
        self.recurrent = kind(2 * channels + 1, hidden, batch_first=True)
        self.readout = fully_connected((hidden, hidden, channels), activation="tanh")
        self.noise = Noise(channels, sigma=sigma)

    def loss(self, observed: Points, target: Points, *, kl_weight: float = 1.0) -> Tensor:
        """Return the negative log-likelihood of the target, nats a value."""
        return -self.log_likelihood(observed, target).sum() / target.mask.sum()

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Read the hidden state at times (B, Q), before what is observed at the same times."""
        merged = merge(observed, times)
        seen = torch.cat([torch.where(merged.mask, merged.x, 0.0), merged.mask.to(merged.x.dtype)], -1)
        before = torch.cat([torch.zeros_like(seen[:, :1]), seen[:, :-1]], 1)
        path, _ = self.recurrent(torch.cat([before, merged.gaps[..., None].to(seen.dtype)], -1))
        latent = path.gather(1, merged.places[..., None].expand(-1, -1, path.shape[-1]))
        mean: Tensor = self.readout(latent)
        return Prediction(mean, mean[None], latent)

    def log_likelihood(self, observed: Points, target: Points, *, draws: int = 10) -> Tensor:
        """Return that of the target around the mean path."""
        mean = self.predict(observed, target.times).mean
        return self.noise.log_density(target.x, mean, target.mask)
