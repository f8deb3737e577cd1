"""Evaluations of classifiers in a run's folder: the figures of merit as JSON, all probabilities as HDF5."""

from __future__ import annotations

from pathlib import Path

from physode.images.evaluation import Evaluation
from physode.training.evaluations import evaluation_paths, writing_evaluation

__all__ = ["keep_evaluation"]


def keep_evaluation(found: Evaluation, name: str, *, overwrite: bool = False) -> dict[str, Path]:
    """Write ``RUN/evaluations/NAME.json`` and ``NAME.h5``; return both.

    The HDF5 file has ``/probabilities`` (N, classes) and ``/labels`` (N,), and the classes' names as an attribute.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    paths = evaluation_paths(found.run, name)
    with writing_evaluation(paths, found.as_dict(), overwrite=overwrite) as file:
        file.create_dataset("probabilities", data=found.predicted.probabilities, compression="gzip")
        file.create_dataset("labels", data=found.predicted.labels)
        file.attrs["classes"] = list(found.run.classes)
        file.attrs["run"] = str(found.run.path)
    return paths
