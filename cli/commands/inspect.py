"""``physode inspect``: what a data file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.advice import next_commands
from physode.cli.data import show_classes, show_skipped
from physode.cli.options import json_option
from physode.cli.paths import SOURCE
from physode.cli.show import cell, shorten, show_json, show_pairs, show_table
from physode.cli.tables import SectionedCommand, series_table_options

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = ["command"]


@click.command(cls=SectionedCommand)
@click.argument("files", metavar="FILE...", type=SOURCE, nargs=-1, required=True)
@json_option
@series_table_options
def command(files: tuple[Path, ...], table: TableOptions, as_json: bool) -> None:
    """Describe data: shapes, units, ranges, what is missing, constants, and where they come from.

    FILE is HDF5 of trajectories, images or series, a table (CSV in any dialect, packed by gzip or not, .xlsx, .mat), a
    folder of records of PhysioNet's 2012 challenge, a folder or archive of images, or a vector table of JPL Horizons;
    of these, name one for each body. docs/data.md describes them. Every number is read, and so damage found anywhere in
    the file; files of images are counted by their names. How a table was read is said; where its numbers, dates or
    columns leave that open, an option is asked for. The command to go on with stands at the end.

    \b
    Examples:
      physode inspect threebody.h5
      physode inspect threebody.h5 --json
      physode inspect galaxies.h5
      physode inspect pelts.csv
      physode inspect messung.csv --decimal ,
      physode inspect cases.csv --dayfirst --time-unit d
      physode inspect runs.xlsx --sheet "run 2"
      physode inspect lab.csv --columns series=subject,time=minutes,channel=analyte,value=conc --static age,sex
      physode inspect set-a/
      physode inspect my-images/
      physode inspect sun.txt jupiter.txt saturn.txt
    """
    from physode.datasets import summarise_data

    summary = summarise_data(files, options=table)
    if as_json:
        show_json(summary)
        return
    if "classes" in summary:
        _show_images(summary)
    elif "series" in summary:
        _show_series(summary)
    else:
        _show(summary)
    show_pairs("", {"next": next_commands(summary, files, table)})


def _show_images(summary: dict[str, Any]) -> None:
    show_pairs(
        summary["path"],
        {
            "size": _size(summary["bytes"]),
            "format": summary["format"],
            "schema version": summary["schema_version"],
            "images": summary["images"],
            "pixels": f"{summary['width']} x {summary['height']}" if summary["width"] else None,
            "training": summary["training"],
            "test": summary["test"],
            "classes": None if summary["classes"] else "not known: the images lie in no folder of a class",
        },
    )
    if summary["classes"]:
        show_classes(summary)
    _show_params("parameters", summary["params"])
    show_skipped(summary)
    _show_attributes(summary["attributes"])


def _show_series(summary: dict[str, Any]) -> None:
    time, points = summary["time"], summary["points"]
    attributes = dict(summary["attributes"])
    show_pairs(
        summary["path"],
        {
            "size": _size(summary["bytes"]),
            "format": summary["format"],
            **_understood(attributes),
            "schema version": summary["schema_version"],
            "series": summary["series"],
            "points": f"{points['min']} to {points['max']}, median {points['median']:.6g}",
            "times": f"{time['first']:.6g} to {time['last']:.6g} {time['unit']}".rstrip(),
            "spans": f"{time['shortest']:.6g} to {time['longest']:.6g} {time['unit']}".rstrip(),
        },
    )
    channels = summary["channels"]
    show_table("channels", ["name", "unit", "observed", "min", "max"], [list(each.values()) for each in channels])
    _show_statics(attributes.pop("statics", {}))
    _show_notes(summary["notes"])
    _show_attributes(attributes)


def _show_statics(statics: dict[str, list[Any]]) -> None:
    """Print what is known of each series beside its channels."""
    rows: list[list[Any]] = []
    for name, values in statics.items():
        known = [value for value in values if value is not None]
        words = any(isinstance(value, str) for value in known)
        low, high = (None, None) if words or not known else (min(known), max(known))
        distinct = ", ".join(dict.fromkeys(map(str, known))) if words else None
        rows.append([name, len(values) - len(known), low, high, None if distinct is None else shorten(distinct)])
    if rows:
        show_table("statics, one value a series", ["name", "missing", "min", "max", "labels"], rows)


def _show(summary: dict[str, Any]) -> None:
    time = summary["time"]
    attributes = dict(summary["attributes"])
    show_pairs(
        summary["path"],
        {
            "size": _size(summary["bytes"]),
            "format": summary["format"],
            **_understood(attributes),
            "schema version": summary["schema_version"],
            "system": attributes.pop("system", None),
            "trajectories": summary["trajectories"],
            "times": f"{summary['times']}, {'the same for all' if time['shared'] else 'each with its own'}",
            "span": f"{time['first']:.6g} to {time['last']:.6g} {time['unit']}".rstrip(),
            "noise (rms)": summary["noise_rms"],
            "sigma": _range(summary["sigma"]),
        },
    )
    components = summary["components"]
    show_table("components", ["name", "unit", "min", "max", "missing"], [list(each.values()) for each in components])
    _show_params("true constants", summary["params"])
    _show_notes(summary["notes"])
    _show_attributes(attributes)


def _understood(attributes: dict[str, Any]) -> dict[str, str]:
    """Take out of attributes how a table was read, where that does not go without saying."""
    return {"read as": attributes.pop("understood")} if "understood" in attributes else {}


def _show_notes(notes: list[Any]) -> None:
    if notes:
        show_pairs("notes", {str(i): shorten(cell(note)) for i, note in enumerate(notes, 1)})


def _show_params(title: str, params: dict[str, Any]) -> None:
    if params:
        rows = [[name, each["unit"], _shape(each["shape"]), each["min"], each["max"]] for name, each in params.items()]
        show_table(title, ["name", "unit", "shape", "min", "max"], rows)


def _show_attributes(attributes: dict[str, Any]) -> None:
    if attributes:
        show_pairs("attributes", {name: shorten(cell(value)) for name, value in attributes.items()})


def _range(values: dict[str, float] | None) -> str | None:
    return None if values is None else f"{values['min']:.6g} to {values['max']:.6g}"


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape)) or "number"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
