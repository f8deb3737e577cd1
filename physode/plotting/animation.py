"""A fit in motion, as MP4 or GIF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physode.datasets.atomic_write import replacing
from physode.errors import ConfigError
from physode.fitting.run import Run
from physode.plotting.comparison import Comparison
from physode.plotting.formats import FORMATS, Draw, choose_format, write_frames
from physode.plotting.scenes import Scene, make_scene, natural_size
from physode.plotting.style import styled
from physode.plotting.view import open_view

__all__ = ["MAX_FRAMES", "animate", "animate_run"]

MAX_FRAMES = 3000
_MAX_PIXELS = 1_000_000_000  # of all frames together: a GIF's are held in memory, one byte each
_SIDES = (160, 4096)


def animate_run(
    run: Run,
    *,
    out: Path | None = None,
    format: str | None = None,  # noqa: A002 - the option's own name
    fps: int = 20,
    seconds: float = 10.0,
    tail: float | None = None,
    rotate: float = 60.0,
    size: tuple[int, int] | None = None,
    dpi: int = 100,
    data: Sequence[Path] = (),
    trajectory: int = 0,
    overwrite: bool = False,
    progress: Callable[[float], object] | None = None,
) -> Path:
    """Animate a run: the fitted against the true trajectory, into its folder of figures.

    Parameters
    ----------
    run
        The run, ended.
    out
        The file; by default ``figures/animation.mp4`` or ``.gif`` in the run's folder.
    format
        ``"mp4"``, which needs ffmpeg, or ``"gif"``; by default what `out` ends with, else MP4 where ffmpeg is found.
    fps, seconds, tail, rotate, size, dpi, progress
        As :func:`animate`.
    data
        The file that the run was fitted to, or the files, where they have moved.
    trajectory
        Which of the fitted trajectories.
    overwrite
        Whether to replace the file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the data are missing or others than were fitted, the fit has not ended, the file exists, or ffmpeg fails.
    ConfigError
        If a setting is out of range, there is no ffmpeg for MP4, or the run has no such trajectory.
    """
    kind = choose_format(format, out)
    view = open_view(run, data=data, trajectory=trajectory)
    if out is None:
        run.figures.mkdir(exist_ok=True)
        out = run.figures / f"animation.{kind}"
    animate(
        view.comparison,
        out,
        format=kind,
        fps=fps,
        seconds=seconds,
        tail=tail,
        rotate=rotate,
        size=size,
        dpi=dpi,
        overwrite=overwrite,
        progress=progress,
    )
    return out


def animate(
    comparison: Comparison,
    path: Path,
    *,
    format: str,  # noqa: A002 - as above
    fps: int = 20,
    seconds: float = 10.0,
    tail: float | None = None,
    rotate: float = 60.0,
    size: tuple[int, int] | None = None,
    dpi: int = 100,
    overwrite: bool = False,
    progress: Callable[[float], object] | None = None,
) -> None:
    """Animate one trajectory: bodies in space, a point in the phase portrait, or a cursor along series.

    The trajectory's time runs evenly through the animation; fitted states between outputs are those of a cubic spline.
    Measured states are not interpolated.

    Parameters
    ----------
    comparison
        The trajectory.
    path
        The file; it appears whole or not at all.
    format
        ``"mp4"`` or ``"gif"``.
    fps
        Frames a second: at most 50, which is what a GIF can say, or 60 for MP4.
    seconds
        Length of the animation.
    tail
        Length of the trails in units of time; a sixth of the trajectory's span by default.
    rotate
        By how many degrees the camera goes round the bodies.
    size
        Width and height, pixels; by default what suits the system.
    dpi
        Pixels an inch: how large text and lines are.
    overwrite
        Whether to replace the file.
    progress
        Told of the share that is done, 0 to 1.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        If the file exists, or ffmpeg fails.
    """
    size = natural_size(comparison) if size is None else size
    _check(format, fps, seconds, tail, rotate, size, dpi)
    count = max(2, round(fps * seconds))
    width, height = (side - side % 2 for side in size)  # MP4 takes even sides only
    start, end = float(comparison.t[0]), float(comparison.t[-1])
    trail = abs(end - start) / 6 if tail is None else tail
    with replacing(path, overwrite=overwrite) as part, styled():
        scene = make_scene(comparison, width=width / dpi, height=height / dpi, tail=trail, rotate=rotate)
        scene.figure.set_dpi(dpi)
        draw = _drawer(scene, np.linspace(start, end, count))
        write_frames(draw, count, part, format=format, fps=fps, size=(width, height), progress=progress)


def _drawer(scene: Scene, times: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Draw:
    """Return what gives the pixels of a frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(scene.figure)
    # Laid out once and left so: parts that change would else move the others about.
    scene.show(float(times[0]), 0.0)
    canvas.draw()
    scene.figure.set_layout_engine("none")

    def draw(index: int) -> bytes:
        scene.show(float(times[index]), index / (len(times) - 1))
        canvas.draw()
        return bytes(canvas.buffer_rgba())

    return draw


def _check(
    kind: str, fps: int, seconds: float, tail: float | None, rotate: float, size: tuple[int, int], dpi: int
) -> None:
    if kind not in FORMATS:
        raise ConfigError(f"`format` must be one of: {', '.join(FORMATS)}; got {kind!r}")
    most = FORMATS[kind]
    if not 1 <= fps <= most:
        raise ConfigError(f"`fps` must be between 1 and {most} for {kind}, got {fps}")
    for name, value in (("seconds", seconds), ("tail", tail)):
        if value is not None and not (value > 0 and np.isfinite(value)):
            raise ConfigError(f"`{name}` must be positive and finite, got {value}")
    if not np.isfinite(rotate):
        raise ConfigError(f"`rotate` must be a finite number of degrees, got {rotate}")
    if not (_SIDES[0] <= min(size) and max(size) <= _SIDES[1]):
        raise ConfigError(f"`size` must be between {_SIDES[0]} and {_SIDES[1]} pixels a side, got {size[0]}x{size[1]}")
    if not 30 <= dpi <= 600:
        raise ConfigError(f"`dpi` must be between 30 and 600, got {dpi}")
    if fps * seconds > MAX_FRAMES:
        raise ConfigError(
            f"`seconds` {seconds:g} at {fps} frames a second are more than {MAX_FRAMES} frames; use fewer"
        )
    if fps * seconds * size[0] * size[1] > _MAX_PIXELS:
        raise ConfigError(
            f"`size` {size[0]}x{size[1]} times {fps * seconds:.0f} frames are more than {_MAX_PIXELS:.0e} pixels; "
            "use a smaller size, fewer seconds or fewer frames a second"
        )
