"""Which figures suit a run, and how each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.fitting.data import observed_columns
from physode.fitting.labels import parse_target
from physode.fitting.rhs import known_system, residual_parts
from physode.fitting.run import fitted_rhs
from physode.plotting.comparison import Group, group_columns
from physode.plotting.constants import plot_constants
from physode.plotting.curves import plot_history
from physode.plotting.drift import plot_drift
from physode.plotting.forces import plot_residual_force
from physode.plotting.names import FIGURES
from physode.plotting.phase import plot_phase_planes
from physode.plotting.residuals import plot_residuals
from physode.plotting.trajectories import plot_orbits, plot_phase_portrait, plot_series
from physode.plotting.view import RunView
from physode.rhs import Hybrid, System

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "drawings"]

Drawing = Callable[..., "Figure"]
"""Returns the figure; takes ``path=``, too, and writes it there."""


def drawings(view: RunView) -> dict[str, Drawing]:
    """Return the figures that suit a run, by name and in the order of ``FIGURES``."""
    made = {name: _MAKERS[name](view) for name in FIGURES}
    return {name: drawing for name, drawing in made.items() if drawing is not None}


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
    curves = {"fitted": _conserved(fitted or truth, shown.fitted)}
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
