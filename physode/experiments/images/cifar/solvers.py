"""The solvers of Tables 2, 6 and 7, and what the paper found with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NODE_OWN", "RESNET_OWN", "SOLVERS", "TABLE_6", "TABLE_7"]

_FIXED = {"Euler": "euler", "RK2": "midpoint", "RK4": "rk4"}
_ADAPTIVE = {"HeunEuler": "heun_euler", "RK23": "bosh3", "RK45": "dopri5"}
_STEPS, _TOLERANCES = (1.0, 0.5, 0.2, 0.1), (1e-1, 1e-2, 1e-3)


def _by_label(fixed: Any, adaptive: Any) -> dict[str, Any]:
    """Return entries by the solver's label, in the order of the paper's tables."""
    found = {f"{name}, step {step:g}": fixed(name, step) for name in _FIXED for step in _STEPS}
    return found | {f"{name}, {tol:g}": adaptive(name, tol) for name in _ADAPTIVE for tol in _TOLERANCES}


SOLVERS: Mapping[str, Mapping[str, Any]] = _by_label(
    lambda name, step: {"method": _FIXED[name], "step": step},
    lambda name, tol: {"method": _ADAPTIVE[name], "rtol": tol, "atol": tol},
)
"""What differs from training, by label. RK2 is the midpoint rule, as in the authors' code."""

RESNET_OWN, NODE_OWN = "Euler, step 1", "HeunEuler, 0.01"
"""The solvers that ResNet18 and NODE18 are trained with."""

_RESNET = {
    "Euler": (0.0, 1.14, 3.62, 4.84),
    "RK2": (7.69, 6.43, 6.38, 6.43),
    "RK4": (5.69, 6.31, 6.30, 6.47),
    "HeunEuler": (5.32, 6.33, 6.42),
    "RK23": (6.03, 6.31, 6.44),
    "RK45": (6.30, 6.47, 6.46),
}
_NODE = {
    "Euler": (8.31, 1.57, 0.67, 0.57),
    "RK2": (6.61, 0.57, 0.42, 0.39),
    "RK4": (1.09, 0.48, 0.39, 0.37),
    "HeunEuler": (1.29, 0.0, 0.18),
    "RK23": (0.46, 0.07, 0.40),
    "RK45": (1.75, 0.44, 0.16),
}


def _increases(table: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    return _by_label(
        lambda name, step: table[name][_STEPS.index(step)], lambda name, tol: table[name][_TOLERANCES.index(tol)]
    )


TABLE_6, TABLE_7 = _increases(_RESNET), _increases(_NODE)
"""The paper's increases of the error rate, in points, by the solver's label."""
