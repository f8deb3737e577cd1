"""A trained model of series, asked in the data's own units and arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from physode.datasets.series import IrregularSeries, read_series
from physode.datasets.series.formats import with_roles
from physode.datasets.table import TableOptions, meant
from physode.datasets.tables.frames import is_frame
from physode.errors import ConfigError
from physode.models.latent_ode import LatentODE
from physode.models.observations import Points, Times, compact
from physode.series.config import SeriesConfig
from physode.series.data import points_of, points_of_arrays
from physode.series.run import Epoch, SeriesRun
from physode.series.scaler import Standardised, make_model
from physode.series.trainer import train
from physode.training.checkpoints import load_weights
from physode.training.device import own_randomness

__all__ = ["Forecast", "Forecaster", "fit"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a model says of N series at Q times.

    Attributes
    ----------
    t
        The times, (N, Q).
    mean
        (N, Q, C), in the data's units.
    std
        Standard deviation of a new observation there, (N, Q, C): of the noise, and of the paths that the model takes
        for possible.
    draws
        Such paths, without noise, (L, N, Q, C).
    latent
        The latent path of the mean, (N, Q, D); no units.
    """

    t: Array
    mean: Array
    std: Array
    draws: Array
    latent: Array


@dataclass(frozen=True, eq=False)
class Forecaster:
    """A trained model of series.

    Attributes
    ----------
    model
        Scales and network.
    config
        The settings that it was trained with.
    channels, units
        Of the series.
    history
        The training's epochs; empty where it was read from a run.
    reading
        What was said of how a table of its series is written.
    """

    model: Standardised
    config: SeriesConfig
    channels: tuple[str, ...]
    units: tuple[str, ...]
    history: tuple[Epoch, ...] = ()
    reading: TableOptions = field(default_factory=TableOptions)

    @classmethod
    def of_run(cls, run: SeriesRun, *, which: str = "last", device: str = "cpu") -> Forecaster:
        """Read a run's model, the ``"last"`` or the ``"best"`` by test error.

        Raises
        ------
        DataError
            If its checkpoint is missing or damaged.
        """
        model = make_model(run.config, len(run.channels))
        load_weights(model, run.state(which).model, str(run.checkpoint(which)))
        return cls(model.to(device).eval(), run.config, run.channels, run.units, reading=run.reading)

    def interpolate(
        self,
        t: Any,
        y: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        *,
        at: npt.ArrayLike,
        draws: int = 100,
        seed: int = 0,
    ) -> Forecast:
        """Say what observed series are at other times, before, between or after the observations.

        A Latent-ODE's path begins at the first of all times, told or asked: asked for times before the observations, it
        says something a little different of the later ones, too.

        Parameters
        ----------
        t, y, mask
            The observations, as :meth:`physode.datasets.series.IrregularSeries.of_arrays` takes them: times (K,) or
            (N, K), values (N, K, C) with NaN where missing, and what is observed, (N, K, C) or (N, K). Or `t` alone:
            series, or a table of them like that which the model was trained on.
        at
            Times, (Q,) or (N, Q), rising.
        draws
            Paths to draw, from which the standard deviation is computed.
        seed
            Of these paths.

        Raises
        ------
        DataError
            If the observations cannot be, or are of other channels than the model.
        ValueError
            If the times do not rise, are not finite, or are of another number of series.
        """
        observed = self._observed(t, y, mask)
        return self.forecast(observed, checked_times(at, len(observed.t)), draws=draws, seed=seed)

    def _observed(self, t: Any, y: npt.ArrayLike | None, mask: npt.ArrayLike | None) -> Points:
        if y is not None:
            return points_of_arrays(t, y, mask, channels=self.channels)
        return points_of(_series_of(t, mask, self.reading, again=True).of_channels(self.channels))

    def extrapolate(
        self,
        t: Any,
        y: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        *,
        at: npt.ArrayLike,
        draws: int = 100,
        seed: int = 0,
    ) -> Forecast:
        """Say what observed series become after their last observation; as :meth:`interpolate`.

        Raises
        ------
        DataError, ValueError
            As :meth:`interpolate`; also if a time is not after the last observation of its series.
        """
        observed = self._observed(t, y, mask)
        times = checked_times(at, len(observed.t))
        last = torch.where(observed.used, observed.t, -torch.inf).amax(1).numpy()
        early = np.flatnonzero(times[:, 0] <= last)
        if early.size:
            row = early[0]
            raise ValueError(
                f"`at` must be after the last observation, at {last[row]:g} in series {row}; got {times[row, 0]:g}; "
                "use interpolate()"
            )
        return self.forecast(observed, times, draws=draws, seed=seed)

    def sample(self, count: int, *, at: npt.ArrayLike, seed: int = 0, noise: bool = False) -> Array:
        """Draw new series from a Latent-ODE's prior: (count, Q, C) at times (Q,) from their start at 0.

        Parameters
        ----------
        count
            How many.
        at
            Times, rising, at least 0.
        seed
            Of the draw.
        noise
            Whether to add the observations' noise.

        Raises
        ------
        ConfigError
            If the model knows no prior: recurrent ones do not.
        ValueError
            If `count` is below 1, or the times cannot be.
        """
        network = self.model.network
        if not isinstance(network, LatentODE):
            raise ConfigError(f"the model {self.config.model} has no prior to sample from; latent-ode has")
        times = checked_times(at, 1)[0]
        if count < 1 or times[0] < 0:
            raise ValueError(f"`count` must be at least 1 and `at` at least 0, got {count} and {times[0]:g}")
        like = self.model.scale
        with torch.no_grad(), own_randomness(seed, like.device):
            wanted = torch.from_numpy(times).to(like.device) / self.model.time_scale
            series = self.model.outward(network.sample(count, wanted))
            if noise:
                series = series + self.model.sigma * torch.randn_like(series)
        return series.cpu().double().numpy()

    def forecast(self, observed: Points, at: Array, *, draws: int = 100, seed: int = 0) -> Forecast:
        """Say what series given as tensors are at times (N, Q)."""
        if draws < 0:
            raise ValueError(f"`draws` must be at least 0, got {draws}")
        device = self.model.scale.device
        told = self.model_points(observed)
        wanted = torch.from_numpy(at).to(device)
        times = Times(wanted, torch.ones_like(wanted, dtype=torch.bool))
        parts = []
        with torch.no_grad(), own_randomness(seed, device):
            for rows in torch.split(torch.arange(len(at), device=device), self.config.batch):
                asked = Times(*(each[rows] for each in times))
                parts.append(self.model.predict(compact(told.rows(rows)), asked, draws=draws))
        mean, latent = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "latent"))
        paths = torch.cat([part.draws for part in parts], 1)
        spread = paths.std(0, correction=0).square() + self.model.sigma.square()
        return Forecast(at, *(_array(each) for each in (mean, spread.sqrt(), paths, latent)))

    def model_points(self, observed: Points) -> Points:
        """Return points where the model is."""
        return observed.to(self.model.scale.device)


def fit(
    t: Any,
    y: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    *,
    channels: tuple[str, ...] | None = None,
    channel_units: tuple[str, ...] | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    static: Sequence[str] | None = None,
    progress: Any = None,
    **settings: Any,
) -> Forecaster:
    """Train a model of irregular series given as arrays, or as a table.

    Parameters
    ----------
    t, y, mask
        The observations: times (K,) or (N, K), values (N, K, C) with NaN where missing, and what is observed,
        (N, K, C) or (N, K). Or `t` alone: a pandas DataFrame, a mapping of names to columns, a file, or series, see
        :func:`physode.datasets.series.read_series`.
    channels, channel_units
        Names of the channels, and their units, of arrays.
    columns, static
        What the columns of a table are, as of :func:`physode.datasets.series.read_series`.
    progress
        Told the finished share of the training, and where it is.
    settings
        Those of :class:`SeriesConfig`, `units` (widths of layers) among them.

    Returns
    -------
    Forecaster
        Which interpolates, extrapolates and samples.

    Raises
    ------
    DataError, ConfigError
        If the observations or settings cannot be.
    SolveError
        If the training fails.

    Examples
    --------
    >>> import numpy as np, physode as po
    >>> t = np.sort(np.random.default_rng(0).uniform(0, 5, (40, 20)))
    >>> model = po.series.fit(t, np.sin(t)[..., None], epochs=2)
    >>> model.interpolate(t, np.sin(t)[..., None], at=[1.0, 2.0, 3.0]).mean.shape
    (40, 3, 1)

    Of a table, with a row a visit:

    >>> table = {"who": np.repeat(np.arange(40), 20), "t": t.ravel(), "x": np.sin(t).ravel()}
    >>> model = po.series.fit(table, columns={"series": "who"}, epochs=2)
    >>> model.extrapolate(table, at=[6.0, 7.0]).mean.shape
    (40, 2, 1)
    """
    config = SeriesConfig.from_dict(settings)
    reading = with_roles(TableOptions(), columns, static)
    if y is None:
        if channels is not None or channel_units is not None:
            raise ConfigError("`channels` and `channel_units` are for arrays; a table and series have their own")
        series = _series_of(t, mask, reading)
    elif reading.given:
        raise ConfigError("`columns` and `static` are for tables; give `channels` beside arrays")
    else:
        series = IrregularSeries.of_arrays(t, y, mask, channels, units=channel_units)
    lines: list[Epoch] = []
    trainer = train(series, config, on_epoch=lambda line, state: lines.append(line), progress=progress)
    return Forecaster(trainer.model.eval(), config, series.channels, series.units, tuple(lines), reading)


def _series_of(data: Any, mask: object, reading: TableOptions, *, again: bool = False) -> IrregularSeries:
    """Return series given without `y`; `again` where another table was read so, and not all has a part in this one."""
    if mask is not None:
        raise ConfigError("`mask` goes with arrays; in a table a missing value is an empty cell or NaN")
    if isinstance(data, IrregularSeries):
        return data
    if not (is_frame(data) or isinstance(data, str | os.PathLike)):
        raise ConfigError(f"give times and values, fit(t, y), or a table; got a {type(data).__name__} alone")
    if again:
        reading = meant(data if is_frame(data) else Path(data), reading)
    return read_series(data, options=reading)


def checked_times(at: npt.ArrayLike, count: int) -> Array:
    """Return times that are asked for, (N, Q) of (Q,) or (N, Q).

    Raises
    ------
    ValueError
        If they do not rise strictly, are not finite, or are of another number of series.
    """
    times = np.asarray(at, dtype=np.float64)
    if times.ndim == 1:
        times = np.repeat(times[None], count, axis=0)
    if times.ndim != 2 or len(times) != count or times.shape[1] == 0:
        raise ValueError(f"`at` must be (times,) or ({count}, times), at least one, got the shape {np.shape(at)}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError("`at` must be finite and rise strictly; sort it, and drop repeated times")
    return times


def _array(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
