"""Checkpoints of a chain are set so that the fewest steps are walked again."""

from __future__ import annotations

from functools import cache

import pytest

from physode.gradients.checkpointing import longest, split


@cache
def fewest(steps: int, room: int) -> int:
    """The walks that a chain needs at least, by trying every place of the next checkpoint."""
    if steps <= room + 1:
        return max(0, steps - 1)
    return min(
        at + fewest(steps - at, room - 1) + fewest(at, room) for at in range(1, steps) if room > 1 or at == steps - 1
    )


def walked(steps: int, room: int) -> int:
    if steps <= room + 1:
        return max(0, steps - 1)
    at = split(steps, room)
    return at + walked(steps - at, room - 1) + walked(at, room)


@pytest.mark.parametrize("room", [1, 2, 3, 5])
def test_no_other_places_would_walk_fewer_steps(room):
    for steps in range(2, 70):
        assert walked(steps, room) == fewest(steps, room)


def test_the_longest_chain_of_three_walks_with_sixteen_states():
    assert longest(16, 1) == 17
    assert longest(16, 3) == 969
    assert walked(969, 16) <= 3 * 969
