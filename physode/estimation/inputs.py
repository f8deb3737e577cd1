"""Inputs of experiments as functions of time: held, piecewise linear, or a monotone cubic between samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physode.estimation.problem import Estimation, Input

_FEW = 32  # pieces


@dataclass(frozen=True)
class Inputs:
    """The inputs of all experiments as piecewise cubics, I of them, of at most m samples.

    Attributes
    ----------
    breaks
        Where pieces begin, (E, I, m), infinite behind the last.
    coefficients
        Of powers of the time since then, (E, I, m, 4).
    steps
        Which inputs are held between samples, (E, I): looked up at a time inside the segment, for at its ends they
        have two values.
    """

    breaks: Tensor
    coefficients: Tensor
    steps: Tensor

    @staticmethod
    def of(estimation: Estimation) -> Inputs:
        """Make them from what the experiments have."""
        names = estimation.model.inputs
        given = [[experiment.inputs[name] for name in names] for experiment in estimation.experiments]
        most = max((len(each.times) for row in given for each in row), default=1)
        shape = (len(given), len(names), most)
        breaks, coefficients = np.full(shape, np.inf), np.zeros((*shape, 4))
        for e, row in enumerate(given):
            for i, one in enumerate(row):
                breaks[e, i, : len(one.times)] = one.times
                coefficients[e, i, : len(one.times)] = _cubics(one)
        steps = [[one.kind == "step" for one in row] for row in given]
        return Inputs(
            torch.from_numpy(breaks),
            torch.from_numpy(coefficients),
            torch.tensor(steps, dtype=torch.bool).reshape(shape[:2]),
        )

    def at(self, t: Tensor, inside: Tensor, experiments: Tensor) -> Tensor:
        """Return u, (R, I), at times (R,) of experiments (R,); steps as they are at the times `inside`."""
        if not self.breaks.shape[1]:
            return t.new_zeros(len(t), 0)
        time = torch.where(self.steps[experiments], inside[:, None], t[:, None])
        breaks = self.breaks[experiments]
        begun = time[..., None] >= breaks
        coefficients = self.coefficients[experiments]
        if breaks.shape[-1] <= _FEW:
            since, c = _selected(begun, time, breaks, coefficients)
        else:
            # Before the first sample the first piece goes on.
            piece = (begun.sum(-1) - 1).clamp_min(0)[..., None]
            since = time - breaks.gather(-1, piece)[..., 0]
            c = coefficients.gather(-2, piece[..., None].expand(*piece.shape, 4))[..., 0, :]
        return c[..., 0] + since * (c[..., 1] + since * (c[..., 2] + since * c[..., 3]))


def _selected(begun: Tensor, time: Tensor, breaks: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Return the time since a piece began, and its coefficients, by arithmetic, of which kernels can be made."""
    later = torch.cat([begun[..., 1:], torch.zeros_like(begun[..., :1])], -1)
    here = torch.cat([torch.ones_like(begun[..., :1]), begun[..., 1:]], -1) & ~later
    start = torch.where(here, breaks, 0.0).sum(-1)
    return time - start, torch.where(here[..., None], coefficients, 0.0).sum(-2)


def _cubics(one: Input) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return each piece's coefficients, (m, 4), in rising powers; behind the last sample its value is held."""
    found = np.zeros((len(one.times), 4))
    found[:, 0] = one.values
    if one.kind == "linear" and len(one.times) > 1:
        found[:-1, 1] = np.diff(one.values) / np.diff(one.times)
    elif one.kind == "smooth" and len(one.times) > 1:
        from scipy.interpolate import PchipInterpolator

        found[:-1] = PchipInterpolator(one.times, one.values).c[::-1].T
    return found
