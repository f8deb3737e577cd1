"""The right-hand side that a run has found, rebuilt from its folder."""

from __future__ import annotations

import copy

import numpy as np
import torch

from physode.datasets import Trajectories
from physode.datasets.trajectories import Array
from physode.errors import DataError
from physode.fitting.build import build_rhs
from physode.fitting.checkpoint import read_checkpoint
from physode.fitting.data import choose
from physode.fitting.run import Run
from physode.rhs import Hybrid, System

__all__ = ["fitted_rhs", "residual_parts"]


def fitted_rhs(run: Run, trajectories: Trajectories) -> System:
    """Rebuild a run's right-hand side as it was at the smallest loss, on the CPU.

    Parameters
    ----------
    run
        The run.
    trajectories
        The data that it was fitted to: they say what the system is.

    Raises
    ------
    DataError
        If the checkpoint is missing, damaged, or not of this right-hand side.
    ConfigError
        If the data do not fit the run's settings.
    """
    path = run.path / "checkpoints" / "best.pt"
    state = read_checkpoint(path)
    with torch.random.fork_rng([]):  # the weights drawn here are thrown away: the caller's numbers go on as before
        rhs = build_rhs(run.config, choose(trajectories, run.config)).cpu()
    known = rhs.state_dict()
    try:
        rhs.load_state_dict({name: value for name, value in state.model.items() if name in known})
    except RuntimeError as error:
        raise DataError(f"{path} does not hold the right-hand side that {run.path} describes; fit it again") from error
    return rhs.eval()


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
