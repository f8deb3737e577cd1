"""Recurrent models of irregular series: what becomes of a hidden state between observations.

It flows (ODE-RNN: Rubanova et al. 2019, Algorithm 1), is told how long it was, or decays (GRU-D: Che et al. 2018).
"""

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

__all__ = ["GRUD", "ODERNN", "GapRNN", "JumpFlow"]


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
    r"""A recurrent network with time gaps as an input (the RNN of the ACA paper's Table 4).

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


class GRUD(CausalModel):
    r"""A GRU whose inputs and hidden state decay while nothing is observed (Che et al. 2018, GRU-D).

    .. math::

        \gamma^x_i = e^{-\max(0, w \odot \delta_i + b)}, \qquad \gamma^h_i = e^{-\max(0, W_\gamma \delta_i + b_\gamma)}

    .. math::

        \hat x_i = m_i \odot x_i + (1 - m_i) \odot \gamma^x_i \odot x'_i, \qquad \hat h_i = \gamma^h_i \odot h_{i-1}

    .. math::

        z_i, r_i = \sigma(W [\hat x_i, m_i] + U \hat h_i + b), \qquad
        h_i = (1 - z_i) \odot \hat h_i + z_i \odot \tanh(W' [\hat x_i, m_i] + U' (r_i \odot \hat h_i) + b')

    with masks :math:`m_i`, the value :math:`x'_i` that was last observed of each channel, and how long ago that was,
    :math:`\delta_i`; of a channel never observed the mean, which is 0, and the time since the first observation of any.
    A wanted time takes a step of its own, at which nothing is observed.

    Parameters
    ----------
    channels
        C.
    hidden
        Components of h.
    sigma
        Standard deviation of the observations' noise, see :class:`~physode.models.gaussian.Noise`.
    """

    def __init__(self, channels: int, *, hidden: int = 100, sigma: float | None = None) -> None:
        super().__init__()
        self.input_decay = nn.Parameter(torch.zeros(2, channels))  # w and b
        self.hidden_decay = nn.Linear(channels, hidden)
        self.gates = nn.Linear(2 * channels + hidden, 2 * hidden)
        self.candidate = nn.Linear(2 * channels + hidden, hidden)
        self.readout = fully_connected((hidden, hidden, channels), activation="tanh")
        self.noise = Noise(channels, sigma=sigma)

    def ahead(self, observed: Points, before: Latest) -> Tensor:
        """Take the step to the times that are asked for from the last observations before them."""
        last, since = _last_observed(observed)
        t = torch.cat([observed.t[:, :1], observed.t], 1)  # of the observation that each state has seen last
        ages = (observed.t[..., None] - since[:, :-1]).to(last.dtype)
        h = last.new_zeros(len(last), self.hidden_decay.out_features)
        states = [h]
        for place in range(observed.t.shape[1]):
            h = self._step(h, observed.x[:, place], observed.mask[:, place], last[:, place], ages[:, place])
            states.append(h)
        left = torch.stack(states, 1)
        h, old, start = (each.gather(1, _places(before, each)) for each in (left, last, since))
        now = t.gather(1, before.number) + before.gap
        return self._step(h, old, torch.zeros_like(old, dtype=torch.bool), old, (now[..., None] - start).to(old.dtype))

    def _step(self, h: Tensor, x: Tensor, mask: Tensor, last: Tensor, age: Tensor) -> Tensor:
        """Let ages (..., C) pass, and take in what is observed then, (..., C); h is (..., hidden)."""
        weight, bias = self.input_decay
        given = torch.cat([torch.where(mask, x, _decay(weight * age + bias) * last), mask.to(x.dtype)], -1)
        h = _decay(self.hidden_decay(age)) * h
        update, reset = self.gates(torch.cat([given, h], -1)).sigmoid().chunk(2, -1)
        new = self.candidate(torch.cat([given, reset * h], -1)).tanh()
        return torch.lerp(h, new, update)


def _decay(rate: Tensor) -> Tensor:
    return torch.exp(-rate.relu())


def _last_observed(observed: Points) -> tuple[Tensor, Tensor]:
    """Return the last value of each channel, and when it was, after 0, 1, ..., K observations: (B, K + 1, C) each."""
    count = observed.t.shape[1]
    number = torch.arange(count, device=observed.t.device)[:, None]
    place = torch.where(observed.mask, number, -1).cummax(1).values
    place = nn.functional.pad(place, (0, 0, 1, 0), value=-1)
    at, ever = place.clamp(min=0), place >= 0
    times = observed.t[..., None].expand_as(observed.x)
    since = torch.where(ever, times.gather(1, at), observed.t[:, :1, None])
    return torch.where(ever, observed.x.gather(1, at), 0.0), since


def _places(before: Latest, like: Tensor) -> Tensor:
    return before.number[..., None].expand(-1, -1, like.shape[-1])
