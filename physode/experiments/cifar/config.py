"""What the study of CIFAR is made of: models, solvers, the protocols of training, and the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from physode.experiments.classifiers import ImagesConfig
from physode.experiments.repeats import Repeats
from physode.sweeps.cells import Cell, Outcome

_FUNCTION = "physode.experiments.classifiers:train_and_test"
_DOPRI5: Mapping[str, Any] = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
_HEUN_EULER: Mapping[str, Any] = {"method": "heun_euler", "rtol": 1e-2, "atol": 1e-2}

LONG, COMPARED, REPEATED = "long", "compared", "repeated"
"""The protocols: Table 2's 350 epochs; Fig. 7a and b's 90 at a small rate; 90 epochs, ten times, of Fig. 7c and d."""


@dataclass(frozen=True)
class Model:
    """A network with its solver.

    Attributes
    ----------
    label
        Its name in tables and figures.
    settings
        Of the training.
    """

    label: str
    settings: Mapping[str, Any]


_NODE18: Mapping[str, Any] = {"model": "node18", "form": "published"}
MODELS: Mapping[str, Model] = {
    "node18-aca": Model("NODE18-ACA", {**_NODE18, **_HEUN_EULER, "gradient": "aca"}),
    "node18-adjoint": Model("NODE18-adjoint", {**_NODE18, **_DOPRI5, "gradient": "adjoint"}),
    "node18-naive": Model("NODE18-naive", {**_NODE18, **_DOPRI5, "gradient": "naive-steps"}),
    "anode18": Model("ANODE18", {**_NODE18, "method": "euler", "step": 0.5, "gradient": "aca"}),
    "resnet18": Model("ResNet18", {**_NODE18, "model": "resnet18"}),
    "resnet50": Model("ResNet50", {"model": "resnet50"}),
    "resnet101": Model("ResNet101", {"model": "resnet101"}),
}
"""ANODE18's gradient is that of its fixed steps: ACA's on a grid is the naive one, with no graph but of one step."""

TRAININGS: Mapping[str, tuple[str, ...]] = {
    LONG: ("node18-aca", "anode18", "resnet18", "resnet50", "resnet101"),
    COMPARED: ("node18-adjoint", "node18-naive", "node18-aca"),
    REPEATED: ("node18-aca", "resnet18"),
}
"""The models of each protocol."""

_TESTED = {(LONG, "node18-aca"), (REPEATED, "resnet18")}  # by other solvers: of Tables 2 and 7, and of Table 6


_FIXED = {"Euler": "euler", "RK2": "midpoint", "RK4": "rk4"}
_ADAPTIVE = {"HeunEuler": "heun_euler", "RK23": "bosh3", "RK45": "dopri5"}
_STEPS, _TOLERANCES = (1.0, 0.5, 0.2, 0.1), (1e-1, 1e-2, 1e-3)


def by_label(values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return what each solver has, at steps or tolerances from large to small, by label, in the paper's order."""
    sizes = {name: [f"step {step:g}" for step in _STEPS] for name in _FIXED}
    sizes |= {name: [f"{tolerance:g}" for tolerance in _TOLERANCES] for name in _ADAPTIVE}
    return {
        f"{name}, {size}": value for name, each in sizes.items() for size, value in zip(each, values[name], strict=True)
    }


SOLVERS: Mapping[str, Mapping[str, Any]] = by_label(
    {name: [{"method": method, "step": step} for step in _STEPS] for name, method in _FIXED.items()}
    | {
        name: [{"method": method, "rtol": tol, "atol": tol} for tol in _TOLERANCES]
        for name, method in _ADAPTIVE.items()
    }
)
"""What differs from training, by label. RK2 is the midpoint rule, as in the authors' code."""

RESNET_OWN, NODE_OWN = "Euler, step 1", "HeunEuler, 0.01"
"""The solvers that ResNet18 and NODE18 are trained with."""


@dataclass(frozen=True)
class Config(ImagesConfig):
    """The study's constants, those of Appendix D.2 where it names them.

    Attributes
    ----------
    long_epochs, long_milestones
        Of Table 2.
    epochs, compared_epochs, milestones
        Of everything else: of the repeated trainings, and of Fig. 7a and b.
    lr, compared_lr
        Of everything but Fig. 7a and b, and of these.
    batch, naive_batch
        Images an update, and with the naive method.
    compared, repeats
        How often the gradient methods, and NODE18 and ResNet18, are trained.
    left_out
        Models that are not trained: their rows say so.
    """

    family: ClassVar[str] = "cifar"

    long_epochs: int = 350
    long_milestones: tuple[float, ...] = (150 / 350, 250 / 350)
    epochs: int = 90
    compared_epochs: int = 90
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    lr: float = 0.1
    compared_lr: float = 0.01
    batch: int = 128
    naive_batch: int = 32
    compared: int = 3
    repeats: int = 10
    left_out: tuple[str, ...] = ()

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what takes minutes: width 8, 700 images, few epochs of small batches, two or three runs."""
        few: dict[str, Any] = {"width": 8, "images": 700, "long_epochs": 8, "epochs": 6, "compared_epochs": 2}
        more = {"batch": 32, "compared_lr": 0.05, "compared": 2, "repeats": 3, "left_out": ("resnet101",)}
        return cls(**{**few, **more, "preset": "quick", **changes})

    @property
    def compares(self) -> bool:
        """Whether accuracies are held against each other and the paper's: those of few test images say no order."""
        return self.preset != "quick"

    def epochs_of(self, protocol: str) -> int:
        """Return the epochs of a protocol's trainings."""
        return {LONG: self.long_epochs, COMPARED: self.compared_epochs, REPEATED: self.epochs}[protocol]

    def seeds(self, protocol: str) -> range:
        """Return the seeds of a protocol's trainings."""
        count = {LONG: 1, COMPARED: self.compared, REPEATED: self.repeats}[protocol]
        return range(self.seed, self.seed + count)

    @property
    def hundred(self) -> bool:
        """Whether the paper's figures for CIFAR-100 are those to compare with."""
        return len(self.classes) == 100

    @property
    def theirs(self) -> str:
        """The heading of the paper's figures."""
        return f"the paper (CIFAR{100 if self.hundred else 10})"

    def title(self, subject: str, place: str) -> str:
        """Return a table's title; it says where the images are not CIFAR's."""
        images = "simulated galaxies as stand-in images, not CIFAR" if self.simulated else self.data
        quick = self.shortened("a narrow network, few images and epochs; accuracies tell no order of models")
        return f"{subject} (ACA paper, {place}): {images}{quick}"


def cells_of(config: Config, protocol: str, models: Sequence[str]) -> list[Cell]:
    """Return the cells of some models, but for those that are left out."""
    kept = [key for key in models if key not in config.left_out]
    return [cell(config, protocol, key, seed) for seed in config.seeds(protocol) for key in kept]


def cell(config: Config, protocol: str, key: str, seed: int) -> Cell:
    """Return one training; only settings that matter are named, so that cells stay valid when others are added."""
    model = MODELS[key]
    long, compared = protocol == LONG, protocol == COMPARED
    settings = {
        **model.settings,
        "epochs": config.epochs_of(protocol),
        "milestones": list(config.long_milestones if long else config.milestones),
        "lr": config.compared_lr if compared else config.lr,
        "batch": config.naive_batch if key == "node18-naive" else config.batch,
        "seed": seed,
    }
    if config.width is not None:
        settings["width"] = config.width
    tests = [{"label": label, **each} for label, each in SOLVERS.items()] if (protocol, key) in _TESTED else []
    return Cell(_name(protocol, key, seed), _FUNCTION, {"data": config.source(), "settings": settings, "tests": tests})


def repeats_of(config: Config, outcomes: Mapping[str, Outcome], protocol: str, key: str) -> Repeats:
    """Return the outcomes of one model's trainings by one protocol; none of a model that is left out."""
    seeds = () if key in config.left_out else config.seeds(protocol)
    return Repeats({seed: outcomes[_name(protocol, key, seed)] for seed in seeds})


def _name(protocol: str, key: str, seed: int) -> str:
    return f"{key} {protocol} seed {seed}"
