"""What a classifier answered and what was right, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]

_OFF = 0.01  # by which a row's sum may differ from 1: several times what a half-precision softmax is off


def checked_probabilities(probabilities: ArrayLike) -> Array:
    """Return probabilities (N, C) in float64 with rows that sum to 1.

    Raises
    ------
    ValueError
        If they are no table of samples and at least two classes, not finite, negative, or a row does not sum to 1.
    """
    found = np.asarray(probabilities)
    if found.ndim != 2 or found.shape[0] == 0 or found.shape[1] < 2:
        raise ValueError(
            f"`probabilities` must have one row a sample and one column a class, two classes or more; got shape "
            f"{found.shape}"
        )
    if found.dtype.kind not in "fiu":
        raise ValueError(f"`probabilities` must be numbers, got an array of {found.dtype}; convert it")
    values: Array = found.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise ValueError(
            f"`probabilities` of {broken.size} of {len(values)} samples are not finite, the first in row {broken[0]}; "
            "check whether training diverged"
        )
    sums = values.sum(axis=1)
    wrong = np.flatnonzero((values < 0).any(axis=1) | (np.abs(sums - 1.0) > _OFF))
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"`probabilities` must be at least 0 and sum to 1 in every row, row {row} sums to {sums[row]:.4g} with a "
            f"smallest value of {values[row].min():.4g}; apply softmax to a network's outputs"
        )
    scaled: Array = values / sums[:, None]
    return scaled


def checked_labels(labels: ArrayLike, *, samples: int, classes: int | None = None) -> Array:
    """Return labels (N,) as int64.

    Raises
    ------
    ValueError
        If they are not one whole number a sample, from 0 to `classes` - 1 where it is known how many there are.
    """
    found = np.asarray(labels)
    if found.shape != (samples,):
        raise ValueError(f"`labels` must be one number a sample, shape ({samples},); got shape {found.shape}")
    if found.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be whole numbers, got an array of {found.dtype}; convert it")
    outside = np.flatnonzero((found < 0) | (found >= (np.inf if classes is None else classes)))
    if outside.size:
        range_ = "at least 0" if classes is None else f"from 0 to {classes - 1}, since there are {classes} classes"
        raise ValueError(f"`labels` must be {range_}; label {outside[0]} is {found[outside[0]]}")
    return found.astype(np.int64)


def checked_classes(classes: Sequence[str] | None, *, count: int) -> tuple[str, ...]:
    """Return the classes' names; their numbers if there are none.

    Raises
    ------
    ValueError
        If there is not one name a class.
    """
    if classes is None:
        return tuple(str(index) for index in range(count))
    if len(classes) != count:
        raise ValueError(f"`classes` must hold one name for each of the {count} columns, got {len(classes)}")
    return tuple(classes)
