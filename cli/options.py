"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from physode.cli.numbers import ATOL, RTOL, SEED

__all__ = [
    "ADAPTIVE_METHODS",
    "FIXED_METHODS",
    "GRADIENTS",
    "METHODS",
    "PATH",
    "device_option",
    "dtype_option",
    "folder_name",
    "force_option",
    "gradient_option",
    "json_option",
    "method_option",
    "other_device_option",
    "refuse_idle_tolerances",
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


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace what exists already.")
seed_option = click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of every random choice.")
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
        for name, kind, default, what in (("--atol", ATOL, atol, "Absolute"), ("--rtol", RTOL, rtol, "Relative")):
            known = "by precision" if default is None else True
            command = click.option(
                name, type=kind, default=default, show_default=known, help=f"{what} tolerance of a step."
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


def refuse_idle_tolerances(ctx: click.Context) -> None:
    """Raise a usage error where ``--rtol`` or ``--atol`` were given beside fixed steps, which know nothing of them."""
    commandline = click.core.ParameterSource.COMMANDLINE
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is commandline}
    idle = [name for name in ("rtol", "atol") if name in given]
    fixed = "--step" if "step" in given else f"--method {ctx.params['method']}"
    if idle and ("step" in given or ctx.params["method"] in FIXED_METHODS):
        raise click.UsageError(
            f"--{idle[0]} has no part beside {fixed}, which takes fixed steps; give one of them", ctx
        )


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
