"""A trained classifier on its test images, by the solver it was trained with or another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from physode.datasets.hdf5_attributes import fixed_text
from physode.errors import ConfigError, DataError
from physode.images.data import on_device, split
from physode.images.model import Predicted, make_model, predict
from physode.images.run import TrainRun
from physode.metrics import (
    Averaged,
    Classification,
    Reliability,
    averaged,
    classify,
    misclassified,
    reliability,
    surest_mistakes,
)
from physode.models import Solver, count_parameters, ode_blocks, set_solver
from physode.models.solver import change_solver, solver_label
from physode.training.checkpoints import load_weights
from physode.training.device import usable
from physode.training.evaluation_files import evaluation_paths, writing_evaluation

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = [
    "Evaluation",
    "average_models",
    "by_model",
    "changed_solver",
    "evaluate",
    "keep_evaluation",
    "reliabilities",
    "trained_model",
]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a run's classifier is worth.

    Attributes
    ----------
    run
        The training.
    epoch
        Of the weights.
    solver
        Of the ODE blocks; None where the model has none.
    parameters
        How many numbers were learnt.
    images
        The test images.
    predicted
        Probabilities and work.
    classification
        The figures of merit.
    """

    run: TrainRun
    epoch: int
    solver: Solver | None
    parameters: int
    images: Images
    predicted: Predicted
    classification: Classification

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, without the probabilities."""
        return {
            "run": str(self.run.path),
            "model": self.run.config.model,
            "epoch": self.epoch,
            "solver": None if self.solver is None else solver_label(self.solver),
            "parameters": self.parameters,
            "samples": len(self.predicted.labels),
            "rhs_evaluations": self.predicted.rhs,
            "steps": self.predicted.steps,
            "rejected": self.predicted.rejected,
            "seconds": self.predicted.seconds,
            **self.classification.as_dict(),
            "mistakes": self.mistakes(),
        }

    def mistakes(self, most: int = 24) -> list[dict[str, Any]]:
        """Return the misclassified images of which the classifier was most sure, the surest first.

        Each has ``image``, the path of its file, or its number among the test images; ``class``; ``predicted``; and
        that class's ``probability``.
        """
        shares, labels, classes = self.predicted.probabilities, self.predicted.labels, self.run.classes
        return [
            {
                "image": self.images.name(place),
                "class": classes[labels[place]],
                "predicted": classes[shares[place].argmax()],
                "probability": float(shares[place].max()),
            }
            for place in surest_mistakes(shares, labels)[:most].tolist()
        ]


def evaluate(
    run: TrainRun,
    images: Images,
    *,
    which: str = "last",
    solver: Mapping[str, Any] | None = None,
    all_images: bool = False,
    batch: int | None = None,
    device: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Evaluation:
    """Evaluate a run's classifier.

    Parameters
    ----------
    run
        The training.
    images
        Those that it was trained on, which its settings split again; or others of the same classes.
    which
        The weights: ``"last"``, or ``"best"`` by test accuracy, which is then no unbiased figure.
    solver
        What is to be another than in training: ``method``, ``rtol``, ``atol``, ``step``.
    all_images
        Whether to test on all of `images`, not on the part that training has set aside.
    batch, device
        If others than in training.
    progress
        Told the finished share.

    Raises
    ------
    ConfigError, DataError
        If the images are of other classes, or of another file than the run was trained on where they are to be split;
        if the solver cannot be, or the model has no blocks for one.
    SolveError
        If a block cannot be integrated.
    """
    _check_images(run, images, split_again=not all_images)
    config = run.config if device is None else dataclasses.replace(run.config, device=device)
    place = usable(config.device)
    testing = images if all_images else split(images, config)[1]
    model, epoch = trained_model(run, which=which, device=device)
    if solver:
        set_solver(model, changed_solver(model, solver))
    predicted = predict(model, on_device(testing, place), config, batch=batch, progress=progress)
    blocks = ode_blocks(model)
    return Evaluation(
        run=run,
        epoch=epoch,
        solver=blocks[0].solver if blocks else None,
        parameters=count_parameters(model),
        images=testing,
        predicted=predicted,
        classification=classify(predicted.probabilities, predicted.labels, classes=run.classes),
    )


def trained_model(run: TrainRun, *, which: str = "last", device: str | None = None) -> tuple[nn.Module, int]:
    """Return a run's classifier in evaluation mode, and the epoch of its weights.

    Raises
    ------
    DataError
        If the checkpoint is missing, damaged, or another model's.
    """
    weights = run.weights(which)
    config = run.config if device is None else dataclasses.replace(run.config, device=device)
    unknown = torch.ones(3)  # the weights have the images' own moments
    model = make_model(config, len(run.classes), (unknown, unknown))
    load_weights(model, weights.model, str(run.checkpoint(which)))
    return model.eval(), weights.epoch


def changed_solver(model: nn.Module, changes: Mapping[str, Any]) -> Solver:
    """Return the solver of a model's blocks with some of it changed: :func:`physode.models.solver.change_solver`.

    Raises
    ------
    ConfigError
        If the model has no blocks, or the solver cannot be.
    """
    blocks = ode_blocks(model)
    if not blocks:
        raise ConfigError("the model has no ODE blocks, whose solver could be another one")
    return change_solver(blocks[0].solver, changes)


def _check_images(run: TrainRun, images: Images, *, split_again: bool) -> None:
    if images.classes != run.classes:
        raise DataError(
            f"the images are of the classes {', '.join(images.classes)}, {run.path} knows {', '.join(run.classes)}"
        )
    if split_again and images.digest() != run.digest:
        raise DataError(
            f"these are not the images that {run.path} was trained on, {run.data}: which of them it has seen is not "
            "known; test on all of them (--all)"
        )


def keep_evaluation(found: Evaluation, name: str, *, overwrite: bool = False) -> dict[str, Path]:
    """Write ``RUN/evaluations/NAME.json`` and ``NAME.h5``; return both.

    The HDF5 file has ``/probabilities`` (N, classes) and ``/labels`` (N,), ``/names`` (N,) where images have names, and
    the classes' names as an attribute.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    paths = evaluation_paths(found.run, name)
    with writing_evaluation(paths, found.as_dict(), overwrite=overwrite) as file:
        file.create_dataset("probabilities", data=found.predicted.probabilities, compression="gzip")
        file.create_dataset("labels", data=found.predicted.labels)
        if found.images.names:
            file.create_dataset("names", data=fixed_text(found.images.names))
        file.attrs["classes"] = list(found.run.classes)
        file.attrs["run"] = str(found.run.path)
    return paths


def by_model(found: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Sort evaluations by their models, in the order in which these come first."""
    models: dict[str, list[Evaluation]] = {}
    for each in found:
        models.setdefault(each.run.config.model, []).append(each)
    return models


def average_models(found: Sequence[Evaluation]) -> dict[str, tuple[Averaged, Sequence[Evaluation]]]:
    """Return each model's averages over its runs, and the runs."""
    return {model: (averaged([each.classification for each in runs]), runs) for model, runs in by_model(found).items()}


def reliabilities(found: Sequence[Evaluation], *, ratings: Any = "labels") -> dict[str, Reliability]:
    """Return how far the runs of each model agree, of models with two runs or more, on the same test images.

    The misclassified images are those that any run of any model gets wrong: the same ones for all models. Empty where
    the runs were tested on different images, as by different splits.
    """
    models: Mapping[str, Sequence[Evaluation]] = by_model(found)
    if len({each.images.digest() for each in found}) != 1:
        return {}
    labels = found[0].predicted.labels
    answers = {model: np.stack([each.predicted.probabilities for each in runs]) for model, runs in models.items()}
    wrong = np.any([misclassified(each.argmax(-1), labels) for each in answers.values()], axis=0)
    return {
        model: reliability(each, labels, ratings=ratings, among=wrong)
        for model, each in answers.items()
        if len(each) > 1
    }
