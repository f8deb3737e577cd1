r"""How often the masses of three bodies are found again, how honest their errors are, and what it takes.

Systems are drawn at random: masses between 0.5 and 1.5 solar masses, bound, initially at least 0.5 AU apart and within
about 1 AU, at rest as a whole (:func:`physode.simulators.simulate_three_body`). Positions are observed at 100 times in
one year. Such bodies then have gone around each other about once: the orbits bend enough to weigh all bodies, and
errors have not had the time to grow without limit, as they do after several encounters. Half of the systems have an
encounter closer than 0.1 AU, a tenth one closer than 0.01 AU; none is left out. The noise is a standard deviation in
AU, of positions that are about 1 AU in size: 0, 1e-4 and 1e-2. Fits begin at masses that are each wrong by up to half.

- The default fit (Levenberg-Marquardt, growing span) knows the initial state where there is no noise. With noise it
  fits the state with the masses, 21 unknowns, from positions alone; velocities are never observed. It does not know the
  noise's size, or, in a variant, does.
- Plain least squares sees the full span at once, from the same starts.
- Adam works at the recipe of the ACA paper's Table 8 with each of the three gradient methods. It knows the exact
  initial state at every noise.

A system counts as recovered if all three masses are right within 1 %. Coverage counts all masses of all systems, those
without an interval as not covered. Times are processor time on one thread; Adam's are those of a batch, shared out.
"""

from __future__ import annotations

from physode.experiments.recovery.aggregate import aggregate
from physode.experiments.recovery.config import Config, cells
from physode.experiments.recovery.figures import draw
from physode.experiments.study import Study

__all__ = ["STUDIES", "Config"]

STUDIES = {"recovery": Study(Config, draw, cells=cells, aggregate=aggregate)}
