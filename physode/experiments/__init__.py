"""The papers' figures and tables, made again: a frozen configuration in, rows and findings out.

Each is a :class:`~physode.experiments.study.Study`: a configuration with a seed, what is computed of it, in one go or
as independent cells, the rows and findings that this makes, and the figure. A module has one or several, by name, in
its ``STUDIES``. Those of one module may share their cells.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physode.experiments.study import Study

__all__ = ["EXPERIMENTS", "ON_IMAGES", "find_experiment"]

EXPERIMENTS = {
    "table1": "ACA paper, Table 1: computation, memory and depth by gradient method, counted",
    "theorem32": "ACA paper, Theorem 3.2: the reverse solve's error on a linear equation",
    "fig4": "ACA paper, Figs. 4 and 9: van der Pol, forward and in reverse",
    "fig5": "ACA paper, Fig. 5: an image sent through a convolution and back",
    "fig6": "ACA paper, Fig. 6: errors of the three gradient methods on dz/dt = k z",
    "table4": "ACA paper, Table 4, Figs. 10-12: irregular series of the hopper, by Latent-ODE and by RNNs",
    "table5": "ACA paper, Table 5, Figs. 8 and 13-23: three bodies, with less and with more physics",
    "recovery": "masses of random three-body systems recovered: shares, coverage of intervals, time",
    "table2": "ACA paper, Table 2: error rates of NODE18 by several solvers, and of ResNets",
    "table3": "ACA paper, Table 3: how far ten trainings agree",
    "table6": "ACA paper, Table 6: ResNet18 tested by other solvers",
    "table7": "ACA paper, Table 7: NODE18 tested by other solvers",
    "fig7": "ACA paper, Fig. 7: accuracy by epoch, by time, and over runs",
    "galaxy-fig1": "galaxy paper, Fig. 1: images of each class",
    "galaxy-table1": "galaxy paper, Table 1: confusion of ResNet",
    "galaxy-table2": "galaxy paper, Table 2: confusion of NODE",
    "galaxy-table3": "galaxy paper, Table 3: confusion of NODE_ACA",
    "galaxy-table4": "galaxy paper, Table 4: accuracy, precision, completeness and F1 by class",
    "galaxy-fig2": "galaxy paper, Fig. 2: ROC of ResNet",
    "galaxy-fig3": "galaxy paper, Fig. 3: ROC of NODE",
    "galaxy-fig4": "galaxy paper, Fig. 4: ROC of NODE_ACA",
    "galaxy-fig5": "galaxy paper, Fig. 5: precision and completeness of the three networks",
    "galaxy-passes": "galaxy paper, Sects. 5.4 and 6: forward passes, time and accuracy by solver",
    "galaxy-params": "galaxy paper, Sect. 6.2: numbers of parameters",
}
"""The experiments by name, and what each is."""

ON_IMAGES = dict.fromkeys(("table2", "table3", "table6", "table7", "fig7"), "cifar") | {
    name: "galaxy" for name in EXPERIMENTS if name.startswith("galaxy-")
}
"""Those on images, and the module of each; every other one is in the module of its name."""


def find_experiment(name: str) -> Study:
    """Return the experiment called ``name``.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"`name` must be one of {', '.join(EXPERIMENTS)}; got {name!r}")
    module = importlib.import_module(f"physode.experiments.{ON_IMAGES.get(name, name)}")
    found: Study = module.STUDIES[name]
    return found
