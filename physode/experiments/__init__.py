"""One file a figure of the papers: a frozen configuration in, rows and findings out.

Every module here has ``Config`` (frozen, with a seed), ``run(config, progress=None) -> Result`` and
``draw(result) -> Figure``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["EXPERIMENTS", "find_experiment"]

EXPERIMENTS = {
    "fig4": "ACA paper, Figs. 4 and 9: van der Pol, forward and in reverse",
    "fig5": "ACA paper, Fig. 5: an image sent through a convolution and back",
    "fig6": "ACA paper, Fig. 6: errors of the three gradient methods on dz/dt = k z",
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
