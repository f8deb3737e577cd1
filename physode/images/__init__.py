"""Image classifiers: trained, resumed, evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.extras import import_when_used

if TYPE_CHECKING:
    from physode.images.config import RECIPES, TrainConfig
    from physode.images.evaluation import Evaluation, evaluate
    from physode.images.prediction import Predicted, predict
    from physode.images.run import TrainRun, create_train_run, open_train_run
    from physode.images.state import Epoch, TrainState
    from physode.images.train import train
    from physode.images.training import Trainer

__all__ = [
    "RECIPES",
    "Epoch",
    "Evaluation",
    "Predicted",
    "TrainConfig",
    "TrainRun",
    "TrainState",
    "Trainer",
    "create_train_run",
    "evaluate",
    "open_train_run",
    "predict",
    "train",
]

import_when_used(
    __name__,
    {
        "Epoch": "state",
        "Evaluation": "evaluation",
        "Predicted": "prediction",
        "RECIPES": "config",
        "TrainConfig": "config",
        "TrainRun": "run",
        "TrainState": "state",
        "Trainer": "training",
        "create_train_run": "run",
        "evaluate": "evaluation",
        "open_train_run": "run",
        "predict": "prediction",
        "train": "train",
    },
)
