"""What the simulations of trajectories share: options, writing the file, and telling what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.numbers import POSITIVE, Real, Whole
from physode.cli.options import (
    ADAPTIVE_METHODS,
    force_option,
    json_option,
    method_option,
    seed_option,
    tolerance_options,
)
from physode.cli.paths import PATH
from physode.cli.show import show_json, show_pairs, show_table
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.datasets import Trajectories
    from physode.typing import Progress

__all__ = [
    "Simulate",
    "count_option",
    "output_options",
    "solver_options",
    "span_option",
    "times_options",
    "together",
    "write",
]

_ROWS = 10

Simulate = Callable[["Progress | None"], "Trajectories"]
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*decorators: Decorator) -> Decorator:
    """Make one decorator of several options, listed by ``--help`` in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def count_option(default: int = 1) -> Decorator:
    """``--n``."""
    return click.option("--n", type=Whole(1), default=default, show_default=True, help="Number of trajectories.")


span_option = click.option("--t-end", type=POSITIVE, help="End of the time span, which begins at 0.")


def times_options(*, points: int | None = None, times: str = "grid") -> Decorator:
    """``--points`` and ``--times``."""
    return together(
        click.option(
            "--points",
            type=Whole(2),
            default=points,
            show_default=points is not None,
            help="Number of output times of a trajectory.",
        ),
        click.option(
            "--times",
            type=click.Choice(["grid", "random"]),
            default=times,
            show_default=True,
            help="One grid of times for all, or random times of each trajectory's own.",
        ),
    )


def solver_options(*, stiff: bool = False) -> Decorator:
    """``--method``, ``--rtol``, ``--atol`` and ``--max-steps``, with the defaults of `physode.simulators`."""
    return together(
        method_option("rodas5p" if stiff else "dopri8", methods=ADAPTIVE_METHODS),
        tolerance_options(rtol=1e-6, atol=1e-10) if stiff else tolerance_options(rtol=1e-10, atol=1e-12),
        click.option("--max-steps", type=Whole(1), default=20_000, show_default=True, help="Most steps a trajectory."),
    )


def output_options(file: str, *, noise: float = 0.0) -> Decorator:
    """``--noise``, ``--seed``, ``--out`` with the default `file`, ``--force`` and ``--json``."""
    return together(
        click.option(
            "--noise",
            type=Real(0, finite=False),
            default=noise,
            show_default=True,
            help="Standard deviation of the noise on every observed value.",
        ),
        seed_option,
        click.option("--out", type=PATH, default=file, show_default=True, help="The file to write."),
        force_option,
        json_option,
    )


def write(simulate: Simulate, out: Path, *, force: bool, as_json: bool) -> None:
    """Simulate with a progress bar, write the file, and show what is in it."""
    from physode.datasets.atomic_write import replacing
    from physode.datasets.trajectory_file import fill_trajectories

    # The name is claimed before the work, so that a file in the way is found at once and not after it.
    with replacing(out, overwrite=force) as part:
        with showing_progress("simulating") as progress:
            trajectories = simulate(progress)
        fill_trajectories(part, trajectories)
    summary = _summary(out, trajectories)
    if as_json:
        show_json(summary)
    else:
        _show(summary)


def _summary(out: Path, trajectories: Trajectories) -> dict[str, Any]:
    import numpy as np

    attrs, params = trajectories.attrs, trajectories.params
    measured = {}
    if "min_distance" in params:
        measured = {
            "min_distance": float(np.nanmin(params["min_distance"])),
            "max_energy_drift": float(np.nanmax(params["energy_drift"])),
        }
    return {
        "path": str(out),
        "system": attrs["system"],
        "trajectories": len(trajectories),
        "times": int(trajectories.t.shape[-1]),
        "span": [float(trajectories.t.min()), float(trajectories.t.max())],
        "noise": attrs["noise"],
        **measured,
        "close_encounters": attrs.get("close_encounters", []),
        "failures": attrs["failures"],
    }


def _show(summary: dict[str, Any]) -> None:
    encounters, failures = summary.pop("close_encounters"), summary.pop("failures")
    pairs = {name.replace("_", " "): value for name, value in summary.items() if name != "path"}
    if "min_distance" in summary:
        pairs["close encounters"] = len(encounters)
    show_pairs(summary["path"], {**pairs, "failed": len(failures)})
    for title, rows in (("close encounters", encounters), ("ended early (NaN from there on)", failures)):
        if rows:
            shown = f"{title}, the first {_ROWS} of {len(rows)}" if len(rows) > _ROWS else title
            show_table(shown, list(rows[0]), [list(row.values()) for row in rows[:_ROWS]])
