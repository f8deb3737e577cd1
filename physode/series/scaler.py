"""A model between the data's own units and those in which it learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physode.errors import DataError
from physode.models.observations import Points, Times
from physode.models.registry import build_series_model
from physode.models.series_model import Prediction, SeriesModel
from physode.series.config import SeriesConfig
from physode.training.device import own_randomness

__all__ = ["Standardised", "make_model"]


class Standardised(nn.Module):
    r"""A model of :math:`(x - \mu_c) / s_c` by :math:`t / T`.

    Mean :math:`\mu` and scale s of each channel, its standard deviation or its range, are those of the training series,
    T is their longest span. They are buffers: ``state_dict()`` is all that a prediction needs. They are float64, as the
    data are: 1e9 + 1 and 1e9 differ here, in float32 they would not. The network has a precision of its own.

    Parameters
    ----------
    network
        The model.
    channels
        C.
    scaling
        The scale: ``"deviation"`` or ``"range"``.

    Attributes
    ----------
    network
        As given.
    mean, scale, extent
        Of each channel: mean, scale, and largest less smallest value (both 1 of a constant one), (C,).
    time_scale
        T.
    """

    network: SeriesModel
    mean: Tensor
    scale: Tensor
    extent: Tensor
    time_scale: Tensor

    def __init__(self, network: SeriesModel, channels: int, *, scaling: str = "deviation") -> None:
        super().__init__()
        self.network, self.scaling = network, scaling
        self.register_buffer("mean", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(channels, dtype=torch.float64))
        self.register_buffer("extent", torch.ones(channels, dtype=torch.float64))
        self.register_buffer("time_scale", torch.ones((), dtype=torch.float64))

    def learn_scales(self, points: Points) -> None:
        """Take means, scales and the time scale from training series.

        Raises
        ------
        DataError
            If no time passes in any series, or values or times are too large for their differences.
        """
        x, mask = points.x, points.mask
        count = mask.sum((0, 1)).clamp(min=1)
        mean = (x * mask / count).sum((0, 1))
        off = (x - mean) * mask
        most = off.abs().amax((0, 1))
        unit = torch.where(most > 0.0, most, 1.0)  # squares of 1e-200 would be 0, of 1e200 infinite
        spread = unit * ((off / unit).square().sum((0, 1)) / count).sqrt()
        low, high = (torch.where(mask, x, sign * torch.inf) for sign in (1.0, -1.0))
        rounding = 8 * torch.finfo(points.x.dtype).eps * x.abs().amax((0, 1))
        flat = spread <= rounding
        wide = high.amax((0, 1)) - low.amin((0, 1))
        if not bool((mean.isfinite() & (flat | (spread.isfinite() & wide.isfinite()))).all()):
            raise DataError("values are so large that their differences are no numbers; divide them by a power of ten")
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(flat, 1.0, wide if self.scaling == "range" else spread))
        self.extent.copy_(torch.where(flat, 1.0, wide))
        first = torch.where(points.used, points.t, torch.inf).amin(1)
        last = torch.where(points.used, points.t, -torch.inf).amax(1)
        longest = (last - first).max()
        if not float(longest) > 0.0:
            raise DataError("no series goes on for any time: each has all its points at one")
        if not bool(longest.isfinite()):
            raise DataError("times are so large that a span is infinite; divide them by a power of ten")
        self.time_scale.copy_(longest)

    def inward(self, points: Points) -> Points:
        """Return points in the network's units and precision."""
        x = torch.where(points.mask, (points.x - self.mean) / self.scale, 0.0)
        return Points(points.t / self.time_scale, x.to(self.network.noise.log_sigma.dtype), points.mask)

    def outward(self, x: Tensor) -> Tensor:
        """Return values (..., C) of the network in the data's units."""
        return x * self.scale + self.mean

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of the observations' noise in the data's units, (C,)."""
        return self.network.noise.sigma * self.scale

    def predict(self, observed: Points, times: Times, *, start: Tensor | None = None, draws: int = 0) -> Prediction:
        """Say what series are at given times, all in the data's units but the latent states."""
        found = self.network.predict(
            self.inward(observed),
            Times(times.t / self.time_scale, times.used),
            start=None if start is None else start / self.time_scale,
            draws=draws,
        )
        return Prediction(self.outward(found.mean), self.outward(found.draws), found.latent)


def make_model(config: SeriesConfig, channels: int) -> Standardised:
    """Build a model; the seed alone decides its weights."""
    with own_randomness(config.seed, torch.device("cpu")):
        network = build_series_model(config.model, channels, **config.model_options())
    return Standardised(network, channels, scaling=config.scaling)
