"""Simulated images of galaxies in the five classes of Galaxy Zoo.

```
galaxy.py      classes, parameters of one galaxy, random ones      profiles.py      brightness of components, arms
camera.py      the fine grid, atmosphere, noise, 8 bits            rendering.py     a galaxy and its field on the grid
simulation.py  sets of images
```
"""

from __future__ import annotations

from physode.simulators.galaxies.galaxy import CLASSES, FREQUENCIES, PARAMETERS, Galaxy
from physode.simulators.galaxies.simulation import photograph, simulate_galaxies, simulate_galaxies_with_parameters

__all__ = [
    "CLASSES",
    "FREQUENCIES",
    "PARAMETERS",
    "Galaxy",
    "photograph",
    "simulate_galaxies",
    "simulate_galaxies_with_parameters",
]
