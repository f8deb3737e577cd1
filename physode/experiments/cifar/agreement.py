"""Table 3: how far trainings from other random weights agree, of NODE18-ACA and ResNet18."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.cifar.config import MODELS, REPEATED, TRAININGS, Config, cells_of, repeats_of
from physode.experiments.comparison_plot import Mark, colour_of, draw_comparison
from physode.experiments.repeats import Repeats, every_training_ends
from physode.experiments.report import Finding, Result, Row
from physode.metrics import Icc, icc, misclassified
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Interval = tuple[float, float]

_WHOLE, _WRONG = "all", "misclassified"
_LABELS, _RIGHT = "predicted class", "probability of the right class"
_PAPER: Mapping[tuple[str, str], tuple[tuple[Interval, Interval], tuple[Interval, Interval]]] = {
    ("resnet18", _WHOLE): (((0.932, 0.935), (0.992, 0.993)), ((0.759, 0.768), (0.969, 0.971))),
    ("node18-aca", _WHOLE): (((0.943, 0.945), (0.993, 0.994)), ((0.767, 0.776), (0.971, 0.972))),
    ("resnet18", _WRONG): (((0.581, 0.608), (0.933, 0.939)), ((0.553, 0.571), (0.925, 0.930))),
    ("node18-aca", _WRONG): (((0.650, 0.675), (0.949, 0.954)), ((0.570, 0.587), (0.930, 0.934))),
}
"""The paper's intervals of ICC1 and ICC1k, on CIFAR-10 and on CIFAR-100."""


def cells(config: Config) -> list[Cell]:
    """Return the repeated trainings."""
    return cells_of(config, REPEATED, TRAININGS[REPEATED])


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table; misclassified images are those that any training of either model gets wrong."""
    found = {key: repeats_of(config, outcomes, REPEATED, key) for key in ("resnet18", "node18-aca")}
    rows = [
        _row(config, key, where, what, found)
        for what in (_LABELS, _RIGHT)
        for where in (_WHOLE, _WRONG)
        for key in found
    ]
    return config.result(
        config.title("Agreement of trainings from other random weights", "Table 3"),
        rows,
        [*(_findings(rows, config.theirs) if config.compares else ()), every_training_ends(outcomes)],
    )


def draw(result: Result) -> Figure:
    """Draw ICC1 with its intervals beside the paper's."""
    rows = result.rows
    heading = next(name for name in rows[0] if name.startswith("the paper"))
    return draw_comparison(
        [f"{row['model']}, {row['images']}, {row['of']}" for row in rows],
        {"": [Mark(row["ICC1"], *_ends(row["ICC1, 95 % interval"])) for row in rows]},
        {"": [_middle(_ends(row[heading])) for row in rows]},
        quantity="ICC1, lines: 95 % interval",
        title=result.title,
        colours=[colour_of(row["model"]) for row in rows],
    )


def _row(config: Config, key: str, where: str, what: str, found: Mapping[str, Repeats]) -> Row:
    repeats = found[key]
    each = _agreement(repeats, what, _chosen(found, where))
    paper = _PAPER[key, where][config.hundred] if what == _LABELS else None
    return {
        "of": what,
        "images": where,
        "model": MODELS[key].label,
        "ICC1": None if each is None else _finite(each.icc1),
        "ICC1, 95 % interval": None if each is None else _shown(each.icc1_interval),
        config.theirs: None if paper is None else _shown(paper[0]),
        "ICC1k": None if each is None else _finite(each.icc1k),
        "ICC1k, 95 % interval": None if each is None else _shown(each.icc1k_interval),
        "its ICC1k": None if paper is None else _shown(paper[1]),
        "samples": 0 if each is None else each.targets,
        "runs": repeats.runs,
        "note": repeats.note,
    }


def _chosen(found: Mapping[str, Repeats], where: str) -> Array | None:
    """Return which test images count, (N,); None where there are no trainings."""
    done = [each for repeats in found.values() for each in repeats.done]
    if not done:
        return None
    truth = np.array(done[0]["truth"])
    if where == _WHOLE:
        return np.ones(len(truth), dtype=bool)
    chosen: Array = misclassified(np.array([each["predicted"] for each in done]), truth)
    return chosen


def _agreement(repeats: Repeats, what: str, chosen: Array | None) -> Icc | None:
    if chosen is None or chosen.sum() < 2 or len(repeats.done) < 2:
        return None
    ratings = np.array([each["predicted" if what == _LABELS else "right"] for each in repeats.done])
    return icc(ratings[:, chosen].T)


def _findings(rows: list[Row], heading: str) -> Iterator[Finding]:
    for where in (_WHOLE, _WRONG):
        resnet, node = (row for row in rows if row["images"] == where and row["of"] == _LABELS)
        known = [row["ICC1, 95 % interval"] for row in (node, resnet) if row["ICC1"] is not None]
        shown = " and ".join(map(str, known)) or "not known"
        statement = f"{where} images: ICC1 of NODE18-ACA {node[heading]}, of ResNet18 {resnet[heading]}"
        yield Finding(statement, shown, len(known) == 2 and node["ICC1"] > resnet["ICC1"])


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shown(interval: Interval) -> str | None:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if np.isfinite(interval).all() else None


def _ends(text: str | None) -> tuple[float | None, float | None]:
    if text is None:
        return None, None
    low, high = text.split(" to ")
    return float(low), float(high)


def _middle(ends: tuple[float | None, float | None]) -> Mark:
    low, high = ends
    return Mark(None) if low is None or high is None else Mark((low + high) / 2, low, high)
