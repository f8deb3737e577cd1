"""Exported classifiers give what the trained ones give, for any number of images, without physode."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physode.datasets.images import Images
from physode.errors import ConfigError, DataError
from physode.images import TrainConfig, create_train_run, export_classifier, predict_images, train
from physode.images.evaluation import trained_model
from physode.images.export import FORMATS, classifier_program
from physode.metrics import tempered
from physode.models import Solver, build_classifier, set_solver

FIXED = {"method": "rk4", "step": 0.25}


@pytest.fixture
def trained(tmp_path, bars):
    """Train a small network for an epoch, and return its run."""

    def make(name="run", size=12, **settings):
        config = TrainConfig(**{"width": 8, "batch": 24, "epochs": 1, "lr": 0.05, **settings})
        about = {"dataset": "images", "size": size, "data": tmp_path / "bars.h5"}
        run = create_train_run(tmp_path / name, config, **about, classes=bars.classes, digest=bars.digest())
        train(bars, config, run=run)
        return run

    return make


def noise(count, size=12, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def told_by(run, x, temperature):
    """Return the probabilities of the eager model with fixed steps."""
    model, _ = trained_model(run)
    set_solver(model, Solver(**FIXED))
    with torch.no_grad():
        own = model(torch.from_numpy(x)).double().softmax(1).numpy()
    return tempered(own, temperature)


def test_a_program_gives_the_models_probabilities_for_any_number_of_images(trained, tmp_path):
    run, path = trained(model="galaxy-node", norm="group", timed=True), tmp_path / "bars.pt2"
    done = export_classifier(run, path, solver=FIXED, temperature=1.7)
    about = {"physode.json": ""}
    program = torch.export.load(path, extra_files=about).module()
    for count in (1, 2, 7):
        x = noise(count)
        np.testing.assert_allclose(program(torch.from_numpy(x)).detach(), told_by(run, x, 1.7), atol=1e-5)
    content = json.loads(about["physode.json"])
    assert content["classes"] == list(run.classes) == list(done.classes)
    assert (content["shape"], content["pixels"], content["solver"]) == ([3, 12, 12], "bytes", "rk4, step 0.25")


@pytest.mark.slow
def test_onnx_gives_the_models_probabilities_for_any_number_of_images(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run, path = trained(model="galaxy-node", norm="group", timed=True), tmp_path / "bars.onnx"
    export_classifier(run, path, solver=FIXED, temperature=1.7)
    session = runtime.InferenceSession(path)
    (given,) = session.get_inputs()
    assert (given.name, given.shape, given.type) == ("images", ["batch", 3, 12, 12], "tensor(uint8)")
    for count in (1, 2, 7):
        x = noise(count)
        (shares,) = session.run(["probabilities"], {"images": x})
        np.testing.assert_allclose(shares, told_by(run, x, 1.7), atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["physode.json"])["classes"] == list(run.classes)


def test_a_residual_network_is_exported_as_it_was_trained(trained, tmp_path):
    run, path = trained(model="galaxy-resnet"), tmp_path / "bars.pt2"
    assert export_classifier(run, path, pixels="floats").solver == "euler, step 1"
    x = noise(5)
    images = Images(x, np.zeros(5, np.int64), ("unknown",), np.zeros(5, bool))
    shares = torch.export.load(path).module()(torch.from_numpy(x).float() / 255).detach()
    np.testing.assert_allclose(shares, predict_images(run, images).probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "solver"),
    [
        ("galaxy-node", Solver(method="dopri5", step=0.5, gradient="adjoint")),
        pytest.param("node18", Solver(method="midpoint"), marks=pytest.mark.slow),
    ],
)
def test_other_networks_and_methods_are_programs_too(model, solver):
    torch.manual_seed(3)
    network = build_classifier(model, 4, width=4, solver=solver).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    program = classifier_program(network, (3, 16, 20), pixels="floats").module()
    x = torch.rand(3, 3, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(program(x), network(x).softmax(1), rtol=1e-4, atol=1e-6)


def test_steps_that_are_not_known_beforehand_are_refused_with_the_remedy(trained, tmp_path):
    run = trained(model="galaxy-node")
    for solver, why in (
        (None, "adapt their steps"),
        ({"method": "dopri5"}, "adapt"),
        ({"method": "implicit_midpoint"}, "equations"),
    ):
        with pytest.raises(ConfigError, match=rf"{why}.*physode export {run.path} --method rk4 --step 0\.25"):
            export_classifier(run, tmp_path / "bars.pt2", solver=solver)
    assert not (tmp_path / "bars.pt2").exists()


def test_what_cannot_be_is_refused_before_the_work(trained, tmp_path):
    run = trained(model="galaxy-resnet", size=None)
    with pytest.raises(ConfigError, match="oblong images; give their shape"):
        export_classifier(run, tmp_path / "bars.pt2")
    with pytest.raises(ConfigError, match=r"ends in none of \.pt2, \.onnx"):
        export_classifier(run, tmp_path / "bars.h5", shape=(12, 12))
    with pytest.raises(ConfigError, match="`pixels` must be one of bytes, floats"):
        export_classifier(run, tmp_path / "bars.pt2", shape=(12, 12), pixels="words")
    (tmp_path / "bars.pt2").touch()
    with pytest.raises(DataError, match="exists already"):
        export_classifier(run, tmp_path / "bars.pt2", shape=(12, 12))
    assert set(FORMATS) == {".pt2", ".onnx"}
