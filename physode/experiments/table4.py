r"""Table 4 and Figs. 10-12 of the ACA paper (Sect. 4.3): the hopper between its observations.

A model is told a tenth, a fifth or half of the points of sequences of MuJoCo's hopper, and reconstructs all of them.
Two recurrent networks with time gaps stand beside the Latent-ODE, whose latent path is differentiated by each of the
three gradient methods. Figures are mean squared errors, each channel divided by its range, times 100.

What the paper leaves open is settled so:

- Data are the simulator's (``physode simulate hopper``), as Rubanova et al. (2019) have them: 10,000 sequences of 100
  points, a fifth of them for the test. Which points a model is told is drawn anew in every epoch, once for the test.
- All models have the same sequences, batches, points told, epochs and optimiser (Adam, one cycle), and are of similar
  size. A seed decides initial weights, order and points told; the test is the same for all.
- Recurrent networks say what a point is before they see it, as in Rubanova et al.: nothing after it helps them. They
  step from the last point they were told to the one that is asked for. Stepping through all times of a sequence, which
  makes what they say depend on what is asked, a GRU is somewhat better and an RNN worse (`docs/reproduction.md`).
- The quick version has fewer sequences and epochs, and three seeds at 10 % only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from physode.datasets.series import IrregularSeries
from physode.experiments.repeats import Repeats, every_training_ends, mean, mean_and_deviation
from physode.experiments.report import Finding, Result, Row
from physode.experiments.study import Study, StudyConfig
from physode.experiments.training import trained
from physode.models import count_parameters
from physode.plotting import plot_learning
from physode.series import SeriesConfig, create_series_run, open_series_run, score, train
from physode.simulators import simulate_hopper
from physode.sweeps.cells import Cell, Outcome
from physode.training.device import own_randomness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_SHARES = (0.1, 0.2, 0.5)
_FIGURES = dict(zip(_SHARES, ("fig10", "fig11", "fig12"), strict=True))


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
    return dict(zip(_SHARES, errors, strict=True))


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
class Config(StudyConfig):
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

    study: ClassVar[str] = "table4"

    models: tuple[str, ...] = tuple(MODELS)
    shares: tuple[float, ...] = _SHARES
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
        return cls(**{**few, "method": "bosh3", "preset": "quick", **changes})

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


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: a row a share of points told and model, failed ones included."""
    repeats = {
        (share, key): Repeats({seed: outcomes[cell_name(key, share, seed)] for seed in config.seeds(share)})
        for share in config.shares
        for key in config.models
    }
    quick = config.shortened("fewer sequences and epochs than the paper's")
    return config.result(
        f"The hopper between its observations: test MSE x 100 (ACA paper, Table 4{quick})",
        [_row(share, key, each, repeats.get((share, "aca"))) for (share, key), each in repeats.items()],
        [*_findings(config, repeats), every_training_ends(outcomes)],
        series={f"{share:g} {key}": _curves(each) for (share, key), each in repeats.items() if each.done},
    )


def _row(share: float, key: str, repeats: Repeats, aca: Repeats | None) -> Row:
    model = MODELS[key]
    return {
        "points told": f"{share:.0%}",
        "model": model.label,
        "MSE x 100": mean_and_deviation(_errors(repeats), digits=3),
        "paper": model.paper.get(share),
        "when ACA is done": aca and mean_and_deviation(_errors_after(repeats, mean(aca.seconds())), digits=3),
        "runs": repeats.runs,
        "log-likelihood": mean_and_deviation(repeats.values("log_likelihood"), digits=3),
        "parameters": repeats.parameters,
        "seconds": mean(repeats.seconds()),
        "rhs evaluations a batch": mean(repeats.evaluations()) or None,
        "note": repeats.note,
    }


def _errors(repeats: Repeats) -> list[float]:
    return [100.0 * value for value in repeats.values("mse_by_range")]


def _errors_after(repeats: Repeats, seconds: float | None) -> list[float]:
    """Return the errors after the last epochs over when this much time had been trained; none if a run had none."""
    found = []
    for run in repeats.done:
        spent = np.cumsum([epoch["seconds"] for epoch in run["history"]])
        over = int((spent <= (seconds or 0.0)).sum())
        if not over:
            return []
        found.append(100.0 * run["history"][over - 1]["test_mse_by_range"])
    return found


def _findings(config: Config, repeats: Mapping[tuple[float, str], Repeats]) -> Iterator[Finding]:
    for share in config.shares:
        means = {key: mean(_errors(repeats[share, key])) for key in config.models}
        yield _order(share, [key for key in ("aca", "naive", "adjoint") if key in means], means)
        if "aca" in means:
            for rival in ("gru", "rnn"):
                if rival in means:
                    yield _order(share, ["aca", rival], means)
        for key, found in means.items():
            paper = MODELS[key].paper.get(share)
            if paper is not None:
                statement = f"{share:.0%}, {MODELS[key].label}: {paper:g}, or less"
                shown = "failed" if found is None else f"{found:.3f}"
                yield Finding(statement, shown, found is not None and found <= paper)


def _order(share: float, keys: list[str], means: Mapping[str, float | None]) -> Finding:
    """Compare models that the paper has in rising order."""
    found = [means[key] for key in keys]
    known = [value for value in found if value is not None]
    return Finding(
        f"{share:.0%}: " + " <= ".join(MODELS[key].label for key in keys),
        "; ".join("failed" if value is None else f"{value:.3f}" for value in found),
        len(known) == len(keys) and known == sorted(known),
    )


def _curves(repeats: Repeats) -> Array:
    """Return epochs, test errors and seconds of each run, (runs, epochs, 3)."""
    columns = ("epoch", "test_mse_by_range", "seconds")
    return np.array([[[epoch[name] for name in columns] for epoch in run["history"]] for run in repeats.done])


def draw(result: Result) -> dict[str, Figure]:
    """Draw test errors by epoch and by training time of all models, for each share of points told."""
    figures = {}
    quick = "" if result.config["preset"] == "full" else f" ({result.config['preset']})"
    for share in result.config["shares"]:
        runs = {
            MODELS[key].label: [_history(run) for run in result.series[f"{share:g} {key}"]]
            for key in result.config["models"]
            if f"{share:g} {key}" in result.series
        }
        if runs:
            figures[_FIGURES.get(share, f"share-{share:g}")] = plot_learning(
                runs,
                quantities=("test_mse_by_range",),
                against=("epoch", "time"),
                title=f"The hopper, {share:.0%} of the points told{quick}",
            )
    return figures


def _history(run: Array) -> list[dict[str, float]]:
    return [{"epoch": epoch, "test_mse_by_range": error, "seconds": seconds} for epoch, error, seconds in run.tolist()]


STUDIES = {"table4": Study(Config, draw, cells=cells, aggregate=aggregate, trains=True)}
