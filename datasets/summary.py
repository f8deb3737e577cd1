"""What is in a data file; HDF5 is not held in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.files import shown
from physode.datasets.formats import check_options, format_of, read_data
from physode.datasets.hdf5_file import layout_of
from physode.datasets.images.hdf5 import IMAGE_FORMAT as IMAGES
from physode.datasets.images.hdf5 import holds_images, summarise_image_file
from physode.datasets.images.outline import outline_images
from physode.datasets.series.formats import holds_series, summarise_series
from physode.datasets.series.physionet import holds_records
from physode.datasets.series.tables import suggestion
from physode.datasets.table import TableOptions
from physode.datasets.trajectories import Array, check_sigma, check_times
from physode.datasets.trajectory_file import (
    FORMAT,
    SCHEMA_VERSION,
    Layout,
    open_trajectories,
    read_attributes,
    read_layout,
    read_times,
)
from physode.errors import DataError

_BLOCK_BYTES = 1 << 24


def summarise(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a trajectory file in HDF5, reading every number of it once.

    Returns
    -------
    dict
        ``path``, ``bytes``, ``format`` (``HDF5``, ``CSV``, ``Excel``, ``MATLAB`` or ``Horizons``), ``schema_version``
        (None where it is not HDF5), ``trajectories``, ``times``, ``time`` (``first``, ``last``, ``unit``, ``shared``),
        ``components`` (a list of ``name``, ``unit``, ``min``, ``max``, ``missing``), ``noise_rms`` (root mean square of
        ``y - y_clean``; None without ``y_clean``), ``sigma`` (``min`` and ``max`` of the standard deviations; None
        without), ``params`` (by name: ``shape`` of one trajectory's, ``unit``, ``min``, ``max``), ``notes`` (what a
        reader found worth saying)
        and ``attributes``.

    Raises
    ------
    DataError
        As `read_trajectories`.
    """
    with open_trajectories(path) as file:
        layout = read_layout(file)
        t = read_times(file)
        check_times(t)
        about = {"path": os.fspath(path), "bytes": Path(path).stat().st_size, "format": "HDF5"}
        return {**about, "schema_version": SCHEMA_VERSION, **_described(layout, t, read_attributes(file))}


def summarise_data(paths: Sequence[str | os.PathLike[str]], *, options: TableOptions | None = None) -> dict[str, Any]:
    """Describe data of any kind that `read_data` reads, as `summarise` does; ``path`` joins several by commas.

    Of a folder or archive of images it is what :func:`physode.datasets.images.outline.outline_images` returns; of a
    file of images what :func:`physode.datasets.images.summarise_image_file` returns, of series (HDF5, a
    table with the columns ``series`` and ``channel``, or a folder) what
    :func:`physode.datasets.series.summarise_series` does. `options` say what is known of how a table is written; how it
    was read is ``attributes["understood"]``.

    Raises
    ------
    DataError
        As `read_data`, and of these other files as their readers.
    """
    files = [Path(path) for path in paths]
    options = options or TableOptions()
    if len(files) == 1 and not holds_records(files[0]) and (images := outline_images(files[0])) is not None:
        if options.given:
            raise DataError(f"{files[0]} holds images, in which options of tables have no part; leave them out")
        return images
    if len(files) == 1 and holds_series(files[0], options):
        return summarise_series(files[0], options=options)
    if len(files) == 1 and (form := format_of(files[0])).name == "HDF5":
        check_options(files[0], form, options)
        _check_layout(files[0])
        return summarise_image_file(files[0]) if holds_images(files[0]) else summarise(files[0])
    try:
        trajectories = read_data(files, options=options)
    except DataError as error:
        asked = asked_of(files, options, error)
        if asked is None:
            raise
        raise asked from error
    # Arrays give their shapes and slices as datasets of a file do.
    layout = Layout(
        **{name: getattr(trajectories, name) for name in ("t", "y", "y_clean", "sigma", "params", "columns", "units")}
    )
    return {
        "path": ", ".join(map(str, files)),
        "bytes": sum(path.stat().st_size for path in files),
        "format": format_of(files[0]).name,
        "schema_version": None,
        **_described(layout, trajectories.t, dict(trajectories.attrs)),
    }


def asked_of(files: Sequence[Path], options: TableOptions, error: DataError) -> DataError | None:
    """Return what to say of a table that cannot be read as trajectories, if it would make sense with ``--columns``."""
    if options.columns or len(files) != 1 or not files[0].is_file() or not format_of(files[0]).table:
        return None
    option = suggestion(files[0], options)
    if option is None:
        return None
    usual = ("is not a number", "no column of times", "name it, or remove")
    why = "" if any(words in str(error) for words in usual) else f" ({error})"
    return DataError(
        f"{files[0]} may hold series, whose columns have names of their own: say what they are, {option}{why}"
    )


def _check_layout(path: Path) -> None:
    """Refuse HDF5 that has a layout of others, and say what it holds."""
    layout = layout_of(path)
    if layout in (FORMAT, IMAGES):
        return
    try:
        with h5py.File(path, "r") as file:
            names = ", ".join(shown(name) for name in list(file)[:10]) or "nothing"
    except (OSError, RuntimeError):  # damaged: its reader says how
        return
    what = "" if layout is None else f" of {shown(layout)}"
    raise DataError(
        f"{path} is HDF5{what}, not one of trajectories, series or images of physode; it holds {names}; docs/data.md "
        "shows how to write one"
    )


def _described(layout: Layout, t: Array, attributes: dict[str, Any]) -> dict[str, Any]:
    units = attributes.get("param_units", {})
    notes = attributes.pop("notes") if isinstance(attributes.get("notes"), list) else []
    return {
        "trajectories": layout.y.shape[0],
        "times": layout.y.shape[1],
        "time": {
            "first": float(t[..., 0].min()),
            "last": float(t[..., -1].max()),
            "unit": attributes.pop("time_unit", ""),
            "shared": t.ndim == 1,
        },
        "components": _components(layout),
        "noise_rms": _noise_rms(layout),
        "sigma": _sigma(layout),
        "params": {name: _param(dataset, units.get(name, "")) for name, dataset in layout.params.items()},
        "notes": notes,
        "attributes": attributes,
    }


def _components(layout: Layout) -> list[dict[str, Any]]:
    low = np.full(len(layout.columns), np.inf)
    high = -low
    missing = np.zeros(len(layout.columns), dtype=np.int64)
    for block in _blocks(layout.y):
        absent = np.isnan(block)
        missing += absent.sum(axis=(0, 1))
        low = np.minimum(low, np.where(absent, np.inf, block).min(axis=(0, 1)))
        high = np.maximum(high, np.where(absent, -np.inf, block).max(axis=(0, 1)))
    every = layout.y.shape[0] * layout.y.shape[1]
    return [
        {
            "name": name,
            "unit": layout.units[i],
            "min": float(low[i]) if missing[i] < every else None,
            "max": float(high[i]) if missing[i] < every else None,
            "missing": int(missing[i]),
        }
        for i, name in enumerate(layout.columns)
    ]


def _noise_rms(layout: Layout) -> float | None:
    if layout.y_clean is None:
        return None
    total, count = 0.0, 0
    for observed, clean in zip(_blocks(layout.y), _blocks(layout.y_clean), strict=True):
        with np.errstate(invalid="ignore"):  # inf - inf
            difference = observed - clean
        difference = difference[~np.isnan(difference)]
        total += float(np.square(difference).sum())
        count += difference.size
    return float(np.sqrt(total / count)) if count else None


def _sigma(layout: Layout) -> dict[str, float] | None:
    if layout.sigma is None:
        return None
    low, high = np.inf, -np.inf
    for deviations, observed in zip(_blocks(layout.sigma), _blocks(layout.y), strict=True):
        check_sigma(deviations, observed, layout.columns)
        known = deviations[~np.isnan(deviations)]
        low, high = min(low, known.min(initial=np.inf)), max(high, known.max(initial=-np.inf))
    return {"min": float(low), "max": float(high)} if low <= high else None


def _param(dataset: h5py.Dataset, unit: str) -> dict[str, Any]:
    values = np.concatenate([np.ravel(block) for block in _blocks(dataset)])
    return {"shape": list(dataset.shape[1:]), "unit": unit, "min": float(values.min()), "max": float(values.max())}


def _blocks(dataset: h5py.Dataset) -> Iterator[Array]:
    """A dataset in pieces of whole trajectories, as float64; cut alike for datasets of one shape."""
    rows = max(1, _BLOCK_BYTES // (8 * int(np.prod(dataset.shape[1:], dtype=object))))
    for start in range(0, dataset.shape[0], rows):
        yield np.asarray(dataset[start : start + rows], dtype=np.float64)
