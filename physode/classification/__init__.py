"""Image classifiers: trained, resumed, evaluated."""

from __future__ import annotations

from physode.classification.config import RECIPES, TrainConfig
from physode.classification.evaluation import Evaluation, evaluate
from physode.classification.prediction import Predicted, predict
from physode.classification.run import TrainRun, create_train_run, open_train_run
from physode.classification.state import Epoch, TrainState
from physode.classification.train import train
from physode.classification.training import Trainer

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
