"""Tables 1 to 4: confusion, precision, completeness and F1 of the three networks; and Sect. 6.2, their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from physode.experiments.comparison_plot import Mark, draw_comparison
from physode.experiments.galaxy.config import MODELS, Config, averages_of, cells_of, heading, notes, repeats_of
from physode.experiments.repeats import every_training_ends, held_against
from physode.experiments.report import Finding, Result
from physode.experiments.study import StudyConfig
from physode.metrics import Averaged
from physode.models import build_classifier, count_parameters
from physode.plotting import plot_confusion
from physode.simulators.galaxies import CLASSES
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.typing import Progress

CONFUSION: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "resnet": (
        (757, 57, 0, 0, 29),
        (22, 741, 3, 4, 36),
        (0, 12, 11, 27, 5),
        (0, 8, 6, 363, 13),
        (7, 12, 1, 13, 748),
    ),
    "node": (
        (800, 24, 0, 0, 13),
        (36, 700, 0, 8, 22),
        (0, 6, 12, 31, 2),
        (0, 5, 7, 365, 8),
        (10, 29, 1, 22, 750),
    ),
    "node-aca": (
        (786, 36, 0, 0, 12),
        (25, 721, 0, 3, 16),
        (0, 4, 23, 20, 1),
        (1, 4, 12, 361, 5),
        (5, 36, 3, 15, 747),
    ),
}
"""Tables 1 to 3: rows are the true classes, columns the predicted ones."""

_Table = Mapping[str, tuple[tuple[float, float], ...]]

MERITS: Mapping[str, _Table] = {
    "precision": {
        "resnet": ((0.962, 0.0029), (0.892, 0.0032), (0.522, 0.0491), (0.889, 0.0063), (0.899, 0.0037)),
        "node": ((0.946, 0.0007), (0.917, 0.0017), (0.595, 0.0202), (0.859, 0.0020), (0.944, 0.0007)),
        "node-aca": ((0.961, 0.0012), (0.896, 0.0007), (0.596, 0.010), (0.899, 0.0013), (0.954, 0.0008)),
    },
    "completeness": {
        "resnet": ((0.897, 0.0061), (0.918, 0.0039), (0.193, 0.0294), (0.930, 0.0064), (0.957, 0.0036)),
        "node": ((0.956, 0.0008), (0.914, 0.0011), (0.236, 0.0050), (0.948, 0.0007), (0.924, 0.0011)),
        "node-aca": ((0.939, 0.00071), (0.942, 0.0013), (0.468, 0.0092), (0.938, 0.0011), (0.924, 0.0008)),
    },
    "f1": {
        "resnet": ((0.928, 0.0029), (0.905, 0.0019), (0.281, 0.0356), (0.909, 0.0041), (0.927, 0.0024)),
        "node": ((0.951, 0.0003), (0.916, 0.0009), (0.338, 0.0081), (0.901, 0.0013), (0.934, 0.0006)),
        "node-aca": ((0.950, 0.0006), (0.918, 0.0006), (0.524, 0.0092), (0.918, 0.0006), (0.939, 0.0006)),
    },
}
"""Table 4, value and error by class; its accuracies by class are the completeness, to rounding."""

PARAMETERS: Mapping[str, float] = {"resnet": 0.6e6, "node": 0.2e6, "node-aca": 0.2e6}
"""Sect. 6.2."""

_CLOSE = 0.01  # of the accuracy, below the paper's
_NAMES = {"precision": "precision", "completeness": "completeness (accuracy of the class)", "f1": "F1"}
_COMPARABLE = 0.02  # of a mean over classes
_THIRD = 0.4


@dataclass(frozen=True)
class Confusion:
    """One of Tables 1 to 3: the mean confusion matrix of a network.

    Attributes
    ----------
    place
        Its name in the paper.
    model
        A key of :data:`~physode.experiments.galaxy.config.MODELS`.
    """

    place: str
    model: str

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of the model."""
        return cells_of(config, [self.model])

    def aggregate(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table: a row a true class."""
        found, repeats = averages_of(config, outcomes, self.model), repeats_of(config, outcomes, self.model)
        rows = [
            {
                "true class": name,
                **{each: _count(found, row, column) for column, each in enumerate(config.classes)},
                "the paper": CONFUSION[self.model][row] if config.comparable else None,
                "runs": repeats.runs,
                "note": repeats.note,
            }
            for row, name in enumerate(config.classes)
        ]
        return config.result(
            config.title(f"Mean confusion of {MODELS[self.model].label}", self.place),
            rows,
            [
                *(self._findings(found) if config.comparable and config.compares else ()),
                every_training_ends(outcomes),
            ],
            series={} if found is None else {"confusion": found.confusion.mean},
        )

    def draw(self, result: Result) -> Figure:
        """Draw the matrix; of no training, an empty one."""
        classes = result.config["classes"]
        empty = np.zeros((len(classes), len(classes)))
        return plot_confusion(result.series.get("confusion", empty), classes=classes, title=heading(result))

    def _findings(self, found: Averaged | None) -> Iterator[Finding]:
        theirs = np.array(CONFUSION[self.model], dtype=float)
        share = float(np.trace(theirs) / theirs.sum())
        right = f"{100 * share:.1f} % of all images are right"
        hardest = "the cigar-shaped, class 2, are the least complete"
        if found is None:
            yield Finding(right, "no training ended", False)
            yield Finding(hardest, "no training ended", False)
            return
        accuracy, each = float(found.numbers["accuracy"].mean), found.numbers["completeness"].mean
        yield Finding(right, f"{100 * accuracy:.1f} %", accuracy >= share - _CLOSE)
        least = int(np.nanargmin(each))
        yield Finding(hardest, f"class {least}: {each[least]:.3f}", least == 2)


def _count(found: Averaged | None, row: int, column: int) -> str | None:
    if found is None:
        return None
    error = found.confusion.error[row, column]
    return f"{found.confusion.mean[row, column]:.1f}" + (f" ± {error:.1f}" if np.isfinite(error) else "")


def merits_cells(config: Config) -> list[Cell]:
    """Return the trainings of Table 4: of all models."""
    return cells_of(config, list(MODELS))


def aggregate_merits(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make Table 4: a row a figure of merit and class, means over splits with standard errors."""
    found = {key: averages_of(config, outcomes, key) for key in MODELS}
    note = notes(config, outcomes, MODELS)
    rows = [
        _merit_row(config, found, merit, number, name) | {"note": note}
        for merit in _NAMES
        for number, name in enumerate(config.classes)
    ]
    return config.result(
        config.title("Precision, completeness and F1 by class", "Table 4"),
        rows,
        [*(_comparisons(found) if config.compares else ()), every_training_ends(outcomes)],
        series={f"{key} {merit}": _values(each, merit) for key, each in found.items() if each for merit in _NAMES},
    )


def draw_merits(result: Result) -> dict[str, Figure]:
    """Draw Table 4, one figure a merit, the classes from the top, the models side by side."""
    classes = result.config["classes"]
    figures = {}
    for merit, name in _NAMES.items():
        ours, theirs = {}, {}
        for key, model in MODELS.items():
            if f"{key} {merit}" in result.series:
                ours[model.label] = [_mark(*pair) for pair in result.series[f"{key} {merit}"].tolist()]
                if len(classes) == len(MERITS[merit][key]):
                    theirs[model.label] = [_mark(*pair) for pair in MERITS[merit][key]]
        if ours:
            quantity = f"{name}, lines: ± standard error"
            figures[merit] = draw_comparison(classes, ours, theirs, quantity=quantity, title=heading(result))
    return figures


def _merit_row(
    config: Config, found: Mapping[str, Averaged | None], merit: str, number: int, name: str
) -> dict[str, str | None]:
    row: dict[str, str | None] = {"figure of merit": _NAMES[merit], "class": name}
    for key, each in found.items():
        row[MODELS[key].label] = None if each is None else _shown(*_values(each, merit)[number])
    for key, model in MODELS.items():
        row[f"{model.label}, the paper"] = _shown(*MERITS[merit][key][number]) if config.comparable else None
    return row


def _values(found: Averaged, merit: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return mean and standard error by class, (C, 2)."""
    return np.stack([found.numbers[merit].mean, found.numbers[merit].error], axis=-1)


def _shown(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.4f}" if np.isfinite(error) else f"{value:.3f}"


def _mark(value: float, error: float) -> Mark:
    if not np.isfinite(value):
        return Mark(None)
    return Mark(value, value - error, value + error) if np.isfinite(error) else Mark(value)


def _comparisons(found: Mapping[str, Averaged | None]) -> Iterator[Finding]:
    for key in ("node", "node-aca"):
        for name in _NAMES:
            own, resnet = (np.mean([value for value, _ in MERITS[name][model]]) for model in (key, "resnet"))
            label = "F1" if name == "f1" else name
            yield held_against(
                f"{label} of {MODELS[key].label} is comparable to ResNet's: {own:.3f} and {resnet:.3f}",
                [_macro(each, name) for each in (found[key], found["resnet"])],
                "{:.3f} and {:.3f}".format,
                lambda ours, other: ours >= other - _COMPARABLE,
            )


def _macro(found: Averaged | None, merit: str) -> float | None:
    return None if found is None else float(found.numbers[f"{merit}_macro"].mean)


@dataclass(frozen=True)
class ParametersConfig(StudyConfig):
    """The networks' width, and the classes; the seed and the images' name and fingerprint are without a part."""

    study: ClassVar[str] = "galaxy-params"

    seed: int = 0
    data: str = ""
    digest: str = ""
    classes: tuple[str, ...] = CLASSES
    width: int = 64


def count(config: ParametersConfig, *, progress: Progress | None = None) -> Result:
    """Count the parameters of each network."""
    counts = {
        key: count_parameters(
            build_classifier(
                model.settings["model"], len(config.classes), width=config.width, timed=model.settings.get("timed")
            )
        )
        for key, model in MODELS.items()
    }
    if progress is not None:
        progress(1.0)
    ratio = counts["node-aca"] / counts["resnet"]
    return config.result(
        "Parameters of the galaxy networks (galaxy paper, Sect. 6.2)",
        [
            {"model": model.label, "parameters": counts[key], "the paper, about": int(PARAMETERS[key])}
            for key, model in MODELS.items()
        ],
        [
            *(
                Finding(
                    f"{MODELS[key].label}: {theirs / 1e6:g} million",
                    f"{counts[key] / 1e6:.3f} million",
                    round(counts[key], -5) == theirs,
                )
                for key, theirs in PARAMETERS.items()
            ),
            Finding("NODE and NODE_ACA have a third of ResNet's", f"{ratio:.3f} of them", ratio <= _THIRD),
        ],
    )


def draw_parameters(result: Result) -> Figure:
    """Draw the numbers beside the paper's."""
    return draw_comparison(
        [row["model"] for row in result.rows],
        {"": [Mark(row["parameters"] / 1e6) for row in result.rows]},
        {"": [Mark(row["the paper, about"] / 1e6) for row in result.rows]},
        quantity="parameters (millions)",
        title=result.title,
    )
