"""A table or figure of a study on images, and the settings that all of them have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.source import SIMULATED
from physode.experiments.report import Result
from physode.simulators.galaxies import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ImagesConfig", "View", "named"]

Drawn = Any


@dataclass(frozen=True)
class ImagesConfig:
    """What the settings of both studies begin with.

    Attributes
    ----------
    seed
        The first of the seeds of trainings.
    data, digest, classes
        The images' name, fingerprint and classes, see :func:`physode.experiments.images.describe`; the fingerprint of
        simulated galaxies is empty.
    images
        How many of them are used; None for all.
    width
        Of the networks; None for their own.
    preset
        ``"full"`` or ``"quick"``.
    """

    family: ClassVar[str]
    view: ClassVar[str]

    seed: int = 0
    data: str = SIMULATED
    digest: str = ""
    classes: tuple[str, ...] = CLASSES
    images: int | None = None
    width: int | None = None
    preset: str = "full"

    @property
    def name(self) -> str:
        """What the view's files are called."""
        return f"{self.view}{self._suffix}"

    @property
    def study(self) -> str:
        """The folder that all views of the study share, on these images."""
        data = re.sub(r"[^A-Za-z0-9]+", "-", self.data).strip("-")[:24] or "images"
        mark = f"-{self.digest[:8]}" if self.digest else ""
        return f"{self.family}-on-{data}{mark}{self._suffix}"

    @property
    def simulated(self) -> bool:
        """Whether the images are simulated galaxies."""
        return not self.digest

    def source(self) -> dict[str, Any]:
        """Return what decides the images, for the arguments of a cell."""
        return {"digest": self.digest, "images": self.images}

    def settings(self) -> dict[str, Any]:
        """Return the configuration for a result."""
        return asdict(self)

    @property
    def _suffix(self) -> str:
        return "" if self.preset == "full" else f"-{self.preset}"


@dataclass
class View:
    """A table or figure as :mod:`physode.experiments` has experiments: a study of cells.

    Attributes
    ----------
    Config
        Makes the configuration.
    cells
        The trainings that it needs.
    gather
        Makes the table of their outcomes.
    draw
        Makes its figures.
    """

    Config: Any
    cells: Callable[[Any], list[Cell]]
    gather: Callable[[Any, Mapping[str, Outcome]], Result]
    draw: Callable[[Result], Figure | dict[str, Figure]]


def named(config: type[ImagesConfig], view: str) -> type[ImagesConfig]:
    """Return a study's configuration as that of one of its views."""
    return type(config.__name__, (config,), {"view": view, "__doc__": config.__doc__})
