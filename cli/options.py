"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "ADAPTIVE_METHODS",
    "FIXED_METHODS",
    "GRADIENTS",
    "METHODS",
    "PATH",
    "POSITIVE",
    "device_option",
    "dtype_option",
    "folder_name",
    "force_option",
    "gradient_option",
    "json_option",
    "method_option",
    "other_device_option",
    "seed_option",
    "tolerance_options",
]

# The engine's own table would have to import torch for `--help`; tests/cli/test_options.py holds the two together.
FIXED_METHODS = (
    "euler", "midpoint", "heun", "rk4", "leapfrog", "yoshida4", "suzuki4",
    "implicit_euler", "implicit_midpoint", "trapezoid", "sdirk2", "trbdf2", "radauIIA3", "radauIIA5", "gl4", "gl6",
)  # fmt: skip
ADAPTIVE_METHODS = (
    "heun_euler",
    "bosh3",
    "dopri5",
    "tsit5",
    "dopri8",
    "alf",
    "kvaerno3",
    "kencarp5",
    "radau5",
    "rodas5p",
    "auto",
)
METHODS = FIXED_METHODS + ADAPTIVE_METHODS
GRADIENTS = ("aca", "adjoint", "naive", "naive-steps")

PATH = click.Path(path_type=Path)
"""A file or folder. Whether it exists is the library's question: its answer is a failure (1), not a usage error (2)."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]


class _Positive(click.FloatRange):
    """A finite number above zero."""

    def __init__(self) -> None:
        super().__init__(min=0.0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


POSITIVE = _Positive()

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace what exists already.")
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of every random choice."
)
dtype_option = click.option(
    "--dtype", type=click.Choice(["float32", "float64"]), default="float64", show_default=True, help="Precision."
)
gradient_option = click.option(
    "--gradient", type=click.Choice(GRADIENTS), default="aca", show_default=True, help="How gradients are computed."
)


def method_option(default: str = "dopri5", *, methods: tuple[str, ...] = METHODS) -> Decorator[Any]:
    """``--method``, one of `methods`."""
    return click.option(
        "--method", type=click.Choice(methods), default=default, show_default=True, help="Integration method."
    )


def tolerance_options(*, rtol: float | None = None, atol: float | None = None) -> Decorator[Any]:
    """``--rtol`` and ``--atol``; None leaves the choice to the solver, which goes by the precision."""

    def decorate(command: Decorated) -> Decorated:
        for name, default, what in (("--atol", atol, "Absolute"), ("--rtol", rtol, "Relative")):
            known = "by precision" if default is None else True
            command = click.option(
                name, type=POSITIVE, default=default, show_default=known, help=f"{what} tolerance of a step."
            )(command)
        return command

    return decorate


def _check_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value == "cpu":
        return value
    import torch

    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise click.BadParameter(f"{value!r} cannot be used here: {reason}", ctx=ctx, param=param) from error
    return value


def folder_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check the name of a folder: one, not a path."""
    if value is not None and (Path(value).name != value or value in ("", ".", "..")):
        raise click.BadParameter(
            f"{value!r} is not the name of a folder; --out says where it is.", ctx=ctx, param=param
        )
    return value


def _check_device_if_any(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else _check_device(ctx, param, value)


other_device_option = click.option(
    "--device", callback=_check_device_if_any, help="Where to compute.  [default: as in training]"
)
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    callback=_check_device,
    help="Where to compute: cpu, cuda, cuda:1, ...",
)
