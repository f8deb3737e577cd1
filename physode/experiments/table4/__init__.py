r"""Table 4 and Figs. 10-12 of the ACA paper (Sect. 4.3): the hopper between its observations.

A model is told a tenth, a fifth or half of the points of sequences of MuJoCo's hopper, and reconstructs all of them.
Two recurrent networks with time gaps stand beside the Latent-ODE, whose latent path is differentiated by each of the
three gradient methods. Figures are mean squared errors, each channel divided by its range, times 100.

What the paper leaves open is settled so:

- Data are the simulator's (``physode simulate hopper``), as Rubanova et al. (2019) have them: 10,000 sequences of 100
  points, a fifth of them for the test. Which points a model is told is drawn anew in every epoch, once for the test.
- All models have the same sequences, batches, points told, epochs and optimiser (Adam, one cycle), and are of similar
  size. A seed decides initial weights, order and points told; the test is the same for all.
- Recurrent networks say what a point is before they see it, as in Rubanova et al.: nothing after it helps them. They
  step from the last point they were told to the one that is asked for. Stepping through all times of a sequence, which
  makes what they say depend on what is asked, a GRU is somewhat better and an RNN worse (`docs/reproduction.md`).
- The quick version has fewer sequences and epochs, and three seeds at 10 % only.
"""

from __future__ import annotations

from physode.experiments.table4.figures import draw
from physode.experiments.table4.gathering import gather
from physode.experiments.table4.plan import Config, cells

__all__ = ["Config", "cells", "draw", "gather"]
