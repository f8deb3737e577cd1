"""The cells of both studies: one classifier trained, and tested by its own solver and by others."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from physode.errors import ConfigError, DataError, SolveError
from physode.experiments.images.source import load
from physode.images import (
    Predicted,
    TrainConfig,
    Trainer,
    TrainRun,
    create_train_run,
    open_train_run,
    predict,
    train,
)
from physode.images.data import DeviceImages, on_device, split
from physode.images.evaluation import changed_solver
from physode.models import count_parameters, set_solver

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["probabilities_of", "train_and_test"]

_log = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

_DIGITS = 6  # of a logarithm of a probability


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
        Arguments of :func:`physode.experiments.images.source.load` but for `path`.
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
    trainer, history = _trained(images, config, run)
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


def _trained(images: Images, config: TrainConfig, folder: str | None) -> tuple[Trainer, list[dict[str, Any]]]:
    if folder is None:
        history: list[dict[str, Any]] = []
        return train(images, config, on_epoch=lambda epoch, _: history.append(asdict(epoch))), history
    run = _begun(Path(folder), images, config)
    if run is not None:
        try:
            return train(images, config, run=run, resume=True), run.history()
        except DataError as error:
            _log.warning("%s: the training begins again", error)
    run = create_train_run(
        Path(folder),
        config,
        dataset="images",
        size=images.x.shape[-1],
        data=Path(folder),
        classes=images.classes,
        digest=images.digest(),
        overwrite=True,
    )
    return train(images, config, run=run), run.history()


def _begun(folder: Path, images: Images, config: TrainConfig) -> TrainRun | None:
    """Return the same training where it was begun before."""
    try:
        run = open_train_run(folder)
    except ConfigError:
        return None
    same = dataclasses.replace(run.config, device=config.device) == config and run.digest == images.digest()
    return run if same else None


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
