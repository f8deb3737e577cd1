"""One system simulated with many constants, from many initial states, batched, in one table."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from physode.datasets import Trajectories, write_trajectories
from physode.datasets.files import check_output
from physode.datasets.trajectories import Array
from physode.ensembles.batches import BATCH, Computed, Progress, Workers, table_of
from physode.errors import ConfigError
from physode.fitting.labels import parse_target
from physode.json_values import plain
from physode.rhs import SYSTEMS, System, build
from physode.simulators.sampling import generator
from physode.solve import solve
from physode.sweeps.axes import Case, cases_of
from physode.sweeps.cells import Cell
from physode.sweeps.table import DONE, Table

__all__ = ["simulate_batch", "simulate_ensemble"]

_SEED = "seed"


def simulate_ensemble(
    name: str,
    over: Any,
    *,
    preset: str | None = None,
    constants: Mapping[str, Any] | None = None,
    y0: Sequence[float] | None = None,
    t_end: float | None = None,
    points: int | None = None,
    method: str | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 20_000,
    trajectories: str | os.PathLike[str] | None = None,
    batch: int = BATCH,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Table:
    """Simulate a system for many constants, initial states and seeds.

    Batches are solved as one, each simulation on a clock of its own: it is the same alone and in any batch.

    Parameters
    ----------
    name
        A physical system of :data:`physode.rhs.SYSTEMS`.
    over
        Values by name, as in :func:`physode.sweep`. Names are constants, their elements (``"masses[1]"``), columns,
        whose initial values are meant, and ``"seed"``, which draws the initial state as ``physode simulate`` does.
    preset
        Constants, initial state and times, each of which a further argument replaces; by default the first of a system
        that has constants without defaults, or no initial states to draw.
    constants, y0
        What all simulations share. Without `y0`, a preset or a seed, the initial state is drawn by seed 0.
    t_end, points, method, rtol, atol, max_steps
        As of :func:`physode.simulators.simulate_system`.
    trajectories
        A file, .h5, that all solutions are written into.
    batch
        Simulations of a batch, a cell of the sweep.
    jobs, scheduler, folder, out, force, progress
        As in :func:`physode.sweep`.

    Returns
    -------
    Table
        A row a simulation: what is in `over`, ``status`` (``"done"``, or why it ended early), ``reason``, ``time``, the
        last that was reached, and of each column its value then and its least and greatest values.

    Raises
    ------
    ConfigError, ValueError
        If the arguments contradict each other.

    Examples
    --------
    >>> physode.simulate_ensemble("three_body", {"masses[1]": "0.5:1.5:11"}, preset="aca", t_end=1.0)
    """
    workers = Workers(batch, jobs, scheduler, folder, out, force, progress)
    if trajectories is not None:
        check_output(trajectories, overwrite=force)
    cases = cases_of(over)
    shared = _Shared.of(name, preset, constants or {}, y0, t_end, points)
    starts = [shared.start(case) for case in cases]
    stiff = SYSTEMS[name].stiff
    solver = {
        "method": method or ("rodas5p" if stiff else "dopri8"),
        "rtol": rtol or (1e-6 if stiff else 1e-10),
        "atol": atol or (1e-10 if stiff else 1e-12),
        "max_steps": max_steps,
    }

    def cell_of(label: str, part: slice) -> Cell:
        chosen = starts[part]
        return Cell(
            name=label,
            function=f"{__name__}:simulate_batch",
            arguments={
                "name": name,
                "settings": plain(shared.settings),
                "constants": {key: [plain(own[key]) for own, _ in chosen] for key in chosen[0][0]},
                "states": [plain(state) for _, state in chosen],
                "t_end": shared.t_end,
                "points": shared.points,
                "solver": solver,
                "whole": trajectories is not None,
            },
        )

    found = table_of(cases, "simulations", cell_of, workers, hidden=() if trajectories is None else ("y",))
    if trajectories is not None:
        write_trajectories(trajectories, shared.trajectories(found, starts, cases, solver), overwrite=force)
    return found.table


@dataclasses.dataclass(frozen=True)
class _Shared:
    """What all simulations of a sweep share."""

    system: System
    settings: Mapping[str, Any]
    constants: Mapping[str, Any]
    y0: tuple[float, ...] | None
    t_end: float
    points: int

    @staticmethod
    def of(
        name: str,
        preset: str | None,
        constants: Mapping[str, Any],
        y0: Sequence[float] | None,
        t_end: float | None,
        points: int | None,
    ) -> _Shared:
        if name not in SYSTEMS or SYSTEMS[name].span is None:
            known = ", ".join(sorted(key for key, system in SYSTEMS.items() if system.span is not None))
            raise ConfigError(f"{name!r} is no system that can be simulated: {known}")
        kind, first = SYSTEMS[name], next(iter(SYSTEMS[name].presets), None)
        needed = any(one.default is None and key not in constants for key, one in kind.declared.items())
        if preset is None and first is not None and (needed or not (kind.initial_box or y0 is not None)):
            preset = first
        begun = None if preset is None else kind.find_preset(preset)
        given = {**({} if begun is None else begun.config), **constants}
        system = build(name, given)
        own = {key: value.detach().numpy() for key, value in system.constants.items()}
        settings = {key: value for key, value in given.items() if key not in own}
        state = y0 if y0 is not None else None if begun is None else begun.y0
        if state is not None and len(state) != len(system.columns):
            raise ConfigError(f"`y0` must have a number for each of {', '.join(system.columns)}, got {list(state)}")
        assert kind.span is not None
        until = t_end or (kind.span.t_end if begun is None else begun.t_end)
        count = points or (kind.span.points if begun is None else begun.points)
        if count < 2 or not 0 < until < math.inf:
            raise ConfigError(f"`points` must be at least 2 and `t_end` above 0, got {count} and {until}")
        return _Shared(system, settings, own, None if state is None else tuple(map(float, state)), until, count)

    def start(self, case: Case) -> tuple[dict[str, Array], Array]:
        """Return constants and initial state of a case."""
        constants = {key: np.array(value, dtype=np.float64) for key, value in self.constants.items()}
        columns: dict[str, float] = {}
        seed = case.get(_SEED)
        for name, value in case.items():
            if name == _SEED:
                continue
            if name in self.system.columns:
                columns[name] = _number(name, value)
                continue
            key, index = parse_target(name)
            if key not in constants or (index is not None and index >= constants[key].size):
                names = [*self.constants, *self.system.columns, _SEED]
                raise ConfigError(f"`over` names {name!r}; {self.system.name} has {', '.join(names)}")
            if index is None:
                numbers = [_number(name, one) for one in value] if isinstance(value, list) else _number(name, value)
                constants[key] = np.broadcast_to(np.array(numbers), constants[key].shape).copy()
            else:
                constants[key][index] = _number(name, value)
        if self.y0 is not None and seed is None:
            state = np.array(self.y0)
        else:
            system = build(self.system.name, {**self.settings, **{key: own.tolist() for key, own in constants.items()}})
            state = system.draw_state(generator(int(seed or 0), "initial state", 0), 0)
        for name, number in columns.items():
            state[self.system.columns.index(name)] = number
        return constants, state

    def trajectories(
        self, found: Computed, starts: Sequence[tuple[dict[str, Array], Array]], cases: Sequence[Case], solver: Any
    ) -> Trajectories:
        """Return all solutions; NaN where there is none."""
        nothing = np.full((self.points, len(self.system.columns)), np.nan)
        rows = [nothing if row["y"] is None else np.array(row["y"], dtype=np.float64) for row in found.hidden]
        params = {key: np.stack([own[key] for own, _ in starts]) for key in self.constants}
        seeds = [case.get(_SEED) for case in cases]
        extra = {} if None in seeds else {_SEED: np.array(seeds)}
        return Trajectories(
            t=np.linspace(0.0, self.t_end, self.points),
            y=np.stack(rows),
            params=params | extra,
            columns=tuple(self.system.columns),
            units=tuple(self.system.units),
            attrs={
                "system": self.system.name,
                "rhs": dict(self.settings),
                "time_unit": self.system.time_unit,
                "param_units": dict(self.system.constant_units),
                "noise": 0.0,
                **solver,
            },
        )


def simulate_batch(
    name: str,
    settings: dict[str, Any],
    constants: dict[str, list[Any]],
    states: list[list[float]],
    t_end: float,
    points: int,
    solver: dict[str, Any],
    whole: bool,
) -> list[dict[str, Any]]:
    """Simulate a batch, and return what came of each as data; called where it is computed."""
    count = len(states)
    if count == 1:  # solved as two, by the kernels of several
        constants, states = {key: values * 2 for key, values in constants.items()}, states * 2
    system = build(name, {**settings, **constants})
    times = np.linspace(0.0, t_end, points)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # of what is not compiled
        solution = solve(
            system, torch.tensor(states, dtype=torch.float64), torch.from_numpy(times), **solver,
            step_control="per-sample", throw=False, compile=True,
        )  # fmt: skip
    paths, rows = solution.y.transpose(0, 1).numpy()[:count], []
    for i, path in enumerate(paths):
        there = np.isfinite(path).all(1)
        row: dict[str, Any] = {"status": DONE, "reason": None, "time": t_end}
        if i in solution.failures:
            status, time = solution.failures[i]
            row = {"status": status.name.lower().replace("_", " "), "reason": status.reason, "time": float(time)}
        for d, column in enumerate(system.columns):
            own = path[there, d]
            row |= {f"{column}_end": own[-1], f"{column}_min": own.min(), f"{column}_max": own.max()}
        rows.append(row | ({"y": path} if whole else {}))
    found: list[dict[str, Any]] = plain(rows)
    return found


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"`over` gives {name!r} the value {value!r}, which is no finite number")
    return float(value)
