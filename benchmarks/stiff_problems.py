"""Five stiff problems with published solutions, as torch systems and as functions of numpy or jax.numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from physode.rhs import Hires, Oregonator, Pollution, Robertson, System, VanDerPol

__all__ = ["PROBLEMS", "Problem", "start_of"]


@dataclass(frozen=True)
class Problem:
    """An initial value problem and its solution at the end.

    ``function(xp, t, y)`` is its right-hand side for the array module ``xp``; ``atol`` is the absolute tolerance over
    the relative one. Gradients are taken up to ``smooth_end``, before a sudden change, whose time depends on what is
    differentiated, and before components are as small as others' rounding. Solutions are those of the Test Set for IVP
    Solvers (Mazzia & Magherini, 2.4).
    """

    title: str
    system: System
    y0: tuple[float, ...]
    t_end: float
    atol: float
    reference: tuple[float, ...]
    function: Callable[[Any, Any, Any], Any]
    smooth_end: float


def _robertson(xp: Any, t: Any, y: Any) -> Any:
    slow, fastest, fast = 0.04 * y[0], 3e7 * y[1] ** 2, 1e4 * y[1] * y[2]
    return xp.stack([fast - slow, slow - fast - fastest, fastest])


def _van_der_pol(xp: Any, t: Any, y: Any) -> Any:
    return xp.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])


def _oregonator(xp: Any, t: Any, y: Any) -> Any:
    a, b, c = y[0], y[1], y[2]
    return xp.stack([77.27 * (b - a * b + a - 8.375e-6 * a * a), (c - b - a * b) / 77.27, 0.161 * (a - c)])


def _hires(xp: Any, t: Any, y: Any) -> Any:
    bound = 280.0 * y[5] * y[7] - 1.81 * y[6]
    return xp.stack(
        [
            -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
            1.71 * y[0] - 8.75 * y[1],
            -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
            8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
            -1.745 * y[4] + 0.43 * (y[5] + y[6]),
            -280.0 * y[5] * y[7] + 0.69 * (y[3] + y[6]) + 1.71 * y[4] - 0.43 * y[5],
            bound,
            -bound,
        ]
    )


_POLLUTION = Pollution()


def _pollution(xp: Any, t: Any, y: Any) -> Any:
    matrix, first, second, rates = (
        _POLLUTION.get_buffer(name).numpy() for name in ("matrix", "first", "second", "rates")
    )
    one = xp.concatenate([y, xp.ones(1)])
    return matrix @ (rates * one[first] * one[second])


def _preset(system: System, name: str = "classic") -> dict[str, Any]:
    preset = system.find_preset(name)
    return {"system": system, "y0": preset.y0, "t_end": preset.t_end}


PROBLEMS = (
    Problem(
        title="Robertson, t = 1e11",
        **_preset(Robertson()),
        atol=1e-6,
        reference=(0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050),
        function=_robertson,
        smooth_end=1e4,
    ),
    Problem(
        title="van der Pol, mu = 1000, t = 2000",
        system=VanDerPol(1000.0),
        y0=(2.0, 0.0),
        t_end=2000.0,
        atol=1e-3,
        reference=(1.706167732170483, -0.8928097010247975e-3),
        function=_van_der_pol,
        smooth_end=500.0,
    ),
    Problem(
        title="Oregonator, t = 360",
        **_preset(Oregonator()),
        atol=1e-3,
        reference=(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
        function=_oregonator,
        smooth_end=2.0,
    ),
    Problem(
        title="HIRES, t = 321.8122",
        **_preset(Hires()),
        atol=1e-4,
        reference=(
            0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
            0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
        ),
        function=_hires,
        smooth_end=321.8122,
    ),
    Problem(
        title="Pollution, t = 60",
        **_preset(_POLLUTION),
        atol=1e-6,
        reference=(
            0.5646255480022769e-01, 0.1342484130422339, 0.4139734331099427e-08, 0.5523140207484359e-02,
            0.2018977262302196e-06, 0.1464541863493966e-06, 0.7784249118997964e-01, 0.3245075353396018,
            0.7494013383880406e-02, 0.1622293157301561e-07, 0.1135863833257075e-07, 0.2230505975721359e-02,
            0.2087162882798630e-03, 0.1396921016840158e-04, 0.8964884856898295e-02, 0.4352846369330103e-17,
            0.6899219696263405e-02, 0.1007803037365946e-03, 0.1772146513969984e-05, 0.5682943292316392e-04,
        ),
        function=_pollution,
        smooth_end=60.0,
    ),
)  # fmt: skip


def start_of(problem: Problem) -> torch.Tensor:
    """Return the initial state in double precision."""
    return torch.tensor(problem.y0, dtype=torch.float64)
