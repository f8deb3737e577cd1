"""A grid of small solves whose results are written down to the last bit, so that moving code moves no number.

    python -m tests.frozen.grid --write      # after a change that is meant to change numbers, and said so

It runs on kernels that are the same on every processor: ``ATEN_CPU_CAPABILITY=default`` and ``MKL_CBWR=COMPATIBLE``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DIGESTS = Path(__file__).with_name("digests.json")
KERNELS = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}


def cases() -> Iterator[tuple[str, Callable[[], list[Any]]]]:
    """Give each case's name and what computes its numbers."""
    import torch

    import physode as po

    explicit = ("heun_euler", "bosh3", "dopri5", "tsit5", "dopri8", "rk4", "midpoint", "leapfrog", "alf")
    implicit = ("rodas5p", "radau5", "kencarp5", "kvaerno3", "gl4", "trapezoid", "auto")
    gradients = {
        "aca": po.ACA(),
        "one by one": po.ACA(memory="checkpoint", parallel=False),
        "kept": po.ACA(parallel=False),
        "graph": po.ACA(memory="graph"),
        "checkpoints": po.ACA(checkpoints=3),
        "adjoint": po.Adjoint(),
        "naive": po.Naive(),
        "naive-steps": po.Naive(step_sizes=True),
    }
    fixed = {"rk4", "midpoint", "leapfrog", "gl4", "trapezoid"}

    def problem(dtype: torch.dtype) -> tuple[Any, list[Any]]:
        rate = torch.tensor(1.3, dtype=dtype, requires_grad=True)
        q = torch.tensor([[1.0], [0.4], [-0.7]], dtype=dtype, requires_grad=True)
        p = torch.tensor([[0.2], [1.1], [0.5]], dtype=dtype, requires_grad=True)

        def f(t: Any, y: Any) -> Any:
            return y[1], -rate * y[0] - 0.2 * y[0] * y[0] * y[0]

        return f, [q, p, rate]

    def numbers(dtype: torch.dtype, **options: Any) -> list[Any]:
        f, leaves = problem(dtype)
        t = torch.linspace(0.0, 2.0, 5, dtype=torch.float64)
        if options["method"] in fixed:
            options["step_size"] = 0.09
        sol = po.solve(f, tuple(leaves[:2]), t, rtol=1e-4, atol=1e-6, **options)
        loss = sum(part.square().sum() for part in sol.y)
        found = torch.autograd.grad(loss, leaves)
        events = [each.t for each in sol.events]
        return [*sol.y, *found, sol.stats.accepted, sol.step_times, *events]

    def floor(t: Any, y: Any) -> Any:
        return y[0].reshape(3) if t.ndim else y[0][0, 0]

    def bounce(t: Any, y: Any) -> Any:
        return y[0], -0.8 * y[1]

    plain = itertools.product(explicit + implicit, ("aca",), ("shared", "per-sample"), ("float64",), ("none",))
    backward = itertools.product(("dopri5",), gradients, ("shared", "per-sample"), ("float32", "float64"), ("none",))
    stopped = itertools.product(
        ("dopri5", "rodas5p"), ("aca", "graph", "adjoint", "naive"), ("shared", "per-sample"), ("float64",),
        ("recorded", "terminal", "jump"),
    )  # fmt: skip
    for method, gradient, control, dtype, events in dict.fromkeys([*plain, *backward, *stopped]):
        options: dict[str, Any] = {"method": method, "gradient": gradients[gradient], "step_control": control}
        if events != "none":
            jump = bounce if events == "jump" else None
            options["events"] = po.Event(floor, terminal=events == "terminal", jump=jump)
        name = ", ".join((method, gradient, control, dtype, events))
        yield name, lambda dtype=dtype, options=options: numbers(getattr(torch, dtype), **options)


def digest(values: list[Any]) -> str:
    """Return a digest of the bits of tensors."""
    found = hashlib.sha256()
    for value in values:
        found.update(value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def computed() -> dict[str, str]:
    """Return the digest of every case, computed by kernels that are the same everywhere, in a process of their own."""
    command = [sys.executable, "-m", "tests.frozen.grid", "--print"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env={**os.environ, **KERNELS}, cwd=root, check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main(arguments: list[str]) -> None:
    """Print or write down the digests."""
    if arguments == ["--write"]:
        DIGESTS.write_text(json.dumps(computed(), indent=1) + "\n", encoding="utf-8")
        return
    import torch

    torch.set_num_threads(1)
    found = {"torch": torch.__version__.partition("+")[0]}
    for name, numbers in cases():
        found[name] = digest(numbers())
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
