"""The hopper as MuJoCo runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from physode.optional_imports import needs
from physode.simulators.arguments import Floats

__all__ = ["HopperBody", "load_hopper"]

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
