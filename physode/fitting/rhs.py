"""Right-hand sides: the fit's, from its settings; the data's own, where they say it; a hybrid's network beside it."""

from __future__ import annotations

import copy

import numpy as np
import torch

from physode.datasets import Trajectories
from physode.datasets.trajectories import Array
from physode.errors import ConfigError
from physode.fitting.config import FitConfig
from physode.fitting.constants import constants_of, system_name, told_settings
from physode.fitting.data import has_bodies
from physode.rhs import MLP, SYSTEMS, AugmentedNBody, Hybrid, NBody, System, build


def build_rhs(config: FitConfig, trajectories: Trajectories) -> System:
    """Build a right-hand side with what is to be learnt as its parameters.

    Random weights come from torch's global generator: seed it before.

    Raises
    ------
    ConfigError
        If the data do not name a system that the settings need, or guesses do not fit its constants.
    """
    rhs = _BUILDERS[config.rhs](config, trajectories)
    return rhs.to(device=config.device, dtype=config.torch_dtype)


def _physical(config: FitConfig, trajectories: Trajectories) -> System:
    name = system_name(config, trajectories)
    found = constants_of(config, trajectories)
    if issubclass(SYSTEMS[name], NBody) and "G" not in found.settings:
        raise ConfigError(
            "the data do not say in which units they are, and so not the gravitational constant; give it with `fix` "
            "(--fix G=39.477 for AU, years and solar masses), or name the units in the file"
        )
    arguments = {
        **found.settings,
        **{key: value.tolist() for key, value in found.values.items()},
        "learnable": list(found.names),
        "positive": list(found.names) if config.positive else False,
    }
    rhs = build(name, arguments)
    if len(rhs.columns) != len(trajectories.columns):
        raise ConfigError(
            f"{name} has {len(rhs.columns)} components, the data have {len(trajectories.columns)}: "
            f"{', '.join(trajectories.columns)}"
        )
    if set(rhs.columns) == set(trajectories.columns) and rhs.columns != trajectories.columns:
        raise ConfigError(
            f"{name} has the columns {', '.join(rhs.columns)} in this order, the data have "
            f"{', '.join(trajectories.columns)}; put them into the system's order"
        )
    return rhs


def _augmented(config: FitConfig, trajectories: Trajectories) -> System:
    if not has_bodies(trajectories.columns):
        raise ConfigError(
            "rhs='augmented' needs bodies' positions and velocities, columns r1_x, ..., vn_z; "
            f"the data have {', '.join(trajectories.columns)}; try rhs='neural'"
        )
    told = told_settings(trajectories)
    if config.gravity_units and "G" not in told:
        raise ConfigError(
            "`gravity_units` needs data that say their gravitational constant G, as simulated ones do; leave it away"
        )
    arguments = {
        "n": len(trajectories.columns) // 6,
        "hidden": config.hidden or (),
        "activation": config.activation,
        "velocity_scale": float(told.get("velocity_scale", 1.0)),
        "acceleration_scale": float(told["G"]) if config.gravity_units else None,
        "ordered": config.pairs == "ordered",
    }
    return build(AugmentedNBody.name, arguments)


def _neural(config: FitConfig, trajectories: Trajectories) -> System:
    hidden = (64, 64) if config.hidden is None else config.hidden
    return MLP(len(trajectories.columns), hidden=hidden, activation=config.activation)


def _hybrid(config: FitConfig, trajectories: Trajectories) -> System:
    physics = _physical(config, trajectories)
    # Velocities are known to move positions: the network reaches what is a law.
    acts_on = tuple(name for name in physics.columns if name not in physics.kinematic)
    return Hybrid(physics, _neural(config, trajectories), acts_on=acts_on, zero_init=True)


_BUILDERS = {"physical": _physical, "augmented": _augmented, "neural": _neural, "hybrid": _hybrid}


def known_system(trajectories: Trajectories, index: int) -> System | None:
    """Return the physics that one trajectory is a solution of, constants included; None where the data do not say."""
    name = trajectories.attrs.get("system")
    if name not in SYSTEMS or not SYSTEMS[str(name)].declared:
        return None
    own = {key: values[index] for key, values in trajectories.params.items() if key in SYSTEMS[str(name)].declared}
    return build(str(name), {**told_settings(trajectories), **own})


def residual_parts(rhs: Hybrid, truth: System | None, t: Array, y: Array) -> tuple[Array, Array | None]:
    r"""Return what a hybrid's network gives along a path, and what it should.

    Of :math:`\dot y = f(t, y) + M g(t, y)` these are :math:`M g` and :math:`f_{true} - f`, both at the same states: the
    second is what would make the hybrid true with the constants that its physics has.

    Parameters
    ----------
    rhs
        The hybrid.
    truth
        The system that the data are of, where it is known.
    t, y
        Times, (T,), and states, (T, D).

    Returns
    -------
    learnt, missing
        (T, D) each; the second None without `truth`, or where that one's state is another.
    """
    clocks = torch.from_numpy(np.asarray(t, dtype=np.float64))[:, None]
    states = torch.from_numpy(np.asarray(y, dtype=np.float64))
    rhs = copy.deepcopy(rhs).double()
    reached = torch.tensor([name in rhs.acts_on for name in rhs.columns])
    with torch.no_grad():
        physics = rhs.physics(clocks, states)
        learnt = torch.where(reached, rhs.residual(clocks, states), 0.0)
        if truth is None or len(truth.columns) != states.shape[-1]:
            return learnt.numpy(), None
        missing = truth(clocks, states) - physics
    return learnt.numpy(), missing.numpy()
