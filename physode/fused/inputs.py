"""Where a program's numbers come from: tensors that depend on neither time nor state, shared by all samples or not.

Whole tensors are laid one after another, in the order of their first use, in one row of shared numbers, and in one row
a sample; Python's numbers follow the shared ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from physode.fused.graph import Graph, Matrix
from physode.fused.memory import Batch, Nodes, Value, dense_offsets
from physode.fused.tape import Base, Ref
from physode.fused.unsupported import MixesSamples, Unsupported

if TYPE_CHECKING:
    from physode.fused.lowering import Lowered

__all__ = ["Inputs", "Pending", "Source", "pack_sample", "pack_shared", "places_of", "sample_rows"]

NUMBERS = 1 << 40
"""The place of the first of Python's numbers, until it is known how many shared ones stand before them."""

_MOST_ELEMENTS = 50_000  # of an input that is taken element by element


class Source(NamedTuple):
    """A tensor among a program's numbers.

    Attributes
    ----------
    input
        Which of the record's inputs.
    offset, size
        Where its numbers begin, and how many there are (for one sample).
    step
        For numbers of each sample: how many elements, in the tensor's order, one sample has next to one another.
    """

    input: int
    offset: int
    size: int
    step: int = 0


class Pending(NamedTuple):
    """A tensor that depends on neither time nor state, of which it is not yet known whether samples share it."""

    base: Base
    ref: Ref

    @property
    def sizes(self) -> tuple[int, ...]:
        """Its shape."""
        return self.ref.sizes


class Inputs:
    """The tensors that a program takes, as they come into use."""

    def __init__(self, graph: Graph, samples: int) -> None:
        self.graph = graph
        self.samples = samples
        self.shared: dict[int, Source] = {}
        self.sample: dict[tuple[int, int], Source] = {}
        self.count_shared = 0
        self.count_sample = 0

    def value(self, x: Pending, batch: Batch | None = None) -> Value:
        """Return the nodes of a tensor; with an axis of samples, each has its own."""
        places = places_of(x.base, x.ref)
        if batch is None:
            source = self._shared(x)
            return Value(self._leaves("shared", source.offset + places, x.base))
        split = _split(places, batch, self.samples)
        first, second = np.take(split, 0, batch.axis + 1), np.take(split, 1, batch.axis + 1)
        steps = np.unique(second - first)
        size = int(np.prod(x.base.sizes))
        step = int(steps[0]) if len(steps) == 1 else 0
        if step <= 0 or size % (step * self.samples) or (first // step % self.samples).any():
            raise MixesSamples
        source = self._sample(x, step)
        kept = first // (step * self.samples) * step + first % step
        shape = (*places.shape[: batch.axis], -1, *places.shape[batch.axis + 1 :])
        return Value(self._leaves("sample", source.offset + kept.reshape(shape), x.base), batch)

    def matrix(self, x: Pending) -> Matrix | None:
        """Return a matrix that all samples share, (n, k); None where its elements lie in no regular way."""
        rows, columns = x.sizes
        places = places_of(x.base, x.ref)
        origin = int(places[0, 0])
        by_row = int(places[1, 0]) - origin if rows > 1 else 0
        by_column = int(places[0, 1]) - origin if columns > 1 else 0
        regular = origin + np.arange(rows)[:, None] * by_row + np.arange(columns) * by_column
        if x.base.dtype == "torch.bool" or not (places == regular).all():
            return None
        return Matrix(self._shared(x).offset + origin, rows, columns, by_row, by_column)

    def _leaves(self, kind: str, places: Nodes, base: Base) -> Nodes:
        if places.size > _MOST_ELEMENTS:
            raise Unsupported(f"the right-hand side is too large: it takes {places.size} numbers one by one")
        graph = self.graph
        leaf = np.vectorize(lambda place: graph.leaf(kind, int(place)), otypes=[np.int64])  # type: ignore[arg-type]
        nodes: Nodes = leaf(places) if places.size else places
        if base.dtype == "torch.bool":
            zero = graph.constant(0.0)
            verdict = np.vectorize(lambda node: graph.apply("ne", int(node), zero), otypes=[np.int64])
            nodes = verdict(nodes) if nodes.size else nodes
        return nodes

    def _shared(self, x: Pending) -> Source:
        place = x.base.place
        if place not in self.shared:
            size = int(np.prod(x.base.sizes))
            self.shared[place] = Source(place, self.count_shared, size)
            self.count_shared += size
        return self.shared[place]

    def _sample(self, x: Pending, step: int) -> Source:
        key = x.base.place, step
        if key not in self.sample:
            size = int(np.prod(x.base.sizes)) // self.samples
            self.sample[key] = Source(x.base.place, self.count_sample, size, step)
            self.count_sample += size
        return self.sample[key]


def _split(places: Nodes, batch: Batch, samples: int) -> Nodes:
    shape = places.shape
    return places.reshape(*shape[: batch.axis], -1, samples, batch.inner, *shape[batch.axis + 1 :])


def places_of(base: Base, ref: Ref) -> Nodes:
    """Return which element of the whole tensor, in its order, each element of a view is."""
    places = dense_offsets(ref.sizes, ref.strides, ref.offset)
    sizes, strides = base.sizes, base.strides
    dense, step = [0] * len(sizes), 1
    for axis in reversed(range(len(sizes))):
        dense[axis] = step
        step *= sizes[axis]
    if all(stride == step or size == 1 for size, stride, step in zip(sizes, strides, dense, strict=True)):
        return places
    left, found = places, np.zeros_like(places)
    for axis in sorted(range(len(sizes)), key=lambda axis: -strides[axis]):
        if strides[axis] and sizes[axis] > 1:
            found = found + left // strides[axis] * dense[axis]
            left = left % strides[axis]
    if left.any():
        raise Unsupported("the right-hand side takes a tensor whose elements overlap")
    return found


def pack_shared(lowered: Lowered, inputs: Sequence[Tensor], numbers: Sequence[float], like: Tensor) -> Tensor:
    """Return the numbers that all samples share, (P,), with the graph of the inputs; of a tensor's type and device."""
    parts = [inputs[source.input].reshape(-1) for source in lowered.shared]
    dtype, device = like.dtype, like.device
    if numbers or not parts:
        parts.append(torch.tensor(numbers, dtype=dtype, device=device))
    if len(parts) == 1:
        return parts[0].to(like)
    return torch.cat([part if part.dtype == dtype and part.device == device else part.to(like) for part in parts])


def pack_sample(lowered: Lowered, inputs: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the numbers that each sample has for itself, (batch, Q), with the graph of the inputs.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not lowered.sample:
        raise ValueError("samples have no numbers for themselves")
    parts = []
    for source in lowered.sample:
        part = sample_rows(source, inputs[source.input])
        parts.append(part if part.dtype == dtype else part.to(dtype))
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def sample_rows(source: Source, x: Tensor) -> Tensor:
    """Return what each sample has of a tensor, ``(samples, size)``."""
    samples = x.numel() // source.size
    if source.step == source.size:
        return x.reshape(samples, source.size)
    return x.reshape(-1, samples, source.step).transpose(0, 1).reshape(samples, source.size)
