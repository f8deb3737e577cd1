"""Normal distributions: of observations around a path, and of a latent state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Noise", "divergence"]


class Noise(nn.Module):
    r"""Independent normal noise on C channels: :math:`x_c = \mu_c + \sigma_c \epsilon`.

    Parameters
    ----------
    channels
        C.
    sigma
        The standard deviation, the same for all channels; None has it learnt, one for each, from 0.5 on.
    """

    log_sigma: Tensor

    def __init__(self, channels: int, *, sigma: float | None = None) -> None:
        super().__init__()
        if sigma is not None and not 0.0 < sigma < math.inf:
            raise ValueError(f"`sigma` must be above 0 and finite, got {sigma}")
        start = torch.full((channels,), math.log(0.5 if sigma is None else sigma))
        if sigma is None:
            self.log_sigma = nn.Parameter(start)
        else:
            self.register_buffer("log_sigma", start)

    @property
    def sigma(self) -> Tensor:
        """The standard deviations, (C,)."""
        return self.log_sigma.exp()

    def log_density(self, x: Tensor, mean: Tensor, mask: Tensor) -> Tensor:
        r"""Return :math:`\sum \log N(x; \mu, \sigma^2)` over the places and channels of a mask, for each series.

        Parameters
        ----------
        x, mask
            (B, K, C).
        mean
            (..., B, K, C).

        Returns
        -------
        Tensor
            (..., B).
        """
        off = (x - mean) / self.sigma
        each = -0.5 * off.square() - self.log_sigma - 0.5 * math.log(2.0 * math.pi)
        return torch.where(mask, each, 0.0).sum((-2, -1))


def divergence(mean: Tensor, log_sigma: Tensor) -> Tensor:
    r"""Return the Kullback-Leibler divergence of :math:`N(\mu, \sigma^2)` from :math:`N(0, 1)`, summed: (B,) of (B, D).

    .. math:: \tfrac12 \sum_d (\mu_d^2 + \sigma_d^2 - 1) - \log \sigma_d
    """
    return (0.5 * (mean.square() + (2.0 * log_sigma).exp() - 1.0) - log_sigma).sum(-1)
