"""What tables of repeated trainings are made of: the outcomes of one model by seed, their means, what holds of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physode.experiments.report import Finding
from physode.sweeps.cells import Outcome


@dataclass(frozen=True)
class Repeats:
    """The outcomes of one model's trainings, by seed."""

    outcomes: Mapping[int, Outcome]

    @property
    def done(self) -> list[Mapping[str, Any]]:
        """What the trainings that ended have returned."""
        return [each.result for each in self.outcomes.values() if each.failure is None]

    @property
    def failures(self) -> list[str]:
        """Why the others did not end, with their seeds."""
        return [f"seed {seed}: {each.failure}" for seed, each in self.outcomes.items() if each.failure is not None]

    @property
    def note(self) -> str:
        """The failures, for a table, or that nothing was run; empty where all trainings ended."""
        return "; ".join(f"failed: {failure}" for failure in self.failures) if self.outcomes else "not run"

    @property
    def runs(self) -> str | int:
        """How many there are, or how many of them ended."""
        done, count = len(self.done), len(self.outcomes)
        return count if done == count else f"{done} of {count}"

    @property
    def parameters(self) -> int | None:
        """The number of the model's parameters; None where no training ended."""
        return next((each["parameters"] for each in self.done), None)

    @property
    def images(self) -> int | None:
        """The number of test images; None where no training ended."""
        return next((len(each["truth"]) for each in self.done), None)

    def values(self, name: str) -> list[float]:
        """Return a number of every training that ended."""
        return [float(each[name]) for each in self.done]

    def seconds(self) -> list[float]:
        """Return how long each training took, without its tests."""
        return [sum(epoch["seconds"] for epoch in each["history"]) for each in self.done]

    def evaluations(self) -> list[float]:
        """Return the evaluations of right-hand sides, forward and backward, a batch of the whole training."""
        return [
            float(np.mean([epoch["rhs_forward"] + epoch["rhs_backward"] for epoch in each["history"]]))
            for each in self.done
        ]

    def first_evaluations(self) -> list[float]:
        """Return those of a batch of the first epoch."""
        return [each["history"][0]["rhs_forward"] + each["history"][0]["rhs_backward"] for each in self.done]

    def tests(self, label: str) -> list[tuple[Mapping[str, Any], float]]:
        """Return the test by another solver, and the error by its own, of every training that ended."""
        return [(each["tests"][label], each["error"]) for each in self.done]

    def note_of(self, label: str) -> str:
        """Return :attr:`note`, and why tests by another solver failed."""
        tests = [f"failed: {test['failure']}" for test, _ in self.tests(label) if "failure" in test]
        return "; ".join([*filter(None, [self.note]), *tests])


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None


def deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation; None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean_and_deviation(values: Sequence[float], *, digits: int) -> str | None:
    """Return the mean with the standard deviation where there are several, as a text; None of nothing."""
    if not len(values):
        return None
    text, spread = f"{np.mean(values):.{digits}f}", deviation(values)
    return text if spread is None else f"{text} ± {spread:.{digits}f}"


def held_against(
    statement: str,
    values: Sequence[float | None],
    found: Callable[..., str],
    agrees: Callable[..., bool],
    *,
    missing: str = "a model has no training that ended",
) -> Finding:
    """Hold a statement against numbers; it does not agree where one of them is missing.

    Parameters
    ----------
    statement
        Of the paper.
    values
        What it is about.
    found, agrees
        Say what the numbers, in this order, are, and whether the statement agrees with them.
    missing
        What is found where a number is None.
    """
    if any(value is None for value in values):
        return Finding(statement, missing, False)
    return Finding(statement, found(*values), bool(agrees(*values)))


def every_training_ends(outcomes: Mapping[str, Outcome]) -> Finding:
    """Return whether every training ended."""
    failed = [name for name, each in outcomes.items() if each.failure is not None]
    found = f"{len(outcomes) - len(failed)} of {len(outcomes)} do" + (f"; not {', '.join(failed)}" if failed else "")
    return Finding("every training ends", found, not failed)
