"""Tensors' memory with the samples taken out: every element is a node of a graph, once for all samples.

In memory that holds B samples, S elements of one lie next to one another and B S further on the next of its elements
begin: the element at ``(q B + b) S + r`` is sample b's, and ``q S + r`` is where all samples' is kept. Views are read
and written by offsets and strides as in PyTorch, so that no operation on views has a rule of its own: a view's axis of
samples is the one whose stride steps from sample to sample, alone or merged with neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from physode.fused.tape import Ref
from physode.fused.unsupported import MixesSamples, Unsupported

__all__ = ["Batch", "Memory", "Nodes", "Value", "dense_offsets", "one_sample"]

Nodes = NDArray[np.int64]


class Batch(NamedTuple):
    """Which axis of a tensor runs over the samples.

    Attributes
    ----------
    axis
        The axis.
    inner
        How many elements of one sample lie next to one another along the axis; more than 1 where axes were merged.
    """

    axis: int
    inner: int = 1


class Value(NamedTuple):
    """A tensor of one sample: nodes, and where the axis of samples was, which has no more length than a sample takes.

    ``batch`` is None for what is the same for all samples.
    """

    nodes: Nodes
    batch: Batch | None = None

    def moved(self, axis: int) -> Value:
        """Return it with the axis of samples under another number."""
        return self if self.batch is None else self._replace(batch=self.batch._replace(axis=axis))


def one_sample(nodes: Nodes, axis: int, inner: int, samples: int) -> Nodes:
    """Return what an axis holds of each sample, where it holds the same of all.

    Raises
    ------
    Unsupported
        Where samples differ: the operation would tell them apart.
    """
    shape = nodes.shape
    split = nodes.reshape(*shape[:axis], -1, samples, inner, *shape[axis + 1 :])
    first = np.take(split, [0], axis + 1)
    if not (split == first).all():
        raise MixesSamples
    return first.reshape(*shape[:axis], -1, *shape[axis + 1 :])


class Memory:
    """The elements of a tensor that owns its memory.

    Parameters
    ----------
    nodes
        The elements, one after another; -1 for what has not been written.
    samples
        B; 1 for a state that is one sample.
    step
        S; 0 for what is the same for all samples.
    """

    def __init__(self, nodes: Nodes, samples: int, step: int = 0) -> None:
        self.nodes = nodes
        self.samples = samples
        self.step = step

    def read(self, ref: Ref) -> Value:
        """Return a view's elements."""
        sizes, strides, offset, batch = self._seen(ref)
        unit = self.nodes.strides[0]
        if offset >= len(self.nodes):
            raise Unsupported("the right-hand side reads outside of its tensors")
        seen = as_strided(self.nodes[offset:], sizes, [unit * s for s in strides], writeable=False)
        if self.nodes.flags.writeable:
            seen = seen.copy()  # later writes are not to change it
        return Value(seen, batch)

    def write(self, ref: Ref, value: Value) -> None:
        """Set a view's elements; what was the same for all samples may cease to be."""
        if value.batch is not None and not self.step:
            axis = value.batch.axis + len(ref.sizes) - value.nodes.ndim
            self._divide(ref.strides[axis] * value.batch.inner)
        sizes, strides, offset, batch = self._seen(ref)
        nodes = value.nodes
        if batch is not None and nodes.ndim + batch.axis - len(sizes) >= 0:
            axis = nodes.ndim + batch.axis - len(sizes)
            if value.batch is None and nodes.shape[axis] not in (1, sizes[batch.axis]):
                nodes = one_sample(nodes, axis, batch.inner, self.samples)
            elif value.batch is not None and value.batch != Batch(axis, batch.inner):
                raise MixesSamples
        elif value.batch is not None:
            raise MixesSamples
        if not self.nodes.flags.writeable:
            self.nodes = self.nodes.copy()
        unit = self.nodes.strides[0]
        as_strided(self.nodes[offset:], sizes, [unit * s for s in strides])[...] = nodes

    def _divide(self, step: int) -> None:
        """Tell samples apart from now on."""
        if step <= 0 or len(self.nodes) % (step * self.samples):
            raise MixesSamples
        self.nodes = one_sample(self.nodes, 0, step, self.samples).copy()
        self.step = step

    def _seen(self, ref: Ref) -> tuple[list[int], list[int], int, Batch | None]:
        """Return a view's sizes, strides and offset in the memory of one sample, and its axis of samples."""
        if not self.step:
            return list(ref.sizes), list(ref.strides), ref.offset, None
        return _sample_view(ref, self.samples, self.step)


def _sample_view(ref: Ref, samples: int, step: int) -> tuple[list[int], list[int], int, Batch | None]:
    whole = step * samples
    sizes, strides = list(ref.sizes), list(ref.strides)
    batch: Batch | None = None
    within = ref.offset % step
    for axis, (size, stride) in enumerate(zip(ref.sizes, ref.strides, strict=True)):
        if size <= 1 or stride == 0:
            continue
        if step % stride == 0 and size * stride % whole == 0:
            if batch is not None:
                raise MixesSamples
            batch = Batch(axis, step // stride)
            sizes[axis] = size // samples
            within += step - stride
        elif stride % whole == 0:
            strides[axis] = stride // samples
        else:
            within += (size - 1) * stride
    if batch is None or within >= step or ref.offset % whole >= step:
        raise MixesSamples
    return sizes, strides, ref.offset // whole * step + ref.offset % step, batch


def dense_offsets(sizes: Sequence[int], strides: Sequence[int], offset: int = 0) -> Nodes:
    """Return where each element of a view lies."""
    places = np.full((), offset, dtype=np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        places = places[..., None] + np.arange(size) * stride
    return places
