"""Evaluations in a run's folder: the figures of merit as JSON, all probabilities as HDF5."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from physode.classification.evaluation import Evaluation, solver_label
from physode.datasets.atomic import replacing
from physode.datasets.provenance import provenance

__all__ = ["evaluation_name", "keep_evaluation"]


def evaluation_name(found: Evaluation, *, which: str = "last", changed: bool = False, data: Path | None = None) -> str:
    """Return what an evaluation's files are called: what differs from the test by the last weights as trained."""
    parts = ["test" if data is None else data.name.partition(".")[0]]
    if which != "last":
        parts.append(which)
    if changed and found.solver is not None:
        parts.append(solver_label(found.solver))
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")


def keep_evaluation(found: Evaluation, name: str, *, overwrite: bool = False) -> dict[str, Path]:
    """Write ``RUN/evaluations/NAME.json`` and ``NAME.h5``; return both.

    The HDF5 file has ``/probabilities`` (N, classes) and ``/labels`` (N,), and the classes' names as an attribute.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    import h5py

    folder = found.run.path / "evaluations"
    folder.mkdir(exist_ok=True)
    paths = {kind: folder / f"{name}.{kind}" for kind in ("json", "h5")}
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
