"""Models of irregular time series: trained, resumed, evaluated, and asked for other times."""

from __future__ import annotations

from physode.series.config import TASKS, SeriesConfig
from physode.series.evaluation import SeriesEvaluation, evaluate
from physode.series.forecaster import Forecast, Forecaster, fit
from physode.series.run import SeriesRun, create_series_run, open_series_run
from physode.series.scores import Scores, score
from physode.series.state import Epoch, SeriesState
from physode.series.train import train
from physode.series.training import Trainer

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
