"""How good classifiers are, and how well repeated trainings agree.

scikit-learn (the extra ``images``) computes what it has; it is loaded when the first classifier is judged.
"""

from __future__ import annotations

from physode.metrics.averaging import Averaged, Spread, averaged
from physode.metrics.classification import (
    Calibration,
    Classification,
    Means,
    calibrate,
    classify,
    surest_mistakes,
    wilson_interval,
)
from physode.metrics.curves import Curve, Curves
from physode.metrics.reliability import Icc, Reliability, icc, misclassified, reliability
from physode.metrics.temperature import entropy, fitted_temperature, tempered

__all__ = [
    "Averaged",
    "Calibration",
    "Classification",
    "Curve",
    "Curves",
    "Icc",
    "Means",
    "Reliability",
    "Spread",
    "averaged",
    "calibrate",
    "classify",
    "entropy",
    "fitted_temperature",
    "icc",
    "misclassified",
    "reliability",
    "surest_mistakes",
    "tempered",
    "wilson_interval",
]
