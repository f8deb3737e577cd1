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

from physode.experiments.images.galaxy import merits, params
from physode.experiments.images.galaxy.confusion import Confusion
from physode.experiments.images.galaxy.curves import PrecisionRecall, Roc
from physode.experiments.images.galaxy.plan import Config
from physode.experiments.images.view import View, named

__all__ = ["VIEWS", "Config"]

_MODELS = ("resnet", "node", "node-aca")


def _view(name: str, part: Any) -> View:
    return View(named(Config, f"galaxy-{name}"), part.cells, part.gather, part.draw)


VIEWS: Mapping[str, Any] = {
    **{
        f"table{number}": _view(f"table{number}", Confusion(f"Table {number}", model))
        for number, model in enumerate(_MODELS, start=1)
    },
    "table4": _view("table4", merits),
    **{
        f"fig{number}": _view(f"fig{number}", Roc(f"Fig. {number}", model))
        for number, model in enumerate(_MODELS, start=2)
    },
    "fig5": _view("fig5", PrecisionRecall()),
    "params": params,
}
"""The views by name."""
