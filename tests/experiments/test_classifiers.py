"""A training as a cell of a study: what it returns, from which images, and that it goes on where it was killed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physode.datasets.images import write_images
from physode.errors import DataError
from physode.experiments import classifiers
from physode.experiments.classifiers import describe, load, probabilities_of, train_and_test
from physode.images import TrainConfig, open_train_run, predict, train
from physode.images.data import on_device, split
from physode.images.evaluation import changed_solver
from physode.images.run import TrainRun
from physode.models import set_solver
from physode.sweeps.cells import Cell

SETTINGS = {"model": "galaxy-node", "width": 4, "epochs": 2, "batch": 16, "lr": 0.05, "split": 1, "seed": 3}
MIDPOINT = {"label": "RK2, step 0.5", "method": "midpoint", "step": 0.5}
HARD = {"label": "Euler, step 1", "method": "euler", "step": 1.0}


@pytest.fixture
def stored(tmp_path, images_of):
    """Images of two classes of bars in a file, and how a study names them."""
    path = tmp_path / "bars.h5"
    write_images(path, images_of(64, size=32, classes=2))
    return path, {"digest": describe(path)["digest"], "images": None}


def test_a_configuration_names_images_by_what_they_are_not_by_where_they_are(stored, tmp_path):
    path, _ = stored
    found = describe(path)
    assert found["classes"] == ("class 0", "class 1")
    elsewhere = tmp_path / "copy.h5"
    elsewhere.write_bytes(path.read_bytes())
    assert describe(elsewhere) == found


def test_a_part_of_the_images_is_the_same_part_at_every_call_and_keeps_their_split(stored):
    path, source = stored
    some = load(**{**source, "images": 40}, path=str(path))
    again = load(**{**source, "images": 40}, path=str(path))
    assert len(some) == 40
    assert some.digest() == again.digest()
    assert 0 < some.test.sum() < 40
    assert len(load(**{**source, "images": 1000}, path=str(path))) == 64


def test_images_that_have_changed_since_are_refused(stored, images_of):
    path, source = stored
    load(**source, path=str(path))
    write_images(path, images_of(64, size=32, classes=2, seed=1), overwrite=True)
    with pytest.raises(DataError, match=r"bars.h5 has changed since the study was planned; give the command again"):
        load(**{**source, "digest": source["digest"][:-1] + "x"}, path=str(path))
    with pytest.raises(DataError, match="are missing; name them with `path`"):
        load(**source, path=None)


def test_without_a_fingerprint_galaxies_are_simulated():
    found = load(digest="", images=12, path=None)
    assert len(found) == 12
    assert len(found.classes) == 5


def test_a_cell_says_what_training_and_testing_by_hand_say(stored):
    path, source = stored
    found = train_and_test(data=source, settings=SETTINGS, tests=[MIDPOINT], all_classes=True, path=str(path))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    config, images = TrainConfig(**SETTINGS), load(**source, path=str(path))
    trainer = train(images, config)
    testing = on_device(split(images, config)[1], torch.device("cpu"))
    own = predict(trainer.model, testing, config)
    assert found["error"] == pytest.approx(100 * (1 - own.accuracy))
    assert found["truth"] == own.labels.tolist()
    assert found["predicted"] == own.probabilities.argmax(1).tolist()
    np.testing.assert_allclose(probabilities_of(found), own.probabilities, rtol=1e-4)
    set_solver(trainer.model, changed_solver(trainer.model, {"method": "midpoint", "step": 0.5}))
    other = predict(trainer.model, testing, config)
    assert found["tests"]["RK2, step 0.5"]["error"] == pytest.approx(100 * (1 - other.accuracy))
    assert found["tests"]["RK2, step 0.5"]["rhs"] == other.rhs == 4
    assert [line["epoch"] for line in found["history"]] == [1, 2]


def test_of_the_right_class_alone_the_probability_is_kept(stored):
    path, source = stored
    settings = {**SETTINGS, "epochs": 1}
    all_of_them = train_and_test(data=source, settings=settings, all_classes=True, path=str(path))
    right = train_and_test(data=source, settings=settings, path=str(path))
    assert "logarithms" not in right
    chosen = probabilities_of(all_of_them)[np.arange(len(right["truth"])), right["truth"]]
    np.testing.assert_allclose(right["right"], chosen, rtol=1e-4)


def test_a_solver_that_fails_is_named_and_the_training_s_other_results_stay(stored, monkeypatch):
    path, source = stored
    whole = classifiers.predict

    def failing(model, images, config):
        if model.network.blocks.solver.method == "midpoint":
            raise classifiers.SolveError("too many\nsteps")
        return whole(model, images, config)

    monkeypatch.setattr(classifiers, "predict", failing)
    settings = {**SETTINGS, "epochs": 1}
    found = train_and_test(data=source, settings=settings, tests=[MIDPOINT, HARD], path=str(path))
    assert found["tests"]["RK2, step 0.5"] == {"failure": "too many steps"}
    assert found["tests"]["Euler, step 1"]["rhs"] == 1
    assert found["error"] >= 0


def test_a_killed_training_goes_on_after_its_last_epoch_to_the_same_numbers(stored, tmp_path, monkeypatch):
    path, source = stored
    folder = tmp_path / "runs" / "one"
    whole = train_and_test(data=source, settings=SETTINGS, path=str(path))
    save, kept = TrainRun.save, []

    def killed(run, epoch, state):
        save(run, epoch, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainRun, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train_and_test(data=source, settings=SETTINGS, path=str(path), run=str(folder))
    assert len(open_train_run(folder).history()) == 1
    monkeypatch.setattr(TrainRun, "save", lambda run, *each: kept.append(each[0].epoch) or save(run, *each))
    found = train_and_test(data=source, settings=SETTINGS, path=str(path), run=str(folder))
    assert kept == [2]
    assert found["right"] == whole["right"]
    assert [line["loss"] for line in found["history"]] == [line["loss"] for line in whole["history"]]


def test_a_training_that_has_ended_stays_until_its_result_is_kept_and_is_only_tested_again(
    stored, tmp_path, monkeypatch
):
    path, source = stored
    arguments = {"data": source, "settings": SETTINGS, "path": str(path), "run": str(tmp_path / "runs" / "one")}
    whole = train_and_test(**arguments)
    assert [line["epoch"] for line in open_train_run(arguments["run"]).history()] == [1, 2]
    monkeypatch.setattr(TrainRun, "save", lambda *_: pytest.fail("an epoch was trained again"))
    again = train_and_test(**arguments)
    assert (again["history"], again["right"]) == (whole["history"], whole["right"])


@pytest.mark.parametrize("damaged", ["metrics.jsonl", "checkpoints/last.pt", "config.toml"])
def test_a_training_whose_folder_is_damaged_begins_again(stored, tmp_path, damaged):
    path, source = stored
    folder = tmp_path / "runs" / "one"
    arguments = {"data": source, "settings": SETTINGS, "path": str(path), "run": str(folder)}
    whole = train_and_test(**arguments)
    content = (folder / damaged).read_bytes()
    (folder / damaged).write_bytes(content[len(content) // 2 :])
    again = train_and_test(**arguments)
    assert [line["epoch"] for line in again["history"]] == [1, 2]
    assert again["right"] == whole["right"]


def test_another_training_s_beginning_is_not_gone_on_with(stored, tmp_path, monkeypatch):
    path, source = stored
    folder = tmp_path / "runs" / "one"
    with monkeypatch.context() as patch:
        patch.setattr(classifiers, "predict", lambda *_: pytest.fail("killed before the test"))
        with pytest.raises(pytest.fail.Exception):
            train_and_test(data=source, settings=SETTINGS, path=str(path), run=str(folder))
    other = {**SETTINGS, "seed": 4, "epochs": 1}
    found = train_and_test(data=source, settings=other, path=str(path), run=str(folder))
    assert found["right"] == train_and_test(data=source, settings=other, path=str(path))["right"]


def test_where_a_cell_computes_is_no_part_of_its_fingerprint():
    here, there = (Cell("one", "m:f", {"x": 1}, {"device": device}) for device in ("cpu", "cuda"))
    assert here.fingerprint == there.fingerprint == Cell("one", "m:f", {"x": 1}).fingerprint
    assert json.loads(there.call[1]) == {"x": 1, "device": "cuda"}
