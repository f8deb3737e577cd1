"""How good classifiers are, and how well repeated trainings agree.

scikit-learn (the extra ``images``) computes what it has; it is loaded when the first classifier is judged.
"""

from __future__ import annotations

from physode.metrics.averaging import Averaged, Spread, averaged
from physode.metrics.calibration import Calibration, calibrate
from physode.metrics.classification import Classification, Means, classify
from physode.metrics.curves import Curve, Curves
from physode.metrics.icc import Icc, icc
from physode.metrics.reliability import Reliability, misclassified, reliability
from physode.metrics.wilson import wilson_interval

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
    "icc",
    "misclassified",
    "reliability",
    "wilson_interval",
]
