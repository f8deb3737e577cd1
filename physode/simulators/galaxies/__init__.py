"""Simulated images of galaxies in the five classes of Galaxy Zoo.

```
kinds.py          classes, how frequent they are, test galaxies
galaxy.py         the parameters of one galaxy      drawing.py        drawn for each class
profiles.py       brightness of components          spiral.py         arms and star-forming regions
plane.py          the fine grid                     rendering.py      a galaxy on it
surroundings.py   stars and neighbours              camera.py         atmosphere, noise, 8 bits
simulation.py     sets of images
```
"""

from __future__ import annotations

from physode.simulators.galaxies.galaxy import PARAMETERS, Galaxy
from physode.simulators.galaxies.kinds import CLASSES, FREQUENCIES
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
