"""A run's figures, written into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physode.errors import ConfigError
from physode.fitting.run import Run
from physode.plotting.figures import drawings
from physode.plotting.style import save_all
from physode.plotting.view import compare, open_view

__all__ = ["compare", "draw_run"]


def draw_run(
    run: Run, *, data: Sequence[Path] = (), trajectory: int = 0, only: Sequence[str] = (), overwrite: bool = False
) -> list[Path]:
    """Draw a run's figures into its folder, those of ``FIGURES`` that suit it.

    Parameters
    ----------
    run
        The run.
    data
        The file that it was fitted to, or the files, where they have moved.
    trajectory
        Which of the fitted trajectories to draw.
    only
        Which figures, by name; all by default.
    overwrite
        Whether to replace figures.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If the data are missing or others than were fitted, the fit has not ended, or a figure exists.
    ConfigError
        If there is no such trajectory, or the run has no such figure.
    """
    found = drawings(open_view(run, data=data, trajectory=trajectory))
    for name in only:
        if name not in found:
            raise ConfigError(f"`only` names {name!r}, which {run.path} does not have; it has {', '.join(found)}")
    names = [name for name in found if not only or name in only]
    return list(save_all(found, run.figures, overwrite, names).values())
