"""Sequences of MuJoCo's hopper: a planar leg that is thrown, falls and comes to rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physode.datasets import Trajectories
from physode.errors import SolveError
from physode.optional_imports import needs
from physode.simulators.noise_model import checked_noise, observe
from physode.simulators.sampling import Floats, checked_count, generator
from physode.simulators.times import Times, check_kind
from physode.typing import Progress

__all__ = ["JOINTS", "HopperBody", "load_hopper", "simulate_hopper"]


JOINTS = ("rootx", "rootz", "rooty", "waist", "hip", "knee", "ankle")
"""The model's joints: two slides and the turn of the torso, then four hinges."""

_COLUMNS = (*JOINTS, *(f"{joint}_velocity" for joint in JOINTS))
_UNITS = ("m", "m", *("rad",) * 5, "m/s", "m/s", *("rad/s",) * 5)
_SLIDES, _HINGES, _VELOCITIES = (0.0, 0.5), (-2.0, 2.0), (-5.0, 5.0)
_MOST_STEPS = 1_000_000
_REPORTS = 200  # calls of the progress


def simulate_hopper(
    *,
    n: int = 10_000,
    points: int = 100,
    steps: int = 200,
    times: Times = "grid",
    noise: float | Sequence[float] = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trajectories:
    """Simulate `n` sequences of the hopper of the DeepMind Control Suite, its motors at rest.

    The data of Rubanova, Chen and Duvenaud (2019). Initial positions of the two slides are uniform in [0, 0.5], the
    angles in [-2, 2], all velocities in [-5, 5]: most hoppers begin beyond their joints' limits, which throw them. A
    run has `steps` states, one every physics step (0.005 s); a sequence is `points` of them. Nothing is rendered. Needs
    the extra ``mujoco``.

    Parameters
    ----------
    n
        Number of sequences.
    points
        States of a sequence.
    steps
        States of a run, the initial one included.
    times
        ``"grid"``: consecutive states, from a random one on, at times that count from 0 for all sequences.
        ``"random"``: states drawn without repetition, at each sequence's own times since the run's beginning.
    noise, progress
        As :func:`physode.simulators.simulate`.
    seed
        Seed of everything drawn; sequence i depends on it and on i only.

    Returns
    -------
    Trajectories
        Seven positions and seven velocities, in m, rad, m/s and rad/s. ``params`` hold ``first_step``, the step of the
        run at which a sequence begins. ``attrs["failures"]`` lists the sequences that MuJoCo calls unstable; their
        values from there on are NaN.

    Raises
    ------
    ValueError
        If an argument is out of range.
    ConfigError
        If MuJoCo or the Control Suite is not installed.
    SolveError
        If every run is unstable.
    """
    checked_count(n, points=points, columns=len(_COLUMNS))
    check_kind(times)
    checked_noise(noise, len(_COLUMNS))
    if steps > _MOST_STEPS:
        raise ValueError(f"`steps` must be at most {_MOST_STEPS}, by when every hopper rests, got {steps}")
    if not 2 <= points <= steps:
        raise ValueError(f"`points` must be at least 2 and at most `steps` = {steps}, got {points}; raise `steps`")
    body = load_hopper()
    chosen = np.stack([_chosen(seed, index, points=points, steps=steps, times=times) for index in range(n)])
    y, failures = _sequences(chosen, body=body, seed=seed, times=times, progress=progress)
    if len(failures) == n:
        raise SolveError(f"no hopper reached the end; sequence 0 was unstable after {failures[0]['time']:g} s")
    return observe(
        y,
        body.step * np.asarray(np.arange(points) if times == "grid" else chosen, dtype=np.float64),
        noise=noise,
        seed=seed,
        columns=_COLUMNS,
        units=_UNITS,
        params={"first_step": chosen[:, 0]},
        attrs=_about(steps=steps, failures=failures),
    )


def _sequences(
    chosen: NDArray[np.int64], *, body: HopperBody, seed: int, times: Times, progress: Progress | None
) -> tuple[Floats, list[dict[str, Any]]]:
    """Return the states at the chosen steps of each run, (n, points, 14), and the sequences that were unstable."""
    n, points = chosen.shape
    y, failures = np.empty((n, points, len(_COLUMNS))), []
    with body.without_log():
        for index, own in enumerate(chosen):
            run, lost = body.run(_initial(seed, index), steps=int(own[-1]) + 1)
            y[index] = run[own]
            if lost is not None:
                begin = 0 if times == "random" else int(own[0])
                time = max(lost - begin, 0) * body.step
                failures.append({"trajectory": index, "reason": "NON_FINITE", "time": time})
            if progress is not None and (index + 1) % max(n // _REPORTS, 1) == 0:
                progress((index + 1) / n)
    return y, failures


def _initial(seed: int, index: int) -> Floats:
    low, high = np.array([_SLIDES] * 2 + [_HINGES] * 5 + [_VELOCITIES] * 7).T
    state: Floats = generator(seed, "initial state", index).uniform(low, high)
    return state


def _chosen(seed: int, index: int, *, points: int, steps: int, times: Times) -> NDArray[np.int64]:
    """Return the steps of its run, from 0, that a sequence shows: (points,)."""
    rng = generator(seed, "times", index)
    if times == "random":
        return np.sort(rng.choice(steps, points, replace=False))
    return np.arange(points) + rng.integers(steps - points + 1)


def _about(*, steps: int, failures: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "system": "hopper",
        "method": f"mujoco {version('mujoco')}",
        "dm_control": version("dm_control"),
        "steps": steps,
        "time_unit": "s",
        "param_descriptions": {"first_step": "step of the run at which the sequence begins"},
        "failures": failures,
    }


_NEEDED = {"extra": "mujoco", "purpose": "`physode simulate hopper`"}


@dataclass(frozen=True)
class HopperBody:
    """The model, and room for its state.

    Attributes
    ----------
    mujoco
        The package.
    model, data
        Its ``MjModel`` and ``MjData``.
    """

    mujoco: ModuleType
    model: Any
    data: Any

    @property
    def step(self) -> float:
        """The physics step, in seconds."""
        return float(self.model.opt.timestep)

    def run(self, state: Floats, *, steps: int) -> tuple[Floats, int | None]:
        """Run from `state`, (14,), positions then velocities, with the motors at rest.

        Returns
        -------
        tuple
            The first `steps` states, (steps, 14), the given one included; and None, or, where MuJoCo calls the run
            unstable, the row of the last good state, after which all are NaN.
        """
        self.mujoco.mj_resetData(self.model, self.data)
        position, velocity, warnings = self.data.qpos, self.data.qvel, self.data.warning.number
        half = len(state) // 2
        position[:], velocity[:] = state[:half], state[half:]
        run = np.full((steps, len(state)), np.nan)
        run[0] = state
        for row in range(1, steps):
            self.mujoco.mj_step(self.model, self.data)
            if warnings.any():
                return run, row - 1
            run[row, :half], run[row, half:] = position, velocity
        return run, None

    @contextmanager
    def without_log(self) -> Iterator[None]:
        """Keep MuJoCo from writing warnings to a file in the working folder; :meth:`run` looks at them itself."""
        before = self.mujoco.get_mju_user_warning()
        self.mujoco.set_mju_user_warning(lambda message: None)
        try:
            yield
        finally:
            self.mujoco.set_mju_user_warning(before)


def load_hopper() -> HopperBody:
    """Read the hopper from the files of the Control Suite, whose Python modules would load a renderer, too.

    Raises
    ------
    ConfigError
        If MuJoCo or the Control Suite is not installed.
    """
    mujoco, suite = (needs(name, **_NEEDED) for name in ("mujoco", "dm_control"))
    folder = Path(str(suite.__file__)).parent / "suite"
    parts = {f"./common/{path.name}": path.read_bytes() for path in (folder / "common").glob("*.xml")}
    model = mujoco.MjModel.from_xml_string((folder / "hopper.xml").read_text(), parts)
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET  # an unstable run ends, and does not start anew
    return HopperBody(mujoco, model, mujoco.MjData(model))
