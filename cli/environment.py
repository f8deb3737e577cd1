"""What this installation of physode is and can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import util
from pathlib import Path
from typing import Any

import physode
from physode.datasets.provenance import git_revision, package_versions

__all__ = ["describe"]


def describe() -> dict[str, Any]:
    """Find out about the installation.

    Returns
    -------
    dict
        ``installation``, ``packages`` (versions), ``threads``, ``compilers`` (paths, None where there is none),
        ``gradients``, ``devices`` (a list of ``name``, ``description``, ``memory`` in GiB) and ``methods`` (a list of
        ``name``, ``kind``, ``order``, ``steps``).
    """
    import torch

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
    """What ``torch.compile`` can use: a C++ compiler for the CPU, Triton for CUDA."""
    cxx = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")))), None)
    triton = util.find_spec("triton")
    return {"c++": cxx, "nvcc": shutil.which("nvcc"), "triton": triton.origin if triton else None}


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
