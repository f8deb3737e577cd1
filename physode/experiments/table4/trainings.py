"""What is trained for Table 4: models, settings, and one training as a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from physode.datasets.series import IrregularSeries
from physode.experiments.study import StudyConfig
from physode.experiments.training import trained
from physode.models import count_parameters
from physode.series import SeriesConfig, create_series_run, open_series_run, score, train
from physode.simulators import simulate_hopper
from physode.sweeps.cells import Cell
from physode.training.device import own_randomness

SHARES = (0.1, 0.2, 0.5)
"""Of the points that models are told, as the paper has them."""

_NO_LIMIT = 1e12  # of a gradient's norm


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
        The paper's errors by the share of points told, times 100; empty where it has none.
    """

    label: str
    settings: Mapping[str, Any]
    paper: Mapping[float, float]


def _paper(*errors: float) -> Mapping[float, float]:
    return dict(zip(SHARES, errors, strict=True))


def _latent(gradient: str) -> Mapping[str, Any]:
    return {"model": "latent-ode", "gradient": gradient}


MODELS: Mapping[str, Model] = {
    "rnn": Model("RNN", {"model": "rnn"}, _paper(2.45, 1.71, 0.79)),
    "gru": Model("GRU, time gaps", {"model": "gru"}, {}),
    "gru-d": Model("RNN-GRU (GRU-D)", {"model": "gru-d"}, _paper(1.97, 1.42, 0.75)),
    "adjoint": Model("Latent-ODE, adjoint", _latent("adjoint"), _paper(0.47, 0.44, 0.40)),
    "naive": Model("Latent-ODE, naive", _latent("naive-steps"), _paper(0.36, 0.30, 0.29)),
    "aca": Model("Latent-ODE, ACA", _latent("aca"), _paper(0.31, 0.27, 0.26)),
}
"""The models in the paper's order."""


@dataclass(frozen=True)
class Config(StudyConfig):
    """The study's constants: those of Rubanova et al.'s published command and program for the hopper.

    Their likelihood is a mean over values, and their divergence one over components of the latent state: `kl_weight` is
    how many values a sequence has for each component. Their three layers of 300 units stand between a first and a last
    one: four hidden layers.

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
    epochs, batch, optimiser, lr, lr_decay, clip, scaling, sigma, kl_weight, kl_delay, kl_decay
        Of every training; as in :class:`physode.series.SeriesConfig`.
    hidden
        Components of the hidden states of recurrent networks.
    recognition, encoder_units
        Of the Latent-ODE's recognition network: components of its state, and hidden layers of its right-hand side.
    latent, units, method, rtol, atol, samples
        Of the Latent-ODE: components of its state, hidden layers of its right-hand side, solver, and draws an update.
    preset
        ``"full"`` or ``"quick"``.
    """

    study: ClassVar[str] = "table4"

    models: tuple[str, ...] = tuple(MODELS)
    shares: tuple[float, ...] = SHARES
    seed: int = 0
    repeats: tuple[int, ...] = (3, 3, 3)
    sequences: int = 10_000
    data_seed: int = 0
    epochs: int = 300
    batch: int = 50
    optimiser: str = "adamax"
    lr: float = 0.01
    lr_decay: float | None = 0.999
    clip: float = _NO_LIMIT
    scaling: str = "range"
    sigma: float | None = 1e-3
    kl_weight: float = 100 * 14 / 15
    kl_delay: int = 10
    kl_decay: float | None = 0.99
    hidden: int = 100
    recognition: int = 30
    encoder_units: tuple[int, ...] = (300, 300, 300, 300)
    latent: int = 15
    units: tuple[int, ...] = (300, 300, 300, 300)
    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-4
    samples: int = 3
    preset: str = "full"

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what two cores do in six minutes: fewer sequences and epochs, and settings that learn in these."""
        few: dict[str, Any] = {"sequences": 1000, "epochs": 12, "repeats": (3, 1, 1), "preset": "quick"}
        small = {"recognition": 100, "encoder_units": (100,), "latent": 20, "units": (100, 100), "samples": 1}
        fast = {"optimiser": "adamw", "lr_decay": None, "clip": 10.0, "scaling": "deviation", "sigma": None}
        weight = {"kl_weight": 1.0, "kl_delay": 0, "kl_decay": None}
        return cls(**{**few, **small, **fast, **weight, "method": "bosh3", **changes})

    def seeds(self, share: float) -> range:
        """Return the seeds of the trainings with a share of the points."""
        return range(self.seed, self.seed + self.repeats[self.shares.index(share)])


_OF_ALL: tuple[str, ...] = ("epochs", "batch", "optimiser", "lr", "lr_decay", "clip", "scaling", "sigma")
_OF_ALL += ("kl_weight", "kl_delay", "kl_decay")
_OF_LATENT = ("encoder_units", "latent", "units", "method", "rtol", "atol", "samples")


def cells(config: Config) -> list[Cell]:
    """Return a cell for every share, model and seed; those with the adjoint method, which take longest, are first."""
    made = [
        _cell(config, key, share, seed)
        for share in config.shares
        for key in config.models
        for seed in config.seeds(share)
    ]
    return sorted(made, key=lambda cell: "adjoint" not in cell.name)


def cell_name(key: str, share: float, seed: int) -> str:
    """Return the name of a training's cell."""
    return f"{key} {100 * share:g} percent seed {seed}"


def _cell(config: Config, key: str, share: float, seed: int) -> Cell:
    model = MODELS[key]
    latent = model.settings["model"] == "latent-ode"
    names = (*_OF_ALL, *_OF_LATENT) if latent else _OF_ALL
    chosen = {name: value for name in names if (value := getattr(config, name)) is not None}
    settings = {
        **model.settings,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()},
        "hidden": config.recognition if latent else config.hidden,
        "observed": share,
        "seed": seed,
    }
    data = {"n": config.sequences, "seed": config.data_seed}
    return Cell(cell_name(key, share, seed), f"{__name__}:train_and_test", {"data": data, "settings": settings})


def train_and_test(
    *, data: Mapping[str, Any], settings: Mapping[str, Any], device: str = "cpu", run: str | None = None
) -> dict[str, Any]:
    """Train a model on sequences of the hopper, and test it.

    Parameters
    ----------
    data
        Arguments of :func:`physode.simulators.simulate_hopper`.
    settings
        Of the training, as :meth:`physode.series.SeriesConfig.from_dict` reads them.
    device
        Where to compute.
    run
        Folder that keeps every epoch: a training that was killed goes on there, and one that has ended is only tested.
        It stays until who calls has kept the result.

    Returns
    -------
    dict
        ``history``, an entry an epoch; ``parameters``; and the figures of :class:`physode.series.Scores`.
    """
    series = IrregularSeries.of(simulate_hopper(**data))
    config = SeriesConfig.from_dict({**settings, "device": device})
    about = {
        "channels": series.channels,
        "units": series.units,
        "time_unit": str(series.attrs.get("time_unit", "")),
    }
    trainer, history = trained(
        train, series, config, run, opened=open_series_run, created=create_series_run, about=about
    )
    with own_randomness(0, trainer.model.scale.device):  # of the draws for the log-likelihood
        scores = score(trainer.model.eval(), *trainer.test, batch=config.batch)
    return {"history": history, "parameters": count_parameters(trainer.model), **scores.as_dict()}
