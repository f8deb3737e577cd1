"""Frames into a file: GIF by Pillow, MP4 by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np

from physode.datasets.atomic_write import filling
from physode.errors import ConfigError, DataError

__all__ = ["FORMATS", "Draw", "choose_format", "write_frames"]

Draw = Callable[[int], bytes]
"""Gives a frame by its number: RGBA pixels, row by row from the top."""

FORMATS = MappingProxyType({"mp4": 60, "gif": 50})
"""Most frames a second, by format. A GIF counts hundredths of a second, and viewers slow down what lasts only one."""

_SAMPLED = 8  # frames that a GIF's one palette is made from
_WHITE = 244  # of 255: paler colours become the background, which Pillow takes for any of them


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
