"""What is done on a GPU, piece by piece: tests, ensembles, networks on images, the hopper, galaxies; its results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = [
    "NETWORKS",
    "Settings",
    "begun",
    "cuda_tests",
    "ensembles",
    "galaxies",
    "hopper",
    "json_lines",
    "report_ensembles",
    "report_galaxies",
    "report_hopper",
    "report_images",
    "result",
    "train_network",
]


@dataclass(frozen=True)
class Settings:
    """What pieces are told.

    Attributes
    ----------
    device, work
        Where to compute, and to keep what is done.
    batch, rounds
        Of the ensembles.
    images, epochs, train_batch, width, limit_images
        Of the classifiers: the archive, and the training of each; None for all images, and the networks' own width.
    precision, tight_precision
        Mixed precision of the networks at tolerances of 1e-2, and of those at 1e-5.
    hopper, galaxies
        Settings of the two studies beside those of their full presets.
    jobs
        Cells of the hopper at a time.
    """

    device: str = "cuda"
    work: Path = Path("build/gpu")
    batch: int = 100_000
    rounds: int = 5
    images: Path = Path("../shared/data/cifar10_jpeg_all60000.tar.xz")
    epochs: int = 5
    train_batch: int = 128
    width: int | None = None
    limit_images: int | None = None
    precision: str = "bfloat16"
    tight_precision: str = "float32"
    hopper: Mapping[str, Any] = None  # type: ignore[assignment]
    galaxies: Mapping[str, Any] = None  # type: ignore[assignment]
    jobs: int = 1


def cuda_tests(settings: Settings) -> dict[str, Any]:
    """Run the tests that need a GPU."""
    files = ["tests/test_cuda.py", "tests/fused/test_cuda.py", "tests/fused/test_cuda_source.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "no output")
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    rows = [{"outcome": word, "tests": number} for word, number in counts.items()]
    print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
    if not counts:
        raise SystemExit(f"tests: none ran, {last}")
    finding = {
        "paper": "the same answers on a GPU as on the CPU",
        "ours": last.strip("= "),
        "agrees": done.returncode == 0 and counts.get("passed", 0) > 0,
    }
    return result("tests", "Tests on a GPU", settings, rows, [finding], claims="asked")


def ensembles(settings: Settings) -> dict[str, Any]:
    """Time Lorenz's system and three bodies beside torchdiffeq and diffrax; go on after rows that are there."""
    from benchmarks import gpu

    kept = _rows_of_ensembles(settings)
    settings.work.mkdir(parents=True, exist_ok=True)
    done = [tuple(row[name] for name in gpu.ABOUT) for row in json_lines(kept)]
    for row in gpu.rows(settings.batch, settings.rounds, settings.device, done):
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    found = report_ensembles(settings)
    kept.unlink()  # the next time all is measured anew
    assert found is not None
    return found


def report_ensembles(settings: Settings) -> dict[str, Any] | None:
    """Return the rows that are there; None without any."""
    rows = json_lines(_rows_of_ensembles(settings))
    title = f"Ensembles of {settings.batch:,} samples, physode beside its peers"
    return result("ensembles", title, settings, rows, []) if rows else None


def _rows_of_ensembles(settings: Settings) -> Path:
    return settings.work / f"ensembles-{settings.device}-{settings.batch}.jsonl"


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line, but for a last one that is cut off; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "node18-aca": {"model": "node18", "method": "heun_euler", "rtol": 1e-2, "atol": 1e-2, "gradient": "aca"},
    "node18-adjoint": {"model": "node18", "method": "dopri5", "rtol": 1e-5, "atol": 1e-5, "gradient": "adjoint"},
    "node18-naive": {"model": "node18", "method": "dopri5", "rtol": 1e-5, "atol": 1e-5, "gradient": "naive-steps"},
    "resnet18": {"model": "resnet18"},
}
"""Those of Fig. 7a, and ResNet18: in the order in which a short budget is best spent."""


def train_network(name: str, settings: Settings) -> dict[str, Any]:
    """Train one network, or go on with its training, and report on all that were begun."""
    from physode.experiments.training import trained
    from physode.images import TrainConfig, create_train_run, open_train_run, train

    solver = NETWORKS[name]
    tight = solver.get("rtol") == 1e-5
    config = TrainConfig(
        **solver,
        epochs=settings.epochs,
        batch=settings.train_batch,
        schedule="one-cycle",
        precision=settings.tight_precision if tight else settings.precision,
        width=settings.width,
        limit=settings.limit_images,
        device=settings.device,
    )
    images = _images(settings)
    about = {"dataset": "images", "size": None, "classes": images.classes}
    folder = settings.work / "runs" / name
    trained(train, images, config, str(folder), opened=open_train_run, created=create_train_run, about=about)
    found = report_images(settings)
    assert found is not None
    return found


def _images(settings: Settings) -> Any:
    """Return the images, decoded once."""
    from physode.datasets.images import read_images, write_images

    decoded = settings.work / "images.h5"
    if not decoded.exists():
        if not settings.images.exists():
            raise FileNotFoundError(f"{settings.images} is not there; name the images with --images")
        write_images(decoded, read_images(settings.images, cache=False))
    return read_images(decoded)


def report_images(settings: Settings) -> dict[str, Any] | None:
    """Return what is known of the trainings that were begun, each after the epochs that all of them have.

    None where none was begun.
    """
    from physode.images import open_train_run

    runs = {name: open_train_run(settings.work / "runs" / name) for name in NETWORKS if begun(settings, name)}
    if not runs:
        return None
    histories = {name: run.history() for name, run in runs.items()}
    equal = min(len(history) for history in histories.values())
    rows = []
    for name, run in runs.items():
        history = histories[name][:equal]
        last = history[-1]
        peaks = [epoch["memory"] for epoch in history if epoch.get("memory")]
        rows.append(
            {
                "network": name,
                "precision": run.config.precision,
                "epochs": equal,
                "of": len(histories[name]),
                "test error (%)": 100.0 * (1.0 - last["test_accuracy"]),
                "training loss": last["loss"],
                "seconds of training": sum(epoch["seconds"] for epoch in history),
                "peak memory (MB)": max(peaks) / 2**20 if peaks else None,
                "evaluations a batch, forward": last["rhs_forward"],
                "evaluations a batch, back": last["rhs_backward"],
            }
        )
    data = next(iter(runs.values())).dataset
    few = f", {settings.limit_images:,} training images" if settings.limit_images else ""
    subject = f"NODE18 and ResNet18 on {data} ({settings.images.name}{few}), one cycle of {settings.epochs} epochs"
    return result("images", f"{subject}, one run each", settings, rows, [])


def begun(settings: Settings, name: str) -> bool:
    """Whether a training has an epoch to show."""
    history = settings.work / "runs" / name / "metrics.jsonl"
    return history.exists() and bool(history.read_text(encoding="utf-8").strip())


def hopper(settings: Settings) -> dict[str, Any]:
    """Go on with the full preset of Table 4."""
    return _study("table4", settings, _changes("table4", settings), jobs=settings.jobs)


def galaxies(settings: Settings) -> dict[str, Any]:
    """Go on with the galaxy paper's three networks on its number of simulated galaxies, one split."""
    changes = _changes("galaxy-table4", settings)
    found = _study("galaxy-table4", settings, changes)
    return found | {"name": "gpu-galaxies", "title": f"{found['title']}; {changes['epochs']} epochs, one split"}


def report_hopper(settings: Settings) -> dict[str, Any] | None:
    """Return how far the trainings of Table 4 are; None where none was begun."""
    return _trainings("table4", "hopper", settings, {"test MSE x 100": ("test_mse_by_range", 100.0)})


def report_galaxies(settings: Settings) -> dict[str, Any] | None:
    """Return how far the trainings on galaxies are; None where none was begun."""
    return _trainings("galaxy-table4", "galaxies", settings, {"test accuracy (%)": ("test_accuracy", 100.0)})


def _changes(name: str, settings: Settings) -> dict[str, Any]:
    if name == "table4":
        return dict(settings.hopper or {})
    return {"splits": 1, "epochs": 12, **(settings.galaxies or {})}


def _study(name: str, settings: Settings, changes: Mapping[str, Any], jobs: int = 1) -> dict[str, Any]:
    from physode.errors import ConfigError
    from physode.experiments.study import carry_out, configuration

    config = replace(configuration(name), **changes)
    done = carry_out(name, config, folder=settings.work, jobs=jobs, device=settings.device, overwrite=True)
    if len(done.failures) == done.cells:
        raise ConfigError(next(iter(done.failures.values())))
    found: dict[str, Any] = json.loads(done.files["data"].read_text(encoding="utf-8"))
    found["made"]["device"] = _device(settings)
    return found


def _trainings(
    name: str, piece: str, settings: Settings, numbers: Mapping[str, tuple[str, float]]
) -> dict[str, Any] | None:
    """Return a row for each training of a study that has an epoch: those that are over, and those begun.

    Parameters
    ----------
    name, piece
        The study, and the piece that carries it out.
    numbers
        By column, what of the last epoch it shows, and times what.
    """
    from physode.experiments.study import configuration

    config = replace(configuration(name), **_changes(name, settings))
    home = settings.work / config.folder
    histories = {path.parent.name: json_lines(path) for path in home.glob("runs/*/metrics.jsonl")}
    for path in home.glob("cells/*.json"):
        ended = json.loads(path.read_text(encoding="utf-8"))
        if ended["failure"] is None:
            histories[path.stem] = ended["result"]["history"]
    rows = [
        {
            "training": training.replace("-", " "),
            "epochs": len(history),
            "of": config.epochs,
            **{column: times * history[-1][key] for column, (key, times) in numbers.items()},
            "seconds of training": sum(epoch["seconds"] for epoch in history),
            "evaluations a batch": history[-1]["rhs_forward"] + history[-1]["rhs_backward"] or None,
        }
        for training, history in sorted(histories.items())
        if history
    ]
    return result(piece, f"Trainings of {name} so far", settings, rows, []) if rows else None


_TOLD = {
    "ensembles": ("batch", "rounds"),
    "images": ("epochs", "train_batch", "width", "limit_images", "precision", "tight_precision"),
}
"""The settings that a result's configuration names, beside the device."""


def result(
    name: str,
    title: str,
    settings: Settings,
    rows: Sequence[Mapping[str, Any]],
    findings: Sequence[Mapping[str, Any]],
    claims: str = "the paper",
) -> dict[str, Any]:
    """Return a result as ``physode reproduce`` writes it, without places of this machine."""
    from physode.datasets.provenance import provenance

    config = {key: getattr(settings, key) for key in ("device", *_TOLD.get(name, ()))}
    made = provenance() | {"device": _device(settings)}
    about = {"name": f"gpu-{name}", "title": title, "claims": claims, "config": config}
    return about | {"rows": list(rows), "findings": list(findings), "made": made}


def _device(settings: Settings) -> str:
    import torch

    return torch.cuda.get_device_name() if settings.device.startswith("cuda") else "a CPU"
