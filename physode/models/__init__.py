"""Models of trajectories that are not differential equations: what physode's fits are compared with."""

from __future__ import annotations

from physode.models.cutting import cut, time_step
from physode.models.lstm import TrajectoryLSTM

__all__ = ["TrajectoryLSTM", "cut", "time_step"]
