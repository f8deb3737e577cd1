"""Where matrices fill as they are eliminated, against the elimination itself."""

from __future__ import annotations

import numpy as np
import pytest

from physode.fused.elimination import Elimination


@pytest.mark.parametrize("seed", range(5))
def test_entries_fill_where_elimination_makes_them_differ_from_zero(seed):
    rng = np.random.default_rng(seed)
    size = 9
    matrix = np.where(rng.random((size, size)) < 0.2, rng.normal(size=(size, size)), 0.0)
    places = [(int(row), int(column)) for row, column in np.argwhere(matrix)]
    matrix += 10.0 * np.eye(size)
    for k in range(size):
        matrix[k + 1 :, k] /= matrix[k, k]
        matrix[k + 1 :, k + 1 :] -= np.outer(matrix[k + 1 :, k], matrix[k, k + 1 :])
    rows = Elimination.of(size, places).rows
    assert [list(row) for row in rows] == [np.flatnonzero(row).tolist() for row in matrix]


def test_it_is_written_out_where_zeros_are_many_and_lines_are_few():
    def dense(size):
        return [(i, k) for i in range(size) for k in range(size)]

    def band(size):
        return [(i, k) for i in range(size) for k in (i - 1, i, i + 1) if 0 <= k < size]

    assert not Elimination.of(8, dense(8)).pays
    assert Elimination.of(32, band(32)).pays
    assert not Elimination.of(200, band(200) + [(199, 0), (0, 199)] + [(i, 60) for i in range(200)]).pays
