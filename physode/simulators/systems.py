"""Trajectories of any system that physode has, from its own initial states or given ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.rhs import SYSTEMS, Span, System
from physode.simulators.core import Measure, simulate
from physode.simulators.sampling import Floats, check_constants, checked_count, generator, repeated
from physode.simulators.times import Times, count_points, observation_times
from physode.typing import Progress

__all__ = [
    "BOXES", "Box", "Simulation", "SimulationOptions", "simulate_in_box", "simulate_lotka_volterra",
    "simulate_system", "simulate_van_der_pol",
]  # fmt: skip


@dataclass(frozen=True)
class Box:
    """Where initial states are drawn from, and how long a system is watched unless told otherwise."""

    bounds: tuple[tuple[float, float], ...]
    t_end: float
    points: int


BOXES: Mapping[str, Box] = MappingProxyType(
    {
        name: Box(system.initial_box, *system.span)
        for name, system in SYSTEMS.items()
        if system.initial_box and system.span is not None
    }
)
"""The boxes by system, as the systems declare them."""


class SimulationOptions(TypedDict, total=False):
    """The fields of :class:`Simulation` as keyword arguments."""

    n: int
    y0: ArrayLike | None
    t: ArrayLike | None
    t_end: float | None
    points: int | None
    times: Times
    noise: float | Sequence[float]
    seed: int
    method: str
    rtol: float
    atol: float
    max_steps: int
    progress: Progress | None


_STIFF: SimulationOptions = {"method": "rodas5p", "rtol": 1e-6, "atol": 1e-10}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What the simulations of all systems share: how many, from where, when, observed how, solved how.

    Attributes
    ----------
    n
        Number of trajectories.
    y0
        Initial state of all, (D,), or of each, (n, D); drawn if None.
    t
        Output times, (T,), or each trajectory's own, (n, T); the first is that of the initial state. Or give `t_end`
        and `points` for equally spaced ones from 0.
    times
        ``"random"`` for each trajectory's own `points` times in place of the grid: uniform in (0, `t_end`], sorted. The
        initial state, at 0, is then not among the outputs.
    noise, seed, method, rtol, atol, max_steps, progress
        As :func:`physode.simulators.simulate`.
    """

    n: int = 1
    y0: ArrayLike | None = None
    t: ArrayLike | None = None
    t_end: float | None = None
    points: int | None = None
    times: Times = "grid"
    noise: float | Sequence[float] = 0.0
    seed: int = 0
    method: str = "dopri8"
    rtol: float = 1e-10
    atol: float = 1e-12
    max_steps: int = 20_000
    progress: Progress | None = None

    def check_size(self, span: Span, columns: int) -> None:
        """Raise ``ValueError`` if the trajectories are none, or more than memory holds."""
        checked_count(self.n, points=count_points(self.t, self.points, span.points), columns=columns)

    def observation_times(self, span: Span) -> tuple[Floats, float | None]:
        """Return output times, and the time of the initial state where it is not the first of them."""
        return observation_times(
            self.t, times=self.times, t_end=self.t_end, points=self.points, default=span, n=self.n, seed=self.seed
        )

    def initial_states(self, system: System) -> Floats:
        """Return the initial states that are given, or those that the system draws: (n, D)."""
        if self.y0 is not None:
            return repeated(self.y0, self.n, components=len(system.columns))
        return np.stack(
            [system.draw_state(generator(self.seed, "initial state", index), index) for index in range(self.n)]
        )

    def run(
        self,
        system: System,
        states: Floats,
        times: tuple[Floats, float | None],
        *,
        measure: Measure | None = None,
    ) -> Trajectories:
        """Solve from `states` to `times`, which :meth:`observation_times` has made, and observe the solutions."""
        observed, start = times
        return simulate(
            system,
            states,
            observed,
            start=start,
            noise=self.noise,
            seed=self.seed,
            method=self.method,
            rtol=self.rtol,
            atol=self.atol,
            max_steps=self.max_steps,
            measure=measure,
            progress=self.progress,
        )


def simulate_system(
    name: str,
    *,
    preset: str | None = None,
    constants: Mapping[str, Any] | None = None,
    vary: float = 0.0,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **options: Unpack[SimulationOptions],
) -> Trajectories:
    """Simulate trajectories of a system by its name.

    Parameters
    ----------
    name
        A physical system of :data:`physode.rhs.SYSTEMS`.
    preset
        One of the system's presets: constants, initial state and times, each of which a further argument replaces. All
        trajectories start there and differ in their noise, in `ranges` and in `vary` only.
    constants
        Arguments of the system by name, constants one for all or one a trajectory.
    vary
        Share, below 1, by which the constants of a trajectory differ from these at most: each is multiplied by a number
        drawn uniformly between 1 - `vary` and 1 + `vary`.
    ranges
        Bounds between which the initial values of some columns are drawn uniformly, by column; the others are as the
        system draws them, or as `y0` says.
    options
        The fields of :class:`Simulation`. Stiff systems: ``rodas5p``, rtol 1e-6, atol 1e-10 by default.

    Raises
    ------
    ValueError
        If an argument is out of range, or a preset or column is unknown.
    ConfigError
        If there is no such system, or `constants` are not its.
    SolveError
        If not one trajectory reached the end.
    """
    if name not in SYSTEMS or SYSTEMS[name].span is None:
        known = ", ".join(sorted(name for name, system in SYSTEMS.items() if system.span is not None))
        raise ConfigError(f"`name` must be a system that can be simulated: {known}; got {name!r}")
    kind = SYSTEMS[name]
    if kind.stiff:
        options = {**_STIFF, **options}
    simulation, arguments, span = Simulation(**options), dict(constants or {}), _span(kind)
    if preset is not None:
        start = kind.find_preset(preset)
        arguments, span = {**start.config, **arguments}, Span(start.t_end, start.points)
        simulation = replace(simulation, y0=start.y0 if simulation.y0 is None else simulation.y0)
    checked_count(simulation.n)
    if not 0.0 <= vary < 1.0:
        raise ValueError(f"`vary` must be at least 0 and below 1, got {vary}")
    if vary:
        simulation.check_size(span, len(getattr(kind, "columns", ())))
        arguments |= _varied(kind, arguments, vary, n=simulation.n, seed=simulation.seed)
    try:
        system = kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"`constants` do not fit {name}: {error}") from error
    return _simulate(system, simulation, span, ranges or {})


def simulate_in_box(system: System, **options: Unpack[SimulationOptions]) -> Trajectories:
    """Simulate trajectories of a system in ``BOXES``, from states drawn uniformly in its box or given.

    Parameters
    ----------
    system
        One of the systems in ``BOXES``; constants may hold one value a trajectory.
    options
        The fields of :class:`Simulation`: ``n``, ``y0``, ``t`` or ``t_end`` and ``points``, ``times``, ``noise``,
        ``seed``, ``method``, ``rtol``, ``atol``, ``max_steps``, ``progress``.

    Raises
    ------
    ValueError
        If an argument is out of range, or the system has no box.
    SolveError
        If not one trajectory reached the end.
    """
    if system.name not in BOXES:
        raise ValueError(f"`system` must be one of: {', '.join(BOXES)}; got {system.name}; use `simulate` with `y0`")
    return _simulate(system, Simulation(**options), _span(type(system)), {})


def simulate_van_der_pol(
    *,
    preset: str | None = None,
    mu: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
    **options: Unpack[SimulationOptions],
) -> Trajectories:
    """Simulate trajectories of :class:`physode.rhs.VanDerPol`.

    Parameters
    ----------
    preset
        ``"aca"`` (the ACA paper's Eqs. 81-82), ``"classic"`` or ``"relaxation"``: constants, initial state and times,
        each of which a further argument replaces. All trajectories start there and differ in their noise only.
    mu, threshold
        Constants, one number or one a trajectory; by default the preset's, or 1.
    options
        The fields of :class:`Simulation`; initial states are the preset's, or drawn between -3 and 3, by default.

    Raises
    ------
    ValueError
        If an argument is out of range or the preset is unknown.
    SolveError
        If not one trajectory reached the end.
    """
    constants = {name: value for name, value in {"mu": mu, "threshold": threshold}.items() if value is not None}
    return simulate_system("van_der_pol", preset=preset, constants=constants, **options)


def simulate_lotka_volterra(
    *,
    alpha: ArrayLike = 1.5,
    beta: ArrayLike = 1.0,
    delta: ArrayLike = 1.0,
    gamma: ArrayLike = 3.0,
    vary: float = 0.0,
    **options: Unpack[SimulationOptions],
) -> Trajectories:
    """Simulate trajectories of :class:`physode.rhs.LotkaVolterra`.

    Parameters
    ----------
    alpha, beta, delta, gamma
        The rates, one number or one a trajectory.
    vary
        As :func:`simulate_system`.
    options
        The fields of :class:`Simulation`; initial numbers of prey and predators are drawn between 0.5 and 5 by default.

    Raises
    ------
    ValueError
        If an argument is out of range.
    SolveError
        If not one trajectory reached the end.
    """
    rates = {"alpha": alpha, "beta": beta, "delta": delta, "gamma": gamma}
    return simulate_system("lotka_volterra", constants=rates, vary=vary, **options)


def _simulate(
    system: System, simulation: Simulation, span: Span, ranges: Mapping[str, tuple[float, float]]
) -> Trajectories:
    simulation.check_size(span, len(system.columns))
    check_constants(system, simulation.n)
    times = simulation.observation_times(span)
    states = _within(simulation.initial_states(system), system, ranges, seed=simulation.seed)
    return simulation.run(system, states, times)


def _span(kind: type[System]) -> Span:
    assert kind.span is not None
    return kind.span


def _varied(kind: type[System], arguments: Mapping[str, Any], vary: float, *, n: int, seed: int) -> dict[str, Floats]:
    """Return each constant that is a number times a number of each trajectory's own: (n,) by name."""
    values = {
        name: arguments.get(name, constant.default) for name, constant in kind.declared.items() if not constant.ndim
    }
    if not values:
        raise ValueError(f"`vary` is for systems with constants that are numbers; {kind.name} has none")
    low, high = 1 - vary, 1 + vary
    factors = np.stack([generator(seed, "constants", index).uniform(low, high, len(values)) for index in range(n)])
    varied = {}
    for (name, value), factor in zip(values.items(), factors.T, strict=True):
        given = np.asarray(value, dtype=np.float64)
        if given.shape not in {(), (n,)}:
            raise ValueError(f"`{name}` must be given once, or for each of n = {n} trajectories, got {given.size}")
        varied[name] = given * factor
    return varied


def _within(states: Floats, system: System, ranges: Mapping[str, tuple[float, float]], *, seed: int) -> Floats:
    """Return initial states whose values in some columns are drawn anew."""
    states = states.copy()
    for name, (low, high) in ranges.items():
        if name not in system.columns:
            raise ValueError(f"`ranges` names {name!r}; {system.name} has the columns {', '.join(system.columns)}")
        if not -np.inf < low <= high < np.inf:
            raise ValueError(
                f"`ranges` of {name!r} must be two finite bounds, the lower one first, got {low} and {high}"
            )
    for index, state in enumerate(states):
        rng = generator(seed, "initial range", index)
        for name, bounds in ranges.items():
            state[system.columns.index(name)] = rng.uniform(*bounds)
    return states
