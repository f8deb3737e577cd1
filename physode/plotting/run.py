"""All figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from physode.datasets import Trajectories, read_trajectories
from physode.errors import ConfigError, DataError
from physode.plotting.curves import plot_history
from physode.plotting.drift import plot_drift
from physode.plotting.trajectories import Comparison, plot_orbits, plot_phase_portrait, plot_series
from physode.rhs import System
from physode.training.build import known_system
from physode.training.data import choose, digest, has_bodies
from physode.training.run import Run

__all__ = ["compare", "draw_run"]


def draw_run(run: Run, *, data: Path | None = None, trajectory: int = 0, overwrite: bool = False) -> list[Path]:
    """Draw a run's figures into its folder: trajectories, loss, and drift where the system conserves something.

    Parameters
    ----------
    run
        The run.
    data
        The file that it was fitted to, where that has moved.
    trajectory
        Which of the fitted trajectories to draw.
    overwrite
        Whether to replace figures.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If the data are missing or others than were fitted, the fit has not ended, or a figure exists.
    ConfigError
        If there is no such trajectory.
    """
    run.report()  # says so where the fit has not ended
    observed, predicted = choose(_data(run, data), run.config), run.predictions()
    if not 0 <= trajectory < len(predicted):
        raise ConfigError(f"`trajectory` must be between 0 and {len(predicted) - 1}, got {trajectory}")
    comparison = compare(observed, predicted, trajectory=trajectory, train_until=run.config.train_until)
    names = [_trajectory_figure(comparison), "loss"]
    invariants = _invariants(observed, predicted, trajectory)
    if any(invariants.values()):
        names.append("drift")
    paths = {name: run.figures / f"{name}.png" for name in names}
    standing = [path for path in paths.values() if path.exists()]
    if standing and not overwrite:
        raise DataError(f"{standing[0]} exists already; overwrite it (--force on the command line)")
    run.figures.mkdir(exist_ok=True)
    _DRAWINGS[names[0]](comparison, path=paths[names[0]])
    plot_history(run.history(), title=f"Loss, {run.config.rhs} with {run.config.optimizer}", path=paths["loss"])
    if "drift" in paths:
        plot_drift(
            comparison.t,
            invariants,
            train_until=comparison.train_until,
            time_unit=comparison.time_unit,
            path=paths["drift"],
        )
    return list(paths.values())


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
        observed_is="observed" if clean is None and "system" not in observed.attrs else "true",
    )


_DRAWINGS = {"orbits": plot_orbits, "phase_portrait": plot_phase_portrait, "series": plot_series}


def _trajectory_figure(comparison: Comparison) -> str:
    if has_bodies(tuple(comparison.columns)) or len(comparison.columns) == 3:
        return "orbits"
    return "phase_portrait" if len(comparison.columns) == 2 else "series"


def _data(run: Run, data: Path | None) -> Trajectories:
    path = run.data if data is None else data
    if not path.exists():
        raise DataError(f"the data of {run.path}, {path}, are gone; name the file where they are now (--data)")
    found = read_trajectories(path)
    if digest(found) != run.digest:
        raise DataError(f"{path} does not hold the numbers that {run.path} was fitted to")
    return found


def _invariants(observed: Trajectories, predicted: Trajectories, trajectory: int) -> dict[str, dict[str, Any]]:
    """Return what fitted and true states conserve, each by its own constants, or by the true ones where it has none."""
    truth, fitted = known_system(observed, trajectory), known_system(predicted, trajectory)
    curves = {"fitted": (predicted.y, fitted or truth)}
    if observed.y_clean is None and not observed.attrs.get("noise"):
        curves["true"] = (observed.y, truth)
    elif observed.y_clean is not None:
        curves["true"] = (observed.y_clean, truth)
    return {name: _conserved(system, y[trajectory]) for name, (y, system) in curves.items() if system is not None}


def _conserved(system: System, y: np.ndarray[Any, Any]) -> dict[str, Any]:
    with torch.no_grad():
        found = system.invariants(torch.from_numpy(np.ascontiguousarray(y, dtype=np.float64)))
    return {name: values.numpy() for name, values in found.items()}
