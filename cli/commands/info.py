"""``physode info``: what this installation is and can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import util
from pathlib import Path
from typing import Any

import click

from physode.cli.commands.cache import describe as describe_kernels
from physode.cli.options import json_option
from physode.cli.show import show_json, show_pairs, show_table


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show versions, devices, threads, compilers and methods of this installation.

    \b
    Examples:
      physode info
      physode info --json
    """
    found = describe()
    if as_json:
        show_json(found)
        return
    methods, devices = found.pop("methods"), found.pop("devices")
    for title, pairs in found.items():
        show_pairs(title, pairs)
    show_table("devices", ["name", "description", "memory (GiB)"], [list(device.values()) for device in devices])
    show_table("methods", ["name", "kind", "order", "steps"], [list(method.values()) for method in methods])


def describe() -> dict[str, Any]:
    """Find out about the installation: groups of pairs for tables, and lists of ``devices`` and ``methods``."""
    import torch

    import physode
    from physode.datasets.provenance import git_revision, package_versions
    from physode.gradients import GRADIENTS
    from physode.solvers.methods import METHODS, kind_of

    return {
        "installation": {
            "physode": physode.__version__,
            "location": str(Path(physode.__file__).parent),
            "git revision": git_revision(),
            "python": sys.executable,
            "platform": platform.platform(),
        },
        "packages": package_versions(),
        "threads": {"cores": os.cpu_count(), "torch": torch.get_num_threads()},
        "compilers": _compilers(),
        "kernels": describe_kernels(),
        "gradients": {"known": list(GRADIENTS)},
        "devices": _devices(),
        "methods": [
            {
                "name": name,
                "kind": kind_of(name),
                "order": method.order,
                "steps": "adaptive" if method.adaptive else "fixed",
            }
            for name, method in METHODS.items()
        ],
    }


def _compilers() -> dict[str, str | None]:
    """What kernels are compiled by (c++, nvcc); ``torch.compile`` uses the first and Triton for CUDA."""
    from physode.fused.compilers import cpu_compiler

    compiler = cpu_compiler()
    triton = util.find_spec("triton")
    return {
        "c++": None if compiler is None else compiler.name,
        "nvcc": shutil.which("nvcc"),
        "triton": triton.origin if triton else None,
    }


def _devices() -> list[dict[str, Any]]:
    import torch

    cpu = {"name": "cpu", "description": platform.processor() or platform.machine(), "memory": None}
    devices: list[dict[str, Any]] = [cpu]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = round(properties.total_memory / 2**30, 1)
        devices.append({"name": f"cuda:{index}", "description": properties.name, "memory": memory})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "description": "Apple GPU", "memory": None})
    return devices
