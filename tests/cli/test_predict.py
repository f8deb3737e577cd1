"""``physode predict``: catalogues of images that have no labels."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets.images import read_images, write_images
from physode.images import open_train_run, predict_images
from physode.metrics import fitted_temperature, tempered

pillow = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn")

SMALL = ("--model", "galaxy-resnet", "--width", "8", "--batch", "24", "--epochs", "2", "--lr", "0.05")


@pytest.fixture
def predict(tmp_path, monkeypatch, images_of):
    """Call ``physode predict`` on a trained run, beside new images, ``new``, and labelled ones, ``bars.h5``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "bars.h5", images_of(240))
    new = images_of(8, seed=1)
    for number, pixels in enumerate(new.x):
        path = tmp_path / "new" / f"{number % 2}" / f"bar-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)
    result = CliRunner().invoke(cli, ["train", "bars.h5", *SMALL, "--name", "bars", "--no-tensorboard"])
    assert result.exit_code == 0, result.output
    return lambda *words: CliRunner().invoke(cli, ["predict", "runs/bars", *map(str, words)])


def rows_of(path):
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def test_a_catalogue_names_each_image_its_class_and_honest_probabilities(predict):
    result = predict("new", "--json")
    assert result.exit_code == 0, result.output
    told, rows = json.loads(result.stdout), rows_of("catalogue.csv")
    assert [row["image"] for row in rows] == sorted(f"{number % 2}/bar-{number}.png" for number in range(8))
    classes = [name[2:-1] for name in rows[0] if name.startswith("p(")]
    assert classes == ["class 0", "class 1", "class 2"]
    shares = np.array([[float(row[f"p({name})"]) for name in classes] for row in rows])
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-12)
    assert [row["class"] for row in rows] == [classes[number] for number in shares.argmax(1)]
    np.testing.assert_array_equal([float(row["probability"]) for row in rows], shares.max(1))
    with h5py.File("runs/bars/evaluations/test.h5") as file:
        probabilities, labels = file["probabilities"][()], file["labels"][()]
    assert told["temperature"] == fitted_temperature(probabilities, labels)
    assert sum(told["classes"].values()) == 8


@pytest.mark.slow
def test_raw_probabilities_are_the_networks_own_and_need_no_test_images(predict):
    Path("bars.h5").unlink()
    assert "not calibrated" in predict("new").stderr
    assert predict("new", "--raw", "--out", "raw.csv").exit_code == 0
    assert rows_of("raw.csv") == rows_of("catalogue.csv")
    run = open_train_run("runs/bars")
    images = read_images("new", size=12)
    own = predict_images(run, images)
    by_name = {row["image"]: row for row in rows_of("raw.csv")}
    for name, shares in zip(own.names, own.probabilities, strict=True):
        assert float(by_name[name]["p(class 1)"]) == pytest.approx(shares[1], rel=1e-6)
    half = predict_images(run, images, temperature=2.0)
    np.testing.assert_allclose(half.probabilities, tempered(own.probabilities, 2.0), rtol=1e-9)
    assert repr(half).startswith("Catalogue of 8 images\n")


def test_mistakes_get_one_line_before_the_work(predict, tmp_path):
    (tmp_path / "fit").mkdir()
    cases = {
        "none does not exist": ("none",),
        "is neither .csv nor .parquet": ("new", "--out", "catalogue.txt"),
        "folder": ("new", "--out", "no/catalogue.csv"),
        "--batch": ("new", "--batch", "0"),
        "name the data": (),
    }
    for message, words in cases.items():
        result = predict(*words)
        assert result.exit_code in (1, 2)
        assert message in result.stderr
        assert "Traceback" not in result.stderr
        assert not list(Path("runs/bars").glob("evaluations/*"))
    (tmp_path / "catalogue.csv").touch()
    result = CliRunner().invoke(cli, ["predict", "fit", "new"])
    assert result.exit_code == 1
    assert "fit is not a run" in result.stderr


def test_a_catalogue_is_not_replaced_unasked(predict):
    assert predict("new").exit_code == 0
    again = predict("new")
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert predict("new", "--force").exit_code == 0
