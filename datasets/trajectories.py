"""Sampled solutions of one system: what simulators make, fits take and data files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from physode.errors import DataError

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Trajectories:
    """N solutions of one system, each observed at T times in D components.

    Attributes
    ----------
    t
        Times, float64, (T,) where all trajectories share them or (N, T); strictly rising or falling.
    y
        States as observed, (N, T, D), float32 or float64. NaN marks a missing value.
    y_clean
        The same states before observation noise was added, or None where that is not known.
    params
        True constants of each trajectory by name, each (N, ...). May be empty.
    columns
        Names of the D components.
    units
        Units of the D components, ``""`` for a pure number.
    attrs
        How the data came about: ``system``, ``rhs`` (a dict of constructor arguments), ``method``, ``rtol``, ``atol``,
        ``seed``, ``noise``, ... Values are what JSON can say, and NumPy arrays of numbers. Three names have a place of
        their own in a file: ``time_unit``, ``param_units`` (a dict by parameter) and ``param_descriptions`` (likewise).
    sigma
        Standard deviations of the values in `y`, (N, T, D), positive, or None where none is known. A component has one
        for each of its known values, or none at all (NaN throughout). It may be NaN where `y` is.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or are not numbers.
    """

    t: Array
    y: Array
    y_clean: Array | None = None
    params: dict[str, Array] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    sigma: Array | None = None

    def __post_init__(self) -> None:
        for name, states in (("y", self.y), ("y_clean", self.y_clean), ("sigma", self.sigma)):
            if states is not None:
                _check_dtype(
                    name, states, "f", "real float32 or float64 numbers; split complex states into two components"
                )
        _check_dtype("t", self.t, "f", "float64 numbers")
        for name, values in self.params.items():
            _check_dtype(f"params[{name!r}]", values, "fiub", "real numbers")
        check_shapes(
            t=self.t.shape,
            y=self.y.shape,
            y_clean=None if self.y_clean is None else self.y_clean.shape,
            sigma=None if self.sigma is None else self.sigma.shape,
            params={name: values.shape for name, values in self.params.items()},
            columns=self.columns,
            units=self.units,
        )
        check_times(self.t)
        if self.sigma is not None:
            check_sigma(self.sigma, self.y, self.columns)

    def __len__(self) -> int:
        """The number of trajectories, N."""
        return int(self.y.shape[0])


def check_shapes(
    *,
    t: Shape,
    y: Shape,
    y_clean: Shape | None,
    sigma: Shape | None,
    params: Mapping[str, Shape],
    columns: Sequence[str],
    units: Sequence[str],
) -> None:
    """Raise `DataError` unless shapes and names go together as those of one `Trajectories`."""
    if len(y) != 3 or 0 in y:
        raise DataError(f"`y` must have the shape (trajectories, times, components), none of them 0, got {y}")
    samples, times, components = y
    for name, found in (("y_clean", y_clean), ("sigma", sigma)):
        if found is not None and found != y:
            raise DataError(f"`{name}` must have the shape of `y`, {y}, got {found}")
    if t not in {(times,), (samples, times)}:
        raise DataError(
            f"`t` must have the shape ({times},) or ({samples}, {times}) to go with `y` of shape {y}, got {t}"
        )
    for name, shape in params.items():
        if not name or "/" in name or name in {".", ".."}:
            raise DataError(f"`params` has a name that a file cannot hold, {name!r}; use a word without '/'")
        if not shape or shape[0] != samples or 0 in shape:
            raise DataError(
                f"`params[{name!r}]` must have one entry for each of the {samples} trajectories, got the shape {shape}"
            )
    for what, names in (("columns", columns), ("units", units)):
        if len(names) != components:
            raise DataError(
                f"`{what}` must have one entry for each of the {components} components of `y`, got {list(names)}"
            )
    if len(set(columns)) != components:
        raise DataError(f"`columns` must differ from each other, got {list(columns)}")


def check_times(t: Array) -> None:
    """Raise `DataError` unless times, (T,) or (N, T), are finite and run one way along each trajectory."""
    if not np.isfinite(t).all():
        raise DataError(f"`t` must be finite, got {t[~np.isfinite(t)][0]}")
    steps = np.diff(t, axis=-1)
    if not ((steps > 0).all(axis=-1) | (steps < 0).all(axis=-1)).all():
        raise DataError("`t` must rise or fall strictly along each trajectory; sort it, and drop repeated times")


def check_sigma(sigma: Array, y: Array, columns: Sequence[str]) -> None:
    """Raise `DataError` unless standard deviations, (N, T, D), are above 0 and go with the known values of `y`."""
    known = ~np.isnan(sigma)
    wrong = sigma[known & ~((sigma > 0) & np.isfinite(sigma))]
    if wrong.size:
        raise DataError(f"`sigma` must be above 0 and finite, got {wrong[0]}; use NaN where it is not known")
    lacking = (~known & ~np.isnan(y)).any(axis=(0, 1)) & known.any(axis=(0, 1))
    if lacking.any():
        name = columns[int(np.argmax(lacking))]
        raise DataError(f"`sigma` is NaN for some known values of {name!r}; give it for each of them, or for none")


def _check_dtype(name: str, values: object, kinds: str, wanted: str) -> None:
    if isinstance(values, np.ndarray) and values.dtype.kind in kinds and values.dtype.itemsize <= 8:
        return
    got = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
    raise DataError(f"`{name}` must be a NumPy array of {wanted}; got {got}")
