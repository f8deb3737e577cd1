"""Several runs of one or more models on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physode.images.evaluation import Evaluation
from physode.metrics import Averaged, Reliability, averaged, misclassified, reliability

__all__ = ["average_models", "by_model", "reliabilities"]


def by_model(found: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Sort evaluations by their models, in the order in which these come first."""
    models: dict[str, list[Evaluation]] = {}
    for each in found:
        models.setdefault(each.run.config.model, []).append(each)
    return models


def average_models(found: Sequence[Evaluation]) -> dict[str, tuple[Averaged, Sequence[Evaluation]]]:
    """Return each model's averages over its runs, and the runs."""
    return {model: (averaged([each.classification for each in runs]), runs) for model, runs in by_model(found).items()}


def reliabilities(found: Sequence[Evaluation], *, ratings: Any = "labels") -> dict[str, Reliability]:
    """Return how far the runs of each model agree, of models with two runs or more, on the same test images.

    The misclassified images are those that any run of any model gets wrong: the same ones for all models. Empty where
    the runs were tested on different images, as by different splits.
    """
    models: Mapping[str, Sequence[Evaluation]] = by_model(found)
    if len({each.images.digest() for each in found}) != 1:
        return {}
    labels = found[0].predicted.labels
    answers = {model: np.stack([each.predicted.probabilities for each in runs]) for model, runs in models.items()}
    wrong = np.any([misclassified(each.argmax(-1), labels) for each in answers.values()], axis=0)
    return {
        model: reliability(each, labels, ratings=ratings, among=wrong)
        for model, each in answers.items()
        if len(each) > 1
    }
