"""Figs. 2 to 5: mean ROC curves of every class, and precision against completeness of the three networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.comparison_plot import colour_of
from physode.experiments.galaxy.config import MODELS, Config, averages_of, cells_of, heading, notes
from physode.experiments.repeats import every_training_ends
from physode.experiments.report import Finding, Result, Row
from physode.metrics import Averaged, Curve, Curves
from physode.plotting import compare_curves, plot_roc
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ERROR = "standard error"  # what bands and intervals are
_CLOSE = 0.01  # of an area that counts as very close

Array = np.ndarray[Any, Any]

_MEANS = ("micro", "macro")


@dataclass(frozen=True)
class Roc:
    """One of Figs. 2 to 4.

    Attributes
    ----------
    place
        Its name in the paper.
    model
        A key of :data:`~physode.experiments.galaxy.config.MODELS`; ResNet's stands beside it.
    """

    place: str
    model: str

    @property
    def models(self) -> list[str]:
        """The models that are needed."""
        return list(dict.fromkeys((self.model, "resnet")))

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of the model, and of ResNet."""
        return cells_of(config, self.models)

    def aggregate(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table of areas: a row a class, and the means."""
        found = {key: averages_of(config, outcomes, key) for key in self.models}
        own = found[self.model]
        return config.result(
            config.title(f"Mean ROC of {MODELS[self.model].label}", self.place),
            _rows(config, outcomes, found, "auc"),
            [*(self._findings(found) if config.compares else ()), every_training_ends(outcomes)],
            series={} if own is None else _series(own.roc, own.runs),
        )

    def draw(self, result: Result) -> dict[str, Figure]:
        """Draw the curves of every class, and the means; nothing where no training ended."""
        micro = _curve("micro", result.series)
        if micro is None:
            return {}
        classes = result.config["classes"]
        each = tuple(_curve(f"class {number}", result.series) for number in range(len(classes)))
        curves = Curves("roc", each, micro, _curve("macro", result.series))
        return {"roc": plot_roc(curves, classes=classes, title=heading(result), spread=_ERROR)}

    def _findings(self, found: Mapping[str, Averaged | None]) -> Iterator[Finding]:
        if self.model == "resnet":
            return
        text = f"the curves of {MODELS[self.model].label} are very close to ResNet's, for every class"
        own, other = found[self.model], found["resnet"]
        if own is None or other is None:
            yield Finding(text, "a model has no training that ended", False)
            return
        apart = np.abs(own.numbers["auc"].mean - other.numbers["auc"].mean)
        worst = int(np.nanargmax(apart))
        yield Finding(text, f"AUCs differ by {apart[worst]:.4f} at most, class {worst}", bool(apart[worst] <= _CLOSE))


class PrecisionRecall:
    """Fig. 5."""

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of all models."""
        return cells_of(config, list(MODELS))

    def aggregate(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table of average precisions: a row a class, and the means."""
        found = {key: averages_of(config, outcomes, key) for key in MODELS}
        series: dict[str, Any] = {}
        for key, each in found.items():
            series |= {} if each is None else _kept(key, each.precision_recall.macro, each.runs)
        return config.result(
            config.title("Mean precision and completeness", "Fig. 5"),
            _rows(config, outcomes, found, "average_precision"),
            [*(self._findings(found) if config.compares else ()), every_training_ends(outcomes)],
            series=series,
        )

    def draw(self, result: Result) -> dict[str, Figure]:
        """Draw the mean over classes of each model; nothing where no training ended."""
        known = {model.label: _curve(key, result.series) for key, model in MODELS.items()}
        curves = {label: curve for label, curve in known.items() if curve is not None}
        if not curves:
            return {}
        colours = {label: colour_of(label) for label in curves}
        drawn = compare_curves("precision-recall", curves, title=heading(result), colours=colours, spread=_ERROR)
        return {"precision-recall": drawn}

    def _findings(self, found: Mapping[str, Averaged | None]) -> Iterator[Finding]:
        resnet = found["resnet"]
        for key in ("node", "node-aca"):
            own = found[key]
            text = f"{MODELS[key].label} is comparable to ResNet, mean over classes"
            if own is None or resnet is None:
                yield Finding(text, "a model has no training that ended", False)
            else:
                ours, other = (float(each.numbers["average_precision_macro"].mean) for each in (own, resnet))
                yield Finding(text, f"average precision {ours:.4f} and {other:.4f}", ours >= other - 2 * _CLOSE)


def _rows(
    config: Config, outcomes: Mapping[str, Outcome], found: Mapping[str, Averaged | None], area: str
) -> list[Row]:
    """Return a row a class, and the means over classes, with an area below the curves of each model."""
    note = notes(config, outcomes, found)
    places: list[tuple[int | str, str]] = [*enumerate(config.classes), *((each, f"({each} mean)") for each in _MEANS)]
    return [
        {"class": name, **{MODELS[key].label: _area(each, area, place) for key, each in found.items()}, "note": note}
        for place, name in places
    ]


def _area(found: Averaged | None, name: str, place: int | str) -> str | None:
    """Return the area of a class, or of a mean over classes, with its standard error."""
    if found is None:
        return None
    spread = found.numbers[f"{name}_{place}" if isinstance(place, str) else name]
    mean, error = ((each if isinstance(place, str) else each[place]) for each in (spread.mean, spread.error))
    return f"{float(mean):.4f}" + (f" ± {float(error):.4f}" if np.isfinite(error) else "")


def _series(curves: Curves, runs: int) -> dict[str, Any]:
    series: dict[str, Any] = {}
    named: Sequence[tuple[str, Curve | None]] = [
        *((f"class {number}", curve) for number, curve in enumerate(curves.each)),
        ("micro", curves.micro),
        ("macro", curves.macro),
    ]
    for name, curve in named:
        series |= _kept(name, curve, runs)
    return series


def _kept(name: str, curve: Curve | None, runs: int) -> dict[str, Array]:
    """Return a mean curve as a result's series hold it: x, y and the standard error of y; area and its error."""
    if curve is None:
        return {}
    root = np.sqrt(runs)
    spread = np.zeros_like(curve.y) if curve.deviation is None else curve.deviation / root
    error = np.nan if curve.area_deviation is None else curve.area_deviation / root
    return {name: np.stack([curve.x, curve.y, spread]), f"{name} area": np.array([curve.area, error])}


def _curve(name: str, series: Mapping[str, Array]) -> Curve | None:
    """Return what :func:`_kept` has kept, with standard errors in the place of deviations."""
    if name not in series:
        return None
    x, y, spread = series[name]
    area, error = series[f"{name} area"].tolist()
    several = bool(np.isfinite(error))
    return Curve(x, y, area, spread if several else None, error if several else None)
