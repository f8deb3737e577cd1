"""The files of a PEtab problem, as its YAML file lists them, and the rows of its tables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physode.datasets.files import check_file, shown
from physode.errors import DataError
from physode.optional_imports import needs

LARGEST_LIST = 1_000_000
LARGEST_TABLE = 200_000_000
"""Bytes of the YAML file, and of a table."""

_VERSION = re.compile(r"^[\"']?format_version[\"']?\s*:", re.MULTILINE)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "NULL", "null", "None", "<NA>", "n/a", "#N/A", "-nan", "-NaN"})

Cells = dict[str, str]
"""A row: its cells by their columns' names, ``""`` where nothing is."""


@dataclass(frozen=True)
class ProblemFiles:
    """Files of a problem, by kind.

    Attributes
    ----------
    path
        The YAML file.
    version
        1 or 2.
    """

    path: Path
    version: int
    model: Path
    parameters: tuple[Path, ...]
    observables: tuple[Path, ...]
    measurements: tuple[Path, ...]
    conditions: tuple[Path, ...] = ()
    experiments: tuple[Path, ...] = ()
    mappings: tuple[Path, ...] = ()

    @property
    def tables(self) -> tuple[Path, ...]:
        """All tables."""
        return (
            *self.parameters, *self.observables, *self.measurements, *self.conditions, *self.experiments,
            *self.mappings,
        )  # fmt: skip


def is_petab(path: Path | str) -> bool:
    """Return whether a file is the YAML file of a PEtab problem, as far as its name and its words say."""
    path = Path(path)
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file() or path.stat().st_size > LARGEST_LIST:
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return _VERSION.search(text) is not None and ("parameter_file" in text or "measurement_files" in text)


def problem_files(path: Path) -> ProblemFiles:
    """Read the list of a problem's files, and see that they are there.

    Raises
    ------
    ConfigError
        If PyYAML is missing.
    DataError
        If it is no such list, of a version other than 1 and 2, or a file is missing.
    """
    yaml = needs("yaml", extra="petab", purpose="reading PEtab")
    check_file(path, largest=LARGEST_LIST)
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(listed, dict) or "format_version" not in listed:
        raise DataError(f"{path} is no list of PEtab's files: it has no format_version")
    version = str(listed["format_version"]).split(".")[0]
    if version == "1":
        files = _version_1(path, listed)
    elif version == "2":
        files = _version_2(path, listed)
    else:
        raise DataError(f"{path} is of PEtab's version {shown(str(listed['format_version']))}; physode reads 1 and 2")
    for file in files.tables:
        check_file(file, largest=LARGEST_TABLE)
    check_file(files.model)
    return files


def _version_1(path: Path, listed: Mapping[str, Any]) -> ProblemFiles:
    problems = listed.get("problems")
    if not isinstance(problems, list) or len(problems) != 1 or not isinstance(problems[0], dict):
        number = len(problems) if isinstance(problems, list) else 0
        raise DataError(f"{path} lists {number} problems, physode reads one; split the file")
    problem = problems[0]
    models = _located(path, problem, "sbml_files")
    return ProblemFiles(
        path, 1, _only_model(path, models),
        parameters=_located(path, listed, "parameter_file", required=True),
        observables=_located(path, problem, "observable_files", required=True),
        measurements=_located(path, problem, "measurement_files", required=True),
        conditions=_located(path, problem, "condition_files"),
    )  # fmt: skip


def _version_2(path: Path, listed: Mapping[str, Any]) -> ProblemFiles:
    extensions = listed.get("extensions") or {}
    for label, extension in extensions.items() if isinstance(extensions, dict) else [(str(extensions), None)]:
        if not isinstance(extension, dict) or extension.get("required", True):
            raise DataError(f"{path} needs the PEtab extension {shown(str(label))}, which physode does not support")
    models = listed.get("model_files") or {}
    if not isinstance(models, dict) or not all(isinstance(each, dict) for each in models.values()):
        raise DataError(f"{path}: model_files must have a location and a language for each model")
    for label, model in models.items():
        if model.get("language") != "sbml":
            raise DataError(
                f"{path}: the model {shown(str(label))} is written in {shown(str(model.get('language')))}; "
                "physode reads sbml"
            )
    locations = tuple(_file(path, model.get("location"), "model_files") for model in models.values())
    return ProblemFiles(
        path, 2, _only_model(path, locations),
        parameters=_located(path, listed, "parameter_files", required=True),
        observables=_located(path, listed, "observable_files", required=True),
        measurements=_located(path, listed, "measurement_files", required=True),
        conditions=_located(path, listed, "condition_files"),
        experiments=_located(path, listed, "experiment_files"),
        mappings=_located(path, listed, "mapping_files"),
    )  # fmt: skip


def _only_model(path: Path, models: tuple[Path, ...]) -> Path:
    if len(models) != 1:
        raise DataError(f"{path} lists {len(models)} models; physode reads problems of one")
    return models[0]


def _located(path: Path, listed: Mapping[str, Any], kind: str, *, required: bool = False) -> tuple[Path, ...]:
    names = listed.get(kind) or []
    files = tuple(_file(path, name, kind) for name in (names if isinstance(names, list) else [names]))
    if required and not files:
        raise DataError(f"{path} lists no {kind}")
    return files


def _file(path: Path, name: object, kind: str) -> Path:
    if not isinstance(name, str):
        raise DataError(f"{path}: {kind} must list the names of files")
    if _SCHEME.match(name):
        raise DataError(f"{path}: {shown(name)} is an address; physode reads files on this machine, fetch it first")
    return path.parent / name


def rows_of_tables(paths: tuple[Path, ...]) -> list[Cells]:
    """Return the rows of some tables of tab-separated values, one after another; see `Cells`.

    Raises
    ------
    DataError
        If a file is no such table.
    """
    return [row for path in paths for row in _rows_of(path)]


def _rows_of(path: Path) -> list[Cells]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from error
    reader = csv.reader(io.StringIO(text), delimiter="\t")
    try:
        header = [cell.strip() for cell in next(reader, [])]
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if len(set(header)) < len(header):
        double = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path} has two columns called {shown(double)}")
    for index, row in enumerate(rows):
        if len(row) > len(header):
            raise DataError(f"{path}, row {index + 1}: {len(row)} cells under {len(header)} columns")
    return [
        {name: "" if cell.strip() in _MISSING else cell.strip() for name, cell in zip(header, row, strict=False)}
        for row in rows
    ]
