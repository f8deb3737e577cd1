"""Image classifiers: trained, resumed, evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.images.config import RECIPES, TrainConfig
    from physode.images.evaluation import Evaluation, evaluate
    from physode.images.export import Exported, export_classifier
    from physode.images.model import Predicted, predict
    from physode.images.prediction import Catalogue, predict_images
    from physode.images.run import Epoch, TrainRun, TrainState, create_train_run, open_train_run
    from physode.images.trainer import Trainer, epoch_seconds, train

__all__ = [
    "RECIPES",
    "Catalogue",
    "Epoch",
    "Evaluation",
    "Exported",
    "Predicted",
    "TrainConfig",
    "TrainRun",
    "TrainState",
    "Trainer",
    "create_train_run",
    "epoch_seconds",
    "evaluate",
    "export_classifier",
    "open_train_run",
    "predict",
    "predict_images",
    "train",
]

import_when_used(
    __name__,
    {
        "Catalogue": "prediction",
        "Epoch": "run",
        "Evaluation": "evaluation",
        "Exported": "export",
        "Predicted": "model",
        "RECIPES": "config",
        "TrainConfig": "config",
        "TrainRun": "run",
        "TrainState": "run",
        "Trainer": "trainer",
        "create_train_run": "run",
        "epoch_seconds": "trainer",
        "evaluate": "evaluation",
        "export_classifier": "export",
        "open_train_run": "run",
        "predict": "model",
        "predict_images": "prediction",
        "train": "trainer",
    },
)
