"""The outcomes of a model's trainings as one averaged classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from physode.experiments.cells import Outcome
from physode.experiments.images.galaxy.plan import Config, line_of
from physode.experiments.images.training import probabilities_of
from physode.metrics import Averaged, averaged, classify
from physode.metrics.curves import Curve

__all__ = ["curve_of", "judged", "kept"]

Array = np.ndarray[Any, Any]


def judged(config: Config, outcomes: Mapping[str, Outcome], key: str) -> Averaged | None:
    """Return a model's averages over the splits whose trainings ended; None where none did."""
    done = line_of(config, outcomes, key).done
    found = [classify(probabilities_of(each), each["truth"], classes=config.classes) for each in done]
    return averaged(found) if found else None


def kept(name: str, curve: Curve | None) -> dict[str, Array]:
    """Return a curve as a result's series hold it."""
    if curve is None:
        return {}
    spread = np.zeros_like(curve.y) if curve.deviation is None else curve.deviation
    return {name: np.stack([curve.x, curve.y, spread]), f"{name} area": np.array([curve.area, _area_spread(curve)])}


def curve_of(name: str, series: Mapping[str, Array]) -> Curve | None:
    """Return what :func:`kept` has kept."""
    if name not in series:
        return None
    x, y, spread = series[name]
    area, deviation = series[f"{name} area"].tolist()
    several = bool(np.isfinite(deviation))
    return Curve(x, y, area, spread if several else None, deviation if several else None)


def _area_spread(curve: Curve) -> float:
    return float("nan") if curve.area_deviation is None else curve.area_deviation
