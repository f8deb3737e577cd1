"""A trained model of series on its test series, at one task or several, by its own solver or another one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physode.datasets.trajectories import Array
from physode.errors import ConfigError, DataError
from physode.models import LatentODE, Solver, count_parameters
from physode.models.observations import Points, Times, compact
from physode.models.solver import change_solver, solver_label
from physode.series.config import TASKS, SeriesConfig
from physode.series.data import check_points, points_of, split
from physode.series.forecaster import Forecaster
from physode.series.run import SeriesRun
from physode.series.scores import Scores, among, score
from physode.series.trainer import test_points
from physode.training.device import own_randomness, usable
from physode.training.evaluation_files import evaluation_paths, writing_evaluation

if TYPE_CHECKING:
    import h5py

    from physode.datasets.series import IrregularSeries

__all__ = [
    "SeriesEvaluation",
    "TaskEvaluation",
    "evaluate",
    "held_out_series",
    "keep_series_evaluation",
    "trained_forecaster",
]


@dataclass(frozen=True, eq=False)
class TaskEvaluation:
    """What a model is worth at one task.

    Attributes
    ----------
    scores
        The errors.
    t, y
        The test series, (N, K) and (N, K, C); NaN where nothing is observed.
    told
        Which values the model was told, (N, K, C), bool.
    mean, std
        What it says of the times that it was asked for, (N, K, C), NaN at others: its mean, and the standard deviation
        of a new observation.
    """

    scores: Scores
    t: Array
    y: Array
    told: Array
    mean: Array
    std: Array


@dataclass(frozen=True, eq=False)
class SeriesEvaluation:
    """What a run's model is worth.

    Attributes
    ----------
    run
        The training.
    forecaster
        Its model, with the solver and the settings that it was tested by.
    epoch
        Of the weights.
    series
        The test series.
    tasks
        By name.
    seconds
        That it took.
    all_series
        Whether `series` are all that were given, perhaps those of the training among them.
    """

    run: SeriesRun
    forecaster: Forecaster
    epoch: int
    series: IrregularSeries
    tasks: Mapping[str, TaskEvaluation]
    seconds: float
    all_series: bool = False

    @property
    def solver(self) -> Solver | None:
        """The solver of the latent path; None where the model has none."""
        network = self.forecaster.model.network
        return network.flow.solver if isinstance(network, LatentODE) else None

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return count_parameters(self.forecaster.model)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, without the predictions."""
        config, channels = self.forecaster.config, self.forecaster.channels
        tasks = {
            name: {**each.scores.as_dict(), "rmse": dict(zip(channels, each.scores.rmse, strict=True))}
            for name, each in self.tasks.items()
        }
        return {
            "run": str(self.run.path),
            "model": config.model,
            "epoch": self.epoch,
            "solver": None if self.solver is None else solver_label(self.solver),
            "parameters": self.parameters,
            "observed": config.observed,
            "until": config.until,
            "series": len(self.series),
            "all_series": self.all_series,
            "units": dict(zip(channels, self.forecaster.units, strict=True)),
            "tasks": tasks,
            "seconds": self.seconds,
        }


def evaluate(
    run: SeriesRun,
    series: IrregularSeries,
    *,
    which: str = "last",
    observed: float | None = None,
    solver: Mapping[str, Any] | None = None,
    device: str | None = None,
    batch: int | None = None,
    draws: int = 100,
    tasks: Sequence[str] = TASKS,
    all_series: bool = False,
    progress: Callable[[float], object] | None = None,
) -> SeriesEvaluation:
    """Evaluate a run's model.

    Parameters
    ----------
    run
        The training.
    series
        Those that it was trained on, which its settings divide again; or others of the same channels.
    which
        The weights: ``"last"``, or ``"best"`` by test error, which is then no unbiased figure.
    observed
        The share of the points that the model is told, if another than in training.
    solver
        What of the latent path's solver is to be another: ``method``, ``rtol``, ``atol``, ``step``.
    device, batch
        If others than in training.
    draws
        From the posterior, for the log-likelihood and the standard deviations.
    tasks
        What is asked of the model, any of ``TASKS``; it need not be what it was trained for.
    all_series
        Whether to test on all of `series`, not on the part that training has set aside.
    progress
        Told the finished share.

    Raises
    ------
    ConfigError, DataError
        If the series are of other channels, or of another file than the run was trained on where they are to be
        divided; if a setting or the solver cannot be, or the model has no latent path for one.
    SolveError
        If a path cannot be integrated.
    """
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1, got {draws}")
    begin = time.perf_counter()
    config = dataclasses.replace(
        run.config,
        observed=run.config.observed if observed is None else observed,
        batch=run.config.batch if batch is None else batch,
    )
    posed = {task: dataclasses.replace(config, task=task) for task in tasks}
    testing = held_out_series(run, series, all_series=all_series)
    forecaster = trained_forecaster(run, which=which, solver=solver, device=device)
    forecaster = dataclasses.replace(forecaster, config=config)
    points = forecaster.model_points(points_of(testing))
    found = {}
    for done, (task, asked) in enumerate(posed.items()):
        found[task] = _at_task(forecaster, points, asked, draws=draws)
        if progress is not None:
            progress((done + 1) / len(posed))
    epoch = run.state(which).epoch
    return SeriesEvaluation(run, forecaster, epoch, testing, found, time.perf_counter() - begin, all_series)


def held_out_series(run: SeriesRun, series: IrregularSeries, *, all_series: bool = False) -> IrregularSeries:
    """Return the series that a run's training has set aside; or all that have enough points.

    Raises
    ------
    DataError
        If they are of other channels than the run's, or, to be divided again, others than it was trained on.
    """
    if set(series.channels) != set(run.channels):
        raise DataError(
            f"the series have the channels {', '.join(series.channels)}, {run.path} knows {', '.join(run.channels)}"
        )
    series = series.of_channels(run.channels)
    if all_series:
        return check_points(series, run.config.min_points)
    if series.digest() != run.digest:
        raise DataError(
            f"these are not the series that {run.path} was trained on, {run.data}: which of them it has seen is not "
            "known; test on all of them (physode evaluate --all)"
        )
    return split(series, run.config)[1]


def trained_forecaster(
    run: SeriesRun, *, which: str = "last", solver: Mapping[str, Any] | None = None, device: str | None = None
) -> Forecaster:
    """Return a run's model, with another solver of its latent path where one is given.

    Raises
    ------
    ConfigError, DataError
        If its checkpoint is missing or damaged, the solver cannot be, or the model has no latent path for one.
    """
    place = usable(run.config.device if device is None else device)
    forecaster = Forecaster.of_run(run, which=which, device=str(place))
    if solver:
        network = forecaster.model.network
        if not isinstance(network, LatentODE):
            raise ConfigError(f"the model {run.config.model} has no latent path, whose solver could be another one")
        network.flow.solver = change_solver(network.flow.solver, solver)
    return forecaster


def _at_task(forecaster: Forecaster, points: Points, config: SeriesConfig, *, draws: int) -> TaskEvaluation:
    model = forecaster.model
    told, target = test_points(points, config)
    with own_randomness(0, points.t.device):
        scores = score(model, told, target, batch=config.batch, draws=draws)
        mean, std = _predicted(forecaster, told, target, batch=config.batch, draws=draws)
    known, asked = (_array(among(points.t, each) & points.used) for each in (told, target))
    used, there = _array(points.used), _array(points.mask)
    return TaskEvaluation(
        scores=scores,
        t=np.where(used, _array(points.t), np.nan),
        y=np.where(there, _array(points.x), np.nan),
        told=known[..., None] & there,
        mean=_placed(mean, asked, target),
        std=_placed(std, asked, target),
    )


def _placed(values: Array, asked: Array, target: Points) -> Array:
    """Return values at the target's places (N, Q, C) at those of the series that were asked for, NaN elsewhere."""
    found = np.full((*asked.shape, values.shape[-1]), np.nan)
    found[asked] = values[_array(target.used)]
    return found


def _array(values: torch.Tensor) -> Array:
    found: Array = values.cpu().numpy()
    return found


@torch.no_grad()
def _predicted(forecaster: Forecaster, told: Points, target: Points, *, batch: int, draws: int) -> tuple[Array, Array]:
    """Return mean and standard deviation of new observations at the target's places, (N, Q, C)."""
    parts = []
    for rows in torch.split(torch.arange(len(target.t), device=target.t.device), batch):
        times = Times(*(each[rows] for each in target.times))
        found = forecaster.model.predict(compact(told.rows(rows)), times, draws=draws)
        spread = found.draws.var(0, correction=0) + forecaster.model.sigma.square()
        parts.append((found.mean, spread.sqrt()))
    mean, std = (torch.cat(each).double().cpu().numpy() for each in zip(*parts, strict=True))
    return mean, std


_DESCRIPTIONS = {
    "t": "times of the test series, NaN behind the last one",
    "y": "observed values, NaN where one is missing",
    "told": "1 where the model was told the value",
    "mean": "predictions at the times that were asked for, NaN at others",
    "std": "standard deviations of new observations there",
}


def keep_series_evaluation(found: SeriesEvaluation, name: str, *, overwrite: bool = False) -> dict[str, Path]:
    """Write ``RUN/evaluations/NAME.json`` and ``NAME.h5``; return both.

    The HDF5 file has a group a task with ``t`` (N, K), ``y``, ``told``, ``mean`` and ``std`` (N, K, C), in the data's
    units; the file's attributes name series, channels, units and the run.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    paths = evaluation_paths(found.run, name)
    with writing_evaluation(paths, found.as_dict(), overwrite=overwrite) as file:
        file.attrs["run"] = str(found.run.path)
        for word, values in (
            ("series", found.series.names),
            ("channels", found.forecaster.channels),
            ("units", found.forecaster.units),
        ):
            file.attrs[word] = list(values)
        file.attrs["time_unit"] = found.run.time_unit
        for task, each in found.tasks.items():
            _put(file.create_group(task), each)
    return paths


def _put(group: h5py.Group, found: TaskEvaluation) -> None:
    for name, about in _DESCRIPTIONS.items():
        dataset = group.create_dataset(name, data=getattr(found, name), compression="gzip")
        dataset.attrs["description"] = about
