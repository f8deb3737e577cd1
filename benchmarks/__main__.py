"""``python -m benchmarks [CASE ...]``: time physode beside its peers."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import warnings
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.jax_peer import FLAGS
from benchmarks.race import Settings

RESULTS = Path(__file__).parent / "results"

_EPILOG = """examples:
  python -m benchmarks --quick                     every case, small sizes, two rounds
  python -m benchmarks three_body --rounds 9       one case
  python -m benchmarks three_body --only "B = 1,"  only its races with this in their title
  python -m benchmarks must-show --save            write benchmarks/results/must_show.md and .png

cases:
"""


def main() -> None:
    """Run the cases named, or all, and print Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time physode beside its peers: one process, one thread, answers compared, rounds interleaved.",
        epilog=_EPILOG + "\n".join(f"  {name:<12} {text}" for name, text in CASES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which cases (default: all)")
    parser.add_argument("--rounds", type=int, help="timed rounds (default 5; with --quick 2)")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for one contestant's rounds (default 20)")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", default="", metavar="TEXT", help="only races with this text in their title")
    parser.add_argument("--save", action="store_true", help="write Markdown and figures into benchmarks/results/")
    chosen = parser.parse_args()
    names = [name.replace("-", "_") for name in chosen.cases] or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; known: {', '.join(CASES)}")
    rounds = (2 if chosen.quick else 5) if chosen.rounds is None else chosen.rounds
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, got {rounds}")
    settings = Settings(rounds=rounds, quick=chosen.quick, seconds=chosen.seconds, only=chosen.only)
    _one_thread()
    for name in names:
        _run(name, settings, save=chosen.save)


def _one_thread() -> None:
    """Keep torch and jax on one thread, and memory within bounds."""
    os.environ["XLA_FLAGS"] = FLAGS
    if importlib.util.find_spec("jax"):
        importlib.import_module("jax")
    import torch

    from benchmarks.memory import guard

    torch.set_num_threads(1)
    guard()


def _run(name: str, settings: Settings, *, save: bool) -> None:
    from benchmarks.report import describe
    from physode.plotting.style import finish, styled

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        report = importlib.import_module(f"benchmarks.cases.{name}").run(settings)
    text = f"# {name}: {CASES[name]}\n\n{report.text}\n\n{describe()}\n"
    print(f"\n{text}")
    if not save:
        return
    RESULTS.mkdir(exist_ok=True)
    if report.draw is not None:
        with styled():
            finish(report.draw(), RESULTS / f"{name}.png")
        text += f"\n![{CASES[name]}]({name}.png)\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
