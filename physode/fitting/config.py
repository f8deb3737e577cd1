"""The settings of a fit: one frozen record, checked when it is made, kept as TOML beside the results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from physode.errors import ConfigError
from physode.fitting.labels import parse_target
from physode.training.settings import (
    ATOL,
    EPOCHS,
    POSITIVE,
    RTOL,
    SEED,
    WIDTH,
    Range,
    Settings,
    setting,
    whole,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

__all__ = ["GRADIENTS", "LOSSES", "OPTIMIZERS", "RHS", "ROBUST", "SCHEDULES", "STARTS", "FitConfig"]

RHS = ("physical", "augmented", "neural", "hybrid", "lstm", "lstm-aug")
OPTIMIZERS = ("lm", "adam", "lbfgs", "sgd")
GRADIENTS = ("aca", "adjoint", "naive", "naive-steps")
LOSSES = ("positions", "state")
SCHEDULES = ("full", "growing", "shooting", "matching")
STARTS = ("known", "fit")
ROBUST = ("huber", "soft_l1", "cauchy")
PAIRS = ("ordered", "unordered")
PREDICTED = ("step", "position")
DTYPES = ("float32", "float64")

_EPOCHS = {"lm": 200, "adam": 100, "sgd": 100, "lbfgs": 30}
# Adam's are those of the ACA paper's Table 8 for the models it is from; large networks want smaller steps.
_RATES = {"lm": (1.0, 1.0), "adam": (0.1, 0.99), "sgd": (0.01, 1.0), "lbfgs": (1.0, 1.0)}
_NETWORK_RATE = (0.01, 0.999)
_RECURRENT_EPOCHS = 5000
_STAGES = 5
_SIGMA = dataclasses.replace(POSITIVE, sized=True)


@dataclass(frozen=True, kw_only=True)
class FitConfig(Settings):
    """How to fit a right-hand side to trajectories. What is None is decided from the rest, and from the data.

    Of `rhs`, ``"physical"`` is the system that the data name, its constants unknown; ``"augmented"`` accelerations from
    one linear layer on pair features (ACA paper, Eq. 34); ``"neural"`` a network; ``"hybrid"`` physics and a network;
    ``"lstm"`` and ``"lstm-aug"`` no differential equation, but a recurrent network on bodies' positions, or on the
    paper's augmented input, Eq. 33.

    Levenberg-Marquardt, ``"lm"``, works on exact discrete Jacobians; `gradient` is the first-order optimisers'. Solves
    are compiled at once with `compile`, else once they have taken as long as compiling does. By default dopri8 at 1e-9
    solves physical right-hand sides in double precision, whose constants are then right to some eight digits, else
    dopri5 at the solver's own tolerances. The data up to `train_until` are used, the rest measures the extrapolation.

    The layer of ``"augmented"`` gives accelerations r'', or, in `gravity_units`, what G and the data's velocity scale
    multiply. With a `time_weight` c, a squared residual at t counts c^(t - t_0), as if variances grew like c^(t_0 - t).

    Constants are named whole or by element, such as ``"masses[2]"``, counted from 1; `init` has one number or one an
    element. `free` fits only what it names, the others keep the data's values. `fix` may name further settings of the
    system (``"G"``), and is empty for the data's value. `positive` fits logarithms. `priors` are normal, by mean and
    standard deviation, and need a sigma, as `robust` does; `robust_scale` is by default where the loss keeps 95 % of
    its efficiency on normal errors. A known initial state is taken before noise, where the file knows it.

    Of the schedules, ``"full"`` has the whole training span at once; ``"growing"`` a short span first, doubled from
    stage to stage; ``"shooting"`` segments with initial states of their own, estimated from the data and pulled
    together, half as many from stage to stage; ``"matching"`` the data's slopes first, then growing spans.
    """

    rhs: str = setting(
        "physical",
        "What to fit: the data's own system with unknown constants, accelerations from one linear layer on pair "
        "features, a network, physics and a network, or a recurrent network on positions or on pair features.",
        choices=RHS,
    )
    optimizer: str | None = setting(
        None,
        "Levenberg-Marquardt on exact Jacobians (lm), or a gradient method.",
        choices=OPTIMIZERS,
        shown="lm for physical, else adam",
    )
    gradient: str = setting("aca", "How gradients are computed; lm has its own Jacobians.", choices=GRADIENTS)
    compile: bool = setting(
        False, "Compile the solves at once, rather than when they have taken as long as that.", option="--compile"
    )
    method: str | None = setting(None, "Integration method.", shown="dopri8 for physical, else dopri5")
    rtol: float | None = setting(None, "Relative tolerance of a step.", RTOL, shown="by precision")
    atol: float | None = setting(None, "Absolute tolerance of a step.", ATOL, shown="by precision")
    max_steps: int = setting(20_000, "Most attempts in a solve.", whole(1))
    epochs: int | None = setting(None, "Steps; evaluations of lm.", EPOCHS, shown="by optimizer")
    lr: float | None = setting(None, "Learning rate.", POSITIVE, shown="by optimizer")
    lr_decay: float | None = setting(
        None, "Its factor from epoch to epoch.", Range(above=0, most=1), shown="by optimizer"
    )
    betas: tuple[float, ...] | None = setting(
        None, "Decay rates of adam's two averages.", Range(0, below=1), example=(0.5, 0.5), shown="0.9,0.999"
    )
    time_weight: float | None = setting(
        None,
        "Squared residuals count this to the power of the time since the start; less than 1 for early ones first.",
        POSITIVE,
        shown="1",
    )
    train_until: float | None = setting(None, "Use data up to this time.", Range(), shown="half their span")
    loss: str | None = setting(
        None, "Which columns to fit.", choices=LOSSES, shown="positions where there are bodies, else state"
    )
    init: Mapping[str, tuple[float, ...]] = setting(
        {}, "Initial guess of a constant, or of an element such as masses[2]; repeat it.", shown="1"
    )
    free: tuple[str, ...] = setting((), "Fit this constant, or element, only; repeat it.", shown="all")
    fix: Mapping[str, tuple[float, ...]] = setting(
        {}, "Keep a constant, an element, or a setting such as G, at this value or at the data's; repeat it."
    )
    positive: bool = setting(False, "Keep fitted constants above 0.", option="--positive")
    bounds: Mapping[str, tuple[float, ...]] = setting({}, "Keep a constant between these; repeat it.", option="--bound")
    priors: Mapping[str, tuple[float, ...]] = setting({}, "Normal prior of a constant; repeat it.", option="--prior")
    system: str | None = setting(None, "The system that the data are of, where they do not say so.")
    sigma: float | None = setting(
        None, "Standard deviation of the observed values.", _SIGMA, shown="the data's own, if any"
    )
    robust: str | None = setting(None, "Let outliers count less than squares do.", choices=ROBUST)
    robust_scale: float | None = setting(None, "From how many sigma on.", _SIGMA, shown="by loss, about 1.3 to 2.4")
    initial_state: str | None = setting(
        None,
        "Whether the first state is exact, or fitted too.",
        choices=STARTS,
        shown="known where the file says so, else fit",
    )
    schedule: str | None = setting(
        None,
        "All of the span at once; a short span first, doubled stage by stage; segments, merged stage by stage; or the "
        "data's slopes, then growing spans.",
        choices=SCHEDULES,
        shown="growing for lm on physics, matching for lm on networks, else full",
    )
    stages: int | None = setting(
        None, "How many stages.", whole(1, largest=64, why="spans double from stage to stage; give less"), shown="5"
    )
    hidden: tuple[int, ...] | None = setting(
        None, "Widths of hidden layers, or none.", WIDTH, example=(64, 64), shown="64,64; augmented none"
    )
    activation: str = setting("tanh", "Function between the layers of the network.")
    pairs: str = setting("ordered", "Of augmented, pairs of bodies both ways round, or each once.", choices=PAIRS)
    gravity_units: bool = setting(
        False, "Of augmented, outputs in units of the data's gravitational constant.", option="--gravity-units"
    )
    trajectories: tuple[int, ...] = setting(
        (), "Fit this one; repeat it.", whole(0), shown="all", option="--trajectory"
    )
    sequence: int = setting(20, "Points of the sequences that a recurrent network learns from.", whole(2))
    predicts: str = setting("step", "What a recurrent network predicts of the next point.", choices=PREDICTED)
    given: int = setting(10, "Points that a recurrent network is given before it feeds on its own.", whole(1))
    seed: int = setting(0, "Seed of every random choice.", SEED)
    device: str = setting("cpu", "Where to compute: cpu, cuda, cuda:1, ...")
    dtype: str = setting("float64", "Precision.", choices=DTYPES)

    def __post_init__(self) -> None:
        import torch

        from physode.problem.checks import checked_method

        super().__post_init__()
        try:
            torch.device(self.device)
            if self.method is not None:
                checked_method(self.method)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(str(error).partition("\n")[0]) from error
        self._check_constants()
        self._check_pairs()

    def _check_constants(self) -> None:
        """Refuse what can be no name, bound or prior of a constant."""
        for name in (*self.init, *self.free, *self.fix, *self.bounds, *self.priors):
            parse_target(name)
        for name, values in self.fix.items():
            if not all(map(math.isfinite, values)):
                raise ConfigError(f"`fix` of {name!r} must be finite, got {list(values)}")
        for name, pair in self.bounds.items():
            if len(pair) != 2 or not pair[0] < pair[1]:
                raise ConfigError(f"`bounds` of {name!r} must be a lower and a larger upper number, got {list(pair)}")
        for name, pair in self.priors.items():
            if len(pair) != 2 or not (math.isfinite(pair[0]) and pair[1] > 0 and math.isfinite(pair[1])):
                raise ConfigError(
                    f"`priors` of {name!r} must be a mean and a standard deviation above 0, got {list(pair)}"
                )

    def _check_pairs(self) -> None:
        """Refuse settings that would be ignored beside others."""
        physical = self.rhs in ("physical", "hybrid")
        for name in ("init", "free", "fix", "positive", "bounds", "priors", "system"):
            if getattr(self, name) and not physical:
                raise ConfigError(f"`{name}` needs a right-hand side with constants; rhs={self.rhs!r} has none")
        if self.rhs != "augmented" and (self.gravity_units or self.pairs != "ordered"):
            raise ConfigError(f"`pairs` and `gravity_units` are settings of rhs='augmented', not of {self.rhs!r}")
        if self.predicts != "step" and not self.recurrent:
            raise ConfigError(f"`predicts` is a setting of rhs='lstm' and 'lstm-aug', not of {self.rhs!r}")
        if self.betas is not None and (len(self.betas) != 2 or self.optimizer_name != "adam"):
            raise ConfigError(f"`betas` must be two numbers, and of optimizer='adam'; got {list(self.betas)}")
        if self.recurrent:
            self._check_recurrent()
        if self.hidden is not None and self.rhs == "physical":
            raise ConfigError("`hidden` needs a network, rhs='physical' has none; try rhs='hybrid'")
        if self.robust_scale is not None and self.robust is None:
            raise ConfigError("`robust_scale` has no part without `robust`; choose 'huber', 'soft_l1' or 'cauchy'")
        if self.stages not in (None, 1) and self._schedule_name == "full":
            raise ConfigError("`stages` has no part in schedule='full'; choose 'growing', 'shooting' or 'matching'")
        if self.optimizer_name == "lm":
            if self.gradient != "aca":
                raise ConfigError(
                    f"`gradient` {self.gradient!r} has no part in optimizer='lm', which uses exact discrete Jacobians; "
                    "choose optimizer='adam', 'sgd' or 'lbfgs'"
                )
            if self.lr not in (None, 1.0) or self.lr_decay not in (None, 1.0):
                raise ConfigError("`lr` and `lr_decay` have no part in optimizer='lm', which chooses its own steps")

        if self.compile and self.gradient != "aca":
            raise ConfigError(f"`compile` goes with gradient='aca', got {self.gradient!r}")

    def _check_recurrent(self) -> None:
        """Refuse what a recurrent network, which solves no equation, knows nothing of."""
        if self.optimizer_name != "adam":
            raise ConfigError(f"`optimizer` {self.optimizer_name!r} has no part in rhs={self.rhs!r}, which has 'adam'")
        unused = {"gradient": "aca", "compile": False, "schedule": "full", "loss": "positions"}
        for name, only in unused.items():
            if getattr(self, name) not in (None, only):
                raise ConfigError(f"`{name}` {getattr(self, name)!r} has no part in rhs={self.rhs!r}")
        if self.initial_state == "fit":
            raise ConfigError(f"`initial_state` 'fit' has no part in rhs={self.rhs!r}, which is given first points")
        for name in ("sigma", "robust", "time_weight"):
            if getattr(self, name) is not None:
                raise ConfigError(f"`{name}` has no part in rhs={self.rhs!r}")
        if self.hidden is not None and len(set(self.hidden)) != 1:
            raise ConfigError(f"`hidden` of rhs={self.rhs!r} must be one width, repeated for each layer")

    @property
    def _schedule_name(self) -> str:
        by_jacobian = "growing" if self.rhs == "physical" else "matching"
        return self.schedule or (by_jacobian if self.optimizer_name == "lm" else "full")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        import torch

        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def recurrent(self) -> bool:
        """Whether the model is a recurrent network in place of a differential equation."""
        return self.rhs.startswith("lstm")

    @property
    def optimizer_name(self) -> str:
        """The optimiser, chosen or by default."""
        return self.optimizer or ("lm" if self.rhs == "physical" else "adam")

    def completed(self) -> Self:
        """Return the settings with every default that does not depend on the data filled in."""
        optimizer = self.optimizer_name
        exact = self.rhs == "physical" and self.dtype == "float64"
        method = self.method or ("dopri8" if exact else "dopri5")
        if exact:
            rtol, atol = 1e-9, 1e-11
        else:
            rtol, atol = (1e-6, 1e-9) if self.dtype == "float64" else (1e-5, 1e-7)
        network = self.rhs in ("neural", "hybrid")
        # A recurrent network's are those of the ACA paper's Table 8.
        slow = (network and optimizer == "adam") or self.recurrent
        lr, decay = _NETWORK_RATE if slow else _RATES[optimizer]
        epochs = _RECURRENT_EPOCHS if self.recurrent else _EPOCHS[optimizer]
        hidden = self.hidden
        if hidden is None:
            hidden = (64, 64) if network else (64,) if self.recurrent else ()
        schedule = self._schedule_name
        return dataclasses.replace(
            self,
            schedule=schedule,
            stages=1 if schedule == "full" else (self.stages or _STAGES),
            optimizer=optimizer,
            method=method,
            rtol=rtol if self.rtol is None else self.rtol,
            atol=atol if self.atol is None else self.atol,
            epochs=epochs if self.epochs is None else self.epochs,
            lr=lr if self.lr is None else self.lr,
            lr_decay=decay if self.lr_decay is None else self.lr_decay,
            hidden=None if self.rhs == "physical" else hidden,
        )
