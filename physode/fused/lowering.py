"""From the record of an evaluation to one sample's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physode.fused import activations, indexing, linear_systems, movement, operations, products, reductions
from physode.fused.arithmetic import Arithmetic
from physode.fused.graph import Graph, Program
from physode.fused.inputs import NUMBERS, Pending, Source, places_of
from physode.fused.memory import Memory, Value, one_sample
from physode.fused.rules import RULES
from physode.fused.tape import Base, Call, Lifted, Ref, Tape
from physode.fused.unsupported import MixesSamples, Unsupported

__all__ = ["Lowered", "functional_name", "lower"]

_ = (
    activations,
    indexing,
    linear_systems,
    movement,
    operations,
    products,
    reductions,
)  # whose rules are entered as they are imported
_OVERWRITING = ("aten.copy_.", "aten.fill_.", "aten.zero_.")
_SHAPES_ONLY = ("_like", "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided")


@dataclass(frozen=True)
class Lowered:
    """A right-hand side as a program.

    Attributes
    ----------
    program
        One sample's derivative; it is the same for batches of any size.
    shared, sample
        The inputs that the program's shared numbers are, followed by Python's numbers; and those of each sample.
    """

    program: Program
    shared: tuple[Source, ...]
    sample: tuple[Source, ...]


def lower(tape: Tape, *, batch: bool) -> Lowered:
    """Return the program of a record.

    Parameters
    ----------
    tape
        The record.
    batch
        Whether the state's leading axis holds independent samples, two at least; else the state is one sample.

    Raises
    ------
    Unsupported
        For operations without a rule, or that tell samples apart; for programs of more than
        :data:`~physode.fused.arithmetic.MOST_NODES` operations.
    """
    samples = tape.bases[1].sizes[0] if batch else 1
    if batch and samples < 2:
        raise ValueError("a batch of one sample is lowered with batch=False")
    try:
        return _lowered(tape, samples, guess=batch)
    except Unsupported:
        if not batch:
            raise
    return _lowered(tape, samples, guess=False)


def _lowered(tape: Tape, samples: int, *, guess: bool) -> Lowered:
    """Lower a record; with ``guess``, inputs that meet no state yet are rows of samples where they may be."""
    reading = _Reading(tape, samples, guess=guess)
    calls = _needed(tape)
    for call in calls:
        try:
            reading.run(call)
        except MixesSamples:
            raise reading.arithmetic.mixing() from None
        except (ValueError, IndexError, TypeError) as error:  # a rule that was not written for such arguments
            raise reading.arithmetic.refusal("with these arguments is not supported") from error
    outputs = reading.result()
    inputs = reading.arithmetic.inputs
    numbers = 1 + max((lifted.place for call in tape.calls for lifted in _lifted((call.args, call.kwargs))), default=-1)
    program = reading.graph.program(outputs, shared=inputs.count_shared + numbers, sample=inputs.count_sample)
    nodes = tuple(
        node._replace(place=node.place - NUMBERS + inputs.count_shared)
        if node.op == "shared" and node.place >= NUMBERS
        else node
        for node in program.nodes
    )
    return Lowered(
        Program(nodes, program.outputs, program.shared, program.sample),
        tuple(inputs.shared.values()),
        tuple(inputs.sample.values()),
    )


class _Reading:
    """Goes through a record from call to call."""

    def __init__(self, tape: Tape, samples: int, *, guess: bool) -> None:
        self.tape = tape
        self.samples = samples
        self.graph = Graph()
        self.arithmetic = Arithmetic(self.graph, samples, guess=guess)
        self.memory: dict[int, Memory] = {}
        for place, base in enumerate(tape.bases):
            if base.kind == "time":
                self.memory[place] = self._time(base)
            elif base.kind == "state":
                self.memory[place] = self._state(base)

    def _time(self, base: Base) -> Memory:
        node = self.graph.leaf("time")
        by_sample = self.samples > 1 and self.samples == int(np.prod(base.sizes)) and bool(base.sizes)
        return Memory(np.array([node]), self.samples, 1 if by_sample else 0)

    def _state(self, base: Base) -> Memory:
        size = int(np.prod(base.sizes)) // self.samples
        nodes = np.array([self.graph.leaf("state", place) for place in range(size)], dtype=np.int64)
        return Memory(nodes, self.samples, size if self.samples > 1 else 0)

    def run(self, call: Call) -> None:
        """Lower one operation."""
        arithmetic = self.arithmetic
        arithmetic.op = call.op
        name = functional_name(call.op)
        rule = RULES.get(name)
        if rule is None:
            raise _without_rule(call.op)
        arithmetic.sizes = call.results[0].sizes
        named = {key: self._argument(x) for key, x in call.kwargs if key != "dtype"}
        if _takes_shapes_only(call.op):
            args = tuple(x if isinstance(x, Lifted | int | float) else None for x in call.args)
            result = rule.lower(arithmetic, *(self._argument(x) for x in args), **named)
        else:
            skipped = 1 if call.op.startswith(_OVERWRITING) else 0
            args = (None,) * skipped + tuple(self._argument(x) for x in call.args[skipped:])
            result = rule.lower(arithmetic, *args, **named)
        values = result if isinstance(result, tuple) and not isinstance(result, Value) else (result,)
        for ref, value in zip(call.results, values, strict=False):
            if value is not None and ref is not None:
                self._write(ref, value)

    def result(self) -> list[int]:
        """Return the nodes of one sample's derivative."""
        ref = self.tape.result
        self.arithmetic.op = "the derivative"
        x = self._argument(ref)
        if self.samples == 1:
            return [int(node) for node in self.arithmetic.value(x).nodes.ravel()]
        value = self.arithmetic.sampled(x, 0, 1, 1)
        nodes = value.nodes
        if value.batch is None:
            nodes = one_sample(nodes, 0, 1, self.samples)
        return [int(node) for node in nodes.ravel()]

    def _argument(self, x: Any) -> Any:
        if isinstance(x, Ref):
            return self._tensor(x)
        if isinstance(x, Lifted):
            return Value(np.array(self.graph.leaf("shared", NUMBERS + x.place)))
        return tuple(self._argument(part) for part in x) if isinstance(x, tuple) else x

    def _tensor(self, ref: Ref) -> Any:
        base = self.tape.bases[ref.base]
        if base.kind == "input":
            return Pending(base, ref)
        if base.kind == "known":
            values = np.array(base.values, dtype=np.int64).reshape(base.sizes)
            if base.dtype == self.tape.bases[1].dtype:
                return self._constants(values, base, ref)
            return values.astype(bool) if base.dtype == "torch.bool" else values
        self._check(base)
        value = self.memory[ref.base].read(ref)
        if value.nodes.size and value.nodes.min() < 0:
            raise Unsupported("the right-hand side uses memory that it has not written")
        return value

    def _constants(self, values: NDArray[np.int64], base: Base, ref: Ref) -> Value:
        nodes = np.array([self.graph.constant(value) for value in values.ravel().tolist()])
        return Value(nodes[places_of(base, ref)])

    def _write(self, ref: Ref, value: Value) -> None:
        base = self.tape.bases[ref.base]
        self._check(base)
        nodes = value.nodes
        if nodes.size and nodes.min() >= 0:
            verdict = base.dtype == "torch.bool"
            scalar = self.arithmetic.scalar
            if any(scalar(node).is_verdict != verdict for node in np.unique(nodes)):
                made = [(x.as_verdict if verdict else x.as_number).node for x in map(scalar, nodes.ravel().tolist())]
                nodes = np.array(made).reshape(nodes.shape)
        memory = self.memory.get(ref.base)
        if memory is None:
            memory = self.memory[ref.base] = self._new(base, value)
        memory.write(ref, value._replace(nodes=nodes))

    def _new(self, base: Base, value: Value) -> Memory:
        size = 1 + sum((n - 1) * stride for n, stride in zip(base.sizes, base.strides, strict=True))
        if 0 in base.sizes:
            size = 0
        if value.batch is None:
            return Memory(np.full(size, -1), self.samples)
        step = base.strides[value.batch.axis] * value.batch.inner
        if step <= 0 or size % (step * self.samples):
            raise self.arithmetic.mixing()
        return Memory(np.full(size // self.samples, -1), self.samples, step)

    def _check(self, base: Base) -> None:
        dtype = self.tape.bases[1].dtype
        if base.dtype not in (dtype, "torch.bool"):
            raise Unsupported(f"the right-hand side uses values in {base.dtype} that depend on its {dtype} state")


def functional_name(op: str) -> str:
    """Return the name of an operation that does the same, but not in place."""
    packet, _, overload = op.rpartition(".")
    return f"{packet[:-1]}.{overload}" if packet.endswith("_") else op


def _without_rule(op: str) -> Unsupported:
    packet = op.rpartition(".")[0]
    if "batch_norm" in packet:
        return MixesSamples(packet)
    return Unsupported(f"{packet} is not supported")


def _takes_shapes_only(op: str) -> bool:
    return op.rpartition(".")[0].endswith(_SHAPES_ONLY)


def _needed(tape: Tape) -> list[Call]:
    """Return the calls that the result depends on."""
    bases = {tape.result.base}
    calls = []
    for call in reversed(tape.calls):
        if any(ref is not None and ref.base in bases for ref in call.results):
            calls.append(call)
            if not _takes_shapes_only(call.op):
                bases.update(ref.base for ref in _refs((call.args, call.kwargs)))
    return calls[::-1]


def _refs(x: Any) -> list[Ref]:
    if isinstance(x, Ref):
        return [x]
    return [ref for part in x for ref in _refs(part)] if isinstance(x, tuple) and not isinstance(x, Lifted) else []


def _lifted(x: Any) -> list[Lifted]:
    if isinstance(x, Lifted):
        return [x]
    return [y for part in x for y in _lifted(part)] if isinstance(x, tuple) and not isinstance(x, Ref) else []
