"""What every right-hand side of physode can tell about itself: its columns, units, constants and configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from torch import Tensor, nn

from physode.rhs.constants import Constant, ConstantLike, Names, as_constant, as_flag, chosen

__all__ = ["Preset", "Span", "System"]

_FLAGS = [
    Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation="Names") for name in ("learnable", "positive")
]
_ABOUT_FLAGS = """learnable, positive
    True, False, or the names of the constants that are parameters, or are stored as logarithms."""


class Span(NamedTuple):
    """How long a system is watched unless told otherwise: until `t_end`, at `points` equally spaced times from 0."""

    t_end: float
    points: int


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Constants, initial state and output grid of a named problem.

    Attributes
    ----------
    config
        Constructor arguments of the system.
    y0
        Initial state, in the order of the system's columns.
    t_end
        End of the time span, which begins at 0.
    points
        Number of equally spaced output times, both ends included.
    description
        One line for users, with the source.
    """

    config: Mapping[str, Any]
    y0: tuple[float, ...]
    t_end: float
    points: int
    description: str


class System(nn.Module):
    r"""Base of the right-hand sides :math:`dy/dt = f(t, y)` that physode names, stores and rebuilds.

    The state lies flat along the **last** axis of `y`; every leading axis is batch.

    Constants are kept in float64 (a floating tensor keeps its own dtype) and are cast to the state's dtype where they
    are used, so one system serves states of any precision; ``system.float()`` spares the cast. A constant is registered
    as ``raw_<name>``: an ``nn.Parameter`` where it is learnable, a buffer otherwise, holding the value itself or, where
    `positive`, its logarithm. The attribute ``<name>`` is always the physical value.

    Attributes
    ----------
    name
        The system's key in ``SYSTEMS``.
    columns, units
        Name and unit of each component of the state; the unit of a pure number is ``""``.
    time_unit
        Unit of `t`.
    kinematic
        Columns whose equations are definitions, such as :math:`\dot r = v`, and not laws that may be incomplete.
    constant_units
        Units of the constants that have one.
    presets
        Well-known set-ups, by name.
    initial_box
        Bounds of each component that initial states are drawn between; without them all begin at the first preset's.
    span
        How long it is watched; by default as long as the first preset.
    stiff
        Whether it needs implicit methods.

    Notes
    -----
    A class declares each of its constants once, ``mu = Constant(1.0, "strength of the damping")``: arguments of the
    class, their checks and documentation follow from the declarations. A class that has further arguments defines
    ``__init__`` and hands the constants on.
    """

    name: ClassVar[str]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str = ""
    kinematic: tuple[str, ...] = ()
    constant_units: Mapping[str, str] = MappingProxyType({})
    presets: ClassVar[Mapping[str, Preset]] = {}
    initial_box: ClassVar[tuple[tuple[float, float], ...]] = ()
    span: ClassVar[Span | None] = None
    stiff: ClassVar[bool] = False
    declared: ClassVar[Mapping[str, Constant]] = {}
    _takes: ClassVar[Signature] = Signature()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Constant)}
        cls.declared = {**cls.declared, **own}
        cls.constant_units = {name: constant.unit for name, constant in cls.declared.items() if constant.unit}
        cls._takes = Signature([constant.parameter() for constant in cls.declared.values()])
        derived = cls.__init__ is System.__init__
        taken = list(cls._takes.parameters.values()) if derived else _own_parameters(cls)
        signature = Signature(taken + _FLAGS if derived and cls.declared else taken)
        setattr(cls, "__signature__", signature)  # noqa: B010
        if derived and own and cls.__doc__:
            entries = [constant.described() for constant in cls.declared.values()]
            about = "\n".join(["", "", "Parameters", "----------", *entries, _ABOUT_FLAGS])
            cls.__doc__ = inspect.cleandoc(cls.__doc__) + about
        if cls.span is None and cls.presets:
            first = next(iter(cls.presets.values()))
            cls.span = Span(first.t_end, first.points)

    def __init__(
        self, *values: ConstantLike, learnable: Names = False, positive: Names = False, **named: ConstantLike
    ) -> None:
        super().__init__()
        declared = self.declared
        given = self._takes.bind(*values, **named).arguments
        self._learnable_names = chosen(learnable, declared, "learnable")
        self._log_names = chosen(positive, declared, "positive")
        for name, constant in declared.items():
            value: Any = given.get(name, constant.default)
            self._register(name, value, constant.ndim)
        for name, constant in declared.items():
            constant.check(self.constant(name).detach())

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape and dtype of `y`."""
        raise NotImplementedError

    @property
    def constants(self) -> dict[str, Tensor]:
        """Current physical value of every constant, in order of declaration; gradients pass through."""
        return {name: self.constant(name) for name in self.declared}

    def constant(self, name: str) -> Tensor:
        """Return the physical value of the constant `name`, its positivity transform undone."""
        raw: Tensor = getattr(self, f"raw_{name}")
        return raw.exp() if name in self._log_names else raw

    def config(self) -> dict[str, Any]:
        """Return constructor arguments, JSON-able, that rebuild this system with its current constants."""
        values = {name: value.detach().tolist() for name, value in self.constants.items()}
        if not values:
            return {}
        return values | {
            "learnable": as_flag(self._learnable_names, self.declared),
            "positive": as_flag(self._log_names, self.declared),
        }

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        """Return the quantities that a solution conserves, by name; `y` is (..., D). None by default."""
        return {}

    def batched(self) -> tuple[str, ...]:
        """Return the names of the constants that hold one value a sample."""
        return tuple(name for name, value in self.constants.items() if value.ndim > self.declared[name].ndim)

    def rows(self, index: slice) -> Self:
        """Return the system of some samples: constants with a batch axis are cut, shared ones kept; else itself."""
        batched = self.batched()
        if not batched:
            return self
        values = {name: value.detach() for name, value in self.constants.items()}
        cut = {name: value[index] if name in batched else value for name, value in values.items()}
        return type(self)(**{**self.config(), **cut})

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Build the system of a named preset; `overrides` are constructor arguments that replace or join the preset's.

        Raises
        ------
        ValueError
            If no preset has that name.
        """
        return cls(**{**cls.find_preset(name).config, **overrides})

    @classmethod
    def find_preset(cls, name: str) -> Preset:
        """Return a preset by name, or raise ``ValueError`` naming the known ones."""
        if name not in cls.presets:
            known = ", ".join(sorted(cls.presets)) or "none"
            raise ValueError(f"`preset` of {cls.name} must be one of: {known}; got {name!r}")
        return cls.presets[name]

    def draw_state(self, rng: np.random.Generator, index: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Draw the initial state, (D,), of trajectory `index`; that of the first preset where there is no box.

        Raises
        ------
        ValueError
            If there is neither.
        """
        if self.initial_box:
            low, high = np.array(self.initial_box, dtype=np.float64).T
            state: np.ndarray[Any, np.dtype[np.float64]] = rng.uniform(low, high)
            return state
        if not self.presets:
            raise ValueError(f"`y0` must be given: {self.name} has no initial states of its own")
        return np.array(next(iter(self.presets.values())).y0, dtype=np.float64)

    def _register(self, name: str, value: ConstantLike, ndim: int) -> None:
        tensor = as_constant(name, value, ndim)
        if name in self._log_names:
            if not bool((tensor > 0).all()):
                raise ValueError(f"`{name}` must be above 0 to be kept positive, got {tensor.tolist()}")
            tensor = tensor.log()
        if name in self._learnable_names:
            self.register_parameter(f"raw_{name}", nn.Parameter(tensor.detach().clone()))
        else:
            self.register_buffer(f"raw_{name}", tensor)


def _own_parameters(cls: type[System]) -> list[Parameter]:
    """Return the arguments of a class that defines its own ``__init__``."""
    return list(inspect.signature(cls.__init__).parameters.values())[1:]
