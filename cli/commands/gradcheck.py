"""``physode gradcheck``: gradient methods on a right-hand side of the user's own, against finite differences."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from physode.cli.numbers import POSITIVE, SECONDS, STEP, Whole, finite_numbers
from physode.cli.options import (
    METHODS,
    device_option,
    dtype_option,
    json_option,
    method_option,
    refuse_idle_tolerances,
    seed_option,
    tolerance_options,
)
from physode.cli.show import show_json, show_pairs, show_table
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.gradcheck import GradientCheck


class _Numbers(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            tuple(map(float, value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,0.5,-2.", param, ctx)
        return finite_numbers(value)


@click.command()
@click.argument("rhs", metavar="MODULE:RHS")
@click.option(
    "--y0", type=_Numbers(), help="Initial state, such as 1,0.5.  [default: drawn by --seed, of --dim numbers]"
)
@click.option(
    "--dim",
    type=Whole(1, largest=1_000_000, why="the checks of so many would take for ever; give less"),
    help="Components of an initial state that is drawn.",
)
@click.option("--t-end", type=POSITIVE, help="End of the span, which begins at 0.  [default: 1, or a system's own]")
@click.option(
    "--points",
    type=Whole(2, largest=1_000_000, why="memory does not hold as many states; give less"),
    default=11,
    show_default=True,
    help="Output times, both ends included.",
)
@method_option(methods=METHODS)
@tolerance_options()
@click.option("--step", type=STEP, help="Fixed steps of this size.")
@click.option("--directions", "most", type=Whole(1), default=8, show_default=True, help="Of differences, at most.")
@click.option(
    "--max-seconds",
    type=SECONDS,
    default=60.0,
    show_default=True,
    help="Limit of each forward solve.",
)
@seed_option
@dtype_option
@device_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    rhs: str,
    y0: tuple[float, ...] | None,
    dim: int | None,
    t_end: float | None,
    points: int,
    step: float | None,
    seed: int,
    dtype: str,
    device: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare aca, adjoint and naive gradients of your right-hand side with finite differences.

    MODULE:RHS is f(t, y), a torch module, a class or a function that makes one without arguments: in a module that can
    be imported from here, or in a file (model.py:RHS). It is your own code: the module is run. Or the name of a system,
    such as van_der_pol.

    Errors are relative to central differences in double precision on the accepted steps, in the initial state and in
    all that the right-hand side depends on.

    \b
    Examples:
      physode gradcheck van_der_pol
      physode gradcheck model.py:Swing --y0 0.5,0 --t-end 10
      physode gradcheck mypackage.models:make --dim 8 --rtol 1e-8 --atol 1e-10
      physode gradcheck model.py:Swing --y0 0.5,0 --json
    """
    from physode.cli.rhs_spec import check_place, find_target

    refuse_idle_tolerances(ctx)
    check_place(rhs)
    import torch

    from physode.gradcheck import check_gradients

    target = find_target(rhs)
    precision = getattr(torch, dtype)
    start = _start(y0, dim, target.y0, seed).to(device=device, dtype=precision)
    f = target.f.to(device=device, dtype=precision) if isinstance(target.f, torch.nn.Module) else target.f
    _try(f, start, rhs)
    with showing_progress("checking gradients") as progress:
        found = check_gradients(
            f,
            start,
            torch.linspace(0.0, t_end or min(target.t_end or 1.0, 1.0), points, dtype=torch.float64),
            step_size=step,
            seed=seed,
            progress=progress,
            **settings,
        )
    if as_json:
        show_json(dataclasses.asdict(found))
    else:
        _show(found)


def _start(y0: tuple[float, ...] | None, dim: int | None, own: tuple[float, ...] | None, seed: int) -> Any:
    import torch

    if y0 is not None and dim is not None and len(y0) != dim:
        raise click.UsageError(f"--y0 has {len(y0)} numbers, --dim says {dim}; give one of them.")
    if y0 is not None:
        return torch.tensor(y0, dtype=torch.float64)
    if dim is not None:
        return torch.randn(dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if own is not None:
        return torch.tensor(own, dtype=torch.float64)
    raise click.UsageError("Give an initial state, --y0 1,0.5, or how many components one drawn is to have, --dim 2.")


def _try(f: Any, start: Any, name: str) -> None:
    """Evaluate the right-hand side once, so that what it cannot take is not taken for a fault of physode."""
    import torch

    columns = getattr(f, "columns", None)
    if columns is not None and len(columns) != len(start):
        own = ", ".join(columns)
        raise click.UsageError(f"the initial state (--y0) has {len(start)} numbers, {name} has {len(columns)}: {own}.")
    try:
        with torch.no_grad():
            f(torch.zeros((), dtype=torch.float64, device=start.device), start.clone())
    except Exception as error:
        raise click.ClickException(
            f"{name} fails on an initial state of {len(start)} numbers ({type(error).__name__}: {error}); give as many "
            "as it takes (--y0, --dim)"
        ) from error


def _show(found: GradientCheck) -> None:
    header = [
        "method", "error in y0", "error in parameters", "time (ms)", "peak (kB)", "steps", "rejected",
        "f forward", "f backward",
    ]  # fmt: skip
    rows = [
        [
            row.method,
            row.error_y0,
            row.error_parameters,
            None if row.seconds is None else 1e3 * row.seconds,
            None if row.peak_bytes is None else row.peak_bytes / 1e3,
            row.accepted,
            row.rejected,
            row.rhs_forward,
            row.rhs_backward,
        ]
        for row in found.rows
    ]
    show_table("gradients against finite differences", header, rows)
    if found.advice:
        show_pairs("advice", {str(i): line for i, line in enumerate(found.advice, 1)})
