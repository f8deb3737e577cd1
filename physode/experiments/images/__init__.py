"""The papers' experiments on images: two studies of trainings, CIFAR's and the galaxies', each seen by several views.

A view is one table or figure. It names the cells that it needs, one training each; views of one study share them, so
that none is computed twice. The cells of a study are in a folder of their own, which its images name.
"""

from __future__ import annotations

from physode.experiments.images.source import describe
from physode.experiments.images.view import View

__all__ = ["View", "describe"]
