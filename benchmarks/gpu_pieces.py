"""``benchmarks/gpu.sh``: what needs a GPU, piece by piece, in the order of its worth.

Each piece runs in a process of its own, which is stopped after ``--limit`` seconds; a training or a study that was
stopped goes on there with the next call. What is done is not done again, unless ``--again`` asks for it. No piece is
begun that could not run for a minute within ``--within`` seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_work import (
    NETWORKS,
    Settings,
    cuda_tests,
    ensembles,
    galaxies,
    hopper,
    report_ensembles,
    report_galaxies,
    report_hopper,
    report_images,
    train_network,
)

__all__ = ["PIECES", "Piece", "chosen_pieces", "main", "run_apart", "run_here", "write_result", "write_so_far"]

_STOPPED, _MISSING, _KILLED = 4, 5, 6  # exit codes of a piece
_PATIENCE = 30.0  # seconds that a piece has to write what it has, and then to be begun at all


@dataclass(frozen=True)
class Piece:
    """Something that is run by itself.

    Attributes
    ----------
    name, run
        What it is called, and what it does.
    so_far
        What there is of its result when it is stopped; None where there is nothing.
    needs
        Packages without which it is left out, beside physode's own.
    group
        Further pieces of one result have the same.
    """

    name: str
    run: Callable[[Settings], dict[str, Any]]
    so_far: Callable[[Settings], dict[str, Any] | None] = lambda settings: None
    needs: tuple[str, ...] = ()
    group: str = ""

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def _network(name: str) -> Piece:
    return Piece(name, lambda settings: train_network(name, settings), report_images, ("PIL",), "images")


PIECES: Mapping[str, Piece] = {
    piece.name: piece
    for piece in (
        Piece("tests", cuda_tests, needs=("pytest", "hypothesis")),
        Piece("ensembles", ensembles, report_ensembles),
        *map(_network, NETWORKS),
        Piece("hopper", hopper, report_hopper, ("mujoco",)),
        Piece("galaxies", galaxies, report_galaxies, ("sklearn",)),
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
    """Run a piece in this process, write its result or what there is of it, and return the exit code."""
    from physode.errors import ConfigError, DataError

    if piece.missing:
        print(f"{piece.name}: left out, without {', '.join(piece.missing)}", flush=True)
        return _MISSING
    try:
        found = piece.run(settings)
    except KeyboardInterrupt:
        print(f"{piece.name}: stopped; the same command goes on", flush=True)
        return _STOPPED
    except (ImportError, FileNotFoundError, ConfigError, DataError) as error:
        print(f"{piece.name}: left out, {error}", flush=True)
        return _MISSING
    finally:
        write_so_far(piece, settings, out)
    write_result(found, out)
    return 0


def write_so_far(piece: Piece, settings: Settings, out: Path) -> None:
    """Write what there is of a piece's result."""
    if (known := piece.so_far(settings)) is not None:
        write_result(known, out)


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
        return _KILLED


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
        "  benchmarks/gpu.sh --pieces images --epochs 2 --limit-images 10000     when an epoch has to fit in --limit\n"
        "  benchmarks/gpu.sh --device cpu --tiny          everything but the device, in minutes\n",
    )
    made.add_argument("--pieces", nargs="+", default=[], help=f"some of: {', '.join(PIECES)}, images (default all)")
    made.add_argument("--limit", type=_seconds, default=480.0, help="seconds a piece (default 480)")
    made.add_argument("--within", type=_seconds, default=float("inf"), help="seconds all together (default: no limit)")
    made.add_argument("--resume", action="store_true", help="leave out pieces that are done (the default)")
    made.add_argument("--again", action="store_true", help="do what is done again; trainings go on from where they are")
    made.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script")
    made.add_argument("--one", choices=list(PIECES), help=argparse.SUPPRESS)
    made.add_argument("--out", type=Path, help="where results go (default $OUT, else build/gpu/results)")
    made.add_argument("--device", default=default.device, help="cuda (default), or cpu to try the script")
    made.add_argument("--work", type=Path, default=default.work, help="where what is done is kept (default build/gpu)")
    made.add_argument("--images", type=Path, default=default.images, help=f"labelled images (default {default.images})")
    made.add_argument("--epochs", type=int, default=default.epochs, help="of the networks on images (default 5)")
    made.add_argument("--limit-images", type=int, metavar="N", help="images that networks train on (default all)")
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


def _seconds(text: str) -> float:
    """Read a time; the error is argparse's."""
    if not (value := float(text)) > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is no time above 0")
    return value


def _obstacle(device: str) -> str | None:
    """Return why nothing can be computed there; None where it can."""
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no PyTorch; name a Python that has it: PYTHON=/path/to/python3 benchmarks/gpu.sh"
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        return "PyTorch sees no GPU here; --device cpu tries the script without one"
    return None


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Return the settings that were chosen."""
    names = ("device", "work", "images", "epochs", "limit_images", "precision", "tight_precision", "jobs")
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
    chosen = parser().parse_args()
    settings = settings_of(chosen)
    out = chosen.out or Path(os.environ.get("OUT") or settings.work / "results")
    if chosen.one:
        sys.exit(run_here(PIECES[chosen.one], settings, out))
    try:
        pieces = list(chosen_pieces(chosen.pieces))
    except ValueError as error:
        parser().error(str(error))
    if (obstacle := _obstacle(settings.device)) is not None:
        parser().error(obstacle)
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
            if code not in (0, _STOPPED, _MISSING):
                write_so_far(piece, settings, out)  # it had no time to
            goes_on = dict.fromkeys((_STOPPED, _KILLED), "stopped, goes on")
            what = {0: "done", _MISSING: "left out", **goes_on}.get(code, f"failed ({code})")
            outcomes[piece.name] = f"{what} after {time.monotonic() - started:.0f} s"
    width = max(map(len, outcomes), default=0)
    print("\n".join(f"{name:<{width}}  {what}" for name, what in outcomes.items()))
    sys.exit(any(what.startswith("failed") for what in outcomes.values()))


if __name__ == "__main__":
    main()
