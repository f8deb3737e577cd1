"""What the study of galaxies is made of: three networks on random splits, the recipe, and the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from physode.experiments.classifiers import ImagesConfig, probabilities_of
from physode.experiments.repeats import Repeats
from physode.experiments.report import Result
from physode.metrics import Averaged, averaged, classify
from physode.sweeps.cells import Cell, Outcome

_FUNCTION = "physode.experiments.classifiers:train_and_test"


@dataclass(frozen=True)
class Model:
    """A network with its solver.

    Attributes
    ----------
    label
        Its name in the paper.
    settings
        Of the training.
    """

    label: str
    settings: Mapping[str, Any]


_NODE: Mapping[str, Any] = {"model": "galaxy-node", "start": "he", "timed": True}
_ADJOINT: Mapping[str, Any] = {**_NODE, "gradient": "adjoint"}
_ACA: Mapping[str, Any] = {"method": "heun_euler", "rtol": 1e-2, "atol": 1e-2, "gradient": "aca"}

MODELS: Mapping[str, Model] = {
    "resnet": Model("ResNet", {"model": "galaxy-resnet", "start": "he"}),
    "node": Model("NODE", {**_ADJOINT, "method": "dopri5", "rtol": 1e-3, "atol": 1e-3}),
    "node-aca": Model("NODE_ACA", {**_NODE, **_ACA}),
}
"""The three of Tables 1 to 4 and Figs. 2 to 5."""

FURTHER: Mapping[str, Model] = {
    "node-rk4": Model("NODE, RK4", {**_ADJOINT, "method": "rk4", "step": 0.5}),
    "node-euler": Model("NODE, Euler", {**_ADJOINT, "method": "euler", "step": 1 / 6}),
    "node-aca-identity": Model("NODE_ACA, ours", {"model": "galaxy-node", "start": "identity", **_ACA}),
    "resnet-identity": Model("ResNet, ours", {"model": "galaxy-resnet", "start": "identity"}),
}
"""The other solvers of Sects. 4.1 and 6.2, and networks of ours: f of h alone, and 0 at first."""

ALL: Mapping[str, Model] = {**MODELS, **FURTHER}

TOLERANCES = ("1e-1", "1e-2", "1e-3", "1e-4")
"""NODE_ACA is tested with each, without further training."""


@dataclass(frozen=True)
class Config(ImagesConfig):
    """The study's constants, those of Sect. 5.3 where it names them.

    Attributes
    ----------
    splits, test_fraction
        How many random splits there are, and the share of the test. The seed of a split is the training's, too.
    epochs, milestones, decay
        The learning rate is multiplied by `decay` at shares of the training: 80,000 updates, at 30,000 and 60,000.
    batch, lr, weight_decay, dropout
        Of the training.
    """

    family: ClassVar[str] = "galaxy"

    splits: int = 10
    test_fraction: float = 0.1
    epochs: int = 792
    milestones: tuple[float, ...] = (30 / 80, 60 / 80)
    decay: float = 0.1
    batch: int = 256
    lr: float = 0.1
    weight_decay: float = 1e-4
    dropout: float = 0.2

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what takes minutes: networks of width 16, 2,000 images, few epochs of small batches, three splits."""
        few: dict[str, Any] = {"width": 16, "images": 2000, "splits": 3, "epochs": 12, "batch": 64}
        return cls(**{**few, "preset": "quick", **changes})

    @property
    def seeds(self) -> range:
        """The seeds of the splits."""
        return range(self.seed, self.seed + self.splits)

    @property
    def compares(self) -> bool:
        """Whether accuracies are held against each other and the paper's: those of few test images say no order."""
        return self.preset != "quick"

    @property
    def comparable(self) -> bool:
        """Whether the paper's figures by class have a meaning: its five classes."""
        return len(self.classes) == 5

    def title(self, subject: str, place: str) -> str:
        """Return a table's title, which names the images."""
        quick = self.shortened("narrow networks, few images and epochs, whose accuracies tell no order")
        return f"{subject} (galaxy paper, {place}): {self.data}{quick}"


def heading(result: Result) -> str:
    """Return a result's title in lines that fit a figure."""
    broken = result.title.replace(" (", "\n(", 1).replace("; quick: ", ";\nquick, ", 1)
    return broken.replace(", whose", ",\nwhose", 1)


def cells_of(config: Config, models: Sequence[str]) -> list[Cell]:
    """Return the trainings of some models on all splits; those with the adjoint method, the longest, first."""
    cells = [_cell(config, key, seed) for seed in config.seeds for key in models]
    return sorted(cells, key=lambda cell: cell.name.startswith("node split"), reverse=True)


def repeats_of(config: Config, outcomes: Mapping[str, Outcome], key: str) -> Repeats:
    """Return the outcomes of one model on all splits."""
    return Repeats({seed: outcomes[_name(key, seed)] for seed in config.seeds})


def averages_of(config: Config, outcomes: Mapping[str, Outcome], key: str) -> Averaged | None:
    """Return a model's averages over the splits whose trainings ended; None where none did."""
    done = repeats_of(config, outcomes, key).done
    judged = [classify(probabilities_of(each), each["truth"], classes=config.classes) for each in done]
    return averaged(judged) if judged else None


def notes(config: Config, outcomes: Mapping[str, Outcome], keys: Iterable[str]) -> str:
    """Return why trainings of several models did not end."""
    reasons = {key: repeats_of(config, outcomes, key).note for key in keys}
    return "; ".join(f"{ALL[key].label} {reason}" for key, reason in reasons.items() if reason)


def _cell(config: Config, key: str, seed: int) -> Cell:
    """Return one training; only settings that matter are named, so that cells stay valid when others are added."""
    recipe = ("test_fraction", "epochs", "decay", "batch", "lr", "weight_decay", "dropout")
    settings = {
        **ALL[key].settings,
        **{name: getattr(config, name) for name in recipe},
        "milestones": list(config.milestones),
        "crop": 0,
        "seed": seed,
        "split": seed,
    }
    if config.width is not None:
        settings["width"] = config.width
    arguments: dict[str, Any] = {"data": config.source(), "settings": settings, "all_classes": True}
    if key == "node-aca":
        arguments["tests"] = [{"label": each, "rtol": float(each), "atol": float(each)} for each in TOLERANCES]
    return Cell(_name(key, seed), _FUNCTION, arguments)


def _name(key: str, seed: int) -> str:
    return f"{key} split {seed}"
