"""``python -m benchmarks [CASE ...] [--rounds N]``: time physode and its peers, print Markdown, keep it."""

from __future__ import annotations

import argparse
import importlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CASES = ("three_body",)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the cases named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (default 9)")
    chosen = parser.parse_args()
    unknown = set(chosen.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    for case in chosen.cases or CASES:
        text = f"{importlib.import_module(f'benchmarks.{case}').run(chosen.rounds)}\n\n{_machine()}\n"
        print(text)
        (RESULTS / f"{case}.md").write_text(text, encoding="utf-8")


def _machine() -> str:
    packages = []
    for name in ("physode", "torch", "torchdiffeq", "torchode", "TorchDiffEqPack"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"One thread of {_processor()}; {', '.join(packages)}; Python {platform.python_version()}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
