"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_args, get_origin

import click

from physode.cli.numbers import THREADS, Real, Whole, numbers_between_commas
from physode.cli.paths import PATH, check_run, folder_name
from physode.optional_imports import check_installed
from physode.training.settings import ATOL, RTOL, SEED, Range, Setting, Settings, whole

__all__ = [
    "ADAPTIVE_METHODS",
    "FIXED_METHODS",
    "GRADIENTS",
    "METHODS",
    "checkpoint_option",
    "device_option",
    "dtype_option",
    "force_option",
    "given",
    "given_settings",
    "gradient_option",
    "json_option",
    "method_option",
    "options_of",
    "other_device_option",
    "refuse_beside_resume",
    "refuse_idle_tolerances",
    "run_options",
    "seed_option",
    "threads_option",
    "tolerance_options",
    "training_options",
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

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace what exists already.")
seed_option = click.option(
    "--seed", type=Whole.of(SEED), default=0, show_default=True, help="Seed of every random choice."
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
        for name, within, default, what in (("--atol", ATOL, atol, "Absolute"), ("--rtol", RTOL, rtol, "Relative")):
            known = "by precision" if default is None else True
            command = click.option(
                name, type=Real.of(within), default=default, show_default=known, help=f"{what} tolerance of a step."
            )(command)
        return command

    return decorate


def _check_device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "cpu":
        return value
    import torch

    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise click.BadParameter(f"{value!r} cannot be used here: {reason}", ctx=ctx, param=param) from error
    return value


device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    callback=_check_device,
    help="Where to compute: cpu, cuda, cuda:1, ...",
)
other_device_option = click.option(
    "--device", callback=_check_device, help="Where to compute.  [default: as in training]"
)


def checkpoint_option(help: str = "Weights after the last epoch, or after that of the best test.") -> Decorator[Any]:  # noqa: A002
    """``--checkpoint``: which weights of a training."""
    kinds = click.Choice(["last", "best"])
    return click.option("--checkpoint", "which", type=kinds, default="last", show_default=True, help=help)


def threads_option(default: str = "torch's") -> Decorator[Any]:
    """``--threads``."""
    return click.option("--threads", type=THREADS, help=f"Threads to compute with on CPU.  [default: {default}]")


def run_options(*, named_after: str, resumed: str) -> Decorator[Any]:
    """``--name``, ``--out`` and ``--resume`` of a run's folder.

    Parameters
    ----------
    named_after
        What the run is called after by default.
    resumed
        From where on a run goes on.
    """
    return _together(
        click.option("--name", callback=folder_name, help=f"Name of the run.  [default: from {named_after}]"),
        click.option("--out", type=PATH, default="runs", show_default=True, help="Folder that the run goes into."),
        click.option("--resume", type=PATH, metavar="RUN", help=f"Go on with this run {resumed}."),
    )


def training_options(*, named_after: str) -> Decorator[Any]:
    """What every training has beside its settings."""
    return _together(
        threads_option(),
        run_options(named_after=named_after, resumed="after its last whole epoch"),
        click.option(
            "--tensorboard/--no-tensorboard",
            default=None,
            callback=_where_installed,
            help="Write curves for TensorBoard.  [default: where it is installed]",
        ),
        force_option,
        json_option,
    )


def _where_installed(ctx: click.Context, param: click.Parameter, value: bool | None) -> bool:
    if value:
        check_installed("tensorboard", extra="images", purpose="--tensorboard")
    return importlib.util.find_spec("tensorboard") is not None if value is None else value


def _together(*options: Decorator[Any]) -> Decorator[Any]:
    """Make one decorator of several options, listed by ``--help`` in this order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def options_of(
    config: type[Settings], *, without: Collection[str] = (), **overrides: Mapping[str, Any]
) -> Decorator[Any]:
    """Return the options that the fields of settings make: named, typed, bounded and explained by each setting.

    An option that is not given is None, or empty where it may be repeated: :func:`given_settings` leaves it to the
    settings' own default, which the help text names.

    Parameters
    ----------
    config
        The settings.
    without
        Settings that have no option.
    overrides
        By setting, arguments of :func:`click.option` that go before what the setting says.
    """
    defaults = {each.name: each.default for each in dataclasses.fields(config)}  # type: ignore[arg-type]
    return _together(
        *(
            _option(name, kind, about, defaults[name], overrides.get(name, {}))
            for name, (kind, about) in config.declared().items()
            if name not in without
        )
    )


_CHOICES = {"method": METHODS, "gradient": GRADIENTS}


def _option(name: str, kind: Any, about: Setting, default: Any, overrides: Mapping[str, Any]) -> Decorator[Any]:
    """Return the option of one setting."""
    flag = f"--{name.replace('_', '-')}"
    arguments: dict[str, Any] = {}
    choices = about.choices or _CHOICES.get(name, ())
    if choices:
        arguments["type"] = click.Choice(choices)
    elif kind is bool:
        flag = f"{flag}/--no-{flag[2:]}"
        arguments |= {"default": None, "is_flag": True}
    elif get_origin(kind) is tuple and about.example:
        example = ",".join(f"{each:g}" for each in about.example)
        arguments |= {"callback": numbers_between_commas(get_args(kind)[0], example), "metavar": "A,B,..."}
    elif get_origin(kind) is not None:
        arguments |= {"multiple": True, "type": _number(get_args(kind)[0], about.range)}
    elif name == "device":
        arguments["callback"] = _check_device
    else:
        arguments["type"] = _number(kind, about.range)
    arguments["help"] = about.help + _default(default, about)
    return click.option(about.option or flag, name, **{**arguments, **overrides})


def _number(kind: Any, within: Range | None) -> click.ParamType[Any] | None:
    if kind is int:
        return Whole.of(within or whole())
    return Real.of(within or Range()) if kind is float else None


def _default(value: Any, about: Setting) -> str:
    """Return what the help says of a default; nothing where there is none, or where an option only switches on."""
    shown = about.default
    if shown is None and isinstance(value, bool) and about.option is None:
        shown = "yes" if value else "no"
    elif shown is None and isinstance(value, int | float | str) and not isinstance(value, bool):
        shown = f"{value:g}" if isinstance(value, float) else str(value)
    return "" if shown is None else f"  [default: {shown}]"


def given_settings(config: type[Settings], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are settings and were given."""
    return {name: options[name] for name in config.declared() if options.get(name) is not None}


def given(ctx: click.Context) -> set[str]:
    """Return the names of the parameters that stand on the command line."""
    commandline = click.core.ParameterSource.COMMANDLINE
    return {name for name in ctx.params if ctx.get_parameter_source(name) is commandline}


def refuse_beside_resume(ctx: click.Context, *, allowed: Collection[str], changeable: str, example: str) -> None:
    """Raise a usage error where something is given with ``--resume`` that does not go with it, or a failure without it.

    Parameters
    ----------
    ctx
        The command's.
    allowed
        Names of parameters that go with it.
    changeable
        The settings that a run may be given anew, in words.
    example
        A run that the command has made.
    """
    known = given(ctx) - set(allowed)
    others = [each for each in ctx.command.params if each.name in known]
    if others:
        word = others[0].opts[0] if isinstance(others[0], click.Option) else others[0].name
        raise click.UsageError(
            f"--resume and {word} do not go together; a run goes on with its own settings, but for {changeable}", ctx
        )
    check_run(ctx.params["resume"], example=example)


def refuse_idle_tolerances(ctx: click.Context) -> None:
    """Raise a usage error where ``--rtol`` or ``--atol`` were given beside fixed steps, which know nothing of them."""
    known = given(ctx)
    idle = [name for name in ("rtol", "atol") if name in known]
    fixed = "--step" if "step" in known else f"--method {ctx.params['method']}"
    if idle and ("step" in known or ctx.params["method"] in FIXED_METHODS):
        raise click.UsageError(
            f"--{idle[0]} has no part beside {fixed}, which takes fixed steps; give one of them", ctx
        )
