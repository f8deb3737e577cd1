"""A run opened to be looked at: its data, its predictions, and one trajectory of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from physode.datasets import Trajectories, read_data
from physode.datasets.trajectories import Array
from physode.errors import ConfigError, DataError
from physode.fitting.data import choose, digest, has_bodies
from physode.fitting.run import Run
from physode.plotting.comparison import Comparison

__all__ = ["RunView", "compare", "open_view"]


@dataclass(frozen=True)
class RunView:
    """One trajectory of a run.

    Attributes
    ----------
    run
        The run, ended.
    observed, predicted
        The trajectories that were fitted, and what the fit predicts for them.
    trajectory
        Which of them to look at.
    """

    run: Run
    observed: Trajectories
    predicted: Trajectories
    trajectory: int

    @cached_property
    def comparison(self) -> Comparison:
        """The trajectory as fitted, beside the states before noise where they are known, else those observed."""
        until = self.run.config.train_until
        return compare(self.observed, self.predicted, trajectory=self.trajectory, train_until=until)

    @property
    def bodies(self) -> bool:
        """Whether the columns are bodies' positions and velocities."""
        return has_bodies(tuple(self.observed.columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bodies, by the file or counted from 1; none where there are no bodies."""
        return _body_names(self.observed)

    @property
    def residuals(self) -> Array:
        """Observed minus fitted, (T, D)."""
        found: Array = np.asarray(self.observed.y[self.trajectory], np.float64) - self.predicted.y[self.trajectory]
        return found

    @property
    def sigma(self) -> Array | None:
        """Standard deviations of the observations, (T, D), where data or settings have them; NaN where they do not."""
        known = getattr(self.observed, "sigma", None)
        sigma = getattr(self.run.config, "sigma", None) if known is None else known
        if sigma is None:
            return None
        rows: Array = np.broadcast_to(np.asarray(sigma, np.float64), self.observed.y.shape)[self.trajectory]
        return np.where(rows > 0, rows, np.nan)


def open_view(run: Run, *, data: Sequence[Path] = (), trajectory: int = 0) -> RunView:
    """Open one trajectory of a run.

    Parameters
    ----------
    run
        The run.
    data
        The file that it was fitted to, or the files, where they have moved.
    trajectory
        Which of the fitted trajectories.

    Raises
    ------
    DataError
        If the data are missing or others than were fitted, or the fit has not ended.
    ConfigError
        If there is no such trajectory.
    """
    run.report()  # says so where the fit has not ended
    observed, predicted = choose(_data(run, data), run.config), run.predictions()
    if not 0 <= trajectory < len(predicted):
        raise ConfigError(f"`trajectory` must be between 0 and {len(predicted) - 1}, got {trajectory}")
    return RunView(run, observed, predicted, trajectory)


def compare(
    observed: Trajectories, predicted: Trajectories, *, trajectory: int, train_until: float | None
) -> Comparison:
    """Put one trajectory's states side by side: those before noise where they are known."""
    t = observed.t if observed.t.ndim == 1 else observed.t[trajectory]
    clean = observed.y_clean
    return Comparison(
        t=t,
        observed=observed.y[trajectory] if clean is None else clean[trajectory],
        fitted=predicted.y[trajectory],
        columns=observed.columns,
        units=observed.units,
        train_until=float(t[-1]) if train_until is None else train_until,
        time_unit=str(observed.attrs.get("time_unit", "")),
        observed_is="true" if _exact(observed) else "observed",
        names=_body_names(observed),
    )


def _body_names(observed: Trajectories) -> tuple[str, ...]:
    if not has_bodies(tuple(observed.columns)):
        return ()
    count, names = len(observed.columns) // 6, observed.attrs.get("bodies")
    if isinstance(names, list | tuple) and len(names) == count and all(isinstance(name, str) for name in names):
        return tuple(names)
    return tuple(f"body {index + 1}" for index in range(count))


def _exact(observed: Trajectories) -> bool:
    """Return whether the file says that it holds states without errors of measurement."""
    return observed.y_clean is not None or not np.any(observed.attrs.get("noise", 1.0))


def _data(run: Run, data: Sequence[Path]) -> Trajectories:
    paths = tuple(data) or run.data
    for path in paths:
        if not path.exists():
            raise DataError(f"the data of {run.path}, {path}, are gone; name the file where they are now (--data)")
    found = read_data(paths)
    if digest(found) != run.digest:
        raise DataError(f"{paths[0]} does not hold the numbers that {run.path} was fitted to")
    return found
