"""What every test stands on: one thread, fixed seeds, no display, and fixtures for double precision."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Set before torch and numpy load: the suite runs one process a core, and more threads only get in each other's way.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Solves are fused where a test asks for it, not where a machine is slow; kernels are kept from one run to the next.
os.environ["PHYSODE_COMPILE"] = "never"
os.environ["PHYSODE_CACHE"] = str(Path(__file__).parent.parent / ".pytest_cache" / "kernels")

import numpy as np
import pytest
import torch
from hypothesis import settings

from physode.datasets.images import Images

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: tests of Ctrl-C could not interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
# No deadline: a busy machine is no failure. Derandomised: the same commit gives the same verdict.
settings.register_profile("physode", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("physode")


def pytest_collection_finish() -> None:
    """Let collections of garbage, which some tests ask for, walk past the million objects that are there for all."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[torch.dtype]:
    """Double precision as torch's default for the length of one test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch.float64
    torch.set_default_dtype(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def make_images(count: int = 96, *, size: int = 12, classes: int = 3, seed: int = 0, test: float = 0.25) -> Images:
    """Bars of a direction and a colour of their own for each class, in noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = rng.integers(0, 60, (count, 3, size, size))
    for row, label in enumerate(y):
        at = rng.integers(2, size - 2)
        place = (slice(at - 1, at + 1), slice(None)) if label % 2 else (slice(None), slice(at - 1, at + 1))
        x[(row, label % 3, *place)] += 150
    return Images(
        x=x.astype(np.uint8),
        y=y.astype(np.int64),
        classes=tuple(f"class {label}" for label in range(classes)),
        test=np.arange(count) < test * count,
        attrs={"name": "bars"},
    )


@pytest.fixture
def bars() -> Images:
    return make_images()


@pytest.fixture
def images_of():
    """Make others like them."""
    return make_images


def unread(path: Path) -> tuple[int, ...]:
    """What the file system says of a path, but for when it was looked at last."""
    found = path.lstat()
    return (
        found.st_mode,
        found.st_ino,
        found.st_nlink,
        found.st_uid,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
