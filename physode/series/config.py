"""Settings of a training on irregular series."""

from __future__ import annotations

import dataclasses
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
    WIDTH,
    Range,
    Settings,
    setting,
    whole,
)  # fmt: skip

if TYPE_CHECKING:
    from physode.models.solver import Solver

__all__ = ["MODELS", "TASKS", "SeriesConfig"]

MODELS = ("latent-ode", "ode-rnn", "rnn", "gru", "gru-d")
"""Keys of :data:`physode.models.SERIES_MODELS`, which would have to import torch; a test holds the two together."""
TASKS = ("interpolation", "extrapolation")
OPTIMISERS = ("adamw", "adamax")
SCALINGS = ("deviation", "range")

_MODEL = ("latent", "units", "hidden", "encoder_units", "sigma")
_SOLVER = ("method", "rtol", "atol", "step", "gradient")


@dataclass(frozen=True)
class SeriesConfig(Settings):
    """How a model of irregular series is built and trained.

    Of the model and its latent path, None stands for the model's own choice: see :class:`physode.models.LatentODE` and
    :class:`physode.models.Solver`. The model is told a share `observed` of each series' points, drawn anew in every
    epoch of the training and once for the test, and asked for the whole series (``"interpolation"``), or for what comes
    after the share `until` of its span from points before (``"extrapolation"``). The rate is one cycle's (Smith and
    Topin 2019), or with `lr_decay` d it is lr d^n in the n-th update, at least lr / 10. The divergence of the latent
    state from its prior has no weight in the first `kl_delay` epochs; then it rises to `kl_weight` by a ramp, or with
    `kl_decay` a it is kl_weight (1 - a^n) in the n-th epoch after them. `clip` may be infinite.
    """

    model: str = setting("latent-ode", "The model.", choices=MODELS)
    observed: float = setting(0.5, "Share of the points that the model is told.", Range(above=0, most=1))
    task: str = setting("interpolation", "What it is trained for.", choices=TASKS)
    until: float = setting(0.5, "Where extrapolation begins, a share of each series' span.", SHARE)
    latent: int | None = setting(None, "Components of the latent state, latent-ode.", WIDTH, shown="20")
    units: tuple[int, ...] | None = setting(
        None,
        "Widths of the layers of the right-hand side.",
        WIDTH,
        example=(100, 100),
        shown="100,100; ode-rnn 100",
    )
    hidden: int | None = setting(None, "Components of the recurrent state.", WIDTH, shown="100")
    encoder_units: tuple[int, ...] | None = setting(
        None, "Widths in latent-ode's encoder.", WIDTH, example=(100, 100), shown="100"
    )
    sigma: float | None = setting(None, "Observations' noise, as scaled.", NETWORK, shown="learnt by channel")
    scaling: str = setting("deviation", "By what of each channel values are divided.", choices=SCALINGS)
    method: str | None = setting(None, "Of the latent path.", shown="dopri5")
    rtol: float | None = setting(None, "Relative tolerance of the latent path.", RTOL, shown="0.001")
    atol: float | None = setting(None, "Absolute tolerance of the latent path.", ATOL, shown="0.0001")
    step: float | None = setting(None, "Fixed steps of the latent path, a share of the longest span, at most 1.", STEP)
    gradient: str | None = setting(None, "How gradients are computed.", shown="aca")
    encoder_steps: int | None = setting(
        None, "Euler steps of the recurrent state in a gap.", whole(1, largest=10_000), shown="1"
    )
    epochs: int = setting(100, "How often all series are seen.", EPOCHS)
    batch: int = setting(50, "Series an update.", whole(1))
    optimiser: str = setting("adamw", "The optimiser.", choices=OPTIMISERS)
    lr: float = setting(0.01, "Largest learning rate.", NETWORK)
    lr_decay: float | None = setting(
        None, "Factor of the rate in each update, until a tenth is left.", Range(above=0, most=1), shown="one cycle"
    )
    weight_decay: float = setting(0.0, "Of the weights.", Range(0, largest=1e18, why="no weight is left; give less"))
    clip: float = setting(10.0, "Largest norm of a gradient.", dataclasses.replace(NETWORK, finite=False))
    kl_weight: float = setting(
        1.0,
        "Of the divergence from the prior.",
        Range(0, largest=1e18, why="single precision cannot hold the loss; give less"),
    )
    kl_delay: int = setting(0, "Epochs before it has any weight.", whole())
    kl_rise: float = setting(0.5, "Share of the training in which it is reached from then on.", Range(0, 1))
    kl_decay: float | None = setting(
        None, "Factor of what is missing in each epoch from then on.", SHARE, shown="a ramp by --kl-rise"
    )
    samples: int | None = setting(
        None, "Initial states drawn for a series in an update, latent-ode.", whole(1, largest=1000), shown="1"
    )
    min_points: int | None = setting(None, "Leave out series of fewer points.", whole(2))
    test_fraction: float = setting(0.2, "Share of all series for the test, drawn at random.", SHARE)
    split: int = setting(0, "Seed of that draw.", SEED)
    limit: int | None = setting(None, "Use this many training series only.", whole(1))
    seed: int = setting(0, "Seed of weights, batches and draws.", SEED)
    device: str = setting("cpu", "Where to compute: cpu, cuda, cuda:1, ...")

    def __post_init__(self) -> None:
        from physode.models.registry import series_model_options

        super().__post_init__()
        known = series_model_options(self.model)
        for name in _MODEL:
            if getattr(self, name) is not None and name not in known:
                raise ConfigError(f"the model {self.model} has no `{name}`")
        if self.encoder_steps is not None and self.encoder_solver() is None:
            raise ConfigError(f"the model {self.model} has no flow between observations for `encoder_steps`")
        if self.samples is not None and self.model != "latent-ode":
            raise ConfigError(f"the model {self.model} has no initial state to draw for `samples`")
        given = [name for name in _SOLVER if getattr(self, name) is not None]
        if given and self.model != "latent-ode":
            raise ConfigError(f"the model {self.model} has no latent path for `{given[0]}`")
        self.solver()

    def solver(self) -> Solver | None:
        """Return the solver of the latent path; None for the model's own.

        Raises
        ------
        ConfigError
            If a name is unknown, or a number cannot be.
        """
        from physode.models.solver import Solver

        given = {name: getattr(self, name) for name in _SOLVER if getattr(self, name) is not None}
        if not given:
            return None
        try:
            return Solver(**{"method": "dopri5", "rtol": 1e-3, "atol": 1e-4, **given})
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def encoder_solver(self) -> Solver | None:
        """Return the solver of the hidden state between observations; None where there is none."""
        from physode.models.solver import Solver

        if self.model not in ("latent-ode", "ode-rnn"):
            return None
        return Solver(method="euler", step=1.0 / (self.encoder_steps or 1), gradient="naive")

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model, as :func:`physode.models.build_series_model` takes them."""
        options: dict[str, Any] = {name: getattr(self, name) for name in _MODEL}
        if self.model == "latent-ode":
            return {**options, "solver": self.solver(), "encoder_solver": self.encoder_solver()}
        return {**options, "solver": self.encoder_solver()}
