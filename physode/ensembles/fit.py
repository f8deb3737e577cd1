"""Fits of one equation to many members, each with data and constants of its own, in one call and one table."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physode.ensembles.batch import Outcome, drawn, fit_rows
from physode.ensembles.batches import BATCH, Progress, Workers, table_of
from physode.ensembles.equations import equation_of
from physode.ensembles.members import Members
from physode.ensembles.problem import Posed, pose
from physode.errors import ConfigError
from physode.estimation.observed import Observed, observed
from physode.json_values import plain
from physode.sweeps.axes import Case, cases_of
from physode.sweeps.cells import Cell
from physode.sweeps.functions import digest_of, on_its_way, received
from physode.sweeps.table import Table

__all__ = ["fit_batch", "fit_ensemble"]

_SEED = "seed"
_BYTES = 2**27  # of a batch's derivatives; further starts may take seven times as much


def fit_ensemble(
    f: Any,
    data: Any,
    *,
    over: Any = None,
    constants: Mapping[str, Any] | None = None,
    start: Any = "fit",
    states: Sequence[str] | None = None,
    observe: Sequence[str] | None = None,
    sigma: float | Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Sequence[str] = (),
    log: Sequence[str] | bool = False,
    time: str | None = None,
    experiment: str = "experiment",
    starts: int = 8,
    seed: int = 0,
    growing: bool = True,
    method: str = "dopri8",
    rtol: float = 1e-9,
    atol: float = 1e-11,
    max_steps: int = 10_000,
    iterations: int = 200,
    batch: int | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Table:
    r"""Fit the constants of :math:`dx/dt = f(t, x; k)` to each of many experiments by itself, with standard errors.

    Batches of members are solved as one, each on a clock of its own, with exact derivatives carried along, and each is
    fitted by a Levenberg-Marquardt search of its own: what is found of a member has the same bits alone, in any batch
    and in any order. It is what :func:`physode.fit` finds of it.

    Parameters
    ----------
    f
        The right-hand side as in :func:`physode.fit`, ``f(t, x, **constants)``; or a system of physode, or its name.
    data
        Experiments in any form that :func:`physode.fit` takes: trajectories, a table with a column of labels, or a pair
        ``(t, y)`` with y (N, T, C). Each is a member. They need not share times.
    over
        Further values by name, as in :func:`physode.sweep`: each member is fitted once for each combination. Names are
        constants, or their elements (``"masses[1]"``), and states, whose initial values are meant: guesses of what is
        fitted, values of what is not. ``"seed"`` draws the guesses of all constants.
    constants, states, observe, sigma, bounds, fixed, log, time, experiment
        As in :func:`physode.fit`; constants of a system of physode are guessed 1, and `observe` names states. Spreads
        that are not known are found, one a column and member.
    start
        Initial states: ``"fit"``, ``"known"`` for the first observations, or numbers as in :func:`physode.fit`.
    starts, seed
        From how many points a member is searched for that, from its guess, does not converge or explains less than half
        of the variance of its data; and the seed of the further points.
    growing
        Whether a search has a sixteenth of a member's times first, and twice as much each time.
    method, rtol, atol, max_steps, iterations
        As in :func:`physode.fit`.
    batch
        Fits of a batch, a cell of the sweep: what raises, or kills its process, loses those of its batch. By default
        500, or fewer where these would take more than 128 MiB.
    jobs, scheduler, folder, out, force, progress
        As in :func:`physode.sweep`; batches are sent, and kept.

    Returns
    -------
    Table
        A row a fit: ``member``, what is in `over`, ``status``, ``reason``, each constant and fitted initial state with
        its standard error (``alpha``, ``alpha_error``), ``loss`` (-2 log L, but for a constant: chi-square where
        spreads are known), ``explained`` (share of the data's variance), numbers of ``values`` and ``evaluations``. The
        status is ``"converged"``; or ``"max epochs"``, ``"no progress"``, ``"diverged"`` (at rest far from the data),
        ``"not determined"``, ``"unsolved"`` (at the start), ``"refused"`` (the member's data); or, of a whole batch,
        ``"failed"`` or ``"lost"``. Only of the first are errors to be trusted.

    Raises
    ------
    ConfigError, DataError
        If the arguments or the data contradict each other, before any long work.

    Examples
    --------
    >>> physode.fit_ensemble("lotka_volterra", physode.datasets.read_data(["lotkavolterra.h5"]), log=True, jobs=2)
    """
    workers = Workers(BATCH if batch is None else batch, jobs, scheduler, folder, out, force, progress)
    if starts < 1 or iterations < 1:
        raise ConfigError(f"`starts` and `iterations` must be at least 1, got {starts} and {iterations}")
    seen = data if isinstance(data, Observed) else observed(data, time=time, experiment=experiment)
    f, begun, own = equation_of(f, data, seen.columns, constants, fixed)
    if own is not None and states is None:
        states, observe = own, seen.columns if observe is None else observe
    options: dict[str, Any] = {
        "constants": begun, "start": start, "states": states, "observe": observe, "sigma": sigma, "bounds": bounds,
        "fixed": fixed, "log": log, "method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps,
    }  # fmt: skip
    members = _with_sigma(Members.of(seen), sigma)
    posed = pose(f, members, **options)
    if batch is None:
        workers = replace(workers, batch=_batch_of(posed, members))
    cases = [{}] if over is None else cases_of(over)
    values = _values(posed, members, cases, start, _true(data, posed, constants or {}))
    labels = _labels(posed, cases)
    rows = [
        {"member": name, **{label: case.get(key) for key, label in labels.items()}}
        for name in members.names
        for case in cases
    ]
    settings = {"growing": growing, "starts": starts, "seed": seed, "evaluations": iterations}
    sent, digest = plain(options), digest_of(f)
    with on_its_way(f, away=workers.away) as text:

        def cell_of(name: str, part: slice) -> Cell:
            chosen = members.taken([i // len(cases) for i in range(part.start, part.stop)])
            return Cell(
                name=name,
                function=f"{__name__}:fit_batch",
                arguments={
                    "options": sent,
                    "settings": settings,
                    "columns": list(members.columns),
                    "digest": [digest, chosen.digest],
                    "values": plain(values[part]),
                },
                also={"numbers": chosen.packed(), "function": text},
            )

        return table_of(rows, "fits", cell_of, workers).table


def fit_batch(
    options: dict[str, Any],
    settings: dict[str, Any],
    columns: list[str],
    digest: list[str],
    values: list[list[float | None]],
    numbers: str,
    function: str,
) -> list[dict[str, Any]]:
    """Fit the members of a batch, and return what came of each as data; called where it is computed."""
    names = [str(i) for i in range(len(values))]
    members = Members.unpacked(numbers, names, columns)
    options["bounds"] = {name: _ends(*pair) for name, pair in (options["bounds"] or {}).items()}
    posed = pose(received(function), members, **options)
    begun = np.array([[math.nan if number is None else number for number in row] for row in values], dtype=np.float64)
    found: list[dict[str, Any]] = plain(
        [_told(posed, outcome) for outcome in fit_rows(posed, members, begun, **settings)]
    )
    return found


def _batch_of(posed: Posed, members: Members) -> int:
    """Return how many members are solved at a time: fewer of those whose derivatives take much memory."""
    states = len(posed.values) - posed.constants
    size = 8 * int(members.t.shape[1]) * states * (len(posed.free) + states)
    return max(1, min(BATCH, _BYTES // size))


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    """Return bounds as JSON has said them, None for infinite ones."""
    return -math.inf if low is None else low, math.inf if high is None else high


def _told(posed: Posed, outcome: Outcome) -> dict[str, Any]:
    """Return what a table has of a fit."""
    row: dict[str, Any] = {"status": outcome.status, "reason": outcome.reason or None}
    for place, value, error in zip(posed.free, outcome.values, outcome.errors, strict=True):
        row |= {posed.values[place]: value, f"{posed.values[place]}_error": error}
    return row | {
        "loss": outcome.loss,
        "explained": outcome.explained,
        "values": outcome.n,
        "evaluations": outcome.evaluations,
    }


def _with_sigma(members: Members, sigma: float | Mapping[str, float] | None) -> Members:
    """Return members whose values have the standard deviations that are given, where they have none of their own."""
    if sigma is None:
        return members
    given = dict.fromkeys(members.columns, sigma) if isinstance(sigma, int | float) else dict(sigma)
    spreads = np.array([float(given.get(name, math.nan)) for name in members.columns])
    own = np.isfinite(members.sigma).any((0, 1))
    filled = np.where(np.isfinite(members.y) & ~own, spreads, members.sigma)
    return Members(members.names, members.columns, members.t, members.y, filled)


def _values(
    posed: Posed, members: Members, cases: Sequence[Case], start: Any, true: Mapping[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return where each fit begins, with the values that are kept, (N * cases, K + D): a member's cases together."""
    begun = np.tile([unknown.guess for unknown in posed.unknowns], (len(members), 1))
    for place, own in true.items():
        begun[:, place] = own
    if isinstance(start, str):
        columns = {state: c for c, state in enumerate(posed.observed)}
        for d in range(len(posed.values) - posed.constants):
            if d in columns:
                begun[:, posed.constants + d] = _first(members.y[:, :, columns[d]], known=start == "known")
            elif start == "known":
                raise ConfigError(f"{posed.values[posed.constants + d]} is not observed, and cannot be 'known'")
    values = np.repeat(begun, len(cases), axis=0)
    for k, case in enumerate(cases):
        rows = slice(k, None, len(cases))
        if _SEED in case:
            values[rows] = drawn(posed, values[rows], int(case[_SEED]), 0)
        for name, value in case.items():
            if name != _SEED:
                for place in _places(posed, name):
                    values[rows, place] = _number(name, value)
    return values


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"`over` gives {name!r} the value {value!r}, which is no finite number")
    return float(value)


def _first(y: NDArray[np.float64], *, known: bool) -> NDArray[np.float64]:
    """Return the first observation of each member, (N, T) to (N,): that at its first time, or the first there is."""
    if known:
        return y[:, 0]
    there = np.isfinite(y)
    at = there.argmax(1)
    return np.where(there.any(1), y[np.arange(len(y)), at], 0.0)


def _true(data: Any, posed: Posed, given: Mapping[str, Any]) -> dict[int, NDArray[np.float64]]:
    """Return what trajectories know of constants that are not fitted, by their places."""
    params = getattr(data, "params", None)
    if not isinstance(params, Mapping):
        return {}
    found = {}
    for name, own in params.items():
        if name in given:
            continue
        rows = np.asarray(own, dtype=np.float64).reshape(len(own), -1)
        names = (
            [name]
            if rows.shape[1] == 1 and name in posed.values
            else [f"{name}[{i + 1}]" for i in range(rows.shape[1])]
        )
        for column, element in enumerate(names):
            if element in posed.values and not posed.unknowns[posed.values.index(element)].free:
                found[posed.values.index(element)] = rows[:, column]
    return found


def _places(posed: Posed, name: str) -> list[int]:
    """Return the places of a constant, an element of it, or an initial state by its name."""
    wanted = {name, f"{name}(0)"}
    found = [i for i, own in enumerate(posed.values) if own in wanted or own.partition("[")[0] == name]
    if not found:
        raise ConfigError(f"`over` names {name!r}; there are {', '.join(posed.values)} and {_SEED}")
    return found


def _labels(posed: Posed, cases: Sequence[Case]) -> dict[str, str]:
    """Return what the columns of a sweep's own values are called, apart from those of what is fitted."""
    labels = {}
    for name in dict.fromkeys(name for case in cases for name in case):
        fitted = name != _SEED and any(posed.unknowns[place].free for place in _places(posed, name))
        labels[name] = f"{name}_guess" if fitted else name
    return labels
