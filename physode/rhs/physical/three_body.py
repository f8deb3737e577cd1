"""Three bodies, and the three-body problems known by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from physode.rhs.base import Preset
from physode.rhs.physical.n_body import NBody

__all__ = ["ThreeBody"]

_ACA = Preset(
    config={"masses": (1.1, 1.1, 0.9), "G": 0.20048437269236732, "velocity_scale": 7.239323869320315},
    y0=(0.0, 0.2, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0),
    t_end=1.0,
    points=1000,
    description="the unequal masses of the ACA authors' own example, in its scaled units",
)

_FIGURE_EIGHT = Preset(
    config={"masses": (1.0, 1.0, 1.0), "G": 1.0},
    y0=(
        *(0.97000436, -0.24308753, 0.0, -0.97000436, 0.24308753, 0.0, 0.0, 0.0, 0.0),
        *(0.466203685, 0.43236573, 0.0, 0.466203685, 0.43236573, 0.0, -0.93240737, -0.86473146, 0.0),
    ),
    t_end=6.32591398,
    points=1000,
    description="one period of the figure-eight choreography of equal masses (Chenciner and Montgomery 2000)",
)

_PYTHAGOREAN = Preset(
    config={"masses": (3.0, 4.0, 5.0), "G": 1.0},
    y0=(1.0, 3.0, 0.0, -2.0, -1.0, 0.0, 1.0, -1.0, 0.0) + (0.0,) * 9,
    t_end=10.0,
    points=1000,
    description="masses 3, 4, 5 at rest on a 3-4-5 triangle, with very close encounters (Burrau 1913)",
)


class ThreeBody(NBody):
    """:class:`NBody` with exactly three masses; the arguments are the same.

    Raises
    ------
    ValueError
        As :class:`NBody`, and if `masses` are not three.
    """

    name = "three_body"
    presets: ClassVar[Mapping[str, Preset]] = {
        "aca": _ACA,
        "figure-eight": _FIGURE_EIGHT,
        "pythagorean": _PYTHAGOREAN,
    }
    bodies = 3
