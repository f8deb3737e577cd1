"""A trained classifier on its test images, by the solver it was trained with or another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from physode.errors import ConfigError, DataError
from physode.images.data import on_device, split
from physode.images.model import make_model
from physode.images.prediction import Predicted, predict
from physode.images.run import TrainRun
from physode.metrics import Classification, classify
from physode.models import Solver, count_parameters, ode_blocks, set_solver
from physode.training.checkpoints import load_weights
from physode.training.devices import usable
from physode.training.solvers import change_solver, solver_label

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["Evaluation", "changed_solver", "evaluate", "trained_model"]


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
        }


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
    load_weights(model, weights.model, str(run.path / "checkpoints" / f"{which}.pt"))
    return model.eval(), weights.epoch


def changed_solver(model: nn.Module, changes: Mapping[str, Any]) -> Solver:
    """Return the solver of a model's blocks with some of it changed: :func:`physode.training.solvers.change_solver`.

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
