"""What every right-hand side of physode can tell about itself: its columns, units, constants and configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from physode.rhs.preset import Preset

__all__ = ["Constant", "ConstantLike", "Names", "System"]

ConstantLike: TypeAlias = Tensor | ArrayLike
Names: TypeAlias = bool | Sequence[str]


class Constant:
    """Declares a physical constant of a :class:`System` and reads its physical value.

    Parameters
    ----------
    ndim
        Axes of one value: 0 for a number, 1 for a vector such as the masses. A stored value may have one more, leading
        axis: one value per sample of a batch.
    """

    def __init__(self, *, ndim: int = 0) -> None:
        self.ndim = ndim
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Constant: ...
    @overload
    def __get__(self, instance: System, owner: type) -> Tensor: ...
    def __get__(self, instance: System | None, owner: type) -> Constant | Tensor:
        return self if instance is None else instance.constant(self.name)


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
    constant_units
        Units of the constants that have one.
    presets
        Well-known set-ups, by name.
    """

    name: ClassVar[str]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str = ""
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
            "learnable": _as_flag(self._learnable_names, self.declared),
            "positive": _as_flag(self._log_names, self.declared),
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
        self._learnable_names = _chosen(learnable, declared, "learnable")
        self._log_names = _chosen(positive, declared, "positive")
        for name, value in values.items():
            tensor = _as_constant(name, value, declared[name].ndim)
            if name in self._log_names:
                if not bool((tensor > 0).all()):
                    raise ValueError(f"`{name}` must be above 0 to be kept positive, got {tensor.tolist()}")
                tensor = tensor.log()
            if name in self._learnable_names:
                self.register_parameter(f"raw_{name}", nn.Parameter(tensor.detach().clone()))
            else:
                self.register_buffer(f"raw_{name}", tensor)


def _as_constant(name: str, value: ConstantLike, ndim: int) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, dtype=np.float64))
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"`{name}` must be finite, got {tensor.tolist()}")
    if tensor.ndim not in (ndim, ndim + 1):
        one = "a number" if ndim == 0 else "a vector"
        raise ValueError(f"`{name}` must be {one}, or one per sample of a batch, got shape {tuple(tensor.shape)}")
    return tensor


def _chosen(flag: Names, declared: Mapping[str, Constant], argument: str) -> frozenset[str]:
    if isinstance(flag, bool):
        return frozenset(declared) if flag else frozenset()
    names = (flag,) if isinstance(flag, str) else tuple(flag)
    unknown = [name for name in names if name not in declared]
    if unknown:
        raise ValueError(f"`{argument}` names unknown constants {unknown}; choose from {sorted(declared)}")
    return frozenset(names)


def _as_flag(names: frozenset[str], declared: Mapping[str, Constant]) -> bool | list[str]:
    if names and names != frozenset(declared):
        return sorted(names)
    return bool(names)
