"""Evaluations in a run's folder: the figures of merit as JSON, all probabilities as HDF5."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physode.classification.evaluation import Evaluation
from physode.classification.run import TrainRun
from physode.datasets.atomic import replacing
from physode.datasets.provenance import provenance

__all__ = ["evaluation_name", "evaluation_paths", "keep_evaluation"]


def evaluation_name(
    *,
    which: str = "last",
    solver: Mapping[str, Any] | None = None,
    data: Path | None = None,
    all_images: bool = False,
) -> str:
    """Return what an evaluation's files are called: what differs from the test by the last weights as trained."""
    parts = ["test" if data is None else data.name.partition(".")[0]]
    if all_images:
        parts.append("all")
    if which != "last":
        parts.append(which)
    for name, value in (solver or {}).items():
        parts.append(str(value) if name == "method" else f"{name}-{value:g}")
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")


def evaluation_paths(run: TrainRun, name: str) -> dict[str, Path]:
    """Return an evaluation's files by kind; they may not exist."""
    return {kind: run.path / "evaluations" / f"{name}.{kind}" for kind in ("json", "h5")}


def keep_evaluation(found: Evaluation, name: str, *, overwrite: bool = False) -> dict[str, Path]:
    """Write ``RUN/evaluations/NAME.json`` and ``NAME.h5``; return both.

    The HDF5 file has ``/probabilities`` (N, classes) and ``/labels`` (N,), and the classes' names as an attribute.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    import h5py

    paths = evaluation_paths(found.run, name)
    paths["json"].parent.mkdir(exist_ok=True)
    content: dict[str, Any] = {**found.as_dict(), "made": provenance()}
    with (
        replacing(paths["json"], overwrite=overwrite) as text,
        replacing(paths["h5"], overwrite=overwrite) as data,
    ):
        text.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with h5py.File(data, "w") as file:
            file.create_dataset("probabilities", data=found.predicted.probabilities, compression="gzip")
            file.create_dataset("labels", data=found.predicted.labels)
            file.attrs["classes"] = list(found.run.classes)
            file.attrs["run"] = str(found.run.path)
    return paths
