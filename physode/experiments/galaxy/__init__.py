"""Galaxies in five classes as in Gupta, Srijith and Desai (2022): ResNet, NODE by the adjoint method, and by ACA.

What departs from the paper, or settles what it leaves open, is in :data:`DEVIATIONS`, which every result carries.
Errors, in tables and figures, are standard errors of the mean over splits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from physode.experiments.classifiers import study_of
from physode.experiments.galaxy import examples, passes, tables
from physode.experiments.galaxy.config import Config
from physode.experiments.galaxy.curves import PrecisionRecall, Roc
from physode.experiments.galaxy.tables import Confusion
from physode.experiments.report import Deviation
from physode.experiments.study import Study

__all__ = ["DEVIATIONS", "STUDIES", "Config"]

DEVIATIONS = (
    Deviation(
        "Sect. 2, images",
        "28,790 of Galaxy Zoo 2 by Kaggle",
        "simulated galaxies in the same shares where no others are named (--data)",
        "the images may not be passed on; results on simulated ones are not comparable with the paper's",
    ),
    Deviation(
        "Sect. 5.1, sizes of the networks",
        "open, but for 0.2 and 0.6 million parameters, and convolutions before the ODE that reduce 'the number of "
        "channels'",
        "three convolutions to 64 channels of 7x7, as of Chen et al. (2018), Sect. 3",
        "they have these numbers of parameters",
    ),
    Deviation(
        "Eq. 2, time as an input of G",
        "how is open",
        "one more channel, which is t everywhere, of both convolutions",
        "as in Chen et al. (2018); the networks marked as ours have G of h alone",
    ),
    Deviation(
        "Sect. 5.1, normalisation",
        "of which kind is open",
        "batch norm",
        "it is that of He et al. (2015), whose blocks ResNet has, and of the ACA paper",
    ),
    Deviation(
        "Sect. 5.2, normalisation of the images",
        "'appropriate values'",
        "mean and standard deviation of the training images, by channel",
        "what is usual",
    ),
    Deviation(
        "Sects. 4 and 5.3, solvers",
        "open, but for Euler, Runge-Kutta and adaptive steps",
        "NODE dopri5 at 1e-3, NODE_ACA HeunEuler at 1e-2; RK4 with two steps and Euler with six",
        "the example of Chen et al. (2018), the ACA paper's choice; Euler evaluates as often as ResNet has blocks",
    ),
    Deviation(
        "Sect. 5.3, end of the training",
        "open: the rate falls at 30,000 and 60,000 updates of 256 images; Appendix A's command has 15 epochs of 64",
        "80,000 updates, 792 epochs of 25,911 images; of other numbers of images, the same shares",
        "a third phase of the second one's kind; in 15 epochs of 64 images the rate never falls",
    ),
    Deviation(
        "Sect. 5.3, dropout 0.8",
        "of what, and where, is open",
        "a fifth is left out, before the last layer",
        "taken for the share that is kept, as in Zhu et al. (2019), whose setting it is",
    ),
    Deviation("Sect. 5.3, momentum", "open", "0.9", "what is usual with such rates"),
    Deviation(
        "Table 4, Figs. 2 to 5, error bars",
        "not said what they are",
        "standard errors of the mean over splits",
        "they say how well a mean is known; the paper's text has 'average and variance'",
    ),
)
"""Where the studies depart from the paper."""

_PARTS: Mapping[str, Any] = {
    "galaxy-table1": Confusion("Table 1", "resnet"),
    "galaxy-table2": Confusion("Table 2", "node"),
    "galaxy-table3": Confusion("Table 3", "node-aca"),
    "galaxy-fig2": Roc("Fig. 2", "resnet"),
    "galaxy-fig3": Roc("Fig. 3", "node"),
    "galaxy-fig4": Roc("Fig. 4", "node-aca"),
    "galaxy-fig5": PrecisionRecall(),
}

_STUDIES = {
    **{name: study_of(Config, name, part.cells, part.aggregate, part.draw) for name, part in _PARTS.items()},
    "galaxy-table4": study_of(
        Config, "galaxy-table4", tables.merits_cells, tables.aggregate_merits, tables.draw_merits
    ),
    "galaxy-passes": study_of(Config, "galaxy-passes", passes.cells, passes.aggregate, passes.draw),
    "galaxy-fig1": study_of(Config, "galaxy-fig1", examples.cells, examples.aggregate, examples.draw),
    "galaxy-params": Study(tables.ParametersConfig, tables.draw_parameters, run=tables.count),
}

STUDIES = {name: dataclasses.replace(study, deviations=DEVIATIONS) for name, study in _STUDIES.items()}
