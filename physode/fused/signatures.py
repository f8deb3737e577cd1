"""What the record has to know of an operation before it runs it: looked up once for each."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

__all__ = ["SIGNATURES", "Signature", "signature"]


class Signature(NamedTuple):
    """How an operation is to be noted.

    Attributes
    ----------
    name
        As PyTorch has it, ``aten.add.Tensor``.
    view
        Whether its results are views of its first argument, and nothing else happens.
    stops
        Whether it ends the graph of gradients.
    casts
        Whether its results read memory as another type.
    fresh
        Whether what it is given is made on the spot, and nobody else's.
    writes
        Whether it changes its first argument in place.
    refused
        Why it cannot be noted, whatever it takes; empty where it can.
    fills
        Whether it makes a tensor of one number, from no tensor.
    indices
        Which argument holds indices; -1 for none.
    lifted, lifted_names
        Arguments, by place and by name, whose numbers are inputs.
    """

    name: str
    view: bool
    stops: bool
    casts: bool
    fresh: bool
    writes: bool
    refused: str
    fills: bool
    indices: int
    lifted: frozenset[int]
    lifted_names: frozenset[str]


SIGNATURES: dict[Any, Signature] = {}
"""Those that were looked up."""

_SILENT = (
    "aten.is_same_size",
    "aten._has_same_storage_numel",
    "aten._linalg_check_errors",
)  # whose results say nothing of values, or nothing
_ALIASES = ("aten._unsafe_view", "aten._reshape_alias", "aten.unsafe_split", "aten.unsafe_split_with_sizes")
_FILLS = ("aten.zeros", "aten.ones", "aten.full", "aten.empty", "aten.scalar_tensor", "aten.empty_strided")
_INDICES = {
    "aten.index": 1,
    "aten.index_put": 1,
    "aten.index_put_": 1,
    "aten.index_select": 2,
    "aten.gather": 2,
    "aten.scatter": 2,
    "aten.scatter_": 2,
    "aten.scatter_add": 2,
    "aten.scatter_add_": 2,
    "aten.index_fill": 2,
    "aten.index_fill_": 2,
    "aten.index_add": 2,
    "aten.index_add_": 2,
}
_NUMBERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "rsub", "lt", "le", "gt", "ge", "eq", "ne", "fmod", "remainder"), (1,)
    ),
    "full": (1,),
    "full_like": (1,),
    "new_full": (2,),
    "scalar_tensor": (0,),
    "fill": (1,),
    "masked_fill": (2,),
    "clamp": (1, 2),
    "clamp_min": (1,),
    "clamp_max": (1,),
    "hardtanh": (1, 2),
    "scatter": (3,),
    "index_fill": (3,),
    "where": (1, 2),
    "lerp": (2,),
    "leaky_relu": (1,),
    "elu": (1, 2, 3),
    "softplus": (1, 2),
}
_NAMES = frozenset({"alpha", "value"})


def signature(func: Any) -> Signature:
    """Return how an operation is to be noted."""
    form = SIGNATURES.get(func)
    if form is None:
        form = SIGNATURES[func] = _signature(func)
    return form


def _signature(func: Any) -> Signature:
    name = str(func)
    packet = name.rpartition(".")[0]
    schema = func._schema
    marks = [argument.alias_info for argument in schema.arguments]
    writes = any(mark is not None and mark.is_write for mark in marks)
    view = not writes and (any(mark is not None for mark in marks) or packet in _ALIASES + _SILENT)
    if torch.Tag.inplace_view in func.tags and packet not in ("aten.resize_", "aten.set_"):
        view, writes = True, False
    refused = ""
    if torch.Tag.nondeterministic_seeded in func.tags:
        refused = "draws random numbers"
    elif not view and any(mark is not None and mark.is_write for mark in marks[1:]):
        refused = "is not supported"
    key = packet.removeprefix("aten.").removesuffix("_")
    return Signature(
        name,
        view,
        packet in ("aten.detach", "aten.detach_"),
        name == "aten.view.dtype" or packet in ("aten.view_as_complex", "aten.view_as_real"),
        packet in ("aten.lift_fresh", "aten.lift"),
        writes,
        refused,
        packet in _FILLS,
        _INDICES.get(packet, -1),
        frozenset(_NUMBERS.get(key, ())),
        _NAMES,
    )
