r"""Table 5 of the ACA paper (Sect. 4.4, Appendix D): three bodies, predicted with less and more knowledge of physics.

Models learn the positions of [0, 1] and predict those of [0, 2]. An LSTM knows nothing; with the augmented input
(Eq. 33) it is told differences and distances; the NODE (Eq. 34) is one linear layer from these to accelerations,
:math:`\ddot r = \mathrm{FC}(\mathrm{Aug})`; the ODE (Eq. 32) is Newton's law with three unknown masses. NODE and ODE
are trained with each of the three gradient methods, and all by three recipes: that of the paper's Table 8, that of the
script that the authors published, and ours.

- **Data.** The authors' published example (the preset ``"aca"``), whose bodies pass at 0.05, with three
  initialisations; and systems of our own, one a seed: the example's masses, 1.1, 1.1 and 0.9, from a bound initial
  state that the simulator draws. 2,000 points on [0, 2], the 1,000 of the first half for training.
- **Ours.** The layer, or the masses, are first fitted to the data's slopes, then one epoch of L-BFGS is taken on the
  solved trajectory with the gradients of the method in question.
- **Measure.** The mean squared error of a coordinate, and of nine summed, as the script has it. The constant that
  predicts best, the mean position, has 0.037 a coordinate on the example, 0.33 summed: what is worse has learnt nothing
  on that measure. The paper's 0.16 of NODE-ACA is four times the one and half of the other.
- **Predictions** are made twice: with dopri8 at rtol 1e-9, which measures the model, and at the tolerance of training,
  which adds the solver's own error: of the example, at 1e-5, 1.6e-5 on [0, 2] at the true masses.

Where it departs from the paper stands in ``physode.experiments.table5.deviations``, and in what is written.
"""

from __future__ import annotations

from physode.experiments.study import Study
from physode.experiments.table5.aggregate import aggregate
from physode.experiments.table5.config import Config, cells
from physode.experiments.table5.deviations import DEVIATIONS
from physode.experiments.table5.figures import draw

__all__ = ["STUDIES", "Config"]

STUDIES = {"table5": Study(Config, draw, cells=cells, aggregate=aggregate, deviations=DEVIATIONS)}
