"""Outputs of a solve into a file as they are reached, instead of into memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from physode.autograd import transformed
from physode.datasets.interrupts import interrupts_held
from physode.gradients.outputs import Outcome
from physode.problem.packing import Packing
from physode.problem.problem import Problem
from physode.solvers.checkpoints import Checkpoints
from physode.solvers.driver import Plan, forward
from physode.solvers.online_output import OnlineOutput, Receiver
from physode.solvers.symplectic.alf import Paired

if TYPE_CHECKING:
    from physode.datasets.trajectory_stream import TrajectoryStream


_SLAB_BYTES = 2**20
_RAGGED_SLAB_BYTES = 2**24  # where each sample writes its own: fewer and longer writes


@dataclass(frozen=True)
class Sink:
    """A trajectory file (``docs/data.md``) that a solve writes its outputs to.

    The leading axis of a state of one tensor is that of trajectories where it has two axes or more, or steps are per
    sample; else, and of a tuple or dict with shared steps, there is one. The other axes become one of components; parts
    of a tuple or dict follow one another, and a complex component is two, ``y1_re`` and ``y1_im``.

    Attributes
    ----------
    path
        The file, by habit ``*.h5``. It has a temporary name, ``.<name>.<random>.part``, until the solve has ended.
    columns, units
        Names and units of the components; by default ``y1``, ``y2``, ..., those of a dict by its keys.
    attrs
        What else the file is to say, see :class:`~physode.datasets.Trajectories`.
    overwrite
        Whether to replace a file that exists.
    compression
        ``"gzip"`` for a smaller file that is slower to write.
    keep
        Whether outputs are kept in memory, too, with their gradients: they are then written when the solve has ended,
        as they are where ``dense=True`` keeps its steps.
    """

    path: str | os.PathLike[str]
    columns: Sequence[str] = ()
    units: Sequence[str] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    compression: Literal["gzip"] | None = None
    keep: bool = False


def as_sink(sink: Sink | str | os.PathLike[str]) -> Sink:
    """Return a sink from the name of its file; a sink passes through."""
    if isinstance(sink, Sink):
        return sink
    if isinstance(sink, str | os.PathLike):
        return Sink(sink)
    raise TypeError(f"`sink` must be the name of a file or a Sink, got {type(sink).__name__}")


Solve = Callable[[Problem, Plan, Receiver | None], Outcome]
"""Solves a problem; where there is a receiver, without gradients, its outputs handed on as they are reached."""


def step_by_step(problem: Problem, plan: Plan, receiver: Receiver) -> Outcome:
    """Solve a problem that has been started, its outputs handed on as steps reach them."""
    reader = OnlineOutput(problem.t, problem.y0, receiver)
    trace = forward(problem, plan, store=Checkpoints(reader=reader, grid=problem.grid))
    return Outcome(problem.y0.new_empty(0), trace, None)


def solve_into(problem: Problem, plan: Plan, sink: Sink, solve: Solve, *, compiled: object = False) -> Outcome:
    """Solve a problem, its outputs into a file; the outcome has none, unless they are kept.

    A solve that ends early leaves NaN behind its end. One that is interrupted (Ctrl-C) leaves what was reached, with
    the attribute ``interrupted``, and is interrupted; others have the attributes ``status`` (a code of
    :class:`physode.Status` for each trajectory) and ``ended``, their times.

    Parameters
    ----------
    problem
        What to solve.
    sink
        The file.
    solve
        Solves the problem.
    compiled
        What was asked for of compiled programs, which give no outputs step by step: True raises.

    Raises
    ------
    ValueError
        If anything asks for gradients of outputs that are not kept, or for compiled programs.
    DataError
        If the file cannot be made.
    OSError
        If the disk is full; what was reached is kept, and the message says where.
    """
    from physode.datasets.trajectory_stream import streaming  # h5py takes a while to import

    if compiled is True:
        raise ValueError("`sink` takes outputs step by step, which compiled programs do not give: leave out `compile`")
    if transformed():
        raise ValueError("`sink` cannot be used under torch.func or in forward mode; solve outside, or leave it out")
    keeps = sink.keep or plan.dense
    problem = problem if keeps else problem.started()
    _check(problem, keeps=keeps)
    times = problem.t.detach().cpu()
    ragged = problem.per_sample
    shared_times = ragged and bool((times == times[:, :1]).all())
    packing = problem.dynamics.packing
    state = problem.y0.select(packing.axis, 0) if isinstance(packing, Paired) else problem.y0
    samples = state.shape[0] if ragged or state.ndim > 1 else 1
    parts = 2 if state.is_complex() else 1
    shape = (samples, len(times), parts * state.numel() // max(1, samples))
    dtype: Literal["float32", "float64"] = "float64" if problem.y0.real.dtype == torch.float64 else "float32"
    interruption: KeyboardInterrupt | None = None
    with (
        torch.set_grad_enabled(keeps and torch.is_grad_enabled()),
        interrupts_held() as interrupts,  # a second Ctrl-C does not undo what the first one has left
        streaming(
            sink.path,
            (times[:, 0] if shared_times else times.T if ragged else times).contiguous().numpy(),
            shape,
            dtype=dtype,
            slab_bytes=_RAGGED_SLAB_BYTES if ragged else _SLAB_BYTES,
            columns=sink.columns or _columns(packing, state),
            units=sink.units,
            attrs={**_how(problem), **sink.attrs},
            overwrite=sink.overwrite,
            compression=sink.compression,
        ) as stream,
    ):
        buffer = Buffer(stream, shape, dtype)
        receiver: Receiver = _AsReal(buffer) if state.is_complex() else buffer
        receiver = _StateOnly(receiver) if isinstance(packing, Paired) else receiver
        try:
            with interrupts.let_through():
                outcome = solve(problem, plan, None if keeps else receiver)
                if keeps:
                    _hand_on(outcome.outputs.detach(), receiver, ragged=ragged)
        except KeyboardInterrupt as error:
            interruption = error
            stream.attrs["interrupted"] = True
        else:
            ends = {"status": outcome.record.status, "ended": outcome.record.ended}
            stream.attrs.update({name: value.cpu().expand(samples).numpy() for name, value in ends.items()})
        buffer.flush()
    if interruption is not None:
        raise interruption
    return outcome if sink.keep else outcome._replace(outputs=problem.y0.new_empty(0))


def _hand_on(outputs: Tensor, receiver: Receiver, *, ragged: bool) -> None:
    """Hand on all outputs at once."""
    if not ragged:
        receiver.take(0, outputs)
        return
    times, samples = outputs.shape[:2]
    numbers = torch.arange(times, device=outputs.device)
    for sample in range(samples):
        receiver.take_some(numbers, torch.full_like(numbers, sample), outputs[:, sample])


@dataclass(frozen=True)
class _AsReal:
    """Hands on complex outputs as real and imaginary parts."""

    receiver: Receiver

    def take(self, first: int, values: Tensor) -> None:
        """Hand on outputs ``(outputs, *state)``."""
        self.receiver.take(first, torch.view_as_real(values))

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Hand on outputs ``(n, *state of a sample)``."""
        self.receiver.take_some(outputs, groups, torch.view_as_real(values))


@dataclass(frozen=True)
class _StateOnly:
    """Hands on outputs without the velocity that lies beside each state."""

    receiver: Receiver

    def take(self, first: int, values: Tensor) -> None:
        """Hand on outputs ``(outputs, 2, *state)``."""
        self.receiver.take(first, values.select(1, 0))

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Hand on outputs ``(n, 2, *state of a sample)``."""
        self.receiver.take_some(outputs, groups, values.select(1, 0))


def _how(problem: Problem) -> dict[str, Any]:
    """Return how the outputs are made, as attributes of the file."""
    steps, method = problem.steps, {"method": problem.tableau.name}
    return method if steps is None else {**method, "rtol": _numbers(steps.rtol), "atol": _numbers(steps.atol)}


def _numbers(tolerance: Tensor | float) -> Any:
    return tolerance.detach().tolist() if isinstance(tolerance, Tensor) else tolerance


def _check(problem: Problem, *, keeps: bool) -> None:
    if problem.needs_gradient and not keeps:
        raise ValueError(
            "`sink` keeps no outputs to differentiate: solve under torch.no_grad(), or with sink=Sink(..., keep=True)"
        )
    if problem.y0.numel() == 0:
        raise ValueError(f"`sink` has nothing to write of a state of shape {tuple(problem.y0.shape)}")


def _columns(packing: Packing, state: Tensor) -> tuple[str, ...]:
    """Name the components of a dict by its keys; of other states by numbers, as the file's readers do."""
    names: tuple[str, ...] = ()
    if packing.kind is dict and packing.keys is not None:
        names = tuple(
            str(key) if size == 1 else f"{key}{i}"
            for key, size in zip(packing.keys, packing.sizes, strict=True)
            for i in range(1, size + 1)
        )
    if not state.is_complex():
        return names
    sample = state if packing.per_sample is False and state.ndim <= 1 else state[0]
    names = names or tuple(f"y{i + 1}" for i in range(sample.numel()))
    return tuple(f"{name}_{part}" for name in names for part in ("re", "im"))


_SECONDS = 10.0  # after which outputs are written although their slab is not full: a killed process loses no more


class Buffer:
    """Takes outputs as they are reached (a ``Receiver``) and writes them slab by slab.

    Parameters
    ----------
    stream
        The file.
    shape
        Its numbers of trajectories, times and components.
    dtype
        Its precision.
    """

    def __init__(self, stream: TrajectoryStream, shape: tuple[int, int, int], dtype: str) -> None:
        self._stream, self._slab = stream, stream.slab
        self._slabs = np.empty((shape[0], self._slab, shape[2]), dtype=dtype)
        self._written = np.zeros(shape[0], dtype=np.int64)  # of each trajectory, how many outputs are in the file
        self._reached = np.zeros(shape[0], dtype=np.int64)  # and how many there are
        self._last = time.monotonic()

    def take(self, first: int, values: Tensor) -> None:
        """Take successive outputs of all trajectories."""
        rows = self._array(values).reshape(len(values), *self._slabs.shape[::2]).swapaxes(0, 1)
        done = 0
        while done < len(values):
            place = (first + done) % self._slab
            count = min(self._slab - place, len(values) - done)
            self._slabs[:, place : place + count] = rows[:, done : done + count]
            done += count
            self._reached[:] = first + done
            if place + count == self._slab:
                self._write(np.arange(len(self._slabs)))
        self._write_if_due()

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Take some outputs of some trajectories: of each, the next ones."""
        numbers, samples = outputs.cpu().numpy(), groups.cpu().numpy()
        rows = self._array(values).reshape(len(numbers), -1)
        while len(numbers):
            now = numbers // self._slab == self._reached[samples] // self._slab
            self._slabs[samples[now], numbers[now] % self._slab] = rows[now]
            np.maximum.at(self._reached, samples[now], numbers[now] + 1)
            moved = np.unique(samples[now])
            self._write(moved[self._reached[moved] % self._slab == 0])
            numbers, samples, rows = numbers[~now], samples[~now], rows[~now]
        self._write_if_due()

    def flush(self) -> None:
        """Write what was reached."""
        self._write(np.flatnonzero(self._reached > self._written))
        self._stream.flush()
        self._last = time.monotonic()

    def _write_if_due(self) -> None:
        if time.monotonic() - self._last > _SECONDS:
            self.flush()

    def _write(self, samples: npt.NDArray[Any]) -> None:
        """Write what was reached of some trajectories; neighbours at the same place go together."""
        places = np.stack([samples, self._written[samples], self._reached[samples]])
        apart = np.flatnonzero((np.diff(places[0]) != 1) | (np.diff(places[1:]) != 0).any(0)) + 1
        for run in np.split(places, apart, axis=1):
            if not run.size:
                continue
            rows = slice(int(run[0, 0]), int(run[0, -1]) + 1)
            low, high = int(run[1, 0]), int(run[2, 0])
            start = low % self._slab
            self._stream.put(rows, slice(low, high), self._slabs[rows, start : start + high - low])
        self._written[samples] = self._reached[samples]

    def _array(self, values: Tensor) -> npt.NDArray[Any]:
        wide = values if values.dtype.itemsize >= 4 else values.float()
        array: npt.NDArray[Any] = wide.detach().cpu().numpy()
        return array
