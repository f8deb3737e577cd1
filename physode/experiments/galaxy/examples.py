"""Fig. 1: images of each class, the first ones of the data and not chosen; and how many there are of each."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.datasets.images import Images
from physode.experiments.classifiers import load
from physode.experiments.galaxy.config import Config
from physode.experiments.report import Finding, Result
from physode.plotting import plot_sheet
from physode.simulators.galaxies import FREQUENCIES, photograph
from physode.simulators.galaxies.galaxy import draw_galaxy
from physode.simulators.sampling import generator
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_CELL = "examples"
_EACH = 8
_LARGE, _SEED, _NOISE = 128, 0, 0.03  # pixels of a simulated galaxy seen larger; seed and noise of the study's galaxies
_NAMES = {"images": "the data's images", "large": "the same galaxies larger"}


def cells(config: Config) -> list[Cell]:
    """Return the one cell, which reads or makes the images."""
    arguments = {"data": config.source(), "each": _EACH}
    return [Cell(_CELL, "physode.experiments.galaxy.examples:gather", arguments)]


def gather(
    *, data: Mapping[str, Any], each: int, path: str | None = None, device: str = "cpu", run: str | None = None
) -> dict[str, Any]:
    """Return the first images of each class, and how many the class has.

    Parameters
    ----------
    data, path
        Of the images: arguments of :func:`physode.experiments.classifiers.load`.
    each
        How many of a class, at most.
    device, run
        Without a part; trainings have them.

    Returns
    -------
    dict
        ``counts``; ``labels`` and ``images`` of the examples; ``large``, the same galaxies with more pixels, where they
        are simulated.
    """
    images = load(**data, path=path)
    chosen = np.concatenate([np.flatnonzero(images.y == label)[:each] for label in range(len(images.classes))])
    labels = images.y[chosen]
    examples = {
        "counts": np.bincount(images.y, minlength=len(images.classes)).tolist(),
        "labels": labels.tolist(),
        "images": _text(images.x[chosen]),
    }
    if data["digest"]:
        return examples
    return {**examples, "large": _text(np.stack([_photograph(*pair) for pair in zip(chosen, labels, strict=True)]))}


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: a row a class."""
    outcome = outcomes[_CELL]
    gathered = outcome.result or {}
    counts = gathered.get("counts", [None] * len(config.classes))
    title = "the first images of each class, not the paper's"
    return config.result(
        f"The classes (galaxy paper, Fig. 1): {config.data}, {title}",
        [
            {
                "class": name,
                "images": counts[number],
                "the paper": FREQUENCIES[number] if config.comparable else None,
                "note": outcome.failure or "",
            }
            for number, name in enumerate(config.classes)
        ],
        [] if config.simulated or not config.comparable else [_as_many(counts)],
        series={name: _array(gathered[name]) for name in _NAMES if name in gathered}
        | {"labels": np.array(gathered.get("labels", []), dtype=np.int64)},
    )


def _as_many(counts: Sequence[int | None]) -> Finding:
    theirs, ours = (", ".join(map(str, each)) for each in (FREQUENCIES, counts))
    return Finding(f"{sum(FREQUENCIES)} images: {theirs}", ours, list(counts) == list(FREQUENCIES))


def draw(result: Result) -> dict[str, Figure]:
    """Draw a sheet of the data's images, and one of simulated galaxies with more pixels; nothing without images."""
    classes = tuple(result.config["classes"])
    sheets = {}
    for name, what in _NAMES.items():
        if name in result.series:
            y, data = result.series["labels"], result.config["data"]
            images = Images(
                x=result.series[name],
                y=y,
                classes=classes,
                test=np.zeros(len(y), dtype=np.bool_),
                attrs={"name": f"{data}, {what}"},
            )
            sheets[name] = plot_sheet(images, each=_EACH)
    return sheets


def _photograph(index: int, label: int) -> Array:
    galaxy = draw_galaxy(int(label), generator(_SEED, "galaxy", int(index)))
    return photograph(galaxy, seed=_SEED, index=int(index), size=_LARGE, noise=_NOISE)


def _text(x: Array) -> dict[str, Any]:
    """Return bytes as JSON can hold them."""
    return {"shape": list(x.shape), "bytes": base64.b64encode(np.ascontiguousarray(x).tobytes()).decode()}


def _array(kept: Mapping[str, Any]) -> Array:
    pixels = np.frombuffer(base64.b64decode(kept["bytes"]), dtype=np.uint8)
    return pixels.reshape(kept["shape"])
