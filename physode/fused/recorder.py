"""What notes the operations of an evaluation as they are dispatched.

A tensor depends on the time or the state if its memory does: results of operations on such memory, and whatever has
been written into. Views need no note, since they are told by their memory. Operations on anything else run as they
are; their results are inputs once an operation that depends takes them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from physode.fused.signatures import SIGNATURES as _SIGNATURES
from physode.fused.signatures import Signature, signature
from physode.fused.tape import Base, Call, Lifted, Ref
from physode.fused.unsupported import Unsupported

__all__ = ["MOST_KNOWN", "Recorder"]

MOST_KNOWN = 4096
"""Integers in a tensor that the record keeps as they are."""

_MOST_OF_A_PATTERN = 1024  # elements of a matrix whose whole numbers stay in the record
_WHOLE = 16.0  # up to which whole numbers, and halves of them, stay in the record
_IN_PLACE = "the right-hand side changes tensors in place that it did not make"
_CONTROL = "the right-hand side has control flow on values"
_NO_MEMORY = "the right-hand side uses tensors without memory of their own"
_STOPPED = "the right-hand side stops gradients by detach()"
_make: Any = tuple.__new__  # named tuples, without the call of their own constructors
_TEXT: dict[torch.dtype, str] = {}


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that depend on a time and a state."""

    def __init__(self, time: Tensor, y: Tensor, args: Iterable[Any] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bases: list[Base] = []
        self.calls: list[Call] = []
        self.inputs: list[Tensor] = []
        self.numbers: list[float] = []
        self._differentiated = torch.is_grad_enabled()
        # By the address of a storage: the storage, so that an address is known to be still its own, and the base.
        self._dependent: dict[int, tuple[Any, int]] = {}
        self._own: dict[int, Tensor] = {}
        self._placed: dict[Any, Ref] = {}
        self._taken: set[int] = set()
        self._stopped: dict[int, Any] = {}
        self._kept: list[Tensor] = [time, y]  # whose addresses stay their own
        self._dtype = y.dtype
        self._batch = len(y) if y.ndim > 1 else 0
        self._arguments = {x.untyped_storage()._cdata for x in args if type(x) is Tensor}
        self._root("time", time)
        self._root("state", y)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: torch would import its compiler for every mode."""
        return False

    def _root(self, kind: Any, x: Tensor) -> None:
        storage = x.untyped_storage()
        self._dependent[storage._cdata] = weakref.ref(storage), len(self.bases)
        self.bases.append(Base(kind, tuple(x.shape), x.stride(), _text(x.dtype)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it if it depends on the time or the state."""
        form = _SIGNATURES.get(func) or signature(func)
        if form.view:
            return self._seen(form, func, args, kwargs or {})
        if form.refused:
            raise Unsupported(f"{form.name} {form.refused}")
        # Written out: this is run for every operation of every solve.
        depends, dependent, references = False, self._dependent, []
        for x in args:
            ref = None
            if isinstance(x, Tensor):
                try:
                    storage = x.untyped_storage()
                except (NotImplementedError, RuntimeError):
                    raise Unsupported(_NO_MEMORY) from None
                entry = dependent.get(storage._cdata)
                if entry is not None and entry[0]() is storage:
                    depends = True
                    ref = _make(Ref, (entry[1], x.storage_offset(), tuple(x.shape), x.stride()))
            elif not depends and isinstance(x, list | tuple):
                depends = self._depends(x)
            references.append(ref)
        if kwargs and not depends:
            depends = self._depends(kwargs.values())
        if not depends:
            return self._independent(form, func, args, kwargs or {})
        return self._noted(form, func, args, kwargs or {}, references)

    def _seen(self, form: Signature, func: Any, args: Any, kwargs: Any) -> Any:
        """Return a view: told by its memory, it needs no note; but gradients may stop at it."""
        if form.casts and self._base(args[0]) >= 0:
            raise Unsupported(f"{form.name} is not supported")
        value = func(*args, **kwargs)
        if form.fresh:
            self._own[value.untyped_storage()._cdata] = value
        elif self._differentiated and (form.stops or (self._stopped and self._is_stopped(args[0]))):
            for x in (value,) if isinstance(value, Tensor) else value or ():
                self._stopped[id(x)] = weakref.ref(x)
        return value

    def _noted(self, form: Signature, func: Any, args: Any, kwargs: Any, references: list[Ref | None]) -> Any:
        """Run and note an operation that depends on the time or the state."""
        if self._differentiated:
            if not torch.is_grad_enabled():
                raise Unsupported("the right-hand side stops gradients by no_grad()")
            if self._stopped:
                for ref, x in zip(references, args, strict=True):
                    if ref is not None and self._is_stopped(x):
                        raise Unsupported(_STOPPED)
        if form.writes:
            self._make_own(args[0])
        noted: list[Any] = []
        for place, x in enumerate(args):
            ref = references[place]
            if place == form.indices:
                noted.append(self._argument(x, index=True))
            elif ref is not None:
                noted.append(ref)
            else:
                noted.append(self._number(x) if place in form.lifted else self._argument(x))
        named = tuple([self._named(form, *item) for item in kwargs.items() if item[0] not in _PLACEMENT])
        value = func(*args, **kwargs)
        if form.writes:
            results: Any = (noted[0],)
        elif isinstance(value, Tensor):
            results = (self._made(value, form),)
        elif isinstance(value, list | tuple):
            results = tuple([self._made(x, form) for x in value])
        else:
            raise Unsupported(f"{form.name} is not supported" if value is None else f"{_CONTROL} ({form.name})")
        self.calls.append(_make(Call, (form.name, tuple(noted), named, results)))
        return value

    def _named(self, form: Signature, name: str, x: Any) -> tuple[str, Any]:
        return name, self._number(x) if name in form.lifted_names else self._argument(x)

    def _independent(self, form: Signature, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation that depends on neither; tensors filled with one number are noted: they are written to."""
        if form.writes:
            place = args[0].untyped_storage()._cdata
            if place not in self._own or place in self._taken:
                raise Unsupported(_IN_PLACE)
        value = func(*args, **kwargs)
        if isinstance(value, Tensor):
            if form.fills and value.dtype in (self._dtype, torch.bool):
                noted = tuple([self._number(x) if i in form.lifted else self._argument(x) for i, x in enumerate(args)])
                self.calls.append(Call(form.name, noted, (), (self._made(value, form),)))
            elif not form.writes:
                self._own[value.untyped_storage()._cdata] = value
        elif isinstance(value, list | tuple):
            for x in value:
                if isinstance(x, Tensor):
                    self._own[x.untyped_storage()._cdata] = x
        return value

    def _depends(self, args: Iterable[Any]) -> bool:
        for arg in args:
            if isinstance(arg, Tensor):
                if self._base(arg) >= 0:
                    return True
            elif isinstance(arg, list | tuple) and self._depends(arg):
                return True
        return False

    def _base(self, x: Tensor) -> int:
        """Return the base that a tensor is a view of, -1 if it depends on neither time nor state."""
        try:
            storage = x.untyped_storage()
        except (NotImplementedError, RuntimeError):
            raise Unsupported(_NO_MEMORY) from None
        entry = self._dependent.get(storage._cdata)
        return entry[1] if entry is not None and entry[0]() is storage else -1

    def reference(self, x: Tensor) -> Ref:
        """Return what the record calls a tensor; one that depends on neither time nor state becomes an input."""
        base = self._base(x)
        if base >= 0:
            if self._stopped and self._is_stopped(x):
                raise Unsupported(_STOPPED)
            return Ref(base, int(x.storage_offset()), tuple(x.shape), x.stride())
        whole = _whole(x)
        ref = self._input(whole)
        if whole is x:
            return ref
        return Ref(ref.base, int(x.storage_offset() - whole.storage_offset()), tuple(x.shape), x.stride())

    def _is_stopped(self, x: Tensor) -> bool:
        """Whether a tensor's gradients were stopped; autograd itself stops those of results that it saves."""
        stopped = self._stopped.get(id(x))
        return stopped is not None and stopped() is x

    def _input(self, x: Tensor) -> Ref:
        place = x.untyped_storage()._cdata
        key = place, x.storage_offset(), x.shape, x.stride(), x.requires_grad
        ref = self._placed.get(key)
        if ref is None:
            if x.is_complex():
                raise Unsupported("the right-hand side uses complex numbers")
            sizes, strides = tuple(x.shape), x.stride()
            self._taken.add(place)
            ref = self._placed[key] = Ref(len(self.bases), 0, sizes, strides)
            pattern = self._pattern(x) if x.ndim > 1 and not x.requires_grad else None
            if pattern is None:
                self.bases.append(Base("input", sizes, strides, _text(x.dtype), len(self.inputs)))
                self.inputs.append(x)
            else:
                self.bases.append(Base("known", sizes, strides, _text(x.dtype), 0, pattern))
                self._kept.append(x)
        return ref

    def _pattern(self, x: Tensor) -> tuple[int, ...] | None:
        """Return the elements of a matrix that says what acts on what: small whole numbers, most of them 0."""
        if x.dtype != self._dtype or x.numel() > _MOST_OF_A_PATTERN or x.untyped_storage()._cdata in self._arguments:
            return None
        if self._batch in x.shape:
            return None  # which may be of one row a sample
        values = x.flatten().tolist()
        if 2 * values.count(0.0) < len(values) or any(v != v or abs(v) > _WHOLE or v != int(v) for v in values):
            return None
        return tuple([int(value) for value in values])

    def _known(self, x: Tensor) -> Ref:
        """Return what the record calls a tensor of indices."""
        if self._base(x) >= 0:
            raise Unsupported(f"{_CONTROL} (indices)")
        key = "known", x.untyped_storage()._cdata, x.storage_offset(), x.shape, x.stride()
        ref = self._placed.get(key)
        if ref is None:
            if x.numel() > MOST_KNOWN:
                raise Unsupported(f"the right-hand side uses {x.numel()} indices, of at most {MOST_KNOWN}")
            self._kept.append(x)
            self._taken.add(x.untyped_storage()._cdata)
            dense = x.contiguous()
            values = tuple(int(value) for value in dense.flatten().tolist())
            ref = self._placed[key] = Ref(len(self.bases), 0, tuple(x.shape), dense.stride())
            self.bases.append(Base("known", ref.sizes, ref.strides, _text(x.dtype), 0, values))
        return ref

    def _made(self, x: Any, form: Signature) -> Any:
        """Note the result of an operation: memory of its own."""
        if not isinstance(x, Tensor):
            return None
        storage = x.untyped_storage()
        address = storage._cdata
        entry = self._dependent.get(address)
        if entry is not None and entry[0]() is storage:
            raise Unsupported(f"{form.name} is not supported")
        place = len(self.bases)
        sizes, strides = tuple(x.shape), x.stride()
        self._dependent[address] = weakref.ref(storage), place
        self.bases.append(_make(Base, ("made", sizes, strides, _text(x.dtype), 0, ())))
        return _make(Ref, (place, x.storage_offset(), sizes, strides))

    def _make_own(self, x: Tensor) -> None:
        """See that a tensor that is written to is memory of the evaluation's own."""
        base = self._base(x)
        if base >= 0:
            if self.bases[base].kind != "made":
                raise Unsupported(_IN_PLACE)
            return
        storage = x.untyped_storage()
        own = self._own.get(storage._cdata)
        if own is None or own.requires_grad or storage._cdata in self._taken or own.dtype != self._dtype:
            raise Unsupported(_IN_PLACE)
        ref = self._input(own.clone())
        made = Ref(len(self.bases), int(own.storage_offset()), tuple(own.shape), own.stride())
        self._dependent[storage._cdata] = weakref.ref(storage), len(self.bases)
        self.bases.append(Base("made", made.sizes, made.strides, _text(own.dtype)))
        self.calls.append(Call("aten.clone.default", (ref,), (), (made,)))

    def _number(self, x: Any) -> Any:
        """Return a number as the record keeps it: small whole ones and halves as they are, others as inputs."""
        if type(x) not in (float, int):
            return self._argument(x)
        if abs(x) == float("inf") or (abs(x) <= _WHOLE and 2.0 * x == int(2.0 * x)):
            return x
        self.numbers.append(float(x))
        return Lifted(len(self.numbers) - 1)

    def _argument(self, x: Any, index: bool = False) -> Any:
        if isinstance(x, Tensor):
            return self._known(x) if index else self.reference(x)
        if isinstance(x, list | tuple):
            return tuple([self._argument(value, index) for value in x])
        if x is None or isinstance(x, int | float | str):
            return x
        return _text(x) if isinstance(x, torch.dtype) else str(x)


_PLACEMENT = frozenset({"layout", "device", "pin_memory", "memory_format"})


def _text(dtype: torch.dtype) -> str:
    if dtype not in _TEXT:
        _TEXT[dtype] = str(dtype)
    return _TEXT[dtype]


def _whole(x: Tensor) -> Tensor:
    """Return the tensor that a view is of, where it may stand for the view: parts of one parameter are one input."""
    if not x._is_view():
        return x
    whole = x._base
    if whole is None or whole.requires_grad != x.requires_grad or whole.dtype != x.dtype:
        return x
    return whole if whole.numel() <= _PARTS * max(x.numel(), 1) else x


_PARTS = 16  # the largest share of a tensor, by elements, that is seen as a part of it
