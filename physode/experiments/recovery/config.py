"""What the recovery study is made of: its methods, the systems of each, and the cells to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from physode.experiments.study import StudyConfig
from physode.sweeps.cells import Cell

_HERE = "physode.experiments.recovery"
_BLOCKS = 10_000  # seeds of the simulator for one seed of the study

PRESET = "preset aca"
"""The name of the cell with the case that plain least squares is known to fail at."""


@dataclass(frozen=True)
class Method:
    """A way to fit.

    Attributes
    ----------
    label
        Its name in tables and figures.
    settings
        Of Levenberg-Marquardt, ``schedule`` and ``sigma_known``; or the ``gradient`` for Adam.
    every
        Whether all systems are fitted, or those to be compared only.
    noise
        Whether there is noise: always (True), never (False), or at all levels (None).
    """

    label: str
    settings: Mapping[str, Any]
    every: bool = False
    noise: bool | None = None

    @property
    def adam(self) -> bool:
        """Whether it is of the first order."""
        return "gradient" in self.settings


METHODS: Mapping[str, Method] = {
    "growing": Method("LM, growing span", {"schedule": "growing", "sigma_known": False}, every=True),
    "sigma": Method("LM, growing span, sigma known", {"schedule": "growing", "sigma_known": True}, noise=True),
    "plain": Method("LM, full span at once", {"schedule": "full", "sigma_known": False}, noise=False),
    "aca": Method("Adam, ACA", {"gradient": "aca"}),
    "naive": Method("Adam, naive", {"gradient": "naive-steps"}),
    "adjoint": Method("Adam, adjoint", {"gradient": "adjoint"}),
}
"""The methods: physode's default first."""


@dataclass(frozen=True)
class Config(StudyConfig):
    """The study's constants.

    Attributes
    ----------
    seed
        Of systems, noise and starts.
    systems, compared
        How many systems are fitted by the default method, and how many of these by the others.
    block
        Systems of a cell.
    noises
        Standard deviations of the observed positions in AU.
    t_end, points
        Time in years over which the systems are observed, and at how many times.
    spread
        Largest relative error of the masses where fits begin.
    epochs, lr, lr_decay, method, rtol, atol
        Of Adam: those of the ACA paper's Table 8.
    max_steps
        Most attempts at a step in a solve of Adam's; a solve that needs more has failed.
    preset_start, preset_end, preset_points, preset_until
        Of the fit of the preset: initial masses, end and number of the times, and end of the training span.
    preset
        ``"full"``, or ``"quick"`` for what :meth:`quick` returns.
    """

    study: ClassVar[str] = "recovery"

    seed: int = 0
    systems: int = 200
    compared: int = 40
    block: int = 10
    noises: tuple[float, ...] = (0.0, 1e-4, 1e-2)
    t_end: float = 1.0
    points: int = 100
    spread: float = 0.5
    epochs: int = 100
    lr: float = 0.1
    lr_decay: float = 0.99
    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000
    preset_start: tuple[float, float, float] = (1.3, 0.8, 1.2)
    preset_end: float = 2.0
    preset_points: int = 2000
    preset_until: float = 1.0
    preset: str = "full"

    def __post_init__(self) -> None:
        if not 1 <= self.compared <= self.systems:
            raise ValueError(f"`compared` must be between 1 and `systems` {self.systems}, got {self.compared}")
        if self.block < 1 or -(-self.systems // self.block) > _BLOCKS:
            raise ValueError(f"`block` must be at least 1 and leave {_BLOCKS} blocks at most, got {self.block}")

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what takes minutes: a few systems, one noise beside none, and a twentieth of Adam's epochs."""
        few: dict[str, Any] = {"systems": 4, "compared": 2, "block": 2, "noises": (0.0, 1e-2), "epochs": 5}
        return cls(**{**few, "points": 60, "preset_points": 200, "preset": "quick", **changes})


def noises_of(config: Config, key: str) -> tuple[float, ...]:
    """Return the noises that a method is tried at."""
    wanted = METHODS[key].noise
    return tuple(noise for noise in config.noises if wanted is None or wanted == (noise > 0))


def blocks(config: Config, count: int) -> list[tuple[int, int]]:
    """Divide the first `count` systems into blocks: the simulator's seed, and how many systems it gives."""
    first = config.seed * _BLOCKS
    return [
        (first + number, min(config.block, count - number * config.block))
        for number in range(-(-count // config.block))
    ]


def cell_name(key: str, noise: float | None, seed: int | None) -> str:
    """Return the name of a method's cell: of one noise and block, or, for Adam, of all."""
    return key if noise is None or seed is None else f"{key} noise {noise:g} block {seed}"


def cells(config: Config) -> list[Cell]:
    """Return one cell for each method of Levenberg-Marquardt, noise and block, one for each of Adam's gradients.

    Adam fits all systems at all noises in one batch. Its cells take longest and are first: nobody then waits for them
    alone.
    """
    slow = [_adam(config, key) for key in ("adjoint", "naive", "aca")]
    known = {"start": list(config.preset_start), "t_end": config.preset_end, "points": config.preset_points}
    case = Cell(PRESET, f"{_HERE}.fits:fit_preset", {**known, "train_until": config.preset_until})
    quick = [
        Cell(
            cell_name(key, noise, seed),
            f"{_HERE}.fits:fit_systems",
            {"data": {**_observed(config), "seed": seed, "count": count, "noise": noise}, **method.settings},
        )
        for key, method in METHODS.items()
        if not method.adam
        for noise in noises_of(config, key)
        for seed, count in blocks(config, config.systems if method.every else config.compared)
    ]
    return [*slow, case, *quick]


def _adam(config: Config, key: str) -> Cell:
    parts = blocks(config, config.compared)
    recipe = {name: getattr(config, name) for name in ("epochs", "lr", "lr_decay", "method", "rtol", "atol")}
    systems = {"seeds": [seed for seed, _ in parts], "counts": [count for _, count in parts]}
    arguments = {"data": {**_observed(config), **systems}, "noises": list(noises_of(config, key)), **recipe}
    return Cell(
        cell_name(key, None, None),
        f"{_HERE}.fits:fit_together",
        {**arguments, **METHODS[key].settings, "max_steps": config.max_steps},
    )


def _observed(config: Config) -> dict[str, Any]:
    return {"t_end": config.t_end, "points": config.points, "spread": config.spread}
