"""Models of irregular time series: trained, resumed, evaluated, and asked for other times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.series.config import TASKS, SeriesConfig
    from physode.series.evaluation import SeriesEvaluation, evaluate
    from physode.series.forecaster import Forecast, Forecaster, fit
    from physode.series.run import Epoch, SeriesRun, SeriesState, create_series_run, open_series_run
    from physode.series.scores import Scores, score
    from physode.series.trainer import Trainer, train

__all__ = [
    "TASKS",
    "Epoch",
    "Forecast",
    "Forecaster",
    "Scores",
    "SeriesConfig",
    "SeriesEvaluation",
    "SeriesRun",
    "SeriesState",
    "Trainer",
    "create_series_run",
    "evaluate",
    "fit",
    "open_series_run",
    "score",
    "train",
]

import_when_used(
    __name__,
    {
        "Epoch": "run",
        "Forecast": "forecaster",
        "Forecaster": "forecaster",
        "Scores": "scores",
        "SeriesConfig": "config",
        "SeriesEvaluation": "evaluation",
        "SeriesRun": "run",
        "SeriesState": "run",
        "TASKS": "config",
        "Trainer": "trainer",
        "create_series_run": "run",
        "evaluate": "evaluation",
        "fit": "forecaster",
        "open_series_run": "run",
        "score": "scores",
        "train": "trainer",
    },
)
