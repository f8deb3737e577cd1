"""Studies on images: the images, what all their settings begin with, and their cells, one classifier trained each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import nn

from physode.datasets.images import read_images
from physode.errors import DataError, SolveError
from physode.experiments.study import Study, StudyConfig
from physode.experiments.training import trained
from physode.images import Predicted, TrainConfig, create_train_run, open_train_run, predict, train
from physode.images.data import DeviceImages, on_device, split
from physode.images.evaluation import changed_solver
from physode.models import count_parameters, set_solver
from physode.simulators.galaxies import CLASSES, simulate_galaxies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.datasets.images import Images
    from physode.experiments.report import Result
    from physode.sweeps.cells import Cell, Outcome
    from physode.typing import Progress

Array = np.ndarray[Any, Any]

_SIMULATED = "simulated galaxies"
_ALL = 28_790  # galaxies are simulated where nothing else is said: as many as the galaxy paper has
_SEED = 0  # of the simulated galaxies, and of the choice of some images: the same ones for every training
_DIGITS = 6  # of a logarithm of a probability


@dataclass(frozen=True)
class ImagesConfig(StudyConfig):
    """What the settings of both studies begin with.

    Attributes
    ----------
    seed
        The first of the seeds of trainings.
    data, digest, classes
        The images' name, fingerprint and classes, see :func:`describe`; the fingerprint of simulated galaxies is empty.
    images
        How many of them are used; None for all.
    width
        Of the networks; None for their own.
    preset
        ``"full"`` or ``"quick"``.
    """

    family: ClassVar[str]

    seed: int = 0
    data: str = _SIMULATED
    digest: str = ""
    classes: tuple[str, ...] = CLASSES
    images: int | None = None
    width: int | None = None
    preset: str = "full"

    @property
    def folder(self) -> str:
        """The folder that all tables and figures of one paper share, on these images."""
        data = re.sub(r"[^A-Za-z0-9]+", "-", self.data).strip("-")[:24] or "images"
        mark = f"-{self.digest[:8]}" if self.digest else ""
        return f"{self.family}-on-{data}{mark}{self.suffix}"

    @property
    def simulated(self) -> bool:
        """Whether the images are simulated galaxies."""
        return not self.digest

    def source(self) -> dict[str, Any]:
        """Return what decides the images, for the arguments of a cell."""
        return {"digest": self.digest, "images": self.images}


def study_of(
    config: type[ImagesConfig],
    name: str,
    cells: Callable[[Any], list[Cell]],
    aggregate: Callable[[Any, Mapping[str, Outcome]], Result],
    draw: Callable[[Result], Figure | dict[str, Figure]],
) -> Study:
    """Return one of the tables and figures that share a configuration, and their trainings."""
    own = type(config.__name__, (config,), {"study": name, "__doc__": config.__doc__})
    return Study(own, draw, cells=cells, aggregate=aggregate, trains=True)


def describe(path: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Return what a configuration says of the images at `path`: their name, fingerprint and classes.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    images = read_images(path, progress=progress)
    return {
        "data": str(images.attrs.get("name", path.name)),
        "digest": images.digest(),
        "classes": images.classes,
    }


def load(*, digest: str, images: int | None, path: str | None) -> Images:
    """Return the images of a study, the same ones at every call.

    Parameters
    ----------
    digest
        Their fingerprint; empty for simulated galaxies.
    images
        How many of them are used, chosen at random; None for all.
    path
        Where they are; no part of what they are.

    Raises
    ------
    DataError
        If others stand at `path` by now.
    """
    if not digest:
        return _simulated(_ALL if images is None else images)
    if path is None:
        raise DataError(f"the images of fingerprint {digest[:8]} are missing; name them with `path`")
    found = _read(path, digest)
    if images is None or images >= len(found):
        return found
    order = np.random.default_rng(_SEED).permutation(len(found))[:images]
    return found.take(np.sort(order))


@functools.lru_cache(maxsize=1)
def _read(path: str, digest: str) -> Images:
    """Read images once for all cells of a process."""
    found = read_images(Path(path))
    if found.digest() != digest:
        raise DataError(f"{path} has changed since the study was planned; give the command again")
    return found


@functools.lru_cache(maxsize=1)
def _simulated(count: int) -> Images:
    return simulate_galaxies(count, seed=_SEED)


def train_and_test(
    *,
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
    tests: Sequence[Mapping[str, Any]] = (),
    all_classes: bool = False,
    path: str | None = None,
    device: str = "cpu",
    run: str | None = None,
) -> dict[str, Any]:
    """Train a classifier, and test it by its own solver and, without training it again, by others.

    Parameters
    ----------
    data
        Arguments of :func:`load` but for `path`.
    settings
        Of the training, as :meth:`physode.images.TrainConfig.from_dict` reads them.
    tests
        What is to be another in each further test: ``method``, ``rtol``, ``atol``, ``step``; ``label`` names it.
    all_classes
        Whether the probabilities of all classes are kept, or those of the right one only.
    path, device
        Where the images are, and where to compute.
    run
        Folder that keeps every epoch: a training that was killed goes on there, and one that has ended is only tested.
        It stays until who calls has kept the result.

    Returns
    -------
    dict
        ``history``, an entry an epoch; ``parameters``; ``error`` in percent by the training's own solver; ``tests``,
        by label ``error``, ``rhs`` evaluations a batch and ``seconds``, or ``failure``; ``truth`` and ``predicted``
        labels; ``right``, the probability of the right class, or ``logarithms`` of all probabilities.
    """
    images = load(**data, path=path)
    config = TrainConfig.from_dict({**settings, "device": device})
    about = {"dataset": "images", "size": images.x.shape[-1], "classes": images.classes}
    trainer, history = trained(train, images, config, run, opened=open_train_run, created=create_train_run, about=about)
    testing = on_device(split(images, config)[1], trainer.place.device)
    own = predict(trainer.model, testing, config)
    return {
        "history": history,
        "parameters": count_parameters(trainer.model),
        "error": _percent(own),
        "tests": {test["label"]: _tested(trainer.model, testing, config, test) for test in tests},
        "truth": own.labels.tolist(),
        "predicted": own.probabilities.argmax(1).tolist(),
        **_probabilities(own, all_classes=all_classes),
    }


def probabilities_of(result: Mapping[str, Any]) -> Array:
    """Return the probabilities of all classes that a cell has kept, (N, C)."""
    found: Array = np.exp(np.array(result["logarithms"]))
    return found


def _tested(model: nn.Module, testing: DeviceImages, config: TrainConfig, test: Mapping[str, Any]) -> dict[str, Any]:
    """Test by another solver; one that fails says why, and is no failure of the training."""
    set_solver(model, changed_solver(model, {name: value for name, value in test.items() if name != "label"}))
    try:
        found = predict(model, testing, config)
    except SolveError as error:
        return {"failure": " ".join(str(error).split())}
    return {"error": _percent(found), "rhs": found.rhs, "seconds": found.seconds}


def _probabilities(own: Predicted, *, all_classes: bool) -> dict[str, Any]:
    if not all_classes:
        chosen = own.probabilities[np.arange(len(own.labels)), own.labels]
        return {"right": [_short(value) for value in chosen.tolist()]}
    # Logarithms keep the order of what is nearly 1, and of what is nearly 0.
    logarithms = np.log(np.maximum(own.probabilities, np.finfo(np.float64).tiny))
    return {"logarithms": [[_short(value) for value in row] for row in logarithms.tolist()]}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _percent(found: Predicted) -> float:
    return 100.0 * (1.0 - found.accuracy)
