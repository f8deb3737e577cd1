"""A fit's run opened to be looked at, the figures that suit it, and how each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physode.datasets import TableOptions, Trajectories, read_data
from physode.datasets.trajectories import Array
from physode.errors import ConfigError, DataError
from physode.fitting.data import choose, digest, has_bodies, observed_columns
from physode.fitting.labels import parse_target
from physode.fitting.rhs import known_system, residual_parts
from physode.fitting.run import Run, fitted_rhs
from physode.plotting.comparison import Comparison, Group, group_columns
from physode.plotting.constants import plot_constants
from physode.plotting.invariants import plot_drift
from physode.plotting.learned_terms import plot_residual_force
from physode.plotting.learning import plot_history
from physode.plotting.residuals import plot_residuals
from physode.plotting.style import save_all
from physode.plotting.trajectories import plot_orbits, plot_phase_planes, plot_phase_portrait, plot_series
from physode.rhs import Hybrid, System

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_run(
    run: Run,
    *,
    data: Sequence[Path] = (),
    options: TableOptions | None = None,
    trajectory: int = 0,
    only: Sequence[str] = (),
    overwrite: bool = False,
    tell: Callable[[str], object] | None = None,
) -> list[Path]:
    """Draw a run's figures into its folder, those of ``FIGURES`` that suit it.

    Parameters
    ----------
    run
        The run.
    data
        The file that it was fitted to, or the files, where they have moved.
    options
        What is known of how a table of them is written, where that is not what the run was told.
    trajectory
        Which of the fitted trajectories to draw.
    only
        Which figures, by name; all by default.
    overwrite
        Whether to replace figures.
    tell
        Told how a table was read, where that does not go without saying.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If the data are missing or others than were fitted, the fit has not ended, or a figure exists.
    ConfigError
        If there is no such trajectory, or the run has no such figure.
    """
    view = open_view(run, data=data, options=options, trajectory=trajectory)
    if tell is not None and "understood" in view.observed.attrs:
        tell(view.observed.attrs["understood"])
    found = {name: drawing for name, make in _MAKERS.items() if (drawing := make(view)) is not None}
    return list(save_all(found, run.figures, overwrite, only=only, owner=run.path).values())


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
        observed, row, until = self.observed, self.trajectory, self.run.config.train_until
        t = observed.t if observed.t.ndim == 1 else observed.t[row]
        clean = observed.y_clean
        # The file may say, too, that it holds states without errors of measurement.
        exact = clean is not None or not np.any(observed.attrs.get("noise", 1.0))
        return Comparison(
            t=t,
            observed=observed.y[row] if clean is None else clean[row],
            fitted=self.predicted.y[row],
            columns=observed.columns,
            units=observed.units,
            train_until=float(t[-1]) if until is None else until,
            time_unit=str(observed.attrs.get("time_unit", "")),
            observed_is="true" if exact else "observed",
            names=self.names,
        )

    @property
    def bodies(self) -> bool:
        """Whether the columns are bodies' positions and velocities."""
        return has_bodies(tuple(self.observed.columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bodies, by the file or counted from 1; none where there are no bodies."""
        if not self.bodies:
            return ()
        count, names = len(self.observed.columns) // 6, self.observed.attrs.get("bodies")
        if isinstance(names, list | tuple) and len(names) == count and all(isinstance(name, str) for name in names):
            return tuple(names)
        return tuple(f"body {index + 1}" for index in range(count))

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


def open_view(
    run: Run, *, data: Sequence[Path] = (), options: TableOptions | None = None, trajectory: int = 0
) -> RunView:
    """Open one trajectory of a run.

    Parameters
    ----------
    run
        The run.
    data
        The file that it was fitted to, or the files, where they have moved.
    options
        As of `draw_run`.
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
    observed, predicted = choose(_data(run, data, options), run.config), run.predictions()
    if not 0 <= trajectory < len(predicted):
        raise ConfigError(f"`trajectory` must be between 0 and {len(predicted) - 1}, got {trajectory}")
    return RunView(run, observed, predicted, trajectory)


def _data(run: Run, data: Sequence[Path], options: TableOptions | None) -> Trajectories:
    paths = tuple(data) or run.data
    for path in paths:
        if not path.exists():
            raise DataError(f"the data of {run.path}, {path}, are gone; name the file where they are now (--data)")
    found = read_data(paths, options=options or run.table)
    if digest(found) != run.digest:
        raise DataError(f"{paths[0]} does not hold the numbers that {run.path} was fitted to")
    return found


Drawing = Callable[..., "Figure"]
"""Returns the figure; takes ``path=``, too, and writes it there."""


def _orbits(view: RunView) -> Drawing | None:
    return partial(plot_orbits, view.comparison) if view.bodies or len(view.observed.columns) == 3 else None


def _phase_portrait(view: RunView) -> Drawing | None:
    if view.bodies:
        return partial(plot_phase_planes, view.comparison)
    return partial(plot_phase_portrait, view.comparison) if len(view.observed.columns) == 2 else None


def _series(view: RunView) -> Drawing | None:
    others = view.bodies or len(view.observed.columns) in (2, 3)
    return None if others else partial(plot_series, view.comparison)


def _loss(view: RunView) -> Drawing:
    config = view.run.config
    return partial(plot_history, view.run.history(), title=f"Loss, {config.rhs} with {config.optimizer}")


def _constants(view: RunView) -> Drawing | None:
    history = view.run.history()
    if not any(line.get("constants") for line in history):
        return None
    elements: dict[str, dict[int, float | None]] = {}
    units: dict[str, str] = {}
    for row in view.run.report()["constants"]:
        name, index = parse_target(row["name"])
        elements.setdefault(name, {})[index or 0] = row["true"]
        units[name] = row["unit"]
    if not elements:
        return None
    labels = {"masses": view.names} if view.names else {}
    return partial(plot_constants, history, elements=elements, units=units, labels=labels)


def _residuals(view: RunView) -> Drawing | None:
    sigma, found = view.sigma, view.residuals
    counted = observed_columns(tuple(view.observed.columns), view.run.config.loss)
    groups = _groups(view, counted & np.isfinite(found).any(axis=0))
    if not groups:
        return None
    return partial(
        plot_residuals,
        view.comparison.t,
        found if sigma is None else found / sigma,
        groups,
        train_until=view.comparison.train_until,
        standardised=sigma is not None,
        time_unit=view.comparison.time_unit,
    )


def _drift(view: RunView) -> Drawing | None:
    invariants = _invariants(view)
    if not invariants:
        return None
    shown = view.comparison
    return partial(plot_drift, shown.t, invariants, train_until=shown.train_until, time_unit=shown.time_unit)


def _residual_force(view: RunView) -> Drawing | None:
    if view.run.config.rhs != "hybrid":
        return None
    rhs, shown = fitted_rhs(view.run, view.observed), view.comparison
    if not isinstance(rhs, Hybrid):
        return None
    learnt, missing = residual_parts(rhs, _known(view, view.observed), shown.t, shown.fitted)
    reached = np.array([name in rhs.acts_on for name in rhs.columns])
    return partial(
        plot_residual_force,
        shown.t,
        learnt,
        _groups(view, reached),
        true=missing,
        train_until=shown.train_until,
        time_unit=shown.time_unit,
    )


_MAKERS: Mapping[str, Callable[[RunView], Drawing | None]] = {
    "orbits": _orbits,
    "phase_portrait": _phase_portrait,
    "series": _series,
    "loss": _loss,
    "constants": _constants,
    "residuals": _residuals,
    "drift": _drift,
    "residual_force": _residual_force,
}
"""In the order of ``FIGURES``; None where a figure does not suit the run."""


def _groups(view: RunView, chosen: np.ndarray[Any, Any]) -> list[Group]:
    return group_columns(view.observed.columns, view.observed.units, chosen, bodies=view.names)


def _known(view: RunView, trajectories: Trajectories) -> System | None:
    """Return the physics of the trajectory with its constants; None where the file does not have all of them."""
    try:
        return known_system(trajectories, view.trajectory)
    except ConfigError:  # measured data name a system whose constants nobody knows
        return None


def _invariants(view: RunView) -> dict[str, dict[str, Any]]:
    """Return what fitted and true states conserve, each by its own constants, or by the true ones where it has none."""
    truth, fitted = _known(view, view.observed), _known(view, view.predicted)
    shown = view.comparison
    curves = {shown.model_is: _conserved(fitted or truth, shown.fitted)}
    if shown.observed_is == "true":  # errors of measurement would hide what is conserved
        curves["true"] = _conserved(truth, shown.observed)
    return {name: found for name, found in curves.items() if found}


def _conserved(system: System | None, y: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the conserved quantities along a path, (T, D); none where values that they need were never observed."""
    if system is None:
        return {}
    with torch.no_grad():
        found = system.invariants(torch.from_numpy(np.ascontiguousarray(y, dtype=np.float64)))
    return {name: values.numpy() for name, values in found.items() if bool(values.isfinite().any())}
