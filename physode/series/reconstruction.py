"""Some series beside what a model makes of them: what figures show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from physode.datasets.trajectories import Array
from physode.series.config import SeriesConfig
from physode.series.data import points_of
from physode.series.forecaster import Forecast, Forecaster
from physode.series.scores import among
from physode.series.trainer import test_points

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["Reconstruction", "reconstruct"]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A series, and what a model says of it.

    Attributes
    ----------
    name
        Of the series.
    t, y
        Where anything was observed, (K,), and the values, (K, C), NaN where missing.
    told
        At which of these times the model was told the values, (K,).
    until
        When extrapolation begins; None in interpolation.
    path
        What the model says, of this one series.
    """

    name: str
    t: Array
    y: Array
    told: Array
    until: float | None
    path: Forecast


def reconstruct(
    forecaster: Forecaster,
    series: IrregularSeries,
    config: SeriesConfig,
    *,
    rows: Sequence[int],
    points: int = 200,
    draws: int = 100,
) -> list[Reconstruction]:
    """Ask a model for some of the test series, with what it is told of them in the test.

    Parameters
    ----------
    forecaster
        The model.
    series
        All of the test series.
    config
        The task, and the share of points that the model is told.
    rows
        Which series.
    points
        How many even times from the first observation to the last it is asked for.
    draws
        Paths from which standard deviations are computed.
    """
    whole = points_of(series)
    told, _ = test_points(whole, config)
    known = (among(whole.t, told) & whole.used).numpy()
    found = []
    for row in rows:
        used = whole.used[row].numpy()
        t = whole.t[row].numpy()[used]
        here = told.rows(torch.tensor([row]))
        at = np.linspace(t[0], t[-1], points) if t[0] < t[-1] else t
        y = np.where(whole.mask[row].numpy(), whole.x[row].double().numpy(), np.nan)[used]
        cut = t[0] + config.until * (t[-1] - t[0]) if config.task == "extrapolation" else None
        path = forecaster.forecast(here, at[None], draws=draws)
        found.append(Reconstruction(series.names[row], t, y, known[row][used], cut, path))
    return found
