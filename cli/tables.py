"""Options that say how a table is written, for all commands that read one; and what was understood of it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from physode.cli.data import say_understood
from physode.errors import ConfigError

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = [
    "TABLE_OPTIONS", "SectionedCommand", "merged", "say_understood", "series_table_options", "table_options",
]  # fmt: skip

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


# A name may have commas: those divide that stand before a role.
_ROLES = re.compile(r",\s*(?=(?:series|time|channel|value)\s*=)")


def _columns(ctx: click.Context, param: click.Parameter, said: tuple[str, ...]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for part in (part for text in said for part in _ROLES.split(text)):
        role, equals, name = (word.strip() for word in part.partition("="))
        if not (role and equals and name):
            raise click.BadParameter(f"{part!r} is not ROLE=NAME, such as time=minutes", ctx=ctx, param=param)
        columns.setdefault(role, []).append(name)
    return columns


def _names(ctx: click.Context, param: click.Parameter, said: str | None) -> tuple[str, ...]:
    return () if said is None else tuple(name.strip() for name in said.split(",") if name.strip())


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
    _option(
        "--columns",
        metavar="ROLE=NAME,...",
        multiple=True,
        callback=_columns,
        help="What columns are: series, time, channel, value; several values are channels each.",
    ),
)
_STATIC = _option(
    "--static", metavar="NAME,...", callback=_names, help="Of series: columns that say one thing of each, such as age."
)
TABLE_OPTIONS = (
    "delimiter", "decimal", "thousands", "encoding", "sheet", "variable", "dayfirst", "time_unit", "columns", "static",
)  # fmt: skip
"""Their names."""


def table_options(command: Decorated) -> Decorated:
    """Give a command the options of tables; it gets them as one argument, ``table``.

    The command's class is to be `SectionedCommand`, and :func:`click.pass_context` stand below.
    """
    return _with_options(command, _OPTIONS)


def series_table_options(command: Decorated) -> Decorated:
    """Give a command the options of tables and those of series among them, as :func:`table_options`."""
    return _with_options(command, (*_OPTIONS, _STATIC))


def _with_options(command: Decorated, options: tuple[Callable[[Any], Any], ...]) -> Decorated:
    @functools.wraps(command)
    def called(*arguments: Any, **given: Any) -> Any:
        from physode.datasets.tables.options import TableOptions

        said = {name: value for name in TABLE_OPTIONS if (value := given.pop(name, None)) not in (None, (), {})}
        try:
            table = TableOptions(**said)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, table=table, **given)

    found: Any = called
    for option in reversed(options):
        found = option(found)
    return found  # type: ignore[no-any-return]


def merged(known: TableOptions, given: TableOptions) -> TableOptions:
    """Return options with those that are given in place of what was known."""
    import dataclasses

    return dataclasses.replace(known, **given.given)
