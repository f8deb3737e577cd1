"""Sequences of a planar hopper in MuJoCo: a leg of five segments that is thrown, falls and comes to rest."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
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

__all__ = ["JOINTS", "SEGMENTS", "HopperBody", "Segment", "hopper_mjcf", "load_hopper", "simulate_hopper"]


Point = tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """A rigid part of the hopper, which a hinge holds to the one before; in its frame x is ahead and z up.

    Attributes
    ----------
    name, joint
        Of the segment and its hinge, which is at its origin.
    height
        Of its origin above that of the segment before, of the first above the floor, in m.
    capsules
        What it is made of, all of 1000 kg/m^3: both ends (x, z) of an axis, and a radius, in m.
    limits
        Of the hinge's angle, in degrees; None where it turns freely.
    """

    name: str
    joint: str
    height: float
    capsules: tuple[tuple[Point, Point, float], ...]
    limits: tuple[float, float] | None = None


SEGMENTS = (
    Segment("torso", "rooty", 1.0, (((0.0, -0.05), (0.0, 0.2), 0.0653), ((0.08, 0.13), (0.15, 0.14), 0.03))),
    Segment("pelvis", "waist", -0.05, (((0.0, 0.0), (0.0, -0.15), 0.065),), (-30.0, 30.0)),
    Segment("thigh", "hip", -0.2, (((0.0, 0.0), (0.0, -0.33), 0.04),), (-170.0, 10.0)),
    Segment("calf", "knee", -0.33, (((0.0, 0.0), (0.0, -0.32), 0.03),), (5.0, 150.0)),
    Segment("foot", "ankle", -0.32, (((-0.08, 0.0), (0.17, 0.0), 0.04),), (-45.0, 45.0)),
)
"""From the top down, with the measures of the hopper of the DeepMind Control Suite (Tassa et al. 2018)."""

_STEP, _DAMPING, _ARMATURE = 0.005, 0.05, 0.2  # s; N m s/rad and kg m^2 of hinges with limits

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
    """Simulate `n` sequences of a planar hopper without motors.

    The data of Rubanova, Chen and Duvenaud (2019), who took the hopper of the DeepMind Control Suite; this one has its
    measures, see :data:`SEGMENTS`. Initial positions of the two slides are uniform in [0, 0.5], the
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
        If MuJoCo is not installed.
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
        """Run from `state`, (14,), positions then velocities.

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
    """Make the model; an unstable run of it ends, and does not start anew.

    Raises
    ------
    ConfigError
        If MuJoCo is not installed.
    """
    mujoco = needs("mujoco", **_NEEDED)
    model = mujoco.MjModel.from_xml_string(hopper_mjcf())
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    return HopperBody(mujoco, model, mujoco.MjData(model))


def hopper_mjcf() -> str:
    """Return the model in MuJoCo's XML: a floor, and the segments, which the first one's slides hold in y = 0."""
    root = ET.Element("mujoco", model="hopper")
    ET.SubElement(root, "option", timestep=_text(_STEP))
    world = ET.SubElement(root, "worldbody")
    ET.SubElement(world, "geom", name="floor", type="plane", size="50 1 0.2")
    parent = world
    for segment in SEGMENTS:
        parent = ET.SubElement(parent, "body", name=segment.name, pos=_text(0.0, 0.0, segment.height))
        hinge = {"name": segment.joint, "axis": "0 1 0"}
        if segment.limits is None:
            for slide, axis in zip(JOINTS[:2], ("1 0 0", "0 0 1"), strict=True):
                ET.SubElement(parent, "joint", name=slide, type="slide", axis=axis)
        else:
            hinge |= {"limited": "true", "range": _text(*segment.limits)}
            hinge |= {"damping": _text(_DAMPING), "armature": _text(_ARMATURE)}
        ET.SubElement(parent, "joint", hinge)
        for (x1, z1), (x2, z2), radius in segment.capsules:
            ends = _text(x1, 0.0, z1, x2, 0.0, z2)
            ET.SubElement(parent, "geom", type="capsule", fromto=ends, size=_text(radius), density="1000")
    return ET.tostring(root, encoding="unicode")


def _text(*numbers: float) -> str:
    return " ".join(map(str, numbers))
