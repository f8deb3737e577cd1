"""Evaluations of models of series in a run's folder: the scores as JSON, all predictions as HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from physode.series.evaluation import SeriesEvaluation, TaskEvaluation
from physode.training.evaluations import evaluation_paths, writing_evaluation

if TYPE_CHECKING:
    import h5py

__all__ = ["keep_series_evaluation"]

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
