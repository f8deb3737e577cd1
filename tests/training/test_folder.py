"""A run's folder is born, replaced and gone on with: whatever a kill leaves can be resumed or replaced."""

from __future__ import annotations

import math
import shutil

import pytest

from physode.datasets import write_trajectories
from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.simulators import simulate_van_der_pol
from physode.training.folder import discard, making_folder
from tests.training.killing import killed_at

SETTINGS = FitConfig(method="dopri5", rtol=1e-5, atol=1e-7, optimizer="adam", epochs=2)
MOST = 60  # changes to files in any of these tests


@pytest.fixture(scope="module")
def data():
    return simulate_van_der_pol(preset="aca", t_end=2.0, points=20)


@pytest.fixture
def create(tmp_path, data):
    """Make a run of settings, with the data beside it."""
    write_trajectories(tmp_path / "data.h5", data)

    def make(**options):
        config = effective_config(FitConfig(**{**vars(SETTINGS), **options}), data)
        force = {"overwrite": True} if (tmp_path / "runs" / "run" / "config.toml").exists() else {}
        return create_run(tmp_path / "runs" / "run", config, data=[tmp_path / "data.h5"], digest=digest(data), **force)

    return make


def ends_as_if_never_killed(run, data):
    """Whether a run that goes on comes to the history of one that was not interrupted."""
    told = []
    fit(data, run.config, on_epoch=told.append)
    fit(data, run.config, run=run, resume=True)
    return [line["loss"] for line in run.history()] == [epoch.loss for epoch in told]


def test_a_kill_at_any_moment_of_a_run_s_birth_leaves_no_dead_end(create, tmp_path, data):
    path = tmp_path / "runs" / "run"
    kills = 0
    while killed_at(kills, tmp_path, create):
        kills += 1
        if path.exists():
            assert ends_as_if_never_killed(open_run(path), data)
            discard(path)
        else:
            assert create().path == path
            discard(path)
        assert kills < MOST
    assert kills >= 4  # two folders, settings written and named, the run named


def test_a_kill_at_any_moment_of_a_run_s_replacement_leaves_no_dead_end(create, tmp_path, data):
    path, copy = tmp_path / "runs" / "run", tmp_path / "copy"
    fit(data, SETTINGS, run=create())
    (path / "mine.txt").write_text("notes")
    shutil.copytree(path, copy)
    kills, begun_again = 0, 0
    while killed_at(kills, path, lambda: create(seed=7)):
        kills += 1
        run = open_run(path)  # at every moment with the old settings or the new ones
        assert run.config.seed in (0, 7)
        if not run.has_checkpoint:
            begun_again += 1
            assert begun_again > 3 or ends_as_if_never_killed(run, data)
        assert (path / "mine.txt").read_text() == "notes"
        shutil.rmtree(path)
        shutil.copytree(copy, path)
        assert kills < MOST
    assert begun_again > 3
    assert open_run(path).config.seed == 7


def test_a_kill_while_a_folder_is_removed_leaves_all_of_it_or_nothing(create, tmp_path, data):
    path, copy = tmp_path / "runs" / "run", tmp_path / "copy"
    run = create()
    fit(data, run.config, run=run)
    shutil.copytree(path, copy)
    whole, kills = run.history(), 0
    while killed_at(kills, path.parent, lambda: discard(path)):
        kills += 1
        if path.exists():
            assert run.history() == whole
            assert run.last().epoch == 2
        else:
            discard(path)
            assert not any(path.parent.iterdir())  # what a kill has left is removed with the next
            shutil.copytree(copy, path)
        assert kills < MOST
    assert kills >= 5


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "remains",
    [[], ["checkpoints/"], [".config.toml.0a1b2c3d.part"], ["checkpoints/", ".config.toml.0a1b2c3d.part"]],
)
def test_what_a_kill_has_left_before_there_are_settings_is_replaced(tmp_path, remains, force):
    path = tmp_path / "run"
    path.mkdir()
    for name in remains:
        (path / name).mkdir() if name.endswith("/") else (path / name).write_text("run_ver")
    with making_folder(path, (), overwrite=force) as place:
        (place / "config.toml").write_text("")
    assert sorted(each.name for each in path.iterdir()) == ["checkpoints", "config.toml", "made.json"]
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_run_made_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "run"

    def make():
        with making_folder(path, (), overwrite=False):
            path.mkdir()
            (path / "config.toml").write_text("theirs")

    with pytest.raises(ConfigError, match="run exists already"):
        make()
    assert (path / "config.toml").read_text() == "theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: path.symlink_to("nowhere")])
def test_what_is_no_folder_is_no_place_for_a_run(tmp_path, make):
    path = tmp_path / "run"
    make(path)
    for force, message in ((False, "exists already"), (True, "exists and is not a run")):
        with pytest.raises(ConfigError, match=message), making_folder(path, (), overwrite=force):
            pytest.fail("a folder was made")
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("lost", ["last.pt", "the folder of checkpoints"])
def test_a_fit_killed_before_its_first_checkpoint_begins_again(create, data, lost):
    run = create()
    fit(data, run.config, run=run)
    discard(run.path / "checkpoints") if lost != "last.pt" else (run.path / "checkpoints" / "last.pt").unlink()
    assert ends_as_if_never_killed(open_run(run.path), data)


def test_a_history_that_lacks_epochs_is_named_and_not_gone_on_with(create, data):
    run = create()
    fit(data, run.config, run=run)
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.path / "metrics.jsonl").write_text("".join(lines[2:]))
    with pytest.raises(DataError, match=r"metrics\.jsonl lacks epoch 0, which the last checkpoint is behind"):
        fit(data, run.config, run=run, resume=True)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_checkpoints_come_after_a_time_that_is_a_number(data, seconds):
    with pytest.raises(ValueError, match="`checkpoint_seconds` must be at least 0 and finite, got"):
        fit(data, SETTINGS, checkpoint_seconds=seconds)
