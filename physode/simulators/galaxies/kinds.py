"""The five classes of galaxies, how frequent they are, and which galaxies are for testing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["CIGAR", "CLASSES", "EDGE_ON", "FREQUENCIES", "IN_BETWEEN", "ROUND", "SPIRAL", "labels", "test_split"]

CLASSES = ("completely round", "in-between", "cigar-shaped", "edge-on", "spiral")
"""Names by class number."""

ROUND, IN_BETWEEN, CIGAR, EDGE_ON, SPIRAL = range(5)

FREQUENCIES = (8434, 8069, 578, 3903, 7806)
"""Galaxies of each class in the data of Gupta et al. 2022 (Sect. 2), 28,790 in all."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def labels(count: int, *, seed: int, balanced: bool) -> NDArray[np.int64]:
    r"""Return the class of each galaxy: (count,).

    Let :math:`v_i = u + i g \bmod 1`, with `g` the golden ratio's fraction and `u` given by the seed, and divide
    :math:`[0, 1)` into the classes' shares: galaxy `i` has the class in whose part :math:`v_i` lies. These points are
    spread so evenly that every beginning of the sequence has the classes in their shares, to a few galaxies, and galaxy
    `i` does not depend on how many follow.

    Parameters
    ----------
    count
        Number of galaxies.
    seed
        Where the sequence begins.
    balanced
        All classes equally frequent, in place of `FREQUENCIES`.
    """
    shares = np.ones(len(CLASSES)) if balanced else np.array(FREQUENCIES, dtype=np.float64)
    edges = np.cumsum(shares) / shares.sum()
    start = np.random.default_rng(seed).uniform()
    points = (start + _GOLDEN * np.arange(count)) % 1.0
    return np.searchsorted(edges[:-1], points, side="right").astype(np.int64)


def test_split(y: NDArray[np.int64], *, fraction: float) -> NDArray[np.bool_]:
    """Return which galaxies are for testing: the same share of each class, to one galaxy.

    Of a class's galaxies in their order, the test galaxies are evenly spaced: number `k` is one if a multiple of
    ``1 / fraction`` lies in (k + 1/2, k + 3/2]. Galaxies of a class are independent, so that this is a fair sample.

    Parameters
    ----------
    y
        Classes, (N,).
    fraction
        Share of the test galaxies, from 0 to below 1.
    """
    chosen = np.zeros(len(y), dtype=bool)
    for label in range(len(CLASSES)):
        (members,) = np.nonzero(y == label)
        passed = np.floor((np.arange(len(members) + 1) + 0.5) * fraction)
        chosen[members] = np.diff(passed) > 0
    return chosen
