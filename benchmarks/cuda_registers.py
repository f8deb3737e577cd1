"""``python -m benchmarks.cuda_registers``: what fused kernels take of a GPU, by NVIDIA's compiler; no GPU is needed.

Registers and local memory of a thread decide how many threads a multiprocessor holds. Spills are what the compiler
moves from registers to local memory and back.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import physode as po
from physode.fused.fusion import Fusion
from physode.fused.kernel import Entry
from physode.fused.solving import Prepared, prepare
from physode.problem.checks import pose
from physode.solvers.driver import Plan

__all__ = ["SYSTEMS", "Usage", "compiled", "nvcc", "prepared", "text"]

RESULTS = Path(__file__).parent / "results" / "cuda_registers.md"
FLAGS = ("-std=c++20", "-O3", "-cubin", "-Xptxas", "-v")


class Usage(NamedTuple):
    """What an entry takes of each thread: registers, bytes of local memory, bytes stored and loaded by spills."""

    registers: int
    local: int
    stores: int
    loads: int


class System(NamedTuple):
    """A right-hand side with a batch of two initial states."""

    f: Callable[..., Any]
    y0: Tensor
    args: tuple[Tensor, ...] = ()


def lorenz(dtype: torch.dtype) -> System:
    def f(t: Tensor, y: Tensor, rates: Tensor) -> Tensor:
        x, v, z = y.unbind(-1)
        return torch.stack([rates[0] * (v - x), x * (rates[1] - z) - v, x * v - rates[2] * z], -1)

    rates = torch.tensor([10.0, 28.0, 8 / 3], dtype=dtype, requires_grad=True)
    return System(f, torch.ones(2, 3, dtype=dtype), (rates,))


def three_bodies(dtype: torch.dtype) -> System:
    preset = po.rhs.ThreeBody.find_preset("aca")
    system = po.rhs.ThreeBody.from_preset("aca", masses=[1.0, 1.0, 1.0], learnable=True).to(dtype)
    return System(system, torch.tensor(preset.y0, dtype=dtype).repeat(2, 1))


def network(dtype: torch.dtype) -> System:
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8)).to(dtype)

    def f(t: Tensor, y: Tensor, net: nn.Module = net) -> Tensor:
        return net(y)  # type: ignore[no-any-return]

    return System(f, torch.ones(2, 8, dtype=dtype))


SYSTEMS = {"Lorenz": lorenz, "three bodies": three_bodies, "a network 8-32-8": network}


@functools.cache
def prepared(name: str, dtype: torch.dtype, method: str) -> Prepared:
    """Return a system's program, each sample having its own clock."""
    system = SYSTEMS[name](dtype)
    problem = pose(system.f, system.y0, [0.0, 1.0], args=system.args, method=method, step_control="per-sample")
    return prepare(problem, Plan(), po.ACA())


def text(name: str, dtype: torch.dtype, method: str, entry: Entry) -> str:
    """Return a kernel's source."""
    found = prepared(name, dtype, method)
    fusion: Fusion = found.fusion
    return fusion.text(entry, found.wanted if entry == "pull" else None)


def nvcc() -> str | None:
    """Return the path of CUDA's compiler; None where there is none."""
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if usual.exists() else None)


def compiled(source: str, architecture: str) -> dict[str, Usage]:
    """Compile a kernel's source; return what its entries take.

    Raises
    ------
    RuntimeError
        If that fails; with what the compiler said.
    """
    compiler = nvcc()
    assert compiler is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cu"
        path.write_text(source)
        command = [compiler, *FLAGS, f"-arch={architecture}", str(path), "-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return _usage(done.stdout + done.stderr)


def _usage(said: str) -> dict[str, Usage]:
    found = {}
    for part in said.split("Compiling entry function '")[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        assert registers is not None
        stack = re.search(r"(\d+) bytes cumulative stack", part)
        spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        found[part.split("'")[0].removeprefix("fused_")] = Usage(
            int(registers[1]),
            int(stack[1]) if stack else 0,
            sum(int(stores) for stores, _ in spills),
            sum(int(loads) for _, loads in spills),
        )
    return found


def table(architecture: str) -> str:
    """Return what solves and passes back take, as Markdown."""
    lines = [
        f"| system ({architecture}) | precision | method | entry | registers | local bytes | spills: stores, loads |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    entries: tuple[Entry, ...] = ("walk", "walk_grid", "pull")
    for name in SYSTEMS:
        for dtype in (torch.float32, torch.float64):
            for method in ("dopri5", "dopri8"):
                for entry in entries:
                    used = compiled(text(name, dtype, method, entry), architecture)[
                        "pull" if entry == "pull" else "walk"
                    ]
                    lines.append(
                        f"| {name} | {str(dtype).removeprefix('torch.')} | {method} | {entry} | {used.registers} "
                        f"| {used.local:,} | {used.stores:,}, {used.loads:,} |"
                    )
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and keep them if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda_registers", description=main.__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} into benchmarks/results/")
    chosen = parser.parse_args()
    compiler = nvcc()
    if compiler is None:
        parser.error("there is no nvcc")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", said)
    tables = "\n\n".join(table(architecture) for architecture in ("sm_80", "sm_90"))
    assert __doc__ is not None
    about = __doc__.split("\n\n", 1)[1]
    whole = (
        f"# What fused kernels take of a GPU's threads\n\n{about}\n{tables}\n\nnvcc {release[1] if release else ''}\n"
    )
    print(whole)
    if chosen.save:
        RESULTS.write_text(whole)


if __name__ == "__main__":
    main()
