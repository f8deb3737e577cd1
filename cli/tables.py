"""Options that say how a table is written, for all commands that read one; and what was understood of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from physode.cli.data import say
from physode.errors import ConfigError

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = ["TABLE_OPTIONS", "SectionedCommand", "merged", "say_understood", "table_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _TableOption(click.Option):
    """An option that says how a table is written."""


class SectionedCommand(click.Command):
    """A command whose help has the options of tables in a section of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both sections."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Tables": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections["Tables" if isinstance(param, _TableOption) else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _option(*names: str, help: str, **about: Any) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*names, cls=_TableOption, default=None, help=help, **about)


# The library's own lists would have to be imported, with NumPy, for `--help`; tests/cli/test_tables.py compares them.
_OPTIONS = (
    _option("--delimiter", metavar="MARK", help="Between columns: a character, tab or space; else found out."),
    _option("--decimal", type=click.Choice([".", ","]), help="The decimal sign, where 1.234 or 1,234 leaves it open."),
    _option("--thousands", type=click.Choice([",", ".", " ", "'"]), help="The mark between thousands."),
    _option("--encoding", metavar="NAME", help="Of text, such as latin-1; else found out."),
    _option("--sheet", metavar="NAME", help="Of a workbook (.xlsx) with several."),
    _option("--variable", metavar="NAME", multiple=True, help="Of a MATLAB file; repeat it."),
    _option("--dayfirst/--monthfirst", "dayfirst", help="Whether 03/04/2025 is 3 April or 4 March."),
    _option(
        "--time-unit",
        type=click.Choice(["s", "min", "h", "d", "week", "yr"]),
        help="The unit that times come in.  [default: of dates and hh:mm:ss s, else the file's]",
    ),
)
TABLE_OPTIONS = ("delimiter", "decimal", "thousands", "encoding", "sheet", "variable", "dayfirst", "time_unit")
"""Their names."""


def table_options(command: Decorated) -> Decorated:
    """Give a command the options of tables; it gets them as one argument, ``table``.

    The command's class is to be `SectionedCommand`, and :func:`click.pass_context` stand below.
    """

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        from physode.datasets import TableOptions

        said = {name: value for name in TABLE_OPTIONS if (value := options.pop(name)) not in (None, ())}
        try:
            table = TableOptions(**said)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, table=table, **options)

    found: Any = called
    for option in reversed(_OPTIONS):
        found = option(found)
    return found  # type: ignore[no-any-return]


def say_understood(understood: Any) -> None:
    """Say on stderr how a table was read, where that does not go without saying."""
    if understood:
        say(f"read as {understood}")


def merged(known: TableOptions, given: TableOptions) -> TableOptions:
    """Return options with those that are given in place of what was known."""
    import dataclasses

    return dataclasses.replace(known, **given.given)
