"""A classifier of images as a report shows it: what it mistakes for what, and which images these are."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physode.errors import DataError, PhysodeError
from physode.images.data import test_places
from physode.images.run import TrainRun
from physode.json_values import read_json
from physode.metrics import Classification, classify
from physode.optional_imports import needs
from physode.reports.blocks import Block, Cell, Chart, Gallery, Matrix, Picture, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import by_epoch, line, numbers, titled
from physode.reports.common import citations, origin_tab, settings_of, short
from physode.training.evaluation_files import evaluation_paths

if TYPE_CHECKING:
    from physode.datasets.images import Images

Array = NDArray[Any]

_MOST_CLASSES, _MOST_CURVES = 30, 12
_MOST_OF_A_CELL, _MOST_IMAGES = 8, 240
_THUMBNAIL = 64  # pixels a side at most
_OVERFITTED, _UNCALIBRATED = 0.1, 0.1


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier said of its test images: probabilities (N, C), right classes (N,), and what the file says."""

    probabilities: Array
    labels: Array
    content: Mapping[str, Any]


def read_answers(run: TrainRun) -> Answers | None:
    """Return the evaluation of a run's own test images; None where there is none yet.

    Raises
    ------
    DataError
        If it is damaged.
    """
    import h5py

    paths = evaluation_paths(run, "test")
    if not all(path.is_file() for path in paths.values()):
        return None
    content = read_json(paths["json"], largest=1 << 26)
    try:
        with h5py.File(paths["h5"]) as file:
            return Answers(np.asarray(file["probabilities"]), np.asarray(file["labels"]), content)
    except (OSError, KeyError) as error:
        raise DataError(f"{paths['h5']} is damaged; evaluate the run again (physode evaluate --force)") from error


def classifier_view(run: TrainRun, images: Images | None, why: str = "") -> RunView:
    """Return a classifier's run as a report shows it.

    Parameters
    ----------
    run
        The training.
    images
        Those that it was trained on, to be shown; None where they cannot be.
    why
        They cannot, in words.
    """
    history, answers = run.history(), read_answers(run)
    settings = settings_of(run.config.as_dict())
    tabs: list[Tab] = []
    told: Classification | None = None
    if answers is not None:
        told = classify(answers.probabilities, answers.labels, classes=run.classes)
        testing = _tested(run, images, answers)
        galleries = [] if testing is None else _galleries(run, *testing, answers)
        tabs += _judged(told, galleries, why if testing is None else "")
    tabs += [Tab("Training", tuple(_learning(history))), _origin(run)]
    values = {} if told is None else {
        name: short(float(value), 4) for name, value in told.numbers().items() if np.ndim(value) == 0
    }  # fmt: skip
    return RunView(
        run.path.name, f"Classifier of images ({run.dataset}), {run.config.model}", _verdict(run, history, told),
        _facts(history, told, answers), tuple(tabs), settings, values, _curve(history),
    )  # fmt: skip


def _verdict(run: TrainRun, history: Sequence[Mapping[str, Any]], told: Classification | None) -> Verdict:
    done, asked = (history[-1]["epoch"] if history else 0), run.config.epochs
    if told is None:
        sentence = f"{done} of {asked} epochs are done; judge it by: physode evaluate {run.path}"
        return Verdict.of(failed=True, status="not evaluated", sentence=sentence)
    usual = float(told.support.max() / told.support.sum())
    low, high = told.accuracy_interval
    sentence = (
        f"{100 * told.accuracy:.3g} % of {int(told.support.sum())} test images are recognised "
        f"(95 % interval {100 * low:.3g} to {100 * high:.3g} %)"
    )
    if low <= usual:
        return Verdict.of(
            failed=True, status="no better than guessing",
            sentence=f"{sentence}; always to say the most frequent class would be right in {100 * usual:.3g} %",
        )  # fmt: skip
    return Verdict.of(
        failed=False, status="trained" if done >= asked else "cut short", sentence=sentence,
        doubts=_doubts(done, asked, history, told),
    )  # fmt: skip


def _doubts(done: int, asked: int, history: Sequence[Mapping[str, Any]], told: Classification) -> list[str]:
    doubts = [f"only {done} of {asked} epochs are done"] if done < asked else []
    gap = (history[-1].get("accuracy") or 0.0) - told.accuracy if history else 0.0
    if gap > _OVERFITTED:
        doubts.append(
            f"training images are recognised {100 * gap:.2g} % more often than test images: it has overfitted"
        )
    if told.calibration.error > _UNCALIBRATED:
        doubts.append(
            f"its probabilities are off by {100 * told.calibration.error:.2g} % on average: take them for no more than "
            "an order"
        )
    never = [name for name, f1, n in zip(told.classes, told.f1, told.support, strict=True) if n and not f1]
    if never:
        shown = ", ".join(never[:5]) + (f" and {len(never) - 5} more" if len(never) > 5 else "")
        doubts.append(f"these classes are never recognised: {shown}")
    return doubts


def _facts(
    history: Sequence[Mapping[str, Any]], told: Classification | None, answers: Answers | None
) -> dict[str, str]:
    found = {"epochs": str(history[-1]["epoch"])} if history else {}
    if told is not None and answers is not None:
        found |= {
            "accuracy": f"{100 * told.accuracy:.3g} %", "F1, mean of classes": short(told.macro.f1, 3),
            "cross entropy": short(told.log_loss, 3), "calibration error": short(told.calibration.error, 2),
            "parameters": str(answers.content.get("parameters", "")),
            "solver": str(answers.content.get("solver") or ""),
        }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _tested(run: TrainRun, images: Images | None, answers: Answers) -> tuple[Images, list[str]] | None:
    """Return the test images in the order of the answers, and their names; None where they are not those."""
    if images is None or images.digest() != run.digest:
        return None
    places = test_places(images, run.config)
    testing = images.take(places)
    if not np.array_equal(testing.y, answers.labels):
        return None
    return testing, list(testing.names) or [f"image {place + 1}" for place in places.tolist()]


def _anchor(run: TrainRun, true: int, predicted: int) -> str:
    return f"{run.path.name}-{true}-{predicted}"


def _galleries(run: TrainRun, testing: Images, names: Sequence[str], answers: Answers) -> list[Gallery]:
    """Return images by true and predicted class: of mistakes first, the most confident ones of each."""
    predicted, confidence = answers.probabilities.argmax(1), answers.probabilities.max(1)
    pairs = [(true, other) for true, other in zip(answers.labels.tolist(), predicted.tolist(), strict=True)]
    order = sorted(set(pairs), key=lambda pair: (pair[0] == pair[1], -pairs.count(pair)))
    galleries, left = [], _MOST_IMAGES
    for true, other in order:
        rows = np.flatnonzero((answers.labels == true) & (predicted == other))
        shown = rows[np.argsort(-confidence[rows], kind="stable")][: min(_MOST_OF_A_CELL, left)]
        if not len(shown):
            break
        left -= len(shown)
        pictures = tuple(
            Picture(_thumbnail(testing.x[i]), names[i], f"p = {confidence[i]:.2f}") for i in shown.tolist()
        )
        title = f"{run.classes[true]}" + (" recognised" if true == other else f" taken for {run.classes[other]}")
        note = f"The {len(shown)} most confident of {len(rows)}." if len(shown) < len(rows) else ""
        galleries.append(Gallery(title, pictures, _anchor(run, true, other), note))
    return galleries


def _thumbnail(image: Array) -> str:
    library = needs("PIL.Image", extra="images", purpose="showing images")
    picture = library.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    held = io.BytesIO()
    picture.save(held, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(held.getvalue()).decode()}"


def _judged(told: Classification, galleries: Sequence[Gallery], why: str) -> list[Tab]:
    anchors = {
        gallery.anchor.split("-")[-2] + "-" + gallery.anchor.split("-")[-1]: gallery.anchor for gallery in galleries
    }
    confusion: list[Block] = [_confusion(told, anchors), *galleries]
    if why:
        confusion.append(Text("No images are shown", (why,)))
    return [
        Tab("Confusion", tuple(confusion)),
        Tab("Classes", (_classes(told),)),
        Tab("Calibration", _calibration(told)),
    ]


def _confusion(told: Classification, anchors: Mapping[str, str]) -> Matrix:
    count = min(len(told.classes), _MOST_CLASSES)
    shares = told.confusion / np.maximum(told.support, 1)[:, None]
    cells = tuple(
        tuple(
            Cell(
                str(int(told.confusion[i, j])) if told.confusion[i, j] else "",
                float(shares[i, j]) if i == j else -float(shares[i, j]),
                anchors.get(f"{i}-{j}", ""),
            )
            for j in range(count)
        )
        for i in range(count)
    )
    names = told.classes[:count]
    more = f" The first {count} of {len(told.classes)} classes." if count < len(told.classes) else ""
    note = f"Test images by their true class (rows) and what they were taken for. Numbers lead to images.{more}"
    return Matrix("Confusion", names, names, cells, corner="true class", note=note if anchors else note[:-25] + more)


def _classes(told: Classification) -> Table:
    found = told.numbers()
    names = ("precision", "completeness", "f1", "auc", "average_precision")
    rows = [
        [name, str(int(told.support[i])), *(short(float(found[each][i]), 3) for each in names)]
        for i, name in enumerate(told.classes)
    ]
    rows += [
        [f"mean ({mean})", "", *(short(found.get(f"{each}_{mean}"), 3) for each in names)]
        for mean in ("macro", "weighted", "micro")
    ]
    return Table.of(
        "By class", ["class", "images", "precision", "completeness", "F1", "AUC", "average precision"], rows
    )


def _calibration(told: Classification) -> tuple[Chart, Table]:
    own = told.calibration
    rows = own.counts > 0
    traces = (
        line([0, 1], [0, 1], "as it should be", colour="#8A8A8A", dash="dot"),
        line(
            own.confidence[rows],
            own.accuracy[rows],
            "test images",
            colour=0,
            mode="lines+markers",
            marker={"size": numbers(6 + 14 * np.sqrt(own.counts[rows] / own.counts.max()))},
        ),
    )
    chart = Chart(
        f"Calibration, expected error {short(own.error, 2)}", traces,
        {**titled("probability of the predicted class", "share of right answers"), "height": 400},
    )  # fmt: skip
    cells = [
        [f"{own.edges[i]:.2f} to {own.edges[i + 1]:.2f}", str(int(own.counts[i])), short(own.confidence[i], 3),
         short(own.accuracy[i], 3)]
        for i in np.flatnonzero(rows)
    ]  # fmt: skip
    return chart, Table.of("By probability", ["probability", "images", "mean", "right"], cells)


def _learning(history: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not history:
        return [Text("No epoch has ended", ("Charts of the training come with its first epoch.",))]
    charts: list[Block] = []
    for title, names, log in (
        ("Loss by epoch", {"loss": "training", "test_loss": "test"}, True),
        ("Accuracy by epoch", {"accuracy": "training", "test_accuracy": "test"}, False),
    ):
        epochs = [entry["epoch"] for entry in history]
        traces = tuple(
            line(epochs, [np.nan if entry[name] is None else entry[name] for entry in history], label, colour=i)
            for i, (name, label) in enumerate(names.items())
        )
        charts.append(Chart(title, traces, titled("epoch", title.split(" ")[0].lower(), log_y=log)))
    charts.append(by_epoch(history, "lr", "Learning rate by epoch", "learning rate"))
    charts.append(by_epoch(history, "rhs_forward", "Evaluations of right-hand sides a batch", "evaluations", log=False))
    return charts


def _curve(history: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[float, ...], tuple[float | None, ...]] | None:
    if not history:
        return None
    return "test loss", tuple(e["epoch"] for e in history), tuple(e["test_loss"] for e in history)


def _origin(run: TrainRun) -> Tab:
    config = run.config
    ode = "node" in config.model
    names = [name for name in ("galaxy", "resnet") if name in config.model]
    gradient = (config.gradient or "aca") if ode else None
    cited = citations(*names, gradient, "calibration", method=config.method)
    return origin_tab(run, settings_of(config.as_dict()), [run.data], run.digest, cited)


def read_images_of(run: TrainRun, data: Path | None, progress: Any = None) -> tuple[Images | None, str]:
    """Return the images of a run, or None and why they cannot be shown."""
    from physode.datasets.images import read_images

    try:
        return read_images(data or run.data, size=run.size, progress=progress), "They are not those of the evaluation."
    except (PhysodeError, OSError) as error:
        return None, f"{error}."
