"""Where a result comes from: versions, git revision, time and command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import physode

PACKAGES = ("torch", "numpy", "scipy", "h5py", "matplotlib", "click", "rich")
"""The packages that physode's results may depend on."""


def provenance() -> dict[str, Any]:
    """What a file should know of its making.

    Returns
    -------
    dict
        ``versions`` (by package, Python's own included), ``git_revision`` (where physode runs from a checkout),
        ``created`` (UTC, ISO 8601) and ``command`` (the line that started this process, quoted for a shell).
    """
    revision = git_revision()
    return {
        "versions": package_versions(),
        **({} if revision is None else {"git_revision": revision}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command_line(),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python, physode and the installed ones of `PACKAGES`, without importing them."""
    found = {"python": platform.python_version(), "physode": physode.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit that physode runs from, ``-dirty`` where tracked files were changed since; None outside a checkout."""
    root = Path(physode.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    # Variables such as GIT_DIR, set inside a git hook, would point git at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # only look
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _command_line() -> str:
    program, *arguments = sys.argv or [""]
    return shlex.join([Path(program).name, *arguments])
