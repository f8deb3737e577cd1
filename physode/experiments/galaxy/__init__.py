r"""Galaxies in five classes as in Gupta, Srijith and Desai (2022): ResNet, NODE by the adjoint method, and by ACA.

What the paper leaves open is settled so:

- The learning rate falls after 30,000 and 60,000 updates of 256 images; the end, which is not given, is at 80,000: 792
  epochs of the paper's 25,911 images. With another number of images, the shares of the training are the same.
- The dropout of 0.8, of Zhu et al. (2019), is taken for the share that is kept: a fifth is left out, before
  the last layer.
- NODE is solved by dopri5 at 1e-3, the example of Chen et al. (2018) that the network comes from; NODE_ACA by
  HeunEuler at 1e-2, as in the ACA paper. Momentum is 0.9.
- Training images are flipped, and nothing else. Splits are drawn from all images, class by class left to chance.
- Errors are standard errors of the mean over splits.
- The numbers of images of Sect. 2 are in reverse order, as the rows of Tables 1 to 3 show: 8434 are completely round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physode.experiments.classifiers import study_of
from physode.experiments.galaxy import tables
from physode.experiments.galaxy.config import Config
from physode.experiments.galaxy.curves import PrecisionRecall, Roc
from physode.experiments.galaxy.tables import Confusion
from physode.experiments.study import Study

__all__ = ["STUDIES", "Config"]

_PARTS: Mapping[str, Any] = {
    "galaxy-table1": Confusion("Table 1", "resnet"),
    "galaxy-table2": Confusion("Table 2", "node"),
    "galaxy-table3": Confusion("Table 3", "node-aca"),
    "galaxy-fig2": Roc("Fig. 2", "resnet"),
    "galaxy-fig3": Roc("Fig. 3", "node"),
    "galaxy-fig4": Roc("Fig. 4", "node-aca"),
    "galaxy-fig5": PrecisionRecall(),
}

STUDIES = {
    **{name: study_of(Config, name, part.cells, part.aggregate, part.draw) for name, part in _PARTS.items()},
    "galaxy-table4": study_of(
        Config, "galaxy-table4", tables.merits_cells, tables.aggregate_merits, tables.draw_merits
    ),
    "galaxy-params": Study(tables.ParametersConfig, tables.draw_parameters, run=tables.count),
}
