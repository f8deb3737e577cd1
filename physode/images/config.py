"""Settings of a classifier's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physode.errors import ConfigError
from physode.training.settings import (
    ATOL,
    EPOCHS,
    NETWORK,
    RTOL,
    SEED,
    SHARE,
    STEP,
    UNIT,
    Range,
    Settings,
    setting,
    whole,
)  # fmt: skip

if TYPE_CHECKING:
    from physode.models.solver import Solver

__all__ = ["FORMS", "MODELS", "PRECISIONS", "RECIPES", "SCHEDULES", "STARTS", "TrainConfig", "recipe"]

MODELS = ("node18", "resnet18", "galaxy-node", "galaxy-resnet", "resnet50", "resnet101")
"""Keys of :data:`physode.models.CLASSIFIERS`, which would have to import torch; a test holds the two together."""
PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("step", "one-cycle")
FORMS = ("identity", "published")
"""Those of :mod:`physode.models.residual`, the default, which runs of other times have too, first."""

STARTS = ("identity", "he")
"""Those of :mod:`physode.models.galaxy`; a test holds the two together."""

_MODEL = ("form", "width", "augmented", "norm", "dropout", "start", "timed")
_SOLVER = ("method", "rtol", "atol", "step", "gradient")
_FULL = "no memory holds so many weights; give less"


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a classifier is built and trained; :data:`RECIPES` has what is usual for a data set.

    Of the model and of its ODE blocks, None stands for the model's own choice: see :data:`physode.models.CLASSIFIERS`
    and :class:`physode.models.Solver`. The schedule ``"step"`` is `lr` times `decay` from each of the `milestones` on,
    ``"one-cycle"`` goes up from lr/25 in the first 30 % and down to nearly 0, as cosines (Smith and Topin 2019).
    Channels that lie side by side in memory suit most processors' convolutions. Without a test fraction, the data's own
    test images are taken, or a tenth where there are none. With several processes, each takes its own GPU where the
    device is ``"cuda"``, and `batch` counts the images of all.
    """

    model: str = setting("node18", "The network.", choices=MODELS, shown="galaxy-node or node18")
    form: str | None = setting(
        None, "Five ODE blocks, 0 at first, or the paper's four: node18.", choices=FORMS, shown=FORMS[0]
    )
    width: int | None = setting(None, "Its channels in the first stage.", whole(1, largest=4096, why=_FULL), shown="64")
    augmented: int | None = setting(None, "Channels that begin as 0, of galaxy-node.", whole(largest=4096, why=_FULL))
    norm: str | None = setting(None, "Normalisation.", choices=("batch", "group"), shown="batch")
    dropout: float | None = setting(None, "Before the last layer, galaxy models.", UNIT)
    start: str | None = setting(None, "First weights, galaxy models.", choices=STARTS, shown=STARTS[0])
    timed: bool | None = setting(None, "Let galaxy-node's f see the time: f(t, y).", shown="not timed")
    method: str | None = setting(None, "Of the ODE blocks.", shown="heun_euler")
    rtol: float | None = setting(None, "Relative tolerance of the blocks.", RTOL, shown="0.01")
    atol: float | None = setting(None, "Absolute tolerance of the blocks.", ATOL, shown="0.01")
    step: float | None = setting(None, "Fixed steps of this size in place of tolerances, at most 1.", STEP)
    gradient: str | None = setting(None, "How gradients are computed.", shown="aca")
    epochs: int = setting(90, "How often all images are seen.", EPOCHS, shown="by data set")
    batch: int = setting(128, "Images an update.", whole(1))
    lr: float = setting(0.1, "Largest learning rate of SGD.", NETWORK)
    momentum: float = setting(0.9, "Of SGD.", UNIT)
    nesterov: bool = setting(False, "Nesterov's momentum.")
    weight_decay: float = setting(
        5e-4, "Of SGD.", Range(0, largest=1e18, why="no weight is left; give less"), shown="by data set"
    )
    schedule: str = setting("step", "Of the learning rate.", choices=SCHEDULES, shown="by data set")
    milestones: tuple[float, ...] = setting(
        (1 / 3, 2 / 3),
        "Shares of the training after which the step schedule lowers the rate.",
        Range(above=0, most=1),
        example=(0.33, 0.67),
        shown="1/3 and 2/3",
    )
    decay: float = setting(0.1, "Its factor there.", NETWORK)
    flip: bool = setting(True, "Flip training images at random.")
    crop: int = setting(
        4,
        "Shift them by up to so many pixels.",
        whole(largest=1024, why="nothing of an image would be left; give less"),
        shown="4; galaxy 2",
    )
    rotate: bool = setting(False, "Turn them by any angle.", shown="galaxies only")
    zoom: float = setting(1.0, "Magnify or shrink them by up to this factor.", Range(1, most=4), shown="1; galaxy 1.2")
    balance: float = setting(
        0.0,
        "Weigh a class by its number of images to minus this power: 1 makes all count alike.",
        Range(0, most=1),
        shown="0; galaxy, images 0.5",
    )
    label_smoothing: float = setting(0.0, "Of labels.", UNIT)
    clip: float | None = setting(None, "Largest norm of a gradient.", NETWORK)
    precision: str = setting("float32", "Mixed precision where it is not float32.", choices=PRECISIONS)
    channels_last: bool = setting(
        True, "Memory layout of images.", option="--channels-last/--channels-first", shown="channels last"
    )
    compile: bool = setting(False, "Compile the blocks' right-hand sides.", option="--compile")
    test_fraction: float | None = setting(
        None, "Share of all images for the test, drawn at random.", SHARE, shown="the data's own, else 0.1"
    )
    split: int = setting(0, "Seed of that draw.", SEED)
    limit: int | None = setting(None, "Use this many training images only.", whole(2))
    seed: int = setting(0, "Seed of weights and batches.", SEED)
    device: str = setting("cpu", "Where to compute: cpu, cuda, cuda:1, ...")

    def __post_init__(self) -> None:
        from physode.models.registry import classifier_options

        super().__post_init__()
        options = classifier_options(self.model)
        for name in _MODEL:
            if getattr(self, name) is not None and name not in options:
                raise ConfigError(f"the model {self.model} has no `{name}`")
        if self.solver_given and "solver" not in options:
            raise ConfigError(f"the model {self.model} has no ODE blocks for `method` and what belongs to it")
        self.solver()

    @property
    def solver_given(self) -> bool:
        """Whether anything of the solver is set."""
        return any(getattr(self, name) is not None for name in _SOLVER)

    def solver(self) -> Solver | None:
        """Return the solver of the ODE blocks; None for the model's own.

        Raises
        ------
        ConfigError
            If a name is unknown, or a number cannot be.
        """
        from physode.models.solver import Solver

        if not self.solver_given:
            return None
        given = {name: getattr(self, name) for name in _SOLVER if getattr(self, name) is not None}
        try:
            return Solver(**given)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model, as :func:`physode.models.build_classifier` takes them."""
        return {"solver": self.solver(), **{name: getattr(self, name) for name in _MODEL}}


RECIPES: dict[str, dict[str, Any]] = {
    "cifar10": {},
    "cifar100": {},
    "galaxy": {
        "model": "galaxy-node",
        "norm": "group",
        "epochs": 30,
        "batch": 128,
        "schedule": "one-cycle",
        "weight_decay": 1e-4,
        "crop": 2,
        "rotate": True,
        "zoom": 1.2,
        "balance": 0.5,
    },
    "images": {
        "model": "galaxy-node",
        "norm": "group",
        "epochs": 40,
        "schedule": "one-cycle",
        "crop": 2,
        "zoom": 1.2,
        "balance": 0.5,
    },
}
"""Settings that differ from :class:`TrainConfig`'s own, by data set.

For CIFAR these are the ACA paper's (Zhuang et al. 2020, Appendix D.2). For galaxies they are ours, the paper's are in
the experiments; and for images of one's own what learns from some thousand of them in minutes on two processor cores.
"""


def recipe(kind: str, model: str | None = None) -> dict[str, Any]:
    """Return the settings of :data:`RECIPES` for a kind of images; of another model than theirs, with its own norm."""
    settings = RECIPES[kind]
    if model is None or model.startswith("galaxy"):
        return settings
    return {name: value for name, value in settings.items() if name != "norm"}
