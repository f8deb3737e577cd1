"""What the study of galaxies is made of: three networks on random splits, the recipe, and the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from physode.experiments.classifiers import ImagesConfig, probabilities_of
from physode.experiments.repeats import Repeats
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


MODELS: Mapping[str, Model] = {
    "resnet": Model("ResNet", {"model": "galaxy-resnet"}),
    "node": Model(
        "NODE", {"model": "galaxy-node", "method": "dopri5", "rtol": 1e-3, "atol": 1e-3, "gradient": "adjoint"}
    ),
    "node-aca": Model(
        "NODE_ACA", {"model": "galaxy-node", "method": "heun_euler", "rtol": 1e-2, "atol": 1e-2, "gradient": "aca"}
    ),
}


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
    def comparable(self) -> bool:
        """Whether the paper's figures by class have a meaning: its five classes."""
        return len(self.classes) == 5

    def title(self, subject: str, place: str) -> str:
        """Return a table's title, which names the images."""
        quick = self.shortened("a narrow network, few images and epochs")
        return f"{subject} (galaxy paper, {place}): {self.data}{quick}"


def cells_of(config: Config, models: Sequence[str]) -> list[Cell]:
    """Return the trainings of some models on all splits; those with the adjoint method, the longest, first."""
    found = [_cell(config, key, seed) for seed in config.seeds for key in models]
    return sorted(found, key=lambda cell: cell.name.startswith("node split"), reverse=True)


def repeats_of(config: Config, outcomes: Mapping[str, Outcome], key: str) -> Repeats:
    """Return the outcomes of one model on all splits."""
    return Repeats({seed: outcomes[_name(key, seed)] for seed in config.seeds})


def averages_of(config: Config, outcomes: Mapping[str, Outcome], key: str) -> Averaged | None:
    """Return a model's averages over the splits whose trainings ended; None where none did."""
    done = repeats_of(config, outcomes, key).done
    found = [classify(probabilities_of(each), each["truth"], classes=config.classes) for each in done]
    return averaged(found) if found else None


def notes(config: Config, outcomes: Mapping[str, Outcome], keys: Iterable[str]) -> str:
    """Return why trainings of several models did not end."""
    found = {key: repeats_of(config, outcomes, key).note for key in keys}
    return "; ".join(f"{MODELS[key].label} {note}" for key, note in found.items() if note)


def _cell(config: Config, key: str, seed: int) -> Cell:
    """Return one training; only settings that matter are named, so that cells stay valid when others are added."""
    recipe = ("test_fraction", "epochs", "decay", "batch", "lr", "weight_decay", "dropout")
    settings = {
        **MODELS[key].settings,
        **{name: getattr(config, name) for name in recipe},
        "milestones": list(config.milestones),
        "crop": 0,
        "seed": seed,
        "split": seed,
    }
    if config.width is not None:
        settings["width"] = config.width
    arguments = {"data": config.source(), "settings": settings, "all_classes": True}
    return Cell(_name(key, seed), _FUNCTION, arguments)


def _name(key: str, seed: int) -> str:
    return f"{key} split {seed}"
