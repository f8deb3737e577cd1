"""Checkpoints are what was written, or refused by name: no flipped bit comes to other numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physode.datasets import write_trajectories
from physode.errors import DataError
from physode.fitting import FitConfig, create_run, effective_config, fit
from physode.fitting.data import digest
from physode.simulators import simulate_van_der_pol
from physode.training.checkpoints import read_tensors, write_tensors

CONTENT = {
    "weights": {"w": torch.arange(40.0, dtype=torch.float64), "b": torch.ones(3)},
    "loss": 0.25,
    "epoch": 7,
    "finished": "converged",
}


def read(path):
    return read_tensors(path, version=1, names=set(CONTENT))


def assert_same(found):
    assert {name: found[name] for name in ("loss", "epoch", "finished")} == {
        "loss": 0.25,
        "epoch": 7,
        "finished": "converged",
    }
    assert found["weights"].keys() == CONTENT["weights"].keys()
    for name, values in CONTENT["weights"].items():
        assert torch.equal(found["weights"][name], values)


def write_as_before(path):
    """Write as physode did before it kept a SHA-256."""
    torch.save({"version": 1, **CONTENT}, path)


@pytest.fixture(params=["with a digest", "without"])
def path(request, tmp_path):
    path = tmp_path / "last.pt"
    write_tensors(path, CONTENT, version=1) if request.param == "with a digest" else write_as_before(path)
    return path


def test_checkpoints_with_and_without_a_digest_are_read_and_torch_alone_reads_both(path):
    assert_same(read(path))
    assert_same(torch.load(path, weights_only=True))


def test_no_flipped_bit_of_a_checkpoint_is_read_as_other_numbers(path):
    whole = path.read_bytes()
    refused, bits = 0, np.random.default_rng(0).choice(8 * len(whole), 500, replace=False)
    for bit in map(int, bits):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert_same(read(path))
        except DataError as error:
            assert str(error).startswith(f"{path} ")  # noqa: PT017 - refused, or read as it was: both are right
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 200


def test_a_checkpoint_that_was_cut_is_refused(path):
    whole = path.read_bytes()
    for size in range(0, len(whole) - 73, 97):  # as far as the digest
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"last\.pt is (damaged|not a checkpoint)"):
            read(path)


def test_a_digest_that_is_not_the_content_s_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "last.pt"
    write_tensors(path, CONTENT, version=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + (b"0" if whole[-1:] != b"0" else b"1"))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path} is damaged: its checksum is another; begin the run again (--force)"


def test_a_fit_does_not_go_on_from_a_damaged_checkpoint(tmp_path):
    data = simulate_van_der_pol(preset="aca", t_end=2.0, points=20)
    write_trajectories(tmp_path / "data.h5", data)
    config = effective_config(FitConfig(method="dopri5", rtol=1e-4, optimizer="adam", epochs=2), data)
    run = create_run(tmp_path / "run", config, data=[tmp_path / "data.h5"], digest=digest(data))
    fit(data, config, run=run)
    last, rng = run.path / "checkpoints" / "last.pt", np.random.default_rng(0)
    whole, history = last.read_bytes(), run.history()
    for bit in map(int, rng.integers(8 * (len(whole) - 73), size=150)):  # the digest excepted, and its length
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        last.write_bytes(damaged)
        with pytest.raises(DataError, match=r"last\.pt is (damaged|not a checkpoint)"):
            fit(data, config, run=run, resume=True)
    assert run.history() == history
