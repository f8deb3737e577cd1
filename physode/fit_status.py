r"""How fits end, by name: whether what was found is to be trusted, and when a fit explains nothing.

Optimisers come to rest in wrong minima, too. A fit that leaves more of the data's squares than their own means leave,

.. math:: \sum_i w_i^2 (y_i - \hat y_i)^2 > \sum_i w_i^2 (y_i - \bar y_{c(i)})^2 ,

with the mean :math:`\bar y_c` of each column and weights :math:`w = 1 / \sigma` where these are known, explains
nothing: a constant fits better, whatever the optimiser says. Where residuals are of the size that sigma says they are
right all the same: there is nothing to be explained.
"""

from __future__ import annotations

import math

CONVERGED, MAX_EPOCHS, OUT_OF_TIME = "converged", "max epochs", "out of time"
NO_PROGRESS, DIVERGED, EXPLAINS_NOTHING = "no progress", "diverged", "explains nothing"
FAILED = (NO_PROGRESS, DIVERGED, EXPLAINS_NOTHING)
"""Of these, there is no fit: what is returned is the best point that was seen, the start where that is it."""

DOUBTFUL = 0.5
"""Share of the data's squares that is left, above which a fit is doubtful."""

_NAMED = (CONVERGED, OUT_OF_TIME, *FAILED)
_AGREES = 5.0  # standard deviations of chi-square


def status_of(ended: str) -> str:
    """Return the status of a fit by the sentence that says how it ended: what stands before its colon."""
    name = ended.partition(":")[0]
    return name if name in _NAMED else MAX_EPOCHS


def is_trusted(status: str) -> bool:
    """Whether a fit of this status may be used; other ones end `physode fit` with exit code 1."""
    return status not in FAILED


def held_against_data(
    ended: str, *, left: float, remedy: str, chi_square: float | None = None, freedom: int = 1
) -> str:
    """Return how a fit ended, its claim held against the data.

    Parameters
    ----------
    ended
        What the optimiser says; what has failed already, or goes on, stays as it is.
    left
        Share of the training data's squares about their means that the fit leaves; NaN where these do not vary.
    remedy
        What to do where that is too much.
    chi_square
        A degree of freedom, where standard deviations are known.
    freedom
        Degrees of freedom.

    Examples
    --------
    >>> status_of(held_against_data("converged: the loss no longer falls", left=1.25, remedy="start closer"))
    'explains nothing'
    """
    if status_of(ended) not in (CONVERGED, MAX_EPOCHS) or not left > 1.0:
        return ended
    if chi_square is not None and chi_square - 1.0 < _AGREES * math.sqrt(2.0 / max(freedom, 1)):
        return ended
    how = "the search came to rest where" if status_of(ended) == CONVERGED else f"{ended};"
    left_over = f"the fit leaves {percent(left)} of the data's variance, their means leave less"
    return f"{EXPLAINS_NOTHING}: {how} {left_over}; {remedy}"


def percent(share: float) -> str:
    """Return a share in percent, with the digits that a reader takes in."""
    return f"{100 * share:.3g} %"
