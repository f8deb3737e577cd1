"""Training: learns, goes on to the same numbers, refuses what cannot be."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics

from physode.errors import ConfigError, DataError, SolveError
from physode.images import TrainConfig, Trainer, config, create_train_run, epoch_seconds, open_train_run, predict, train
from physode.images.data import DeviceImages, batches, on_device, split
from physode.models import galaxy
from physode.training.distributed import Place
from physode.training.trainer import learning_rates

HERE = Path(__file__).parents[1]  # where conftest.py is
SMALL = {"model": "galaxy-node", "width": 8, "batch": 24, "lr": 0.05, "crop": 1}


@pytest.fixture
def begin(tmp_path, bars):
    """Make a run of settings."""

    def make(name="run", **settings):
        config = TrainConfig(**{**SMALL, **settings})
        about = {"dataset": "images", "size": 12, "data": tmp_path / "bars.h5"}
        return create_train_run(tmp_path / name, config, **about, classes=bars.classes, digest=bars.digest())

    return make


# Learning.


@pytest.mark.parametrize("model", ["galaxy-node", "galaxy-resnet"])
def test_bars_are_told_apart(model, images_of):
    images = images_of(240)
    told = []
    config = TrainConfig(**{**SMALL, "model": model}, epochs=8, schedule="one-cycle")
    train(images, config, on_epoch=lambda epoch, state: told.append(epoch))
    assert told[-1].test_accuracy == 1.0
    assert told[-1].loss < 0.2 < told[0].loss
    assert [epoch.epoch for epoch in told] == list(range(1, 9))


def test_work_is_that_of_the_blocks(bars):
    told = []
    config = TrainConfig(**SMALL, epochs=1, method="rk4", step=0.5)
    train(bars, config, on_epoch=lambda epoch, state: told.append(epoch))
    assert (told[0].rhs_forward, told[0].accepted, told[0].rejected, told[0].test_rhs) == (8.0, 2.0, 0.0, 8.0)


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"channels_last": True}, {"clip": 0.1}])
def test_ways_to_compute_change_numbers_little(bars, settings):
    losses = []
    for given in ({}, settings):
        told = []
        train(bars, TrainConfig(**SMALL, epochs=1, **given), on_epoch=lambda epoch, state: told.append(epoch))  # noqa: B023
        losses.append(told[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
def test_compiled_blocks_learn_the_same(bars):
    found = [train(bars, TrainConfig(**SMALL, epochs=1, compile=given)).model for given in (False, True)]
    for one, other in zip(*(model.parameters() for model in found), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_classes_are_weighed_by_their_numbers_of_images():
    y = torch.tensor([0] * 8 + [1] * 2)
    images = DeviceImages(torch.zeros(10, 3, 4, 4, dtype=torch.uint8), y)
    for balance, ratio in ((0.0, 1.0), (0.5, 2.0), (1.0, 4.0)):
        weights = images.weights(balance, 3).double()
        assert float(weights[1] / weights[0]) == pytest.approx(ratio)
        assert float(weights[y].mean()) == pytest.approx(1.0)
        assert float(weights[2]) == 0.0


def test_balanced_accuracy_is_scikit_learn_s(bars):
    told = []
    model = train(
        bars, TrainConfig(**SMALL, epochs=1, balance=1.0), on_epoch=lambda epoch, state: told.append(epoch)
    ).model
    testing = on_device(split(bars, TrainConfig(**SMALL))[1], torch.device("cpu"))
    predicted = predict(model, testing, TrainConfig(**SMALL))
    expected = metrics.balanced_accuracy_score(predicted.labels, predicted.probabilities.argmax(1))
    assert told[0].test_balanced == predicted.balanced_accuracy == pytest.approx(expected)


def test_the_choices_of_first_weights_are_those_of_the_models():
    assert config.STARTS == galaxy.STARTS


# How long it will take.


@pytest.mark.parametrize("settings", [{}, {"model": "galaxy-resnet", "schedule": "one-cycle", "precision": "bfloat16"}])
def test_timing_an_epoch_changes_nothing_of_the_training(bars, settings):
    config = TrainConfig(**{**SMALL, "dropout": 0.3, **settings}, epochs=2)
    weights, drawn = [], []
    for timed in (False, True):
        torch.manual_seed(7)
        if timed:
            assert epoch_seconds(bars, config) > 0.0
        drawn.append(torch.rand(3))
        weights.append([*train(bars, config).model.state_dict().values()])
    assert torch.equal(*drawn)
    assert all(map(torch.equal, *weights))


def test_an_epochs_time_is_that_of_all_its_updates_and_of_its_test(bars, monkeypatch):
    ticks = iter(range(100))  # each look at the clock comes a second after the last
    monkeypatch.setattr("physode.images.trainer.time.perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr("physode.images.trainer.predict", lambda *_: None)
    config = TrainConfig(**{**SMALL, "batch": 16}, epochs=1)
    training, testing = split(bars, config)
    tested = len(testing) / 16
    assert epoch_seconds(bars, config, enough=9.0) == len(training) // 16 + tested
    assert next(ticks) == 10  # two images of an update, three updates, and a test, each begun and ended
    assert epoch_seconds(bars, config, enough=7.5) == 8 * (len(training) // 16) + tested
    assert next(ticks) == 17  # two images twice, and the test


# Batches and rates.


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    config = TrainConfig(**SMALL)
    epochs = [torch.cat([batch.places for batch in batches(96, config, epoch)]) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(96)) for order in epochs)
    assert not torch.equal(*epochs)
    assert not torch.equal(epochs[0], next(batches(96, dataclasses.replace(config, seed=1), 0)).places)


def test_images_that_fill_no_batch_wait_for_another_epoch():
    left = [
        set(range(50)) - {p for b in batches(50, TrainConfig(**SMALL), e) for p in b.places.tolist()} for e in (0, 1)
    ]
    assert [len(each) for each in left] == [2, 2]
    assert left[0] != left[1]


def test_fewer_images_than_a_batch_are_one_batch():
    assert [len(batch.places) for batch in batches(10, TrainConfig(**SMALL), 0)] == [10]


def rates_of(total: int, done: int = 0, **settings) -> list[float]:
    """The rates of a training's updates, from one on."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rates = learning_rates(optimizer, 0.5, total=total, done=done, **settings)
    return [rate for rate, _ in zip(rates, range(total - done), strict=False)]


def test_the_step_schedule_falls_at_its_milestones(bars):
    told = []
    config = TrainConfig(**{**SMALL, "lr": 1e-3}, epochs=9)
    train(bars, config, on_epoch=lambda epoch, state: told.append(epoch.lr))
    assert told == pytest.approx([1e-3] * 3 + [1e-4] * 3 + [1e-5] * 3)


def test_one_cycle_rises_to_the_largest_rate_and_falls_to_nearly_0():
    rates = rates_of(2000)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert max(rates) == pytest.approx(0.5, rel=1e-5)
    assert rates.index(max(rates)) == pytest.approx(600, abs=1)
    assert rates[-1] < 1e-4 * 0.5
    assert rates[:599] == sorted(rates[:599])
    assert rates[601:] == sorted(rates[601:], reverse=True)


@pytest.mark.parametrize("settings", [{}, {"falls": lambda share: 0.1 if share >= 0.5 else 1.0}])
def test_rates_go_on_from_any_update(settings):
    assert rates_of(60, 25, **settings) == pytest.approx(rates_of(60, **settings)[25:])


# Splits.


def test_the_data_s_own_split_is_used_unless_another_is_asked_for(bars):
    training, testing = split(bars, TrainConfig())
    assert (len(training), len(testing)) == (72, 24)
    training, testing = split(bars, TrainConfig(test_fraction=0.5, split=3))
    assert (len(training), len(testing)) == (48, 48)
    again = split(bars, TrainConfig(test_fraction=0.5, split=3))[1]
    other = split(bars, TrainConfig(test_fraction=0.5, split=4))[1]
    assert again.digest() == testing.digest() != other.digest()


def test_without_a_split_a_tenth_is_set_aside(bars):
    whole = dataclasses.replace(bars, test=np.zeros(96, dtype=bool))
    assert [len(part) for part in split(whole, TrainConfig())] == [86, 10]


def test_fewer_images_may_be_asked_for(bars):
    assert [len(part) for part in split(bars, TrainConfig(limit=30))] == [30, 24]


def test_one_class_is_refused(bars):
    with pytest.raises(DataError, match=r"all 24 training images are of one class, 'class 1'; a classifier needs two"):
        split(bars.take((bars.y == 1) & ~bars.test | bars.test), TrainConfig())


def test_nothing_left_to_train_on_is_refused(bars):
    with pytest.raises(DataError, match="leave 0 to train on and 24 to test on"):
        split(bars.testing(), TrainConfig())


# Going on.


def test_a_training_that_goes_on_ends_at_identical_numbers(begin, bars):
    whole = begin("whole", epochs=4, schedule="one-cycle", dropout=0.3)
    parts = begin("parts", epochs=4, schedule="one-cycle", dropout=0.3)
    train(bars, whole.config, run=whole)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(epoch, state):
        if epoch.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(bars, parts.config, run=parts, on_epoch=stop)
    train(bars, parts.config, run=parts, resume=True)
    for name, expected in whole.last().model.items():
        assert torch.equal(parts.last().model[name], expected)
    timeless = [{k: v for k, v in line.items() if "seconds" not in k} for line in parts.history()]
    assert timeless == [{k: v for k, v in line.items() if "seconds" not in k} for line in whole.history()]


@pytest.mark.slow
def test_a_kill_loses_at_most_the_current_epoch(tmp_path, begin, bars):
    run = begin(epochs=500)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from conftest import make_images\n"
        "from physode.images import open_train_run, train\n"
        "run = open_train_run(sys.argv[2])\n"
        "train(make_images(), run.config, run=run)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script, str(HERE), str(run.path)], env=environment)
    try:
        deadline = time.monotonic() + 120
        while len(run.history()) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    known = len(run.history())
    assert known >= 3
    assert run.last().epoch in (known, known + 1)
    config = dataclasses.replace(run.config, epochs=run.last().epoch + 1)
    trainer = train(bars, config, run=run, resume=True)
    assert trainer.epoch == config.epochs
    assert [line["epoch"] for line in run.history()][-1] == config.epochs


def test_a_line_lost_between_checkpoint_and_history_is_made_up_for(begin, bars):
    run = begin(epochs=3)
    train(bars, run.config, run=run)
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.path / "metrics.jsonl").write_text("".join(lines[:2]))
    train(bars, dataclasses.replace(run.config, epochs=4), run=run, resume=True)
    assert [line["epoch"] for line in run.history()] == [1, 2, 3, 4]
    assert run.history()[2] == json.loads(lines[2])


def test_other_images_are_not_gone_on_with(begin, bars, images_of):
    run = begin(epochs=1)
    train(bars, run.config, run=run)
    with pytest.raises(DataError, match=r"not the images that .* was begun with, .* as it was then; begin a new run"):
        train(images_of(seed=1), run.config, run=run, resume=True)


def test_the_best_epoch_is_kept_beside_the_last(begin, bars):
    run = begin(epochs=3)
    train(bars, run.config, run=run)
    accuracies = [line["test_accuracy"] for line in run.history()]
    assert run.weights("best").epoch == accuracies.index(max(accuracies)) + 1
    assert run.weights("last").epoch == 3


def test_curves_for_tensorboard_are_written(begin, bars):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = begin(epochs=2)
    train(bars, run.config, run=run, tensorboard=True)
    curves = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("loss")] == [1, 2]
    assert curves.Scalars("test_accuracy")[1].value == pytest.approx(run.history()[1]["test_accuracy"])


# What is refused.


def test_a_checkpoint_of_another_model_is_named(begin, bars):
    run, other = begin("one", epochs=1), begin("other", epochs=1, width=4)
    train(bars, run.config, run=run)
    (run.path / "checkpoints" / "last.pt").rename(other.path / "checkpoints" / "last.pt")
    with pytest.raises(DataError, match=r"last.pt has the weights of another model than the run's settings say"):
        train(bars, other.config, run=other, resume=True)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_malicious_checkpoint_is_not_executed(begin, bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = begin(epochs=1)
    (run.path / "checkpoints" / "last.pt").write_bytes(pickle.dumps({"version": 1, "model": Hostile()}))
    with pytest.raises(DataError, match=r"is not a checkpoint of tensors and numbers, and was not loaded|is damaged"):
        train(bars, run.config, run=run, resume=True)
    torch.save({"version": 1, "model": Hostile()}, run.path / "checkpoints" / "last.pt")
    with pytest.raises(DataError, match="is not a checkpoint of tensors and numbers, and was not loaded"):
        train(bars, run.config, run=run, resume=True)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "change",
    [{"epoch": "2"}, {"epoch": -3}, {"optimizer": {}}, {"optimizer": [1]}, {"best_accuracy": "high"}, {"line": 3}],
)
def test_a_checkpoint_that_holds_something_else_is_named_and_nothing_is_cut(begin, bars, change):
    run = begin(epochs=2)
    train(bars, run.config, run=run)
    last = run.path / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    torch.save({**content, **change}, last)
    with pytest.raises(DataError, match=r"last\.pt is damaged"):
        train(bars, run.config, run=run, resume=True)
    assert len(run.history()) == 2


def test_damaged_bytes_of_a_checkpoint_are_named(begin, bars, rng):
    run = begin(epochs=1)
    train(bars, run.config, run=run)
    last = run.path / "checkpoints" / "last.pt"
    whole, refused = last.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        last.write_bytes(bytes(damaged))
        if damaged != whole:
            with pytest.raises(DataError, match=r"last\.pt is (damaged|not a checkpoint)"):
                run.last()
            refused += 1
    assert refused > 50


def test_a_folder_that_a_kill_left_hardly_begun_is_no_hindrance(tmp_path, begin):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert begin().path.is_dir()


def test_a_block_that_cannot_be_integrated_ends_the_training_with_a_remedy(bars):
    config = TrainConfig(**{**SMALL, "lr": 1e12}, epochs=4)
    with pytest.raises(SolveError, match=r"begin again with a smaller learning rate \(--lr\), or clip gradients"):
        train(bars, config)


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy(bars):
    config = TrainConfig(**{**SMALL, "model": "galaxy-resnet", "norm": "group", "lr": 1e25}, epochs=3)
    with pytest.raises(SolveError, match=r"the loss of epoch \d is (nan|inf); begin again with a smaller"):
        train(bars, config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "alexnet"}, "`model` must be one of node18"),
        ({"model": "node18", "dropout": 0.1}, "the model node18 has no `dropout`"),
        ({"model": "resnet50", "method": "rk4"}, "the model resnet50 has no ODE blocks for `method`"),
        ({"schedule": "cosine"}, "`schedule` must be one of step, one-cycle; got 'cosine'"),
        ({"epochs": 0}, "`epochs` must be a whole number, at least 1; got 0"),
        ({"epochs": 2.5}, "`epochs` must be a whole number, at least 1; got 2.5"),
        ({"seed": -1}, "`seed` must be a whole number, from 0 to 9223372036854775807; got -1"),
        ({"lr": float("inf")}, "`lr` must be above 0, finite; got inf"),
        ({"momentum": 1.0}, "`momentum` must be from 0 to below 1; got 1.0"),
        ({"milestones": (0.5, 30)}, "`milestones` must be numbers above 0, at most 1"),
        ({"test_fraction": 1.0}, "`test_fraction` must be between 0 and 1; got 1.0"),
        ({"method": "rk5"}, "`method` must be one of euler"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def test_settings_come_back_from_the_run_s_folder(begin):
    run = begin(epochs=7, method="rk4", step=0.2, milestones=(0.25, 0.75), clip=1.0)
    assert open_train_run(run.path) == run


def test_runs_of_other_commands_are_told_apart(begin, tmp_path):
    from physode.fitting import open_run

    run = begin()
    with pytest.raises(ConfigError, match=r"is a run of `physode train`, this needs one of `physode fit`"):
        open_run(run.path)
    with pytest.raises(ConfigError, match=r"is not a run: it has no config.toml"):
        open_train_run(tmp_path)


def test_flat_channels_do_not_divide_by_nothing():
    flat = DeviceImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    config = TrainConfig(**{**SMALL, "batch": 4}, epochs=1)
    trainer = Trainer(config, 2, flat, flat, place=Place(0, 1, torch.device("cpu")))
    told = []
    trainer.run(lambda epoch, state: told.append(epoch.loss))
    assert np.isfinite(told[0])
