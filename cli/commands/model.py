"""``physode model``: model files made, checked and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.options import force_option, json_option
from physode.cli.paths import PATH, SOURCE
from physode.cli.show import show_json, show_table
from physode.cli.tables import SectionedCommand, say_understood, table_options
from physode.progress import visible

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = ["command"]


@click.group()
def command() -> None:
    """Make, check and show model files: equations of your own, as text.

    A model file is TOML with states, constants, inputs, observables and experiments; docs/model_files.md describes it.

    \b
    Examples:
      physode model new swing.csv --output swing.toml
      physode model check swing.toml swing.csv
      physode model show swing.toml
    """


@command.command(cls=SectionedCommand)
@click.argument("data", type=SOURCE)
@click.option("--output", type=PATH, help="The model file.  [default: DATA's name with .toml]")
@click.option("--time-column", metavar="NAME", help="Column of times.  [default: time, t, date, ...]")
@click.option(
    "--experiment-column",
    metavar="NAME",
    help="Column of experiments' labels.  [default: experiment, or what tells equal times apart]",
)
@force_option
@table_options
def new(
    data: Path,
    output: Path | None,
    time_column: str | None,
    experiment_column: str | None,
    force: bool,
    table: TableOptions,
) -> None:
    """Make a model file from the columns of DATA, a table, with equations to be filled in.

    \b
    Examples:
      physode model new swing.csv
      physode model new swing.csv --output models/swing.toml --force
      physode model new messung.csv --time-column Uhrzeit --time-unit min --decimal ,
      physode model new flasks.csv --experiment-column flask
    """
    from physode.datasets.atomic_write import write_text
    from physode.equations.scaffold import scaffold

    text = scaffold(data, time=time_column, experiment=experiment_column, options=table, tell=say_understood)
    path = output or data.with_suffix(".toml")
    write_text(path, text, overwrite=force)
    files = f"{visible(str(path))} {visible(str(data))}"
    click.echo(f"wrote {visible(str(path))}; fill in its equations, then: physode model check {files}")


@command.command(cls=SectionedCommand)
@click.argument("model", type=SOURCE)
@click.argument("data", metavar="[DATA]...", type=SOURCE, nargs=-1)
@json_option
@table_options
def check(model: Path, data: tuple[Path, ...], as_json: bool, table: TableOptions) -> None:
    """Check a model file, and tables of DATA against it; say what would be estimated.

    Names, dimensions, bounds, and that nothing is declared in vain; with DATA also columns, units, experiments, and
    inputs. What does not fit is one line, and the exit code 1.

    \b
    Examples:
      physode model check swing.toml
      physode model check swing.toml swing.csv
      physode model check dose.toml subject-*.csv
    """
    from physode.equations.listing import as_listed, estimation_listed
    from physode.equations.model_file import read_model

    read = read_model(model)
    tables = as_listed(read.declarations)
    if data:
        tables |= estimation_listed(read.estimation(*data, options=table, tell=say_understood))
        del tables["constants"], tables["observables"]
    if as_json:
        show_json({"name": read.declarations.name, **tables})
    else:
        _show_tables(tables)
        click.echo(f"{visible(str(model))} fits together{' with its data' if data else ''}.")


@command.command()
@click.argument("model", type=SOURCE)
@click.option("--python", is_flag=True, help="Print the equations as a PyTorch module, to go on from.")
@json_option
def show(model: Path, python: bool, as_json: bool) -> None:
    """Print a model's equations and constants.

    \b
    Examples:
      physode model show swing.toml
      physode model show swing.toml --json
      physode model show swing.toml --python > swing.py
    """
    from physode.equations.listing import constants_listed, equations_listed
    from physode.equations.model_file import read_model
    from physode.equations.torch_source import torch_source

    if python and as_json:
        raise click.UsageError("--python and --json cannot both be.")
    declarations = read_model(model).declarations
    if python:
        click.echo(torch_source(declarations), nl=False)
        return
    lines, constants = equations_listed(declarations), constants_listed(declarations)
    if as_json:
        show_json({"name": declarations.name, "equations": lines, "constants": constants})
        return
    click.echo(visible(declarations.name))
    for line in lines:
        click.echo(f"  {visible(line)}")
    click.echo()
    _show_tables({"constants": constants})


def _show_tables(tables: Mapping[str, list[dict[str, Any]]]) -> None:
    for title, rows in tables.items():
        if rows:
            show_table(title, list(rows[0]), [list(row.values()) for row in rows])
