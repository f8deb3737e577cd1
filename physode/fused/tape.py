"""What an evaluation did, operation by operation: a value that can be compared, and read without the tensors.

The right-hand side is evaluated once, at the solve's own start and batch, and the operations that depend on the time or
the state are noted as they are dispatched. What depends on neither, parameters, buffers, closures' tensors and whatever
is computed from these alone, becomes an *input*, with its graph: it is evaluated once a solve by PyTorch. The record is
made anew at every solve, so that it is never stale; two that are equal are one program.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

__all__ = ["Base", "Call", "Lifted", "Ref", "Tape"]


class Base(NamedTuple):
    """A tensor that owns its memory, as far as the record is concerned.

    Attributes
    ----------
    kind
        ``"time"``, ``"state"``; ``"input"``: a tensor that does not depend on them; ``"known"``: indices that do not,
        and matrices of small whole numbers that are mostly 0, with their ``values``; ``"made"``: the result of an
        operation.
    sizes, strides
        Its shape and how its memory is laid out, from offset 0.
    dtype
        ``torch.float64``, ... as text.
    place
        Which input it is; 0 else.
    values
        The contents of what is known, row by row.
    """

    kind: Literal["time", "state", "input", "known", "made"]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    place: int = 0
    values: tuple[int, ...] = ()


class Ref(NamedTuple):
    """A tensor: a view of a base."""

    base: int
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class Lifted(NamedTuple):
    """A number that is an input: which of the record's numbers it is. Its value is no part of the record."""

    place: int


class Call(NamedTuple):
    """One operation, with its results; ``op`` is its name as PyTorch has it, ``aten.add.Tensor``.

    Arguments are :class:`Ref`, :class:`Lifted`, plain numbers, text, None, and tuples of these.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    results: tuple[Ref, ...]


class Tape(NamedTuple):
    """The record of one evaluation.

    Attributes
    ----------
    bases, calls
        The tensors and the operations, in their order.
    result
        The derivative, shaped as the packed state.
    """

    bases: tuple[Base, ...]
    calls: tuple[Call, ...]
    result: Ref
