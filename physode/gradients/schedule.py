r"""Where to set checkpoints when a chain of steps is walked backwards with room for few states.

With `s` states beside the first, and each step walked at most `r` times, a chain of

.. math:: \beta(s, r) = \binom{s + r}{s}

steps can be reversed (Griewank & Walther 2000, ACM Trans. Math. Softw. 26, Algorithm 799): the room of a checkpoint is
free again once all behind it is done.
"""

from __future__ import annotations

from math import comb

__all__ = ["longest", "split"]


def longest(room: int, walks: int) -> int:
    """Return how many steps can be reversed with ``room`` further states and ``walks`` walks of each step."""
    return comb(room + walks, room)


def split(steps: int, room: int) -> int:
    """Return how far from its start a chain's next checkpoint is set, so that the fewest steps are walked.

    Parameters
    ----------
    steps
        The chain's length, more than ``room + 1``: else all its states fit.
    room
        How many states beside the first may be kept, at least 1.
    """
    walks = 2
    while longest(room, walks) < steps:
        walks += 1
    return max(steps - longest(room - 1, walks), longest(room, walks - 2))
