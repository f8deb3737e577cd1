"""Files of a run that are damaged are named in one line, whatever is wrong with them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from physode.datasets import write_trajectories
from physode.errors import PhysodeError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.plotting import draw_run
from physode.simulators import simulate_van_der_pol

LOOKS = {
    "config.toml": open_run,
    "metrics.jsonl": lambda path: open_run(path).history(),
    "report.json": lambda path: open_run(path).report(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a fit that has ended."""
    home = tmp_path_factory.mktemp("damage")
    data = simulate_van_der_pol(preset="aca", t_end=2.0, points=20)
    write_trajectories(home / "data.h5", data)
    config = effective_config(FitConfig(method="dopri5", rtol=1e-4, optimizer="adam", epochs=3), data)
    found = create_run(home / "run", config, data=[home / "data.h5"], digest=digest(data))
    fit(data, config, run=found)
    return found


@pytest.fixture(params=LOOKS)
def damaged(request, run):
    """One of the files, how it is read, and its bytes; it is whole again afterwards."""
    path = run.path / request.param
    whole = path.read_bytes()
    yield path, lambda: LOOKS[request.param](run.path), whole
    path.unlink()
    path.write_bytes(whole)


def assert_named_or_read(path, look):
    """Return whether the file was refused, which must be in one line that names it, or the run of another version."""
    try:
        look()
    except PhysodeError as error:
        assert str(path) in str(error) or f"{path.parent} is a run of version" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return True
    return False


def test_flipped_bits_are_named_or_read_as_what_they_say(damaged):
    path, look, whole = damaged
    refused = 0
    for bit in map(int, np.random.default_rng(0).integers(8 * len(whole), size=300)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        refused += assert_named_or_read(path, look)
    assert refused > 100


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\n",
        b"\x00" * 100 + b"\n",
        b"[]\n",
        b"3\n",
        b"null\n",
        b'"words"\n',
        b"{}\n",
        b'{"epoch": "one"}\n',
        b'{"epoch": 1.5, "loss": 1}\n',
        b'{"epoch": true, "loss": 1}\n',
        b'{"epoch": 1, "loss": "small"}\n',
        b'{"epoch": 1, "loss": 1, "constants": {"mu": 3}}\n',
        b'{"epoch": 1, "loss": 1, "colour": 3}\n',
        b"[" * 100_000 + b"\n",
        b"1" * 5000 + b"\n",
        b'{"constants": 3}\n',
    ],
    ids=lambda content: str(content[:30]),
)
def test_other_content_is_named(damaged, content):
    path, look, _ = damaged
    path.write_bytes(content)
    assert assert_named_or_read(path, look)


def test_a_pipe_is_refused_before_it_is_opened(damaged):
    path, look, _ = damaged
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PhysodeError, match=f"{path.name}"):
        look()


def test_figures_of_a_damaged_report_or_history_name_it(run):
    rng = np.random.default_rng(1)
    for name in ("report.json", "metrics.jsonl"):
        path = run.path / name
        whole = path.read_bytes()
        for bit in map(int, rng.integers(8 * len(whole), size=12)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert_named_or_read(path, lambda: draw_run(run, only=("constants",), overwrite=True))
        path.write_bytes(whole)
