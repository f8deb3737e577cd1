"""From a system, initial states and times to trajectories: batched, in bounded memory, with failures named."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.errors import SolveError
from physode.rhs import SYSTEMS, System, build
from physode.simulators.noise_model import checked_noise, observe
from physode.simulators.reach import check_reach
from physode.simulators.sampling import Floats, checked_states
from physode.solution import Solution
from physode.solve import solve
from physode.status import Status
from physode.typing import Progress

__all__ = ["Measure", "simulate", "system_of"]


_FIRST = 32  # trajectories, whose steps tell how many more are solved at a time; vectors of a processor divide it
_GROWTH, _MOST = 16, 2**14  # the largest batch whose elementwise loops PyTorch does not divide among threads
_CHUNK_BYTES = 2**29
_STATES_A_STEP, _STATES_AN_OUTPUT = 45, 4  # in memory, measured: dopri8 with its interpolants, and what measures them


@dataclass(frozen=True)
class _Chunk:
    """Trajectories solved in one batch: which, what became of them, how many steps the longest has, by what engine."""

    rows: slice
    y: Floats
    failures: list[dict[str, Any]]
    measured: dict[str, Floats]
    steps: int
    fused: bool

    @property
    def bytes_each(self) -> int:
        """What a trajectory takes while it is solved; all have as many rows as the longest has steps."""
        _, outputs, components = self.y.shape
        states = _STATES_AN_OUTPUT * outputs + _STATES_A_STEP * max(1, self.steps)
        return int(self.y.itemsize * components * states)


Measure = Callable[[System, Solution], dict[str, Floats]]
"""Reads further numbers off the solution of some samples: arrays of shape (samples, ...) by name."""


def simulate(
    system: System,
    y0: ArrayLike,
    t: ArrayLike,
    *,
    start: float | None = None,
    noise: float | Sequence[float] = 0.0,
    seed: int = 0,
    method: str = "dopri8",
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 20_000,
    chunk_size: int | None = None,
    measure: Measure | None = None,
    progress: Progress | None = None,
) -> Trajectories:
    """Solve `system` from many initial states and observe the solutions.

    Every trajectory has its own step sizes, and its own random numbers derived from `seed` and its index: it is the
    same alone and in any batch.

    Parameters
    ----------
    system
        The right-hand side; constants may hold one value a trajectory.
    y0
        Initial states, (D,) or (N, D). One state is shared by all trajectories of a batch of constants.
    t
        Output times, (T,), or each trajectory's own, (N, T).
    start
        Time of the initial states, before all output times, and itself none of them; by default each trajectory's
        first output time.
    noise
        Standard deviation of the independent normal noise on every observed value, in the column's unit: one number, or
        one a column. Where it is above 0, the exact states are kept as ``y_clean``.
    seed
        Seed of the noise.
    method, rtol, atol, max_steps
        As :func:`physode.solve`.
    chunk_size
        Trajectories solved at a time; by default as many as half a gigabyte holds, by the steps that those before them
        have taken. Memory grows with it and with the steps: one of 32 three-body systems holds about 200 kB. Results
        do not depend on it: all chunks are solved by a kernel (docs/fused.md), or none, and those of 32 or a multiple
        give the same bits. (PyTorch's powers have another last bit at the end of other batches.)
    measure
        Called on each chunk's dense solution; what it returns joins ``params``.
    progress
        Called with the fraction done.

    Returns
    -------
    Trajectories
        ``params`` hold every constant, one row a trajectory. ``attrs["failures"]`` lists the trajectories that ended
        early, with index, reason and time; their values after that time are NaN.

    Raises
    ------
    ValueError
        If an argument is out of range, or `y0` and the constants disagree on the number of trajectories.
    SolveError
        If not one trajectory reached the end, or, as the first steps show, would.
    """
    states = checked_states(y0, len(system.columns))
    checked_noise(noise, len(system.columns))
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1 trajectory, got {chunk_size}")
    n = _count(system, states)
    states = np.repeat(states, n, axis=0) if len(states) < n else states
    times = np.array(t, dtype=np.float64)
    clock = _clock(times, start, n)
    options: dict[str, Any] = {"method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    few = slice(0, min(_FIRST, n))
    ahead = torch.from_numpy(clock if clock.ndim == 1 else np.ascontiguousarray(clock[few].T))
    check_reach(system.rows(few), torch.from_numpy(states[few]), ahead, **options)
    solved = partial(_solve_rows, system, states, clock, options=options, measure=measure)
    share = None if progress is None else partial(_share, progress, n, max_steps)
    chunks = _in_chunks(solved, n, chunk_size, share)
    failures = [failure for chunk in chunks for failure in chunk.failures]
    if len(failures) == n:
        failed = failures[0]
        raise SolveError(
            f"no trajectory reached the end time; trajectory 0 stopped at t = {failed['time']:.9g}: "
            f"{Status[failed['reason']].reason}"
        )
    clean = np.concatenate([chunk.y for chunk in chunks])
    measured = {name: np.concatenate([chunk.measured[name] for chunk in chunks]) for name in chunks[0].measured}
    return observe(
        clean if start is None else clean[:, 1:],
        times,
        noise=noise,
        seed=seed,
        columns=system.columns,
        units=system.units,
        params={**_constants(system, n), **measured},
        attrs={
            "system": system.name,
            "rhs": _shared_config(system, n),
            "time_unit": system.time_unit,
            "param_units": dict(system.constant_units),
            **options,
            **({} if start is None else {"start": start}),
            "failures": failures,
        },
    )


def system_of(trajectories: Trajectories, index: int = 0) -> System:
    """Return the system that one trajectory was simulated with, constants included.

    Raises
    ------
    ConfigError
        If the trajectories do not say which system they are of.
    """
    name = str(trajectories.attrs.get("system"))
    declared = SYSTEMS[name].declared if name in SYSTEMS else {}
    own = {key: values[index] for key, values in trajectories.params.items() if key in declared}
    return build(name, {**trajectories.attrs.get("rhs", {}), **own})


def _in_chunks(
    solved: Callable[..., _Chunk], n: int, size: int | None, share: Callable[[slice], Progress] | None
) -> list[_Chunk]:
    """Solve all trajectories, `size` at a time or as many as memory holds, by one engine."""
    chunks: list[_Chunk] = []
    first, count = 0, size or _FIRST
    while first < n:
        rows = slice(first, min(first + count, n))
        chunk = solved(rows, progress=None if share is None else share(rows))
        chunks.append(chunk)
        first = rows.stop
        if size is None:
            count = max(1, min(_GROWTH * count, _MOST, _CHUNK_BYTES // chunk.bytes_each) // _FIRST) * _FIRST
    if len({chunk.fused for chunk in chunks}) > 1:  # the first ones ended before a kernel was worth making
        return [chunk if chunk.fused else solved(chunk.rows, compile=True) for chunk in chunks]
    return chunks


def _solve_rows(
    system: System,
    states: Floats,
    clock: Floats,
    rows: slice,
    *,
    options: dict[str, Any],
    measure: Measure | None,
    compile: Literal[True, "auto"] = "auto",  # noqa: A002 - as physode.solve has it
    progress: Progress | None = None,
) -> _Chunk:
    """Solve some of the trajectories in one batch."""
    part = system.rows(rows)
    with torch.no_grad():
        solution = solve(
            part,
            torch.from_numpy(states[rows]),
            torch.from_numpy(clock if clock.ndim == 1 else np.ascontiguousarray(clock[rows].T)),
            **options,
            step_control="per-sample",
            dense=measure is not None,
            throw=False,
            compile=compile,
            progress=progress,
        )
        measured = {} if measure is None else measure(part, solution)
    failures = [
        {"trajectory": rows.start + row, "reason": status.name, "time": time}
        for row, (status, time) in solution.failures.items()
    ]
    steps = int(solution.stats.attempts.max())
    return _Chunk(rows, solution.y.transpose(0, 1).numpy(), failures, measured, steps, solution.stats.fused)


def _count(system: System, states: Floats) -> int:
    """Return the number of trajectories that initial states and batches of constants agree on."""
    counts = {name: len(system.constants[name]) for name in system.batched()}
    if len(states) > 1 or not counts:
        counts["y0"] = len(states)
    if len(set(counts.values())) > 1:
        told = ", ".join(f"`{name}` for {count}" for name, count in counts.items())
        raise ValueError(f"`y0` and the constants must be for the same number of trajectories, got {told}")
    return next(iter(counts.values()))


def _clock(times: Floats, start: float | None, n: int) -> Floats:
    """Return the times that are solved for, (T,) or (n, T): the output times, `start` before them where it is given."""
    if times.ndim not in {1, 2} or times.shape[-1] == 0 or times.shape[:-1] not in {(), (n,)}:
        raise ValueError(f"`t` must have shape (T,), or (n, T) for n = {n} trajectories, got {times.shape}")
    if start is None:
        return times
    ahead = (times[..., 0] - start) * np.where(times[..., -1] < times[..., 0], -1.0, 1.0)
    if not (ahead > 0.0).all():
        raise ValueError(f"`start` must come before every time of `t`, got {start}; leave it out where it is the first")
    return np.concatenate((np.full((*times.shape[:-1], 1), start), times), axis=-1)


def _constants(system: System, n: int) -> dict[str, Floats]:
    """Return every constant with one row a trajectory."""
    batched, rows = system.batched(), {}
    for name, value in system.constants.items():
        values = value.detach().numpy().astype(np.float64)
        rows[name] = values if name in batched else np.repeat(values[None], n, axis=0)
    return rows


def _shared_config(system: System, n: int) -> dict[str, Any]:
    """Return the constructor arguments that all trajectories share; constants that differ are in the parameters."""
    config = {name: value for name, value in system.config().items() if name not in {"learnable", "positive"}}
    for name in system.batched():
        values = config.pop(name)
        if n == 1:
            config[name] = values[0]
    return config


def _share(progress: Progress, n: int, max_steps: int, rows: slice) -> Progress:
    """Return the progress of one chunk as a share of all; steps that are used up bring its end nearer, too."""
    steps = itertools.count(1)

    def tell(fraction: float) -> None:
        done = max(fraction, min(next(steps) / max_steps, 1.0))
        progress((rows.start + done * (rows.stop - rows.start)) / n)

    return tell
