"""When what happens: experiments cut at their changes into segments that are solved together, and what is read there.

The k-th segments of all experiments are one batch, each sample with times of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.pool import Pool, PoolBuilder
from physode.estimation.problem import Entry, Estimation, Experiment, Input, Vector

_MOST_KINKS = 64  # of linear inputs at which steps end

StateChange = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Reset:
    """A state's new value at the start of a segment: a function of (t, x, p) before it."""

    row: int
    state: int
    value: StateChange


@dataclass(frozen=True)
class Segment:
    """One batch of pieces between changes; E experiments.

    Attributes
    ----------
    experiments
        Which, (E,).
    before
        Their rows in the segment before, (E,); empty in the first.
    t
        Times, (T, E), rising: its start, what is read, its end. Rows are filled up by times that nobody reads.
    moves
        Which rows end later than they start, (E,).
    steady
        Which rows are carried on to a steady state, (E,): first of all, or after their last time.
    constants
        p as indices into the pool, (E, K).
    resets
        New values of states at the start, all of them at once.
    step_time
        Where inputs with steps are looked up, (E,): inside the segment.
    """

    experiments: Tensor
    before: Tensor
    t: Tensor
    moves: Tensor
    steady: Tensor
    constants: Tensor
    resets: tuple[Reset, ...]
    step_time: Tensor


@dataclass(frozen=True)
class Timeline:
    """All segments, and where each of n measurements is read.

    Attributes
    ----------
    pool
        Of all constants.
    segments
        One after the other.
    initial
        Initial values that experiments have of their own, by (experiment, state): indices into the pool.
    reads
        Of each measurement: segment, time and row, (n, 3); time -1 is the steady state at the end.
    constants
        p of each measurement as indices into the pool, (n, K).
    own
        q as indices into the pool, (n, Q).
    """

    pool: Pool
    segments: tuple[Segment, ...]
    initial: tuple[tuple[int, int, int], ...]
    reads: Tensor
    constants: Tensor
    own: Tensor


@dataclass
class _Piece:
    """One segment of one experiment while it is put together."""

    start: float
    leads: bool  # to the steady state that the experiment begins from
    constants: dict[str, Entry]
    states: dict[str, StateChange]
    reads: list[float]
    end: float
    steady: bool = False

    @property
    def times(self) -> list[float]:
        """Its start, what is read, and its end."""
        return sorted({self.start, *self.reads, self.end})


def make_timeline(estimation: Estimation) -> Timeline:
    """Cut experiments into segments.

    Raises
    ------
    ConfigError
        If a measurement lies before its experiment's start, changes are not in order, a name is unknown, an input is
        missing or ends before the data, or an experiment has no measurements.
    """
    model, builder = estimation.model, PoolBuilder(estimation.unknowns)
    pieces = [_pieces(estimation, i) for i in range(len(estimation.experiments))]
    depth = max(len(own) - own[0].leads for own in pieces)
    # Experiments that reach a steady state first have one segment more, before all others.
    lead = max(int(own[0].leads) for own in pieces)
    rows: list[list[tuple[int, _Piece]]] = [[] for _ in range(depth + lead)]
    for i, own in enumerate(pieces):
        for k, piece in enumerate(own):
            rows[k + lead - own[0].leads].append((i, piece))
    rows = [row for row in rows if row]
    defaults = dict(zip(model.constants, model.values, strict=True))
    placed = [[_places(builder, estimation, i, piece, defaults) for i, piece in row] for row in rows]
    initial = _initial(builder, estimation)
    width, own_places = _own(builder, estimation)
    pool = builder.pool()
    segments: list[Segment] = []
    where: dict[tuple[int, int], tuple[int, int]] = {}
    for k, (row, places) in enumerate(zip(rows, placed, strict=True)):
        earlier = {i: r for r, (i, _) in enumerate(rows[k - 1])} if k else {}
        segments.append(_segment(estimation, row, builder.index(places, len(model.constants)), earlier))
        where.update({(i, id(piece)): (k, r) for r, (i, piece) in enumerate(row)})
    reads = _reads(estimation, pieces, segments, where)
    return Timeline(
        pool=pool,
        segments=tuple(segments),
        initial=tuple((i, d, int(builder.index([[place]], 1))) for i, d, place in initial),
        reads=reads,
        constants=torch.stack([segments[k].constants[r] for k, _, r in reads.tolist()]),
        own=builder.index(own_places, width),
    )


def _pieces(estimation: Estimation, index: int) -> list[_Piece]:
    """Cut one experiment at its changes and its inputs' steps."""
    experiment, data = estimation.experiments[index], estimation.measurements
    what = f"experiment {experiment.name!r}"
    mine = data.experiment == index
    times = np.unique(data.times[mine])
    if not len(times):
        raise ConfigError(f"{what} has no measurements; add some, or take it out")
    finite = times[np.isfinite(times)]
    if len(finite) and finite[0] < experiment.start:
        raise ConfigError(f"{what} starts at {experiment.start:g}, and is measured at {finite[0]:g} already")
    end = float(finite[-1]) if len(finite) else experiment.start
    last = any(map(math.isinf, times))
    constants: dict[str, Entry] = dict(experiment.constants)
    states: dict[str, StateChange] = {}
    cuts = _input_cuts(experiment, estimation.model.inputs, end) + _break_cuts(estimation, experiment, end)
    changes: dict[float, tuple[dict[str, Entry], dict[str, StateChange]]] = {t: ({}, {}) for t in cuts}
    order = [change.time for change in experiment.changes]
    if order != sorted(order):
        raise ConfigError(f"{what} has changes at {order}; put them into the order of time")
    pieces: list[_Piece] = []
    for change in experiment.changes:
        if change.time == -math.inf:
            own = {**constants, **change.constants}
            at = experiment.start
            pieces.append(_Piece(at, True, own, dict(change.states), [], at, steady=True))
        elif change.time < experiment.start:
            raise ConfigError(f"{what} starts at {experiment.start:g}, and has a change at {change.time:g} already")
        elif change.time == experiment.start:
            constants |= change.constants
            states |= change.states
        elif change.time <= end or last:
            values, resets = changes.setdefault(change.time, ({}, {}))
            values.update(change.constants)
            resets.update(change.states)
    starts = [experiment.start, *sorted(changes)]
    for start, until in zip(starts, [*starts[1:], math.inf], strict=True):
        if start > experiment.start:
            constants = {**constants, **changes[start][0]}
            states = changes[start][1]
        inside = [float(t) for t in finite if start <= t < until]
        stop = until if until < math.inf else max([start, *inside])
        pieces.append(_Piece(start, False, constants, states, inside, stop, steady=last and until == math.inf))
    return pieces


def _input_cuts(experiment: Experiment, inputs: Sequence[str], end: float) -> list[float]:
    """Return the times inside an experiment at which its inputs have steps or kinks."""
    cuts: set[float] = set()
    for name in inputs:
        given = experiment.inputs.get(name)
        if given is None:
            raise ConfigError(f"experiment {experiment.name!r} has no input {name!r}; give its values")
        if given.kind != "step" and (given.times[-1] < end or given.times[0] > experiment.start):
            raise ConfigError(
                f"the input {name!r} of experiment {experiment.name!r} is known from {given.times[0]:g} to "
                f"{given.times[-1]:g}, the experiment runs from {experiment.start:g} to {end:g}"
            )
        inside = given.times[(given.times > experiment.start) & (given.times < end)]
        if given.kind == "step":
            cuts.update(_changing(given, inside))
        elif given.kind == "linear" and len(inside) <= _MOST_KINKS:
            cuts.update(map(float, inside))
    return sorted(cuts)


def _break_cuts(estimation: Estimation, experiment: Experiment, end: float) -> list[float]:
    """Return the times inside an experiment at which f steps or has a kink, as far as they are known beforehand."""
    model = estimation.model
    kept = {unknown.name: unknown.guess for unknown in estimation.unknowns if not unknown.free}
    entries = {**dict(zip(model.constants, model.values, strict=True)), **experiment.constants}
    numbers = {
        name: torch.tensor(kept.get(entry, math.nan) if isinstance(entry, str) else entry, dtype=torch.float64)
        for name, entry in entries.items()
        if isinstance(entry, str | float)
    }
    known = [float(each(numbers)) for each in model.breaks if each.names <= numbers.keys()]
    return [time for time in known if experiment.start < time < end]


def _changing(given: Input, inside: Vector) -> list[float]:
    """Return those of the times at which a step does change the value."""
    before = given.values[np.searchsorted(given.times, inside) - 1]
    return [float(t) for t in inside[given.values[np.searchsorted(given.times, inside)] != before]]


def _places(
    builder: PoolBuilder, estimation: Estimation, index: int, piece: _Piece, defaults: dict[str, Entry]
) -> list[tuple[int, int]]:
    name = estimation.experiments[index].name
    strange = sorted(piece.constants.keys() - defaults.keys())
    if strange:
        raise ConfigError(f"experiment {name!r} has a value of {strange[0]!r}, which is no constant of the model")
    strange = sorted(piece.states.keys() - set(estimation.model.states))
    if strange:
        raise ConfigError(f"experiment {name!r} has a value of {strange[0]!r}, which is no state of the model")
    values = {**defaults, **piece.constants}
    return [
        builder.place(values[key], f"the constant {key!r} of experiment {name!r}") for key in estimation.model.constants
    ]


def _initial(builder: PoolBuilder, estimation: Estimation) -> list[tuple[int, int, tuple[int, int]]]:
    states = {name: d for d, name in enumerate(estimation.model.states)}
    places = []
    for i, experiment in enumerate(estimation.experiments):
        for name, entry in experiment.initial.items():
            if name not in states:
                raise ConfigError(
                    f"experiment {experiment.name!r} starts with {name!r}, which is no state of the model"
                )
            places.append((i, states[name], builder.place(entry, f"{name!r} of experiment {experiment.name!r}")))
    return places


def _own(builder: PoolBuilder, estimation: Estimation) -> tuple[int, list[list[tuple[int, int]]]]:
    own = estimation.measurements.own
    width = max(map(len, own), default=0)
    rows = [
        [builder.place(entry, f"of measurement {i + 1} a number") for entry in row]
        + [builder.place(0.0, "nothing")] * (width - len(row))
        for i, row in enumerate(own)
    ]
    return width, rows or [[] for _ in range(len(estimation.measurements))]


def _segment(
    estimation: Estimation, row: list[tuple[int, _Piece]], constants: Tensor, earlier: dict[int, int]
) -> Segment:
    states = {name: d for d, name in enumerate(estimation.model.states)}
    times = [piece.times for _, piece in row]
    length = max(2, *map(len, times))
    t = torch.tensor([_filled(own, length) for own in times], dtype=torch.float64).T
    resets = [Reset(r, states[name], value) for r, (_, piece) in enumerate(row) for name, value in piece.states.items()]
    return Segment(
        experiments=torch.tensor([i for i, _ in row]),
        before=torch.tensor([earlier.get(i, -1) for i, _ in row]),
        t=t,
        moves=torch.tensor([len(own) > 1 for own in times]),
        steady=torch.tensor([piece.steady for _, piece in row]),
        constants=constants,
        resets=tuple(resets),
        step_time=0.5 * (t[0] + t[1]),
    )


def _filled(times: list[float], length: int) -> list[float]:
    """Return times filled up to a length, between the last two, or after a lone one."""
    missing = length - len(times)
    if len(times) == 1:
        return [times[0] + k for k in range(length)]
    return times[:-2] + np.linspace(times[-2], times[-1], missing + 2).tolist() if missing else times


def _reads(
    estimation: Estimation,
    pieces: list[list[_Piece]],
    segments: list[Segment],
    where: dict[tuple[int, int], tuple[int, int]],
) -> Tensor:
    """Return where measurements are read: those at the time of a change after it."""
    data, reads = estimation.measurements, []
    columns = [segment.t.T.tolist() for segment in segments]
    for i, time in zip(data.experiment.tolist(), data.times.tolist(), strict=True):
        if math.isinf(time):
            k, r = where[i, id(pieces[i][-1])]
            reads.append((k, -1, r))
        else:
            k, r = where[i, id(next(own for own in reversed(pieces[i]) if own.start <= time))]
            reads.append((k, columns[k][r].index(time), r))
    return torch.tensor(reads, dtype=torch.int64).reshape(len(reads), 3)
