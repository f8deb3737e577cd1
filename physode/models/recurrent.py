"""ODE-RNN: a hidden state that flows between observations and jumps at them (Rubanova et al. 2019, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from physode.models.flow import Flow
from physode.models.gaussian import Noise
from physode.models.observations import Latest, Points
from physode.models.series_model import CausalModel, initialise
from physode.models.solver import EULER, Solver
from physode.rhs.neural import fully_connected

__all__ = ["ODERNN", "GapRNN", "JumpFlow"]


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


class ODERNN(CausalModel):
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

    def ahead(self, observed: Points, before: Latest) -> Tensor:
        """Let time pass since the last observations; before the first, the state knows nothing."""
        seen, used = self.jumps.inputs(observed.x, observed.mask), observed.used
        gaps = observed.t.diff(dim=1, prepend=observed.t[:, :1])
        states = [self.jumps.begin(observed.x)]
        for gap, given, now in zip(gaps.unbind(1), seen.unbind(1), used.unbind(1), strict=True):
            states.append(self.jumps.jump(self.jumps(states[-1], gap), given, now))
        left = torch.stack(states, 1).gather(1, before.number[..., None].expand(-1, -1, self.jumps.hidden))
        found: Tensor = self.jumps(left.flatten(0, 1), before.gap.flatten()).reshape(left.shape)
        return found


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
