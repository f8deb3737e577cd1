"""What every right-hand side of physode can tell about itself: its columns, units, constants and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from physode.rhs.constants import Constant, ConstantLike, Names, as_constant, as_flag, chosen
from physode.rhs.preset import Preset

__all__ = ["System"]


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
    """

    name: ClassVar[str]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str = ""
    kinematic: tuple[str, ...] = ()
    constant_units: Mapping[str, str] = MappingProxyType({})
    presets: ClassVar[Mapping[str, Preset]] = {}
    declared: ClassVar[Mapping[str, Constant]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Constant)}
        cls.declared = {**cls.declared, **own}

    def __init__(self) -> None:
        super().__init__()
        self._log_names: frozenset[str] = frozenset()
        self._learnable_names: frozenset[str] = frozenset()

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

    def _register_constants(self, *, learnable: Names, positive: Names, **values: ConstantLike) -> None:
        declared = self.declared
        self._learnable_names = chosen(learnable, declared, "learnable")
        self._log_names = chosen(positive, declared, "positive")
        for name, value in values.items():
            tensor = as_constant(name, value, declared[name].ndim)
            if name in self._log_names:
                if not bool((tensor > 0).all()):
                    raise ValueError(f"`{name}` must be above 0 to be kept positive, got {tensor.tolist()}")
                tensor = tensor.log()
            if name in self._learnable_names:
                self.register_parameter(f"raw_{name}", nn.Parameter(tensor.detach().clone()))
            else:
                self.register_buffer(f"raw_{name}", tensor)
