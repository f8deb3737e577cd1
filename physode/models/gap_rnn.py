"""Recurrent networks that are told how much time has passed: the baselines without an equation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from physode.models.gaussian import Noise
from physode.models.points import Latest, Points
from physode.models.series_model import CausalModel
from physode.rhs.neural import fully_connected

__all__ = ["GapRNN"]


class GapRNN(CausalModel):
    r"""A recurrent network with time gaps as an input (the RNN and RNN-GRU of the ACA paper's Table 4).

    .. math::

        h_i = \mathrm{RNN}([m_{i-1} \odot x_{i-1}, m_{i-1}, \tau_i], h_{i-1}), \qquad \hat x_i = W h_i + b

    with :math:`\tau_i` the time since the observation before, :math:`x_{i-1}` with its mask :math:`m_{i-1}`; a wanted
    time takes the place of :math:`x_i` in a step of its own.

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

    def __init__(
        self, channels: int, *, cell: Literal["rnn", "gru"] = "gru", hidden: int = 100, sigma: float | None = None
    ) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU}[cell]
        self.recurrent = kind(2 * channels + 1, hidden, batch_first=True)
        self.readout = fully_connected((hidden, hidden, channels), activation="tanh")
        self.noise = Noise(channels, sigma=sigma)

    def ahead(self, observed: Points, before: Latest) -> Tensor:
        """Take the step from the last observations to the times that are asked for."""
        x = torch.cat([torch.where(observed.mask, observed.x, 0.0), observed.mask.to(observed.x.dtype)], -1)
        seen = torch.cat([torch.zeros_like(x[:, :1]), x], 1)  # the first step has seen nothing
        gaps = observed.t.diff(dim=1, prepend=observed.t[:, :1])
        path, _ = self.recurrent(torch.cat([seen[:, :-1], gaps[..., None].to(x.dtype)], -1))
        states = torch.cat([torch.zeros_like(path[:, :1]), path], 1)
        given, left = (each.gather(1, _places(before, each)) for each in (seen, states))
        inputs = torch.cat([given, before.gap[..., None].to(x.dtype)], -1).flatten(0, 1)
        _, hidden = self.recurrent(inputs[:, None], left.flatten(0, 1)[None])
        found: Tensor = hidden[0].reshape(left.shape)
        return found


def _places(before: Latest, like: Tensor) -> Tensor:
    return before.number[..., None].expand(-1, -1, like.shape[-1])
