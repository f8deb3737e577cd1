"""``physode simulate SYSTEM``: systems that physode solves, three with options of their own, the others derived."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.simulate_shared import (
    count_option,
    output_options,
    solver_options,
    span_option,
    times_options,
    together,
    write,
)
from physode.cli.numbers import POSITIVE, Real, finite_numbers

if TYPE_CHECKING:
    from physode.datasets import Trajectories
    from physode.rhs import Constant, System
    from physode.typing import Progress

__all__ = ["PRESETS", "derived_command", "lotkavolterra", "physical_systems", "threebody", "vanderpol"]

# The systems' own tables would have to import torch for `--help`; tests/cli/test_simulate.py holds the two together.
PRESETS = {"three_body": ("aca", "figure-eight", "pythagorean"), "van_der_pol": ("aca", "classic", "relaxation")}


@cache
def physical_systems() -> dict[str, str]:
    """Return the first line of each physical system's documentation by its name, read without importing torch."""
    import physode

    folder = Path(str(physode.__file__)).parent / "rhs" / "physical"
    found = {}
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            name = _name_of(node) if isinstance(node, ast.ClassDef) else None
            if name is not None:
                about = ast.get_docstring(node) or ""  # type: ignore[arg-type]
                found[name] = re.sub(r":\w+:|[`\\]", "", about.partition("\n")[0])  # without markup
    return found


def _name_of(node: ast.ClassDef) -> str | None:
    """Return the name that a class declares by ``name = "..."``."""
    for line in node.body:
        if (
            isinstance(line, ast.Assign)
            and isinstance(line.value, ast.Constant)
            and ast.unparse(line.targets[0]) == "name"
        ):
            return str(line.value.value)
    return None


def derived_command(name: str) -> click.Command:
    """Return the command of a system, with options from what its class declares."""
    from physode.rhs import SYSTEMS

    system = SYSTEMS[name]
    options = [_constant_option(constant) for constant in system.declared.values()]
    if system.presets:
        options.append(
            click.option(
                "--preset",
                type=click.Choice(list(system.presets)),
                help="A known problem; other options replace its parts.",
            )
        )
    if any(constant.ndim == 0 for constant in system.declared.values()):
        options.append(vary_option)
    options += [y0_option, range_option, _options(f"{name}.h5", stiff=system.stiff)]

    def simulate(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
        constants = {each: arguments.pop(each) for each in system.declared}
        given = {each: value for each, value in constants.items() if value is not None}

        def run(progress: Progress | None) -> Trajectories:
            from physode.simulators import simulate_system

            return simulate_system(name, constants=given, progress=progress, **arguments)

        write(run, out, force=force, as_json=as_json)

    return click.command(name, help=_help(name, system))(together(*options)(simulate))


def _constant_option(constant: Constant) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that a constant's declaration makes."""
    meaning = constant.meaning[:1].upper() + constant.meaning[1:]
    unit = f", in {constant.unit}" if constant.unit else ""
    default = "" if constant.default is None else f"  [default: {constant.default:.9g}]"
    option = f"--{constant.name.replace('_', '-')}"
    if constant.ndim:
        return click.option(
            option, constant.name, callback=_numbers, metavar="X,X,...", required=constant.default is None,
            help=f"{meaning}{unit}, with commas between them.",
        )  # fmt: skip
    kinds = {"positive": POSITIVE, "nonnegative": Real(0, finite=False)}
    kind = kinds.get(constant.domain, Real(finite=False))
    return click.option(option, constant.name, type=kind, help=f"{meaning}{unit}{default}")


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    return None if value is None else finite_numbers(value)


def _help(name: str, system: type[System]) -> str:
    """Return the text of ``--help``, with examples."""
    about = (physical_systems()[name], _about_start(system))
    needed = "".join(f" --{each.name} 1,1" for each in system.declared.values() if each.default is None)
    numbers = [each for each in system.declared.values() if each.default is not None]
    preset = next(iter(system.presets), None)
    lines = [needed, f"{needed} --n 20 --times random --points 50 --noise 0.01"]
    lines += [f" --{each.name.replace('_', '-')} {each.default:.3g} --vary 0.1" for each in numbers[:1]]
    lines += [f" --preset {preset}"] if preset else []
    examples = "\n".join(f"  physode simulate {name}{line}" for line in lines)
    return "\n\n".join((*about, f"\b\nExamples:\n{examples}"))


def _about_start(system: type[System]) -> str:
    start = "Initial states are drawn" if system.initial_box or not system.presets else "All begin at the first preset"
    if system.initial_box:
        columns = zip(system.columns, system.initial_box, strict=True)
        start += ": " + ", ".join(f"{column} from {low:g} to {high:g}" for column, (low, high) in columns)
    until = "" if system.span is None else f" They are watched until {system.span.t_end:g} by default."
    stiff = " The system is stiff." if system.stiff else ""
    return f"{start}.{until}{stiff}"


def _ranges(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, float, float], ...]
) -> dict[str, tuple[float, float]]:
    return {column: (low, high) for column, low, high in value}


y0_option = click.option(
    "--y0", callback=_numbers, metavar="X,X,...", help="Initial state of all, its components with commas between them."
)
range_option = click.option(
    "--range", "ranges", type=(str, Real(), Real()), multiple=True, callback=_ranges, metavar="COLUMN LOW HIGH",
    help="Draw a column's initial value between bounds; may be given several times.",
)  # fmt: skip
vary_option = click.option(
    "--vary",
    type=Real(0, below=1, finite=False),
    default=0.0,
    show_default=True,
    help="Share by which the constants of a trajectory differ from these at most.",
)


def _options(file: str, *, stiff: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of every system; `file` is the default output."""
    return together(count_option(), span_option, times_options(), solver_options(stiff=stiff), output_options(file))


@click.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["three_body"]), help="A known problem; other options replace its parts."
)
@click.option(
    "--masses",
    type=Real(finite=False),
    nargs=3,
    metavar="M1 M2 M3",
    help="Masses; drawn between 0.5 and 1.5 by default.",
)
@click.option("--softening", type=Real(0, finite=False), help="Length below which attraction is weakened.")
@click.option(
    "--encounter-distance", type=POSITIVE, help="Report pairs nearer than this  [default: 0.1 of their first distance]"
)
@_options("threebody.h5")
def threebody(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Three bodies under gravitation, in AU, years and solar masses.

    Initial states are drawn: bound, with the centre of mass at rest. Close encounters are reported.

    \b
    Examples:
      physode simulate threebody
      physode simulate threebody --preset aca --t-end 2 --points 2000
      physode simulate threebody --masses 1 2 0.5 --n 10 --seed 3 --out ten.h5
      physode simulate threebody --n 100 --times random --points 200
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_three_body

        return simulate_three_body(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)


@click.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["van_der_pol"]), help="A known problem; other options replace its parts."
)
@click.option("--mu", type=Real(finite=False), help="Strength of the damping  [default: 1]")
@click.option(
    "--threshold", type=Real(finite=False), help="Value of y1^2 at which the damping changes sign  [default: 1]"
)
@_options("vanderpol.h5")
def vanderpol(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Van der Pol's oscillator, dy2/dt = mu (threshold - y1^2) y2 - y1.

    Initial states are drawn between -3 and 3. The preset "aca" is Eqs. 81-82 of the ACA paper.

    \b
    Examples:
      physode simulate vanderpol --preset aca
      physode simulate vanderpol --mu 5 --n 100 --noise 0.01
      physode simulate vanderpol --n 1000 --times random --points 100 --noise 0.05
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_van_der_pol

        return simulate_van_der_pol(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)


@click.command()
@click.option("--alpha", type=POSITIVE, default=1.5, show_default=True, help="Growth of the prey.")
@click.option("--beta", type=POSITIVE, default=1.0, show_default=True, help="Loss of prey to predators.")
@click.option("--delta", type=POSITIVE, default=1.0, show_default=True, help="Gain of predators from prey.")
@click.option("--gamma", type=POSITIVE, default=3.0, show_default=True, help="Death of the predators.")
@click.option(
    "--vary",
    type=Real(0, below=1, finite=False),
    default=0.0,
    show_default=True,
    help="Share by which the rates of a trajectory differ from these at most.",
)
@_options("lotkavolterra.h5")
def lotkavolterra(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Predators and prey, dx/dt = x (alpha - beta y), dy/dt = y (delta x - gamma).

    Initial numbers are drawn between 0.5 and 5.

    \b
    Examples:
      physode simulate lotkavolterra
      physode simulate lotkavolterra --n 1000 --times random --points 100 --noise 0.1
      physode simulate lotkavolterra --n 100 --vary 0.2 --out varied.h5
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_lotka_volterra

        return simulate_lotka_volterra(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)
