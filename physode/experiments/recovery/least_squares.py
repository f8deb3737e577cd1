"""Cells of the recovery study that are fitted by Levenberg-Marquardt, one system after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physode.experiments.cell import one_line
from physode.experiments.recovery.systems import Systems, simulated
from physode.fitting import Fit, FitConfig, fit
from physode.rhs import ThreeBody
from physode.simulators import simulate_three_body

__all__ = ["fit_preset", "fit_systems"]


def fit_systems(*, data: Mapping[str, Any], schedule: str, sigma_known: bool) -> list[dict[str, Any]]:
    """Fit the masses of each system by itself; without noise its initial state is known, else it is fitted, too.

    Parameters
    ----------
    data
        Arguments of :func:`physode.experiments.recovery.systems.simulated`.
    schedule
        Of the fit: ``"growing"`` or ``"full"``.
    sigma_known
        Whether the fit is told the standard deviation of the noise.

    Returns
    -------
    list of dict
        One a system: ``system``, ``min_distance``, ``masses`` (true), ``start``, ``fitted``, ``errors`` (standard
        errors) and ``intervals`` (95 %), ``loss``, ``evaluations``, ``seconds`` of processor time, and ``failure``,
        None or the reason for which there is no fit. ``errors`` and ``intervals`` are None where a fit has none.
    """
    systems = simulated(**data)
    settings: dict[str, Any] = {
        "schedule": schedule,
        "train_until": data["t_end"],
        "initial_state": "fit" if data["noise"] else "known",
        "sigma": data["noise"] if sigma_known else None,
    }
    return [_fit_one(systems, index, settings) for index in range(len(systems.labels))]


def fit_preset(*, start: Sequence[float], t_end: float, points: int, train_until: float) -> dict[str, Any]:
    """Fit the masses of the preset ``"aca"`` with growing spans and over the full one at once, from the same start.

    Returns
    -------
    dict
        The ``true`` masses, and for ``"growing"`` and ``"full"`` the ``masses`` found, ``loss`` and ``evaluations``.
    """
    truth = simulate_three_body(preset="aca", t_end=t_end, points=points)
    init, found = {"masses": tuple(start)}, {}
    for schedule in ("growing", "full"):
        each = fit(truth, FitConfig(rhs="physical", schedule=schedule, train_until=train_until, init=init))
        found[schedule] = {"masses": _masses(each), "loss": each.report.loss, "evaluations": _evaluations(each)}
    return {"true": list(ThreeBody.find_preset("aca").config["masses"]), **found}


def _fit_one(systems: Systems, index: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    start = systems.starts[index].tolist()
    config = FitConfig(rhs="physical", init={"masses": tuple(start)}, trajectories=(index,), **settings)
    about = {
        "system": systems.labels[index],
        "min_distance": float(systems.distances[index]),
        "masses": systems.masses[index].tolist(),
        "start": start,
    }
    began = time.process_time()
    try:
        found = fit(systems.data, config)
    except Exception as error:  # noqa: BLE001 - whatever a fit raises is its outcome; the other systems go on
        return {**about, "failure": one_line(error), "seconds": time.process_time() - began}
    seconds = time.process_time() - began
    constants = found.report.constants
    sure = all(each.standard_error is not None and np.isfinite(each.standard_error) for each in constants)
    return {
        **about,
        "fitted": _masses(found),
        "errors": [each.standard_error for each in constants] if sure else None,
        "intervals": [each.interval for each in constants] if sure else None,
        "loss": found.report.loss,
        "evaluations": _evaluations(found),
        "ended": found.report.ended,
        "seconds": seconds,
        "failure": None,
    }


def _masses(found: Fit) -> list[float]:
    values: list[float] = found.rhs.constants["masses"].tolist()
    return values


def _evaluations(found: Fit) -> int:
    return len(found.history)
