"""A fit in motion, as MP4 or GIF."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from physode.datasets.atomic_write import filling, replacing
from physode.errors import ConfigError, DataError
from physode.fitting.run import Run
from physode.plotting.animated_scenes import Scene, make_scene, natural_size
from physode.plotting.comparison import Comparison
from physode.plotting.run import open_view
from physode.plotting.style import styled

Draw = Callable[[int], bytes]
"""Gives a frame by its number: RGBA pixels, row by row from the top."""

FORMATS = MappingProxyType({"mp4": 60, "gif": 50})
"""Most frames a second, by format. A GIF counts hundredths of a second, and viewers slow down what lasts only one."""

_SAMPLED = 8  # frames that a GIF's one palette is made from
_WHITE = 244  # of 255: paler colours become the background, which Pillow takes for any of them

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


def choose_format(kind: str | None, out: Path | None) -> str:
    """Return the format asked for, else the one that the file's name ends with, else MP4 where ffmpeg is found.

    Raises
    ------
    ConfigError
        If the name says another format, or MP4 is asked for and there is no ffmpeg.
    """
    named = None if out is None else out.suffix.removeprefix(".").lower()
    if named and named not in FORMATS:
        raise ConfigError(f"`out` must end with {' or '.join(f'.{name}' for name in FORMATS)}, got {out}")
    if kind and named and kind != named:
        raise ConfigError(f"`out` ends with .{named}, but `format` is {kind!r}; leave one of them out")
    chosen = kind or named or ("mp4" if _ffmpeg() else "gif")
    if chosen == "mp4" and not _ffmpeg():
        raise ConfigError(
            "`format` 'mp4' needs ffmpeg, which is not on the PATH; install it, or use 'gif' (--format gif)"
        )
    return chosen


def write_frames(
    draw: Draw,
    count: int,
    path: Path,
    *,
    format: str,  # noqa: A002 - the option's own name
    fps: int,
    size: tuple[int, int],
    progress: Callable[[float], object] | None = None,
) -> None:
    """Write an animation.

    Parameters
    ----------
    draw
        Gives the frames; a GIF asks for some of them twice.
    count
        How many there are.
    path
        The file to write, whatever its name ends with.
    format
        A key of ``FORMATS``.
    fps
        Frames a second.
    size
        Width and height, pixels; even for MP4.
    progress
        Told of the share of frames that are written.

    Raises
    ------
    DataError
        If ffmpeg fails.
    """

    def frames() -> Iterator[bytes]:
        for index in range(count):
            yield draw(index)
            if progress is not None:
                progress((index + 1) / count)

    if format == "mp4":
        _write_mp4(frames(), path, fps, size)
    else:
        sampled = [draw(int(index)) for index in np.linspace(0, count - 1, min(count, _SAMPLED))]
        _write_gif(frames(), count, sampled, path, fps, size)


def _write_gif(
    frames: Iterator[bytes], count: int, sampled: Sequence[bytes], path: Path, fps: int, size: tuple[int, int]
) -> None:
    """Write a GIF of one palette, made from sampled frames, so that what stands still is stored once."""
    from PIL import Image

    def image(pixels: bytes) -> Image.Image:
        return Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")

    together = Image.new("RGB", (size[0], size[1] * len(sampled)))
    for row, each in enumerate(sampled):
        together.paste(image(each), (0, size[1] * row))
    palette = together.quantize(256)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(axis=1) >= _WHITE] = 255
    palette.putpalette(colours.ravel().tolist())
    images = (image(pixels).quantize(palette=palette, dither=Image.Dither.NONE) for pixels in frames)
    # Whole hundredths of a second, and right in sum.
    durations = np.diff(np.round(np.arange(count + 1) * (100 / fps))).astype(int) * 10
    with filling(path) as file:  # Pillow leaves its own open when it is interrupted
        next(images).save(file, "GIF", save_all=True, append_images=images, duration=durations.tolist(), loop=0)


def _write_mp4(frames: Iterator[bytes], path: Path, fps: int, size: tuple[int, int]) -> None:
    """Write H.264 in the pixel format that every player knows."""
    pixels = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-")
    video = ("-an", "-vcodec", "h264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4")
    command = [_ffmpeg() or "ffmpeg", "-y", "-loglevel", "error", *pixels, *video, str(path.resolve())]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process:  # it has ended; why, it says below
            try:
                for frame in frames:
                    process.stdin.write(frame)
            except BrokenPipeError:
                raise
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            told.seek(0)
            lines = told.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with {process.returncode}"
            raise DataError(f"ffmpeg could not write the animation: {reason}; use the format gif")


def _ffmpeg() -> str | None:
    """Return where ffmpeg is, by matplotlib's setting."""
    from matplotlib.animation import FFMpegWriter

    return shutil.which(FFMpegWriter.bin_path())
