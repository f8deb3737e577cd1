"""The settings of a fit: one frozen record, checked when it is made, kept as TOML beside the results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from physode.errors import ConfigError
from physode.fitting.labels import parse_target
from physode.fitting.robust_losses import ROBUST
from physode.solvers.methods import find_method

__all__ = ["DTYPES", "GRADIENTS", "LOSSES", "OPTIMIZERS", "RHS", "SCHEDULES", "STARTS", "FitConfig"]

RHS = ("physical", "augmented", "neural", "hybrid", "lstm", "lstm-aug")
OPTIMIZERS = ("lm", "adam", "lbfgs", "sgd")
GRADIENTS = ("aca", "adjoint", "naive", "naive-steps")
LOSSES = ("positions", "state")
SCHEDULES = ("full", "growing", "shooting", "matching")
STARTS = ("known", "fit")
DTYPES = {"float32": torch.float32, "float64": torch.float64}

_EPOCHS = {"lm": 200, "adam": 100, "sgd": 100, "lbfgs": 30}
# Adam's are those of the ACA paper's Table 8 for the models it is from; large networks want smaller steps.
_RATES = {"lm": (1.0, 1.0), "adam": (0.1, 0.99), "sgd": (0.01, 1.0), "lbfgs": (1.0, 1.0)}
_NETWORK_RATE = (0.01, 0.999)
_RECURRENT_EPOCHS = 5000
_STAGES, _MOST_STAGES = 5, 64
_LARGEST = 1e150  # whose square is a number


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit a right-hand side to trajectories. What is None is decided from the rest, and from the data.

    Attributes
    ----------
    rhs
        ``"physical"``: the system that the data name, its constants unknown. ``"augmented"``: accelerations from one
        linear layer on pair features (ACA paper, Eq. 34). ``"neural"``: a network. ``"hybrid"``: physics and a network.
        ``"lstm"``, ``"lstm-aug"``: no differential equation, but a recurrent network on bodies' positions, or on the
        paper's augmented input, Eq. 33.
    optimizer
        ``"lm"`` (Levenberg-Marquardt on exact discrete Jacobians), ``"adam"``, ``"sgd"`` or ``"lbfgs"``; by default
        ``"lm"`` for physical right-hand sides and ``"adam"`` for the others.
    gradient
        How the first-order optimisers' gradients are computed; ``"lm"`` has its Jacobians.
    compile
        Whether their solves are compiled, as :func:`physode.solve` has it: many epochs are then many times faster,
        after about a minute.
    method, rtol, atol, max_steps
        As :func:`physode.solve`. By default dopri8 at 1e-9 for physical right-hand sides in double precision, whose
        constants are then right to some eight digits, else dopri5 at the solver's own tolerances.
    epochs
        Most evaluations of ``"lm"``; steps of the others.
    lr, lr_decay
        Learning rate, and its factor from epoch to epoch. ``"lm"`` has none.
    seed
        Of the initial weights.
    device, dtype
        Where and in which precision to compute.
    train_until
        Time up to which the data are used; by default half of their span. The rest measures the extrapolation.
    loss
        Mean squared error over ``"positions"`` or over the whole ``"state"``; by default positions where the columns
        are bodies' positions and velocities.
    system
        The system that the data are of, where they do not say so, or another one than they say.
    init
        Initial guesses by constant, one number or one an element, or by element such as ``"masses[2]"``, counted from
        1; 1 by default.
    free
        The constants, or elements of constants, to fit, the others keeping the data's values; all by default.
    fix
        Constants, elements or further settings of the system (``"G"``) that are not fitted, and their values; empty
        for the data's value.
    positive
        Whether fitted constants are kept above 0, by fitting their logarithms.
    bounds
        Lower and upper bound by constant or element.
    priors
        Normal priors: mean and standard deviation by constant or element. They need `sigma`, or a sigma in the data.
    sigma
        Standard deviation of the observed values, where the data do not hold their own.
    robust, robust_scale
        ``"huber"``, ``"soft_l1"`` or ``"cauchy"`` in place of squares, so that outliers count less, from residuals of
        `robust_scale` standard deviations on (by default where the loss keeps 95 % of its efficiency on normal
        errors); they need a sigma.
    initial_state
        ``"known"``: the first state as it stands (before noise, where the file knows it); ``"fit"``: unknown, fitted
        with the constants. By default known where the file says that it is exact, else fitted.
    schedule, stages
        ``"full"``: the whole training span at once. ``"growing"``: a short span first, doubled from stage to stage.
        ``"shooting"``: the span cut into segments with initial states of their own, estimated from the data and
        pulled together, half as many from stage to stage. ``"matching"``: the data's slopes first, then growing
        spans. By default growing for ``"lm"`` on physics, matching for ``"lm"`` on networks, else full.
    hidden, activation
        The network: widths of its hidden layers (none for augmented, else 64, 64) and the function between them.
    trajectories
        Which trajectories to fit, by index; all by default. They share their constants.
    sequence, given
        Of recurrent networks: points of the sequences that the training span is cut into, and points given to the
        network before it feeds on its own forecasts.
    """

    rhs: str = "physical"
    optimizer: str | None = None
    gradient: str = "aca"
    compile: bool = False
    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    max_steps: int = 20_000
    epochs: int | None = None
    lr: float | None = None
    lr_decay: float | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"
    train_until: float | None = None
    loss: str | None = None
    system: str | None = None
    init: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    fix: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    positive: bool = False
    bounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    priors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sigma: float | None = None
    robust: str | None = None
    robust_scale: float | None = None
    initial_state: str | None = None
    schedule: str | None = None
    stages: int | None = None
    hidden: tuple[int, ...] | None = None
    activation: str = "tanh"
    trajectories: tuple[int, ...] = ()
    sequence: int = 20
    given: int = 10

    def __post_init__(self) -> None:
        for name, choices in (("rhs", RHS), ("gradient", GRADIENTS), ("dtype", tuple(DTYPES))):
            _check_choice(name, getattr(self, name), choices)
        for name, choices in _OPTIONAL_CHOICES.items():
            if getattr(self, name) is not None:
                _check_choice(name, getattr(self, name), choices)
        for name in ("rtol", "atol", "lr", "lr_decay", "sigma", "robust_scale"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"`{name}` must be positive and finite, got {value}")
        if self.lr_decay is not None and self.lr_decay > 1:
            raise ConfigError(f"`lr_decay` must not be above 1, got {self.lr_decay}")
        for name, least in (("epochs", 1), ("max_steps", 1), ("stages", 1), ("sequence", 2), ("given", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {value}")
        if self.stages is not None and self.stages > _MOST_STAGES:
            raise ConfigError(
                f"`stages` must be at most {_MOST_STAGES}, each is twice the one before; got {self.stages}"
            )
        for name in ("sigma", "robust_scale"):
            value = getattr(self, name)
            if value is not None and not 1 / _LARGEST <= value <= _LARGEST:
                raise ConfigError(
                    f"`{name}` must be from {1 / _LARGEST:g} to {_LARGEST:g}, got {value}; change the units"
                )
        if self.train_until is not None and not math.isfinite(self.train_until):
            raise ConfigError(f"`train_until` must be a finite time, got {self.train_until}")
        try:
            torch.device(self.device)
            if self.method is not None:
                find_method(self.method)
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
            if self.compile:
                raise ConfigError("`compile` has no part in optimizer='lm'; choose optimizer='adam', 'sgd' or 'lbfgs'")
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
        for name in ("sigma", "robust"):
            if getattr(self, name) is not None:
                raise ConfigError(f"`{name}` has no part in rhs={self.rhs!r}")
        if self.hidden is not None and len(set(self.hidden)) != 1:
            raise ConfigError(f"`hidden` of rhs={self.rhs!r} must be one width, repeated for each layer")

    @property
    def _schedule_name(self) -> str:
        by_jacobian = "growing" if self.rhs == "physical" else "matching"
        return self.schedule or (by_jacobian if self.optimizer_name == "lm" else "full")

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

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as what TOML and JSON can say; None is left out."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        for name in _MAPPINGS:
            values[name] = {key: list(numbers) for key, numbers in values[name].items()}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make settings from what :meth:`as_dict` returned.

        Raises
        ------
        ConfigError
            If a name is unknown, or a value is of the wrong type or out of range.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown settings {unknown}; known are {sorted(known)}")
        for name, kinds in _KINDS.items():
            value = values.get(name)
            if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
                raise ConfigError(f"`{name}` is of the wrong type: {value!r}")
        settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        for name in _MAPPINGS:
            try:
                settings[name] = {key: tuple(map(float, numbers)) for key, numbers in values.get(name, {}).items()}
            except (TypeError, ValueError, AttributeError) as error:
                raise ConfigError(f"`{name}` must hold lists of numbers, got {values[name]!r}") from error
        return cls(**settings)


_MAPPINGS = ("init", "fix", "bounds", "priors")
_OPTIONAL_CHOICES = {
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "robust": ROBUST,
    "initial_state": STARTS,
    "schedule": SCHEDULES,
}
_REAL = (int, float)
_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("rtol", "atol", "lr", "lr_decay", "train_until", "sigma", "robust_scale"), _REAL),
    **dict.fromkeys(("epochs", "max_steps", "seed", "stages", "sequence", "given"), int),
    **dict.fromkeys(("method", "device", "activation", "system"), str),
    **dict.fromkeys(("free", "hidden", "trajectories"), (list, tuple)),
    "positive": bool,
}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"`{name}` must be one of: {', '.join(choices)}; got {value!r}")
