"""What an experiment returns, and its files: a table in Markdown, everything in JSON, the figures in PNG."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.datasets.atomic_write import fill_bytes, replacing, write_text
from physode.datasets.files import check_outputs
from physode.datasets.provenance import provenance
from physode.errors import DataError
from physode.json_values import plain, read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 64 * 2**20  # bytes of a data file

Row = Mapping[str, Any]
Series = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Finding:
    """A statement of the paper, or of what is asked, beside what was found here, and whether the two agree."""

    paper: str
    ours: str
    agrees: bool


@dataclass(frozen=True)
class Deviation:
    """Where an experiment departs from its paper.

    Attributes
    ----------
    item
        What of the paper it concerns, such as ``"Table 5, NODE"`` or ``"Sect. 5.3, dropout"``.
    paper, here
        What the paper has or leaves open, and what stands in its place.
    reason
        Why.
    """

    item: str
    paper: str
    here: str
    reason: str


@dataclass(frozen=True)
class Result:
    """The outcome of one experiment.

    Attributes
    ----------
    name, title
        The experiment's name, such as ``"fig4"``, and its subject.
    config
        The configuration that it ran with.
    rows
        The table: one dictionary a row, with the same keys in each.
    findings
        What the paper says and what was found.
    claims
        Whose the findings' first column is.
    series
        The arrays that only the figure needs.
    deviations
        Where the experiment departs from the paper.
    """

    name: str
    title: str
    config: Mapping[str, Any]
    rows: Sequence[Row]
    findings: Sequence[Finding]
    claims: str = "the paper"
    series: Series = field(default_factory=dict, repr=False)
    deviations: Sequence[Deviation] = ()


def paths(name: str, folder: Path, figures: Iterable[str] = ()) -> dict[str, Path]:
    """Return the files that :func:`write` makes, by kind, or for several figures by the figure's name."""
    several = {figure: folder / name / f"{figure}.png" for figure in figures}
    files = several or {"figure": folder / f"{name}.png"}
    return {**files, "table": folder / f"{name}.md", "data": folder / f"{name}.json"}


def check_free(name: str, folder: Path) -> None:
    """Raise ``DataError`` if a file of the experiment exists or cannot be written: to be called before the work."""
    check_writable(name, folder)
    taken = [str(path) for path in paths(name, folder).values() if path.exists()]
    if taken:
        raise DataError(
            f"{', '.join(taken)} exist already; choose another folder, or overwrite (--force on the command line)"
        )


def check_writable(name: str, folder: Path) -> None:
    """Raise ``DataError`` if a file of the experiment cannot be written, whether it exists or not."""
    check_outputs(paths(name, folder).values(), overwrite=True)


def holds(name: str, folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether the files in `folder` are those of the experiment with this very configuration."""
    try:
        found = read_json(paths(name, folder)["data"], largest=_LARGEST)
        return bool(found["config"] == json.loads(json.dumps(plain(config))))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write(
    result: Result, figure: Figure | Mapping[str, Figure], folder: Path, *, overwrite: bool = False
) -> dict[str, Path]:
    """Write the figure, the table and the data into ``folder``, made where it is missing; return their paths.

    Several figures, by name, go into a folder of the result's name, ``folder/NAME``, which is the result's own: figures
    in it are replaced.

    Raises
    ------
    DataError
        If one of the other files exists and ``overwrite`` is False.
    """
    if not overwrite:
        check_free(result.name, folder)
    several = figure if isinstance(figure, Mapping) else {}
    files = paths(result.name, folder, several)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(figure, Mapping):
        (folder / result.name).mkdir(exist_ok=True)
    else:
        _save(figure, files["figure"], overwrite=overwrite)
    for name, each in several.items():
        _save(each, files[name], overwrite=True)
    pictures = {name: path.relative_to(folder).as_posix() for name, path in files.items() if path.suffix == ".png"}
    write_text(files["table"], markdown(result, figures=pictures), overwrite=overwrite)
    content = json.dumps(as_dict(result) | {"made": provenance()}, indent=2) + "\n"
    write_text(files["data"], content, overwrite=overwrite)
    return files


def _save(figure: Figure, path: Path, *, overwrite: bool) -> None:
    with replacing(path, overwrite=overwrite) as part:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=150)
        fill_bytes(part, drawn.getbuffer())


def as_dict(result: Result) -> dict[str, Any]:
    """Return the result, without the figure's arrays, as JSON can hold it: what is not finite becomes None."""
    return {
        "name": result.name,
        "title": result.title,
        "claims": result.claims,
        "config": plain(result.config),
        "rows": [plain(row) for row in result.rows],
        "findings": [vars(finding) for finding in result.findings],
        "deviations": [vars(deviation) for deviation in result.deviations],
    }


def markdown(result: Result, *, figures: Mapping[str, str] | None = None) -> str:
    """Return the result as a Markdown page, with the figures' names and where they are from it."""
    columns = list(result.rows[0]) if result.rows else []
    parts = [
        f"# {result.title}",
        *(f"![{result.title if name == 'figure' else name}]({file})" for name, file in (figures or {}).items()),
        *_findings(result),
        markdown_table(columns, [[cell(row[name]) for name in columns] for row in result.rows]),
        *_deviations(result.deviations),
        "Configuration: " + ", ".join(f"{name} = {cell(value)}" for name, value in result.config.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _findings(result: Result) -> list[str]:
    rows = [[each.paper, each.ours, "yes" if each.agrees else "no"] for each in result.findings]
    return [markdown_table([result.claims, "here", "agrees"], rows)] if rows else []


def _deviations(deviations: Sequence[Deviation]) -> list[str]:
    if not deviations:
        return []
    rows = [[each.item, each.paper, each.here, each.reason] for each in deviations]
    return ["Deviations:", markdown_table(["item", "the paper", "here", "reason"], rows)]


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Return a value as tables show it, numbers to four digits."""
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(map(cell, value))
        case _:
            return str(value)
