"""Formats of animations, and ffmpeg, which a script stands in for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from physode.errors import ConfigError, DataError
from physode.plotting.animation import choose_format, write_frames

FRAME = bytes(range(256)) * 4 * 4 * 2  # 64 by 32 pixels
WRITES = "open(sys.argv[-1], 'wb').write(json.dumps(sys.argv).encode() + b'|' + sys.stdin.buffer.read())"
FAILS = "sys.stderr.write('banner\\nUnknown encoder h264\\n'); sys.exit(3)"


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Make a program of that name the only one on the PATH; it runs what the test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(code):
        program = folder / "ffmpeg"
        program.write_text(f"#!{sys.executable}\nimport json, sys\n{code}\n")
        program.chmod(0o755)

    return make


def test_mp4_is_the_default_where_ffmpeg_is_found(ffmpeg):
    assert choose_format(None, None) == "gif"
    ffmpeg(WRITES)
    assert choose_format(None, None) == "mp4"


def test_the_file_s_name_says_the_format(ffmpeg):
    ffmpeg(WRITES)
    assert choose_format(None, Path("a.GIF")) == "gif"
    assert choose_format("gif", Path("a")) == "gif"
    with pytest.raises(ConfigError, match=r"`out` ends with \.gif, but `format` is 'mp4'"):
        choose_format("mp4", Path("a.gif"))
    with pytest.raises(ConfigError, match=r"`out` must end with \.mp4 or \.gif, got a\.avi"):
        choose_format(None, Path("a.avi"))


@pytest.mark.parametrize("asked", [("mp4", None), (None, Path("a.mp4"))])
def test_mp4_without_ffmpeg_says_what_to_do(ffmpeg, asked):
    with pytest.raises(ConfigError, match=r"needs ffmpeg, which is not on the PATH; install it, or use 'gif'"):
        choose_format(*asked)


def test_ffmpeg_is_given_every_pixel(ffmpeg, tmp_path):
    ffmpeg(WRITES)
    target = tmp_path / ".a.mp4.part"
    write_frames(lambda index: FRAME, 3, target, format="mp4", fps=25, size=(64, 32))
    told, _, pixels = target.read_bytes().partition(b"|")
    assert pixels == 3 * FRAME
    for option in ('"-s", "64x32"', '"-r", "25"', '"-pix_fmt", "yuv420p"', '"-f", "mp4"'):
        assert option in told.decode()


def test_a_failing_ffmpeg_is_one_line(ffmpeg, tmp_path):
    ffmpeg(FAILS)
    with pytest.raises(DataError) as failure:
        write_frames(lambda index: 1000 * FRAME, 3, tmp_path / "a.mp4", format="mp4", fps=25, size=(64, 32))
    assert str(failure.value) == "ffmpeg could not write the animation: Unknown encoder h264; use the format gif"


def test_an_interrupted_ffmpeg_does_not_go_on(ffmpeg, tmp_path):
    ffmpeg("import time\ntime.sleep(600)")

    def stop(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(stop, 3, tmp_path / "a.mp4", format="mp4", fps=25, size=(64, 32))
