"""Evaluations in a run's folder, of whatever was trained: what their files are called, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physode import json_values
from physode.datasets.atomic_write import fill_text, replacing
from physode.datasets.provenance import provenance
from physode.training.folder import RunFolder

if TYPE_CHECKING:
    import h5py

__all__ = ["evaluation_name", "evaluation_paths", "writing_evaluation"]


def evaluation_name(
    *,
    which: str = "last",
    solver: Mapping[str, Any] | None = None,
    data: Path | None = None,
    everything: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> str:
    """Return what an evaluation's files are called: what differs from the test by the last weights as trained.

    Parameters
    ----------
    which
        The weights.
    solver, changes
        What is another than in training: of the solver, and of the task.
    data
        Other data than the training's.
    everything
        Whether all of the data are tested on, not the part for the test only.
    """
    parts = ["test" if data is None else data.name.partition(".")[0]]
    if everything:
        parts.append("all")
    if which != "last":
        parts.append(which)
    for name, value in {**(changes or {}), **(solver or {})}.items():
        parts.append(str(value) if name == "method" else f"{name}-{value:g}")
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")


def evaluation_paths(run: RunFolder, name: str) -> dict[str, Path]:
    """Return an evaluation's files by kind; they may not exist."""
    return {kind: run.path / "evaluations" / f"{name}.{kind}" for kind in ("json", "h5")}


@contextmanager
def writing_evaluation(
    paths: Mapping[str, Path], content: Mapping[str, Any], *, overwrite: bool = False
) -> Iterator[h5py.File]:
    """Write `content` as JSON, and give the HDF5 file beside it to be filled: both whole, or neither.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    from physode.datasets.hdf5_file import filling_hdf5

    paths["json"].parent.mkdir(exist_ok=True)
    with (
        replacing(paths["json"], overwrite=overwrite) as text,
        replacing(paths["h5"], overwrite=overwrite) as data,
    ):
        with filling_hdf5(data) as file:
            yield file
        fill_text(text, json_values.dumps({**content, "made": provenance()}, indent=1) + "\n")
