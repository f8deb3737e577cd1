"""Table 4: accuracy, precision, completeness and F1 of every class, with errors; and what the trainings cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.beside import Mark, draw_beside
from physode.experiments.images.galaxy.judging import judged
from physode.experiments.images.galaxy.paper import MERITS
from physode.experiments.images.galaxy.plan import MODELS, Config, cells_of, line_of, title
from physode.experiments.lines import completeness, mean, note
from physode.experiments.report import Finding, Result
from physode.metrics import Averaged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cells", "draw", "gather"]

_NAMES = {"precision": "precision", "completeness": "completeness (accuracy of the class)", "f1": "F1"}
_COMPARABLE = 0.02  # of a mean over classes
_TWICE, _EIGHTFOLD = 1.5, 4.0  # what counts as about twice, and about 8 times

_Found = Mapping[str, Averaged | None]


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all models."""
    return cells_of(config, list(MODELS))


def gather(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: a row a figure of merit and class, means over splits with standard errors."""
    found = {key: judged(config, outcomes, key) for key in MODELS}
    notes = "; ".join(f"{MODELS[key].label} {text}" for key in MODELS if (text := note(line_of(config, outcomes, key))))
    rows = [
        _row(config, found, merit, number, name) | {"note": notes}
        for merit in _NAMES
        for number, name in enumerate(config.classes)
    ]
    return Result(
        name=config.name,
        title=title(config, "Precision, completeness and F1 by class", "Table 4"),
        config=config.settings(),
        rows=rows,
        findings=[*_findings(found), *_costs(config, outcomes), completeness(outcomes.items())],
        series={f"{key} {name}": _values(each, name) for key, each in found.items() if each for name in _NAMES},
    )


def draw(result: Result) -> dict[str, Figure]:
    """Draw one figure a merit, the classes from the top, the models side by side."""
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
            figures[merit] = draw_beside(classes, ours, theirs, quantity=f"{name}, with standard error",
                                         title=result.title.replace(": ", ":\n", 1))  # fmt: skip
    return figures


def _row(config: Config, found: _Found, merit: str, number: int, name: str) -> dict[str, str | None]:
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


def _findings(found: _Found) -> Iterator[Finding]:
    for key in ("node", "node-aca"):
        for name in _NAMES:
            theirs = [np.mean([value for value, _ in MERITS[name][model]]) for model in (key, "resnet")]
            label = "F1" if name == "f1" else name
            text = f"{label} of {MODELS[key].label} is comparable to ResNet's: {theirs[0]:.3f} and {theirs[1]:.3f}"
            ours = [None if each is None else float(each.numbers[f"{name}_macro"].mean)
                    for each in (found[key], found["resnet"])]  # fmt: skip
            if ours[0] is None or ours[1] is None:
                yield Finding(text, "a model has no training that ended", False)
            else:
                yield Finding(text, f"{ours[0]:.3f} and {ours[1]:.3f}", ours[0] >= ours[1] - _COMPARABLE)


def _costs(config: Config, outcomes: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Compare what trainings take (Sect. 5.4)."""
    seconds = {key: mean(line_of(config, outcomes, key).seconds()) for key in MODELS}
    for text, above, below, enough in (
        ("NODE takes about twice NODE_ACA's time", "node", "node-aca", _TWICE),
        ("NODE_ACA takes about 8 times ResNet's time (11 h and 80 min)", "node-aca", "resnet", _EIGHTFOLD),
    ):
        more, less = seconds[above], seconds[below]
        if more is None or not less:
            yield Finding(text, "a model has no training that ended", False)
        else:
            yield Finding(text, f"{more / less:.2g} times", more / less >= enough)
