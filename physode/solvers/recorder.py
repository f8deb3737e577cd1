"""Quantities of time and state, recorded at every accepted step while a solve goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.problem.dynamics import Dynamics
from physode.solvers.clock import Number
from physode.solvers.trace import Trace

__all__ = ["Recorded", "Recorder", "recorder_of"]


class Recorded(NamedTuple):
    """A quantity by time.

    Attributes
    ----------
    t
        The first time and the accepted steps' ends, ``(steps + 1, *groups)``, float64.
    values
        The quantity there, ``(steps + 1, ...)``, without gradients.
    """

    t: Tensor
    values: Tensor


@dataclass
class Recorder:
    """An observer of a solve's loop that evaluates functions of time and state.

    Attributes
    ----------
    dynamics
        In whose form functions get times and states.
    functions
        ``function(t, y)`` by name; a tensor, or a mapping of tensors by name.
    """

    dynamics: Dynamics
    functions: Mapping[str, Callable[..., Any]]
    _times: list[Tensor] = field(default_factory=list)
    _values: dict[str, list[Tensor]] = field(default_factory=dict)

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Note the first state."""
        if not self._times:
            self.note(t, y)

    def after(self, record: Trace, accepted: bool) -> bool:
        """Note the state at an accepted step's end; never end the solve."""
        if accepted:
            self.note(record.ends[-1], record.nodes[-1])
        return False

    def note(self, t: Number, y: Tensor) -> None:
        """Evaluate the functions, and note their values."""
        with torch.no_grad():
            time = torch.as_tensor(t, dtype=torch.float64, device=y.device).detach()
            state = self.dynamics.packing.unpack(y.detach())
            self._times.append(time)
            for name, function in self.functions.items():
                quantity = function(time, state)
                parts = quantity if isinstance(quantity, Mapping) else {name: quantity}
                for part, value in parts.items():
                    self._add(name, part, _tensor(name, value))
        for part, values in self._values.items():
            if len(values) != len(self._times):
                raise ValueError(
                    f"`record` must give {part!r} once at every step, got it {len(values)} times at "
                    f"{len(self._times)}: name it in one function, and always"
                )

    @property
    def noted(self) -> int:
        """How many states have been noted."""
        return len(self._times)

    def forget(self, noted: int) -> None:
        """Forget all but the first states noted."""
        del self._times[noted:]
        for values in self._values.values():
            del values[noted:]

    def _add(self, name: str, part: str, value: Tensor) -> None:
        values = self._values.setdefault(part, [])
        if values and value.shape != values[0].shape:
            raise ValueError(
                f"`record[{name!r}]` must return values of one shape, got {tuple(values[0].shape)} first and then "
                f"{tuple(value.shape)}"
            )
        values.append(value)

    def found(self) -> dict[str, Recorded]:
        """Return what was noted, by name."""
        if not self._times:
            return {}
        times = torch.stack(self._times)
        return {name: Recorded(times, torch.stack(values)) for name, values in self._values.items()}


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"`record[{name!r}]` must return a tensor or a number, or a mapping of them by name; "
            f"got {type(value).__name__}"
        ) from None


def recorder_of(record: object, f: Callable[..., Any], dynamics: Dynamics) -> Recorder:
    """Return the recorder that ``solve(record=...)`` asks for.

    Raises
    ------
    TypeError, ValueError
        If it is neither a mapping of functions nor ``"invariants"`` of a right-hand side that knows its own.
    """
    if record == "invariants":
        if not callable(getattr(f, "invariants", None)):
            raise ValueError(
                f"`record` 'invariants' needs an `f` that knows them, such as rhs.NBody; got {type(f).__name__}: "
                "give a mapping such as {'energy': lambda t, y: ...}"
            )
        return Recorder(dynamics, {"invariants": lambda t, y: f.invariants(y, *dynamics.args)})  # type: ignore[attr-defined]
    if not isinstance(record, Mapping) or not all(map(callable, record.values())):
        raise TypeError(f"`record` must be 'invariants' or a mapping of names to functions of (t, y), got {record!r}")
    return Recorder(dynamics, record)
