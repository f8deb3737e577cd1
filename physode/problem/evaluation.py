"""What an evaluation of a right-hand side does beside computing: operations watched as they are dispatched.

Random numbers: a right-hand side must be a function of ``(t, y)``, so every evaluation of a solve draws the same ones,
dropout's mask among them. They come from generators of the solve's own; the program's generators give one seed a solve
and are never set, so that other threads draw what they would have drawn (:class:`Draws`).

The first evaluation of a solve tells what there is to mind in the later ones (:class:`Probe`), and by its graph which
tensors they depend on (:func:`find_leaves`). A module's registered parameters are not enough: parameters kept in lists,
closures or other modules would lose their gradients without a word.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["NOTHING", "Conduct", "Draws", "Leaves", "Probe", "check_no_new_leaf", "find_leaves", "graph_clock"]

_MOST_ELEMENTS = 2**16  # of a tensor whose contents are compared before and after an evaluation
_GLOBAL_GENERATOR = threading.Lock()


class Draws:
    """The random numbers that every evaluation of one solve draws.

    Parameters
    ----------
    expected
        Tells, before an evaluation has shown it, whether evaluations draw random numbers.
    """

    def __init__(self, *, expected: Callable[[], bool] = lambda: False) -> None:
        self._expected = expected
        self._own: dict[Any, tuple[int, torch.Generator]] = {}

    @cached_property
    def any(self) -> bool:
        """Whether evaluations draw random numbers at all, as far as is known."""
        return self._expected()

    def frozen(self) -> FrozenDraws:
        """Return a context for one evaluation, which begins the numbers anew."""
        return FrozenDraws(self)

    def generator(self, given: torch.Generator | None, device: torch.device) -> tuple[int, torch.Generator]:
        """Return the seed and the generator that stand for ``given``, or for a device's own."""
        # Operations are handed another object for the same generator each time: told apart by its seed.
        key = (device.type, device.index, None if given is None else given.initial_seed())
        if key not in self._own:
            seed = int(torch.randint(2**62, (), generator=given, device="cpu" if given is None else given.device))
            self._own[key] = seed, torch.Generator(device)
        return self._own[key]


class FrozenDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands the generators of a solve to every operation that draws, for one evaluation."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = draws
        self._begun: set[torch.Generator] = set()
        self._count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: torch would import its compiler for every mode."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, with a generator of the solve's own where it draws."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        self.draws.any = True
        given = kwargs.get("generator")
        device = _device_of(args, kwargs)
        takes = _with_generator(func)
        seed, generator = self.draws.generator(given, device)
        if takes is None:
            return self._by_the_global_one(func, args, kwargs, seed, device)
        if generator not in self._begun:
            self._begun.add(generator)
            generator.manual_seed(seed)
        overload, position = takes
        return overload(*args[:position], **{**kwargs, "generator": generator})

    def _by_the_global_one(self, func: Any, args: Any, kwargs: Any, seed: int, device: torch.device) -> Any:
        """Run an operation that takes no generator, the program's own set for just as long."""
        self._count += 1
        devices = [device] if device.type == "cuda" else []
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=devices):
            torch.manual_seed((seed + self._count) % 2**62)
            return func(*args, **kwargs)


@lru_cache(maxsize=256)
def _with_generator(func: Any) -> tuple[Any, int | None] | None:
    """Return the overload that takes a generator, and its place among positional arguments; None without one."""
    name = func._overloadname
    for other in (name, "generator" if name == "default" else f"{name}_generator"):
        with suppress(AttributeError):
            overload = getattr(func.overloadpacket, other)
            arguments = overload._schema.arguments
            for i, argument in enumerate(arguments):
                if argument.name == "generator":
                    return overload, None if argument.kwarg_only else i
    return None


def _device_of(args: Any, kwargs: Any) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((x.device for x in _tensors(args)), torch.device("cpu"))


@dataclass
class Conduct:
    """What evaluations of a right-hand side do beside computing, as far as is known.

    Attributes
    ----------
    draws
        The random numbers that they draw.
    lends
        Whether they return memory that they may write into again: it is copied.
    settled
        Whether a first evaluation has shown these.
    probe
        What watches the evaluation that is being made.
    marks
        Times, states and derivatives of the first and the last evaluation, where a pass back has nothing else to be
        held against.
    """

    draws: Draws = field(default_factory=Draws)
    lends: bool = False
    settled: bool = False
    probe: Probe | None = None
    marks: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)


class _Read(NamedTuple):
    """A tensor from outside of the evaluation: as it was when an operation first took it."""

    tensor: Tensor
    version: int
    contents: Tensor | None

    @property
    def changed(self) -> bool:
        if _version(self.tensor) != self.version:
            return True
        return self.contents is not None and not torch.equal(self.tensor.detach(), self.contents)


class Probe(FrozenDraws):  # type: ignore[no-untyped-call]
    """Watches the first evaluation: which tensors from outside it reads and changes, and what its result is made of."""

    def __init__(self, draws: Draws) -> None:
        super().__init__(draws)
        self.time: Tensor | None = None
        self._reads: dict[int, _Read] = {}
        self._made: weakref.WeakValueDictionary[int, torch.UntypedStorage] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note what it takes and makes."""
        for x in _tensors((*args, *(kwargs or {}).values())):
            self._take(x)
        value = super().__torch_dispatch__(func, types, args, kwargs)
        for x in _tensors((value,)):
            storage = _storage(x)
            if storage is not None and storage._cdata not in self._reads:
                self._made[storage._cdata] = storage
        return value

    def _take(self, x: Tensor) -> None:
        storage = _storage(x)
        if storage is None or storage._cdata in self._made or storage._cdata in self._reads:
            return
        keep = not x.requires_grad and x.numel() <= _MOST_ELEMENTS
        self._reads[storage._cdata] = _Read(x, _version(x), x.detach().clone() if keep else None)

    def changed(self) -> list[Tensor]:
        """Return the tensors from outside that no gradient reaches and that the evaluation changed in place."""
        return [read.tensor for read in self._reads.values() if not read.tensor.requires_grad and read.changed]

    def joints(self) -> list[Tensor]:
        """Return the tensors from outside that carry a graph: where the evaluation's own begins."""
        return [read.tensor for read in self._reads.values() if read.tensor.grad_fn is not None]

    @property
    def has_read_time(self) -> bool:
        """Whether the evaluation made any use of the time that it was given."""
        storage = None if self.time is None else _storage(self.time)
        return storage is not None and storage._cdata in self._reads

    def is_lent(self, value: Tensor) -> bool:
        """Whether somebody else holds the memory of the evaluation's result, and may write into it at the next one."""
        storage = _storage(value)
        if storage is None or storage._cdata not in self._made:
            return True
        base = value._base
        return _holders(value) > _USUAL or (base is not None and _holders(base) > _USUAL)


def _holders(x: object) -> int:
    return sys.getrefcount(x)


def _usual() -> int:
    """Return the count of references to something that a caller holds and has handed to a function."""

    def within(x: object) -> int:
        return _holders(x)

    new = object()
    return within(new)


_USUAL = _usual()


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _storage(x: Tensor) -> torch.UntypedStorage | None:
    try:
        return x.untyped_storage()
    except (NotImplementedError, RuntimeError):  # of layouts and wrappers without one
        return None


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


class Leaves(NamedTuple):
    """What a right-hand side depends on.

    ``tensors``: the leaves that require gradients, and tensors made before the solve, by a network that makes weights,
    say, where an evaluation's own graph begins. ``outside``: whether some act through operations done before the solve
    that could not be told apart, whose graph every evaluation shares.
    """

    tensors: tuple[Tensor, ...]
    outside: bool


NOTHING = Leaves((), False)
"""A right-hand side without parameters."""


def graph_clock() -> int:
    """Return a number that every graph node made later exceeds."""
    with torch.enable_grad():
        node = torch.zeros((), requires_grad=True).clone().grad_fn
    assert node is not None
    return int(node._sequence_nr())


def find_leaves(
    value: Tensor, referred: Sequence[Tensor], inputs: Sequence[Tensor], joints: Sequence[Tensor], since: int
) -> Leaves:
    """Find what an evaluation depends on beside its inputs.

    Parameters
    ----------
    value
        The evaluation's result, with its graph.
    referred
        Leaves that the right-hand side refers to; they are added, used here or not, since another time may use them.
    inputs
        The inputs that the evaluation was made with: not leaves of ``f``.
    joints
        Tensors made before the evaluation, where its own graph begins.
    since
        :func:`graph_clock` before the evaluation.
    """
    skip = {id(tensor) for tensor in inputs}
    joints = [tensor for tensor in joints if id(tensor) not in skip]
    reached, outside = _walk(value, since, [*inputs, *joints])
    leaves = {id(leaf): leaf for leaf in [*referred, *reached] if id(leaf) not in skip}
    return Leaves(tuple(leaves.values()), outside)


def check_no_new_leaf(values: Iterable[Tensor], inputs: Sequence[Tensor]) -> None:
    """Raise if a replayed step depends on a leaf that the first evaluation did not show.

    Raises
    ------
    RuntimeError
        Rather than lose the leaf's gradient.
    """
    names = {id(tensor) for tensor in inputs}
    for value in values:
        for leaf in _walk(value, 0, inputs)[0]:
            if id(leaf) not in names:
                raise RuntimeError(
                    f"the right-hand side uses a tensor of shape {tuple(leaf.shape)} that requires gradients but that "
                    "its evaluation at the start did not use: register it as a parameter of the module or pass it in "
                    "`args`; where the right-hand side switches at a known time, name that in `jump_t`"
                )


def _walk(value: Tensor, since: int, ends: Sequence[Tensor]) -> tuple[list[Tensor], bool]:
    """Return the leaves and those of the ``ends`` that a graph leads to, and whether it leads behind ``since``."""
    leaves: list[Tensor] = []
    outside = False
    if value.grad_fn is None:
        return ([value] if value.requires_grad else []), False
    stops = {(end.grad_fn, end.output_nr): end for end in ends if end.grad_fn is not None}
    edges: list[tuple[Any, int]] = [(value.grad_fn, value.output_nr)]
    seen = set(edges)
    while edges:
        edge = edges.pop()
        node = edge[0]
        if edge in stops:
            leaves.append(stops[edge])
            continue
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves.append(variable)
            continue
        outside = outside or int(node._sequence_nr()) < since
        for parent in node.next_functions:
            if parent[0] is not None and parent not in seen:
                seen.add(parent)
                edges.append(parent)
    return leaves, outside
