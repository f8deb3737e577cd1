"""What every model of irregular series does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from physode.models.gaussian import Noise
from physode.models.observations import Latest, Points, Times, compact, latest

__all__ = ["CausalModel", "Prediction", "SeriesModel", "earliest", "initialise"]


class Prediction(NamedTuple):
    """What a model says of B series at Q times.

    Attributes
    ----------
    mean
        (B, Q, C).
    draws
        Paths drawn from what the model takes for possible, without noise, (L, B, Q, C); one, the mean, of a model that
        knows no others.
    latent
        The latent states of the mean, (B, Q, D).
    """

    mean: Tensor
    draws: Tensor
    latent: Tensor


class SeriesModel(nn.Module):
    """A model of series of C channels, in standardised values and times.

    Attributes
    ----------
    causal
        Whether what it says of a time depends on earlier observations only.
    noise
        Of the observations.
    """

    causal: bool
    noise: Noise

    def loss(self, observed: Points, target: Points, *, kl_weight: float = 1.0, draws: int = 1) -> Tensor:
        """Return what training makes small: nats for each value of the target, a number.

        Parameters
        ----------
        observed
            What the model is told.
        target
            What it shall say.
        kl_weight
            Of the latent state's divergence from its prior, where there is one.
        draws
            Latent states that are drawn for each series, where there are any.
        """
        raise NotImplementedError

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Say what the series are at given times.

        Parameters
        ----------
        observed
            What the model is told.
        times
            At which it is asked.
        start
            (B,), when each series begins, where that is before the first of both.
        draws
            How many paths to draw, from torch's global generator.
        """
        raise NotImplementedError

    def log_likelihood(self, observed: Points, target: Points, *, draws: int = 10) -> Tensor:
        r"""Return :math:`\log p(\text{target} \mid \text{observed})` of each series, (B,), from `draws` paths."""
        raise NotImplementedError


class CausalModel(SeriesModel):
    """A model whose prediction for a time depends on what was observed before it, and on how long ago, only.

    So what it says of one time does not depend on which others are asked, either.

    Attributes
    ----------
    readout
        From the hidden state to the channels.
    """

    causal = True
    readout: nn.Module

    def ahead(self, observed: Points, before: Latest) -> Tensor:
        """Return the hidden states (B, Q, hidden) that the last observations before Q times lead to there."""
        raise NotImplementedError

    def loss(self, observed: Points, target: Points, *, kl_weight: float = 1.0, draws: int = 1) -> Tensor:
        """Return the negative log-likelihood of the target, nats a value."""
        return -self.log_likelihood(observed, target).sum() / target.mask.sum()

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Read the hidden states at times (B, Q), before what is observed at the same times."""
        observed = compact(observed)
        hidden = self.ahead(observed, latest(observed, times))
        mean: Tensor = self.readout(hidden)
        return Prediction(mean, mean[None], hidden)

    def log_likelihood(self, observed: Points, target: Points, *, draws: int = 10) -> Tensor:
        """Return that of the target around the mean path."""
        mean = self.predict(observed, target.times).mean
        return self.noise.log_density(target.x, mean, target.mask)


def initialise(model: nn.Module, *, sigma: float = 0.1) -> None:
    """Draw the weights of all linear layers from N(0, sigma^2), biases 0: a field f that begins slow and smooth."""
    for part in model.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=sigma)
            nn.init.zeros_(part.bias)


def earliest(points: Points, times: Times, start: Tensor | None) -> Tensor:
    """Return when each series begins, (B,): the first time that is observed or wanted, or `start` where earlier."""
    firsts = [torch.where(each.used, each.t, torch.inf) for each in (points.times, times)]
    first = torch.cat(firsts, 1).amin(1)
    return first if start is None else torch.minimum(first, start)
