"""A trained classifier applied to images whose classes nobody knows: a catalogue with honest probabilities."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.errors import ConfigError, DataError
from physode.images.data import on_device
from physode.images.evaluation import evaluate, keep_evaluation, trained_model
from physode.images.model import predict
from physode.images.run import TrainRun
from physode.metrics.temperature import entropy, fitted_temperature, tempered
from physode.summary import Described, Summary
from physode.training.device import usable
from physode.training.evaluation_files import evaluation_name, evaluation_paths

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["Catalogue", "predict_images", "temperature_of"]

_log = logging.getLogger(__name__)

_FEWEST = 30  # labelled images that a temperature is worth something with


@dataclass(frozen=True, eq=False, repr=False)
class Catalogue(Described):
    """What a classifier says of images.

    Attributes
    ----------
    names
        The images' files, or their numbers.
    classes
        Their names.
    probabilities
        Of each class, (N, classes), at the temperature.
    temperature
        What the network's own probabilities were calibrated by (:mod:`physode.metrics.temperature`); None where that
        could not be.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray[Any, Any]
    temperature: float | None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row an image: name, class, its probability, the entropy of all in bits, and each class's."""
        likeliest, bits = self.probabilities.argmax(1), entropy(self.probabilities)
        for name, number, uncertainty, shares in zip(self.names, likeliest, bits, self.probabilities, strict=True):
            each = {f"p({label})": float(share) for label, share in zip(self.classes, shares, strict=True)}
            answer = {"class": self.classes[number], "probability": float(shares[number])}
            yield {"image": name, **answer, "entropy_bits": float(uncertainty), **each}

    def counts(self) -> dict[str, int]:
        """Return how many images each class is the likeliest of."""
        found = np.bincount(self.probabilities.argmax(1), minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    @property
    def summary(self) -> Summary:
        """Images by class, and how sure the classifier is."""
        sure = np.median(self.probabilities.max(1))
        how = "not calibrated" if self.temperature is None else f"temperature {self.temperature:.3g}"
        rows = tuple((name, str(count)) for name, count in self.counts().items())
        facts = {"median probability": f"{sure:.3f}", "probabilities": how}
        return Summary(f"Catalogue of {len(self.names)} images", facts, ("class", "images"), rows)


def predict_images(
    run: TrainRun,
    images: Images,
    *,
    which: str = "last",
    temperature: float | None = None,
    batch: int | None = None,
    device: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Catalogue:
    """Return what a run's classifier says of images.

    What one image gets does not depend on the others.

    Parameters
    ----------
    run
        The training.
    images
        Any, of the size that the run was trained with; labels are not looked at.
    which
        The weights, ``"last"`` or ``"best"``.
    temperature
        Of :func:`temperature_of`; None leaves the network's own probabilities.
    batch, device
        If others than in training.
    progress
        Told the finished share.

    Raises
    ------
    DataError
        If the checkpoint is missing or damaged.
    SolveError
        If a block cannot be integrated.
    """
    config = run.config if device is None else dataclasses.replace(run.config, device=device)
    model, _ = trained_model(run, which=which, device=device)
    found = predict(model, on_device(images, usable(config.device)), config, batch=batch, progress=progress)
    shares = found.probabilities if temperature is None else tempered(found.probabilities, temperature)
    names = images.names or tuple(map(str, range(len(images))))
    return Catalogue(names, run.classes, shares, temperature)


def temperature_of(
    run: TrainRun,
    *,
    which: str = "last",
    solver: Mapping[str, Any] | None = None,
    read: Callable[[Path], Images] | None = None,
) -> tuple[float | None, str]:
    """Return the temperature that makes a run's probabilities honest, and where it is from, or why there is none.

    It is found on the images that the training had set aside: from the evaluation that the run's folder has, or by one
    that is made, and kept, here.

    Parameters
    ----------
    run, which, solver
        The training, the weights, and what of the solver is another than in training.
    read
        Reads the run's images again where there is no evaluation; None does without.
    """
    name = evaluation_name(which=which, solver=solver)
    kept = evaluation_paths(run, name)["h5"]
    if not kept.exists() and read is not None and run.data.exists():
        try:
            keep_evaluation(evaluate(run, read(run.data), which=which, solver=solver), name)
        except (ConfigError, DataError) as error:
            return None, f"its test images cannot be read again: {error}"
    if not kept.exists():
        return None, f"{run.data}, whose test images they would be calibrated on, is gone"
    probabilities, labels = _evaluated(kept)
    if len(labels) < _FEWEST:
        return None, f"{len(labels)} test images are too few to calibrate on"
    return fitted_temperature(probabilities, labels), f"calibrated on {len(labels)} test images"


def _evaluated(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read an evaluation's probabilities and labels.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    from physode.datasets.hdf5_file import check_links, check_total, find_dataset, guarded_hdf5

    with guarded_hdf5(path) as file:
        check_links(file)
        probabilities, labels = find_dataset(file, "probabilities"), find_dataset(file, "labels")
        check_total(file, [probabilities, labels])
        values, truth = probabilities[()], labels[()]
    fits = values.ndim == 2 and truth.shape == values.shape[:1] and bool(np.isfinite(values).all())
    if not fits or truth.min(initial=0) < 0 or truth.max(initial=0) >= values.shape[1]:
        raise DataError(f"{path} is damaged; make it again: physode evaluate {path.parent.parent} --force")
    return values, truth
