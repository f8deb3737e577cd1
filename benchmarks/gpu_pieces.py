"""``benchmarks/gpu.sh``: what needs a GPU, piece by piece, in the order of its worth.

Each piece runs in a process of its own, which is stopped after ``--limit`` seconds; a training or a study that was
stopped goes on there with the next call. What is done is not done again, unless ``--again`` asks for it. No piece is
begun that could not run for a minute within ``--within`` seconds.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["PIECES", "Piece", "Settings", "main", "report_images"]

_STOPPED, _MISSING = 4, 5  # exit codes of a piece
_PATIENCE = 30.0  # seconds that a piece has to write what it has, and then to be begun at all


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
    finding = {
        "paper": "the same answers on a GPU as on the CPU",
        "ours": last.strip("= "),
        "agrees": done.returncode == 0 and counts.get("passed", 0) > 0,
    }
    return _result("tests", "Tests on a GPU", settings, rows, [finding], claims="asked")


def ensembles(settings: Settings) -> dict[str, Any]:
    """Time Lorenz's system and three bodies beside torchdiffeq and diffrax."""
    from benchmarks import gpu

    rows = list(gpu.rows(settings.batch, settings.rounds, settings.device))
    return _result(
        "ensembles", f"Ensembles of {settings.batch:,} samples, physode beside its peers", settings, rows, []
    )


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
    return report_images(settings)


def _images(settings: Settings) -> Any:
    """Return the images, decoded once."""
    from physode.datasets.images import read_images, write_images

    decoded = settings.work / "images.h5"
    if not decoded.exists():
        if not settings.images.exists():
            raise FileNotFoundError(f"{settings.images} is not there; name the images with --images")
        write_images(decoded, read_images(settings.images, cache=False))
    return read_images(decoded)


def report_images(settings: Settings) -> dict[str, Any]:
    """Return what is known of the trainings that were begun, each after the epochs that all of them have."""
    from physode.images import open_train_run

    runs = {name: open_train_run(settings.work / "runs" / name) for name in NETWORKS if _begun(settings, name)}
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
    subject = (
        f"NODE18 and ResNet18 on {data} ({settings.images.name}), one cycle of {settings.epochs} epochs, one run each"
    )
    return _result("images", subject, settings, rows, [])


def _begun(settings: Settings, name: str) -> bool:
    """Whether a training has an epoch to show."""
    history = settings.work / "runs" / name / "metrics.jsonl"
    return history.exists() and bool(history.read_text(encoding="utf-8").strip())


def hopper(settings: Settings) -> dict[str, Any]:
    """Go on with the full preset of Table 4."""
    return _study("table4", settings, settings.hopper or {}, jobs=settings.jobs)


def galaxies(settings: Settings) -> dict[str, Any]:
    """Go on with the galaxy paper's three networks on its number of simulated galaxies, one split."""
    changes = {"splits": 1, "epochs": 12, **(settings.galaxies or {})}
    found = _study("galaxy-table4", settings, changes)
    return found | {"name": "gpu-galaxies", "title": f"{found['title']}; {changes['epochs']} epochs, one split"}


def _study(name: str, settings: Settings, changes: Mapping[str, Any], jobs: int = 1) -> dict[str, Any]:
    from physode.experiments.study import carry_out, configuration

    config = replace(configuration(name), **changes)
    done = carry_out(name, config, folder=settings.work, jobs=jobs, device=settings.device, overwrite=True)
    found: dict[str, Any] = json.loads(done.files["data"].read_text(encoding="utf-8"))
    found["made"]["device"] = _device(settings)
    return found


_TOLD = {
    "ensembles": ("batch", "rounds"),
    "images": ("epochs", "train_batch", "width", "limit_images", "precision", "tight_precision"),
}
"""The settings that a result's configuration names, beside the device."""


def _result(
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


@dataclass(frozen=True)
class Piece:
    """Something that is run by itself.

    Attributes
    ----------
    name, run
        What it is called, and what it does.
    group
        Further pieces of one result have the same.
    """

    name: str
    run: Callable[[Settings], dict[str, Any]]
    group: str = ""


PIECES: Mapping[str, Piece] = {
    piece.name: piece
    for piece in (
        Piece("tests", cuda_tests),
        Piece("ensembles", ensembles),
        *(Piece(name, lambda settings, name=name: train_network(name, settings), "images") for name in NETWORKS),
        Piece("hopper", hopper),
        Piece("galaxies", galaxies),
    )
}
"""All pieces, in the order of their worth."""


def chosen_pieces(names: Sequence[str]) -> Iterator[Piece]:
    """Yield pieces by their names or those of their groups, in their order; all without a name.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    known = {*PIECES, *(piece.group for piece in PIECES.values() if piece.group)}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"unknown pieces {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    yield from (piece for piece in PIECES.values() if not names or {piece.name, piece.group} & set(names))


def run_here(piece: Piece, settings: Settings, out: Path) -> int:
    """Run a piece in this process, write its result, and return the exit code."""
    from physode.errors import ConfigError

    try:
        found = piece.run(settings)
    except KeyboardInterrupt:
        print(f"{piece.name}: stopped; the same command goes on", flush=True)
        return _STOPPED
    except (ImportError, FileNotFoundError, ConfigError) as error:
        print(f"{piece.name}: left out, {error}", flush=True)
        return _MISSING
    finally:
        if piece.group and any(_begun(settings, name) for name in NETWORKS):
            write_result(report_images(settings), out)
    write_result(found, out)
    return 0


def write_result(found: Mapping[str, Any], out: Path) -> None:
    """Write a result as JSON and as Markdown."""
    from physode.datasets.atomic_write import write_text
    from physode.experiments.report import Finding, Result, markdown

    findings = [Finding(**finding) for finding in found["findings"]]
    page = Result(
        found["name"], found["title"], found["config"], found["rows"], findings, found.get("claims", "the paper")
    )
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / f"{found['name']}.json", json.dumps(found, indent=1) + "\n", overwrite=True)
    write_text(out / f"{found['name']}.md", f"{markdown(page)}\nOn {found['made']['device']}.\n", overwrite=True)


def run_apart(piece: Piece, arguments: Sequence[str], limit: float) -> int:
    """Run a piece in a process of its own, stop it after so many seconds, and return its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gpu_pieces", "--one", piece.name, *arguments])
    try:
        return process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=_PATIENCE) or _STOPPED
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return _STOPPED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    default = Settings()
    made = argparse.ArgumentParser(
        prog="benchmarks/gpu.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  benchmarks/gpu.sh --within 560                 as many pieces as fit, within a call of ten minutes\n"
        "  benchmarks/gpu.sh --pieces tests ensembles     two of them\n"
        "  benchmarks/gpu.sh --pieces images --epochs 10  NODE18 three times and ResNet18\n"
        "  benchmarks/gpu.sh --device cpu --tiny          everything but the device, in minutes\n",
    )
    made.add_argument("--pieces", nargs="+", default=[], help=f"some of: {', '.join(PIECES)}, images (default all)")
    made.add_argument("--limit", type=float, default=480.0, help="seconds a piece (default 480)")
    made.add_argument("--within", type=float, default=float("inf"), help="seconds all together (default: no limit)")
    made.add_argument("--resume", action="store_true", help="leave out pieces that are done (the default)")
    made.add_argument("--again", action="store_true", help="do what is done again; trainings go on from where they are")
    made.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script")
    made.add_argument("--one", choices=list(PIECES), help=argparse.SUPPRESS)
    made.add_argument("--out", type=Path, help="where results go (default $OUT, else build/gpu/results)")
    made.add_argument("--device", default=default.device, help="cuda (default), or cpu to try the script")
    made.add_argument("--work", type=Path, default=default.work, help="where what is done is kept (default build/gpu)")
    made.add_argument("--images", type=Path, default=default.images, help=f"labelled images (default {default.images})")
    made.add_argument("--epochs", type=int, default=default.epochs, help="of the networks on images (default 5)")
    precisions = ("float32", "bfloat16", "float16")
    made.add_argument("--precision", choices=precisions, default=default.precision, help="at 1e-2 (default bfloat16)")
    made.add_argument(
        "--tight-precision",
        choices=precisions,
        default=default.tight_precision,
        help="of the networks at 1e-5, below what bfloat16 resolves (default float32)",
    )
    made.add_argument("--jobs", type=int, default=default.jobs, help="cells of the hopper at a time (default 1)")
    return made


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Return the settings that were chosen."""
    names = ("device", "work", "images", "epochs", "precision", "tight_precision", "jobs")
    settings = Settings(**{name: getattr(chosen, name) for name in names})
    if not chosen.tiny:
        return settings
    return replace(
        settings,
        batch=100,
        rounds=1,
        epochs=1,
        train_batch=8,
        width=2,
        limit_images=16,
        hopper={"preset": "tiny", "sequences": 6, "epochs": 1, "shares": (0.5,), "repeats": (1,), "models": ("aca",)},
        galaxies={"preset": "tiny", "images": 30, "width": 2, "batch": 15, "epochs": 1},
    )


def main() -> None:
    """Run pieces, each apart, and say what became of them."""
    import os

    chosen = parser().parse_args()
    settings = settings_of(chosen)
    out = chosen.out or Path(os.environ.get("OUT") or settings.work / "results")
    if chosen.one:
        sys.exit(run_here(PIECES[chosen.one], settings, out))
    try:
        pieces = list(chosen_pieces(chosen.pieces))
    except ValueError as error:
        parser().error(str(error))
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--again", "--resume")]
    marks = settings.work / "done"
    marks.mkdir(parents=True, exist_ok=True)
    begin, outcomes = time.monotonic(), {}
    for piece in pieces:
        mark = marks / f"{piece.name}{'-tiny' if chosen.tiny else ''}"
        left = chosen.within - (time.monotonic() - begin) - _PATIENCE
        if mark.exists() and not chosen.again:
            outcomes[piece.name] = "done before"
        elif left < _PATIENCE:
            outcomes[piece.name] = "not begun"
        else:
            print(f"{piece.name} ...", flush=True)
            started = time.monotonic()
            code = run_apart(piece, arguments, min(chosen.limit, left))
            if code == 0:
                mark.touch()
            what = {0: "done", _STOPPED: "stopped, goes on", _MISSING: "left out"}.get(code, f"failed ({code})")
            outcomes[piece.name] = f"{what} after {time.monotonic() - started:.0f} s"
    width = max(map(len, outcomes), default=0)
    print("\n".join(f"{name:<{width}}  {what}" for name, what in outcomes.items()))
    sys.exit(any(what.startswith("failed") for what in outcomes.values()))


if __name__ == "__main__":
    main()
