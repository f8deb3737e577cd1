"""What Table 4 is made of: its models, their settings, and the cells to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from physode.experiments.cells import Cell

__all__ = ["MODELS", "Config", "Model", "cell_name", "cells"]

_TRAINING = "physode.experiments.table4.training:train_and_test"


@dataclass(frozen=True)
class Model:
    """A column of the table.

    Attributes
    ----------
    label
        Its name.
    settings
        What it is in :class:`physode.series.SeriesConfig`.
    paper
        The paper's errors by the share of points told, times 100.
    """

    label: str
    settings: Mapping[str, Any]
    paper: Mapping[float, float]


def _paper(*errors: float) -> Mapping[float, float]:
    return dict(zip((0.1, 0.2, 0.5), errors, strict=True))


def _latent(gradient: str) -> Mapping[str, Any]:
    return {"model": "latent-ode", "gradient": gradient}


MODELS: Mapping[str, Model] = {
    "rnn": Model("RNN", {"model": "rnn"}, _paper(2.45, 1.71, 0.79)),
    "gru": Model("RNN-GRU", {"model": "gru"}, _paper(1.97, 1.42, 0.75)),
    "adjoint": Model("Latent-ODE, adjoint", _latent("adjoint"), _paper(0.47, 0.44, 0.40)),
    "naive": Model("Latent-ODE, naive", _latent("naive-steps"), _paper(0.36, 0.30, 0.29)),
    "aca": Model("Latent-ODE, ACA", _latent("aca"), _paper(0.31, 0.27, 0.26)),
}
"""The models in the paper's order."""


@dataclass(frozen=True)
class Config:
    """The study's constants.

    Attributes
    ----------
    models
        Keys of ``MODELS``.
    shares
        Of the points, that models are told.
    seed, repeats
        Trainings have the seeds ``seed``, ``seed + 1``, ...; of each share its number of them.
    sequences, data_seed
        Of the hopper.
    epochs, batch, lr, sigma, kl_weight
        Of every training.
    hidden
        Components of the hidden states of all models.
    latent, units, method, rtol, atol
        Of the Latent-ODE.
    preset
        ``"full"`` or ``"quick"``.
    """

    models: tuple[str, ...] = tuple(MODELS)
    shares: tuple[float, ...] = (0.1, 0.2, 0.5)
    seed: int = 0
    repeats: tuple[int, ...] = (3, 3, 3)
    sequences: int = 10_000
    data_seed: int = 0
    epochs: int = 300
    batch: int = 50
    lr: float = 0.01
    sigma: float | None = None
    kl_weight: float = 1.0
    hidden: int = 100
    latent: int = 20
    units: tuple[int, ...] = (300, 300)
    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-4
    preset: str = "full"

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what two cores do in ten minutes: a tenth of the sequences, a fifteenth of the epochs."""
        few: dict[str, Any] = {"sequences": 1000, "epochs": 20, "units": (100, 100), "repeats": (3, 1, 1)}
        coarse = {"method": "bosh3"}
        return cls(**{**few, **coarse, "preset": "quick", **changes})

    @property
    def name(self) -> str:
        """What the study's files are called."""
        return "table4" if self.preset == "full" else f"table4-{self.preset}"

    def seeds(self, share: float) -> range:
        """Return the seeds of the trainings with a share of the points."""
        return range(self.seed, self.seed + self.repeats[self.shares.index(share)])


def cells(config: Config) -> list[Cell]:
    """Return a cell for every share, model and seed; those with the adjoint method, which take longest, are first."""
    found = [
        _cell(config, key, share, seed)
        for share in config.shares
        for key in config.models
        for seed in config.seeds(share)
    ]
    return sorted(found, key=lambda cell: "adjoint" not in cell.name)


def cell_name(key: str, share: float, seed: int) -> str:
    """Return the name of a training's cell."""
    return f"{key} {100 * share:g} percent seed {seed}"


def _cell(config: Config, key: str, share: float, seed: int) -> Cell:
    model = MODELS[key]
    settings: dict[str, Any] = {
        **model.settings,
        **{name: getattr(config, name) for name in ("epochs", "batch", "lr", "hidden", "kl_weight")},
        **({} if config.sigma is None else {"sigma": config.sigma}),
        "observed": share,
        "seed": seed,
    }
    if model.settings["model"] == "latent-ode":
        settings |= {name: getattr(config, name) for name in ("latent", "method", "rtol", "atol")}
        settings["units"] = list(config.units)
    data = {"n": config.sequences, "seed": config.data_seed}
    return Cell(cell_name(key, share, seed), _TRAINING, {"data": data, "settings": settings})
