"""What a solve returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.status import Status

__all__ = ["Solution", "Stats"]


@dataclass(frozen=True)
class Stats:
    """The work of a solve.

    Attributes
    ----------
    accepted, rejected
        Steps and rejected attempts: ``()`` with shared steps, ``(batch,)`` with per-sample steps.
    attempts
        Their sum.
    rhs_forward
        Calls of the right-hand side during the solve.
    """

    accepted: Tensor
    rejected: Tensor
    rhs_forward: int
    _backward: Callable[[], int]

    @property
    def attempts(self) -> Tensor:
        """Accepted and rejected steps together."""
        return self.accepted + self.rejected

    @property
    def rhs_backward(self) -> int:
        """Calls of the right-hand side in backward passes so far (a batched replay counts once)."""
        return self._backward()


@dataclass(frozen=True)
class Solution:
    """The solution of an initial value problem.

    Attributes
    ----------
    t
        The output times as given.
    y
        The states there, ``(time, *y0.shape)``, in the structure of ``y0``; NaN where a solve or sample had failed.
        None where they went to a file (``sink``): :func:`physode.datasets.read_trajectories` reads them.
    status
        :class:`physode.Status` codes, int8: ``()`` with shared steps, ``(batch,)`` with per-sample steps.
    ended
        The time at which each solve or sample ended, float64.
    stats
        The work done.
    step_times
        The accepted steps' ends, starting with the first time, ``(steps + 1, *groups)``.
    """

    t: Tensor
    y: Any
    status: Tensor
    ended: Tensor
    stats: Stats
    step_times: Tensor
    _dense: Callable[[Tensor], Any] | None = None

    @property
    def success(self) -> bool:
        """Whether every sample reached the end time."""
        return bool((self.status == Status.SUCCESS).all())

    @property
    def failures(self) -> dict[int, tuple[Status, float]]:
        """Status and time of each failed sample (sample 0 stands for the whole with shared steps)."""
        codes, times = self.status.reshape(-1).tolist(), self.ended.reshape(-1).tolist()
        return {i: (Status(code), time) for i, (code, time) in enumerate(zip(codes, times, strict=True)) if code}

    def __call__(self, t: Tensor | float) -> Any:
        """Evaluate the solution by the method's own interpolant.

        Parameters
        ----------
        t
            A time, ``(time,)`` times, or with per-sample steps also ``(time, batch)``, inside the solved span.

        Returns
        -------
        Tensor or structure of tensors
            ``(*y0.shape)`` for one time, else ``(time, *y0.shape)``; differentiable like ``y``, and with respect to
            ``t``.

        Raises
        ------
        ValueError
            If the solve did not keep its interpolants (``dense=True``), or ``t`` lies outside the span.
        """
        if self._dense is None:
            raise ValueError("this solution keeps no interpolants; solve with `dense=True`")
        return self._dense(torch.as_tensor(t, dtype=torch.float64, device=self.step_times.device))
