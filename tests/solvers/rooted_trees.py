"""Butcher's rooted trees, which number the conditions of a Runge-Kutta method's order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np


@lru_cache
def trees(order: int) -> tuple[tuple, ...]:
    """Rooted trees of so many nodes; a tree is the sorted tuple of its subtrees."""
    if order == 1:
        return ((),)
    return tuple(dict.fromkeys(tuple(sorted(forest)) for forest in forests(order - 1, order - 1)))


def forests(nodes: int, largest: int) -> Iterator[tuple]:
    if nodes == 0:
        yield ()
        return
    for size in range(min(nodes, largest), 0, -1):
        for tree in trees(size):
            for rest in forests(nodes - size, size):
                yield (tree, *rest)


def size_of(tree):
    return 1 + sum(map(size_of, tree))


def density(tree):
    return size_of(tree) * math.prod(map(density, tree))


def square(rows):
    """Rows of weights, however short, as a matrix."""
    matrix = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix
