"""What is in a trajectory file, without holding it in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.reading import Layout, open_trajectories, read_attributes, read_layout, read_times
from physode.datasets.schema import SCHEMA_VERSION
from physode.datasets.trajectories import Array, check_times

__all__ = ["summarise"]

_BLOCK_BYTES = 1 << 24


def summarise(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a trajectory file, reading every number of it once.

    Returns
    -------
    dict
        ``path``, ``bytes``, ``schema_version``, ``trajectories``, ``times``, ``time`` (``first``, ``last``, ``unit``,
        ``shared``), ``components`` (a list of ``name``, ``unit``, ``min``, ``max``, ``missing``), ``noise_rms`` (root
        mean square of ``y - y_clean``; None without ``y_clean``), ``params`` (by name: ``shape`` of one trajectory's,
        ``unit``, ``min``, ``max``) and ``attributes``.

    Raises
    ------
    DataError
        As `read_trajectories`.
    """
    with open_trajectories(path) as file:
        layout = read_layout(file)
        t = read_times(file)
        check_times(t)
        attributes = read_attributes(file)
        units = attributes.get("param_units", {})
        return {
            "path": os.fspath(path),
            "bytes": Path(path).stat().st_size,
            "schema_version": SCHEMA_VERSION,
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
            "params": {name: _param(dataset, units.get(name, "")) for name, dataset in layout.params.items()},
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


def _param(dataset: h5py.Dataset, unit: str) -> dict[str, Any]:
    values = np.concatenate([np.ravel(block) for block in _blocks(dataset)])
    return {"shape": list(dataset.shape[1:]), "unit": unit, "min": float(values.min()), "max": float(values.max())}


def _blocks(dataset: h5py.Dataset) -> Iterator[Array]:
    """A dataset in pieces of whole trajectories, as float64; cut alike for datasets of one shape."""
    rows = max(1, _BLOCK_BYTES // (8 * int(np.prod(dataset.shape[1:], dtype=object))))
    for start in range(0, dataset.shape[0], rows):
        yield np.asarray(dataset[start : start + rows], dtype=np.float64)
