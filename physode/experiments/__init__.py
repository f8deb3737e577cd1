"""One module a figure or table of the papers: a frozen configuration in, rows and findings out.

Every module here has ``Config``, frozen, with a seed; it may have ``quick(**changes)``, which returns the settings of a
shorter version. An experiment has ``run(config, progress=None) -> Result`` and ``draw(result) -> Figure``. A study of
independent cells has ``cells(config) -> list[Cell]`` instead of ``run``, then ``gather(config, outcomes) -> Result``;
its ``draw(result)`` returns figures by name, and ``Config.name`` is what its files are called. Either is run by
:mod:`physode.experiments.study`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["EXPERIMENTS", "find_experiment"]

EXPERIMENTS = {
    "fig4": "ACA paper, Figs. 4 and 9: van der Pol, forward and in reverse",
    "fig5": "ACA paper, Fig. 5: an image sent through a convolution and back",
    "fig6": "ACA paper, Fig. 6: errors of the three gradient methods on dz/dt = k z",
    "table5": "ACA paper, Table 5, Figs. 8 and 13-23: three bodies, with less and with more physics",
    "recovery": "masses of random three-body systems recovered: shares, coverage of intervals, time",
}
"""The experiments by name; each is the module ``physode.experiments.<name>``."""


def find_experiment(name: str) -> ModuleType:
    """Import the experiment called ``name``.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"`name` must be one of {', '.join(EXPERIMENTS)}; got {name!r}")
    return importlib.import_module(f"physode.experiments.{name}")
