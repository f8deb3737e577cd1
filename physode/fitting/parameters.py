"""What a fit looks for: parameters of the right-hand side, and initial states; which are free, and within what."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physode.fitting.config import FitConfig
from physode.fitting.labels import element, initial_state_label, parse_target
from physode.rhs import System

Vector = NDArray[np.float64]

_STATES = "initial states"


@dataclass(frozen=True)
class FitParameters:
    """Parameters and initial states.

    Attributes
    ----------
    rhs
        The right-hand side, its parameters to be fitted.
    states
        Initial states of the segments: (D,), or (R, D).
    free_states
        Which of their elements are unknown.
    free
        Of the parameters by name, which elements are: all of those that are not named.
    config
        Bounds, priors, and whether constants are stored as logarithms.
    """

    rhs: System
    states: nn.Parameter
    free_states: Tensor
    free: dict[str, Tensor]
    config: FitConfig = field(repr=False)

    @property
    def has_free_states(self) -> bool:
        """Whether any initial state is unknown."""
        return bool(self.free_states.any())

    @property
    def rhs_parameters(self) -> list[nn.Parameter]:
        """The right-hand side's parameters."""
        return [parameter for parameter in self.rhs.parameters() if parameter.requires_grad]

    @property
    def tensors(self) -> list[nn.Parameter]:
        """Everything that an optimiser moves, elements that are fixed beside the free ones."""
        return [*self.rhs_parameters, self.states] if self.has_free_states else self.rhs_parameters

    def masks(self) -> list[Tensor]:
        """Return for each of `tensors` which elements are free."""
        named = ((name, each) for name, each in self.rhs.named_parameters() if each.requires_grad)
        masks = [free_elements(name, each, self.free) for name, each in named]
        return [*masks, self.free_states] if self.has_free_states else masks

    @property
    def mask(self) -> Tensor:
        """`masks`, flat."""
        return torch.cat([mask.reshape(-1) for mask in self.masks()])

    def mask_gradients(self) -> None:
        """Set the gradients of fixed elements to 0."""
        for tensor, mask in zip(self.tensors, self.masks(), strict=True):
            if tensor.grad is not None:
                tensor.grad = torch.where(mask, tensor.grad, 0.0)

    def labels(self) -> list[str]:
        """Return the names of the free elements; weights of a network are counted, not named."""
        names = {id(raw): name for name, raw in raw_constants(self.rhs).items()}
        batched, labels = self.states.ndim == 2, []
        for tensor, mask in zip(self.tensors, self.masks(), strict=True):
            for place in map(tuple, mask.nonzero().tolist()):
                if tensor is self.states:
                    labels.append(initial_state_label(self.rhs.columns[place[-1]], place[0] if batched else None))
                else:
                    labels.append(element(names.get(id(tensor), "weight"), place))
        return labels

    def physical_slopes(self) -> Tensor:
        """Return derivatives of physical by stored values: 1, or the value itself where its logarithm is stored."""
        names = {id(raw): name for name, raw in raw_constants(self.rhs).items()}
        parts = []
        for tensor, mask in zip(self.tensors, self.masks(), strict=True):
            slope = torch.ones_like(tensor)
            if id(tensor) in names:
                (slope,) = torch.autograd.grad(self.rhs.constants[names[id(tensor)]].sum(), tensor)
            parts.append(slope[mask].detach().double().abs())
        return torch.cat(parts)

    def vector(self) -> Vector:
        """Return the free elements."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors])[self.mask]
        return np.asarray(flat.double().cpu().numpy())

    def move(self, vector: Vector) -> None:
        """Set the free elements."""
        values = torch.as_tensor(vector, dtype=self.states.dtype, device=self.states.device)
        begin = 0
        with torch.no_grad():
            for tensor, mask in zip(self.tensors, self.masks(), strict=True):
                count = int(mask.sum())
                tensor[mask] = values[begin : begin + count].to(tensor.dtype)
                begin += count

    def bounds(self) -> tuple[Vector, Vector]:
        """Return the lower and upper bounds of the free elements, as they are stored."""
        low, high = ([torch.full_like(each, end) for each in self.tensors] for end in (-torch.inf, torch.inf))
        # Those of whole constants first: what is said of an element goes before.
        for name, (lower, upper) in sorted(self.config.bounds.items(), key=lambda item: "[" in item[0]):
            for place, index in self._places(name):
                low[place].view(-1)[index] = self._stored(lower)
                high[place].view(-1)[index] = self._stored(upper)
        return tuple(  # type: ignore[return-value]
            torch.cat([each.reshape(-1) for each in ends])[self.mask].double().cpu().numpy() for ends in (low, high)
        )

    def project(self) -> None:
        """Move free elements to the nearest bounds where they lie beyond them."""
        if self.config.bounds:
            self.move(np.clip(self.vector(), *self.bounds()))

    def priors(self) -> Tensor | None:
        """Return the distances of constants from their priors' means in standard deviations, differentiable."""
        rows = []
        for name, (mean, deviation) in self.config.priors.items():
            constant, index = parse_target(name)
            value = self.rhs.constants[constant]
            rows.append(((value if index is None else value[index]) - mean).reshape(-1) / deviation)
        return torch.cat(rows) if rows else None

    def prior_jacobian(self) -> Tensor:
        """Return the derivatives of `priors` with respect to the free elements, (rows, P)."""
        distances = self.priors()
        assert distances is not None
        rows = []
        for row in distances:
            grads = torch.autograd.grad(row, self.tensors, retain_graph=True, materialize_grads=True)
            rows.append(torch.cat([each.reshape(-1) for each in grads])[self.mask])
        return torch.stack(rows)

    def constants(self) -> dict[str, list[float]]:
        """Return the physical values of the fitted constants, flat."""
        return {
            name: self.rhs.constants[name].detach().double().reshape(-1).tolist() for name in raw_constants(self.rhs)
        }

    def free_constants(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return the free elements of constants by their labels: the constant, and the index into it."""
        return {
            element(name, place): (name, place)
            for name, raw in raw_constants(self.rhs).items()
            for place in map(tuple, free_elements(f"raw_{name}", raw, self.free).nonzero().tolist())
        }

    def snapshot(self) -> dict[str, Any]:
        """Return copies of the right-hand side's state and, where they are unknown, of the initial states."""
        snapshot = copy.deepcopy(dict(self.rhs.state_dict()))
        if self.has_free_states:
            snapshot[_STATES] = self.states.detach().clone()
        return snapshot

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Undo changes since :meth:`snapshot`."""
        own = {name: value for name, value in snapshot.items() if name != _STATES}
        self.rhs.load_state_dict(own)
        if _STATES in snapshot:
            with torch.no_grad():
                self.states.copy_(snapshot[_STATES])

    def _stored(self, value: float) -> float:
        """Return a constant's value as the parameter has it."""
        if not self.config.positive:
            return value
        return float(np.log(value)) if value > 0 else -np.inf

    def _places(self, target: str) -> Iterator[tuple[int, int]]:
        """Yield the tensors and flat indices of a target's free elements."""
        constant, index = parse_target(target)
        raw = raw_constants(self.rhs).get(constant)
        for place, tensor in enumerate(self.tensors):
            if tensor is raw:
                yield from ((place, each) for each in range(tensor.numel()) if index in (None, each))


def free_elements(name: str, parameter: Tensor, free: Mapping[str, Tensor]) -> Tensor:
    """Return which elements of a parameter are free; `name` is its path, `free` holds masks by its last part."""
    everything = torch.ones_like(parameter, dtype=torch.bool)
    return free.get(name.rpartition(".")[2], everything)


def raw_constants(rhs: System) -> dict[str, nn.Parameter]:
    """Return the raw parameters that are constants of physics, by the constants' names."""
    raw = {path.rpartition(".")[2]: parameter for path, parameter in rhs.named_parameters()}
    return {name: raw[f"raw_{name}"] for name in rhs.constants if f"raw_{name}" in raw}
