"""Animations: what moves, and into which files; ffmpeg, which a script stands in for."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from physode.errors import ConfigError, DataError
from physode.plotting import Comparison
from physode.plotting.animated_scenes import make_scene, natural_size
from physode.plotting.animation import animate, choose_format, write_frames
from physode.rhs import body_columns

SMALL = {"format": "gif", "fps": 4, "seconds": 1.0, "size": (200, 180), "dpi": 40}


def comparison(columns, **more):
    t = np.linspace(0.0, 2.0, 41)
    observed = np.sin(t[:, None] * np.arange(1, len(columns) + 1))
    fitted = observed + 0.01 * t[:, None]
    more = {"units": ("",) * len(columns), "train_until": 1.0, "time_unit": "yr", **more}
    return Comparison(t=t, observed=observed, fitted=fitted, columns=columns, **more)


def scene_of(shown, **options):
    return make_scene(shown, width=8.0, height=7.0, **{"tail": 0.5, "rotate": 90.0, **options})


def head(axes, body=0):
    """Where a fitted body is drawn."""
    lines = [line for line in axes.get_lines() if line.get_markeredgecolor() == "white"]
    return np.array([line.get_data_3d() if hasattr(line, "get_data_3d") else line.get_data() for line in lines])[body]


@pytest.fixture
def bodies():
    return comparison(body_columns(2), names=("Sun", "Jupiter"))


def test_bodies_stand_where_the_fit_has_them_at_a_time(bodies):
    scene = scene_of(bodies)
    scene.show(0.525, 0.5)
    space, distances = scene.figure.axes
    expected = np.sin(0.525 * np.arange(4, 7)) + 0.01 * 0.525
    np.testing.assert_allclose(head(space, 1)[:, 0], expected, atol=1e-5)
    grown = distances.get_lines()[2]
    assert grown.get_xdata()[-1] == 0.5
    np.testing.assert_allclose(grown.get_ydata()[1:], np.sqrt(3) * 0.01 * bodies.t[1:11])
    named = [text.get_text() for text in space.get_legend().get_texts()]
    assert named == ["true", "trained on [0, 1], predicted to 2", "Sun", "Jupiter"]


def test_the_clock_says_what_the_fit_has_not_seen(bodies):
    scene = scene_of(bodies)
    said = []
    for now in (0.0, 1.0, 1.2):
        scene.show(now, 0.0)
        said.append((scene.figure.get_suptitle(), scene.figure.texts[-1].get_text()))
    assert said == [
        ("t = 0.00 yr", "training span"),
        ("t = 1.00 yr", "training span"),
        ("t = 1.20 yr", "beyond training"),
    ]


def test_the_camera_goes_round_by_the_angle_asked_for(bodies):
    scene = scene_of(bodies)
    space, angles = scene.figure.axes[0], []
    for share in (0.0, 1.0):
        scene.show(0.0, share)
        angles.append(space.azim)
    assert angles[1] - angles[0] == pytest.approx(90.0)


def test_a_trail_is_as_long_as_its_tail(bodies):
    scene = scene_of(bodies, tail=0.25)
    scene.show(1.5, 0.0)
    trail = scene.figure.axes[0].collections[0]
    first = np.array(trail._segments3d)[0, 0]
    np.testing.assert_allclose(first, np.sin(1.25 * np.arange(1, 4)) + 0.0125, atol=1e-6)


def test_a_body_that_escapes_is_not_followed(bodies):
    bodies.fitted[30:, :3] += 100.0
    scene = scene_of(bodies)
    scene.show(1.9, 0.0)
    assert np.isnan(head(scene.figure.axes[0], 0)).all()
    assert np.isfinite(head(scene.figure.axes[0], 1)).all()


def test_measurements_appear_when_their_time_has_come(bodies):
    shown = dataclasses.replace(bodies, observed_is="observed")
    shown.observed[5:8] = np.nan
    scene = scene_of(shown)
    scene.show(0.5, 0.0)
    dots = next(line for line in scene.figure.axes[0].get_lines() if line.get_alpha() == 0.6)
    np.testing.assert_array_equal(np.array(dots.get_data_3d()).T, shown.observed[:11, :3])


def test_two_components_move_through_their_phase_portrait():
    scene = scene_of(comparison(("angle", "speed"), units=("rad", "rad/s")))
    scene.show(0.75, 0.0)
    plane, first, second = scene.figure.axes
    np.testing.assert_allclose(head(plane)[:, 0], np.sin([0.75, 1.5]) + 0.0075, atol=1e-6)
    assert (plane.get_xlabel(), second.get_ylabel(), second.get_xlabel()) == (
        "angle (rad)",
        "speed (rad/s)",
        "time (yr)",
    )
    assert first.get_lines()[-1].get_xdata()[0] == 0.75


def test_other_systems_are_series_with_a_cursor():
    scene = scene_of(comparison(tuple("abcdefgh")))
    scene.show(0.75, 0.0)
    assert [axes.get_ylabel() for axes in scene.figure.axes] == list("abcde")
    drawn, cursor = scene.figure.axes[1].get_lines()[-2:]
    np.testing.assert_allclose(drawn.get_ydata(), np.sin(2 * drawn.get_xdata()) + 0.01 * drawn.get_xdata(), atol=1e-6)
    assert (drawn.get_xdata()[-1], cursor.get_xdata()[0]) == (pytest.approx(0.75), 0.75)


@pytest.mark.parametrize("columns", [("x", "y", "z"), ("angle", "speed"), tuple("abcd")])
def test_every_system_has_a_size_and_frames(columns, tmp_path):
    shown = comparison(columns)
    width, height = natural_size(shown)
    assert width >= 800
    animate(shown, tmp_path / "a.gif", **{**SMALL, "size": None, "seconds": 0.5, "dpi": 60})
    with Image.open(tmp_path / "a.gif") as found:
        assert (found.size, found.n_frames) == ((width, height), 2)


def test_the_fit_may_end_early_and_velocities_be_unknown(tmp_path, bodies):
    shown = dataclasses.replace(bodies, observed_is="observed")
    shown.observed[:, 6:] = np.nan
    shown.fitted[25:] = np.nan
    animate(shown, tmp_path / "a.gif", **SMALL)
    assert (tmp_path / "a.gif").stat().st_size > 1000


def test_a_gif_has_the_frames_and_the_length_asked_for(tmp_path, bodies):
    shares = []
    animate(bodies, tmp_path / "a.gif", **{**SMALL, "fps": 30, "seconds": 0.5}, progress=shares.append)
    durations = []
    with Image.open(tmp_path / "a.gif") as found:
        assert (found.n_frames, found.size) == (15, (200, 180))
        for index in range(found.n_frames):
            found.seek(index)
            durations.append(found.info["duration"])
        assert found.convert("RGB").getpixel((2, 177)) == (255, 255, 255)
    assert sum(durations) == 500
    assert set(durations) == {30, 40}
    np.testing.assert_allclose(shares, np.arange(1, 16) / 15)


def test_what_stands_is_kept_and_what_fails_leaves_nothing(tmp_path, bodies):
    path = tmp_path / "a.gif"
    path.write_bytes(b"kept")
    with pytest.raises(DataError, match="exists already"):
        animate(bodies, path, **SMALL)

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(bodies, path, **SMALL, overwrite=True, progress=stop)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.gif", b"kept")]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"format": "avi"}, "`format` must be one of: mp4, gif; got 'avi'"),
        ({"fps": 51}, "`fps` must be between 1 and 50 for gif, got 51"),
        ({"seconds": 0.0}, "`seconds` must be positive and finite, got 0.0"),
        ({"tail": float("nan")}, "`tail` must be positive and finite, got nan"),
        ({"rotate": float("inf")}, "`rotate` must be a finite number of degrees, got inf"),
        ({"size": (800, 5000)}, "`size` must be between 160 and 4096 pixels a side, got 800x5000"),
        ({"dpi": 1000}, "`dpi` must be between 30 and 600, got 1000"),
        ({"seconds": 1e6}, "are more than 3000 frames"),
        ({"seconds": 700.0, "size": (4000, 4000)}, "pixels; use a smaller size"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, bodies, setting, message):
    with pytest.raises(ConfigError) as failure:
        animate(bodies, tmp_path / "a.gif", **{**SMALL, **setting})
    assert message in str(failure.value)
    assert list(tmp_path.iterdir()) == []


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
