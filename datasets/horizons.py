"""Vector tables of JPL Horizons, one file a body."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physode.datasets.align_times import Series, check_order, side_by_side, stacked
from physode.datasets.bodies import (
    BODY_UNITS,
    body_notes,
    body_trajectories,
    check_bodies,
    columns_of,
    length_unit,
    over,
    time_unit,
)
from physode.datasets.files import check_file, naming, shown
from physode.datasets.trajectories import Trajectories
from physode.errors import DataError

_DAYS = 365.25  # of a Julian year

# With masses in those of the Sun, G is the Sun's G m. Gauss' constant, 0.01720209895 AU^(3/2) / d, agrees with that
# of the ephemeris DE440 to 1e-11; 4 pi^2, which belongs to a year of 365.2569 days, would be off by 4e-5.
_RHS = {"G": (0.01720209895 * _DAYS) ** 2, "velocity_scale": 1.0, "softening": 0.0}


def read_horizons(paths: Sequence[str | os.PathLike[str]]) -> Trajectories:
    """Read vector tables of two or more bodies as one trajectory.

    The times are ``(JD - JD_0) / 365.25`` years from the first epoch, JD_0; where bodies have different epochs, those
    of all, with NaN where a body has none. Masses fitted to the result are in those of the Sun.

    Parameters
    ----------
    paths
        One file a body, in the order in which the bodies are to be numbered.

    Returns
    -------
    Trajectories
        Positions in AU and velocities in AU/yr (NaN where a table has none). ``attrs`` hold ``system``, ``rhs``,
        ``bodies`` (names), ``epoch`` (JD_0), ``time_scale``, ``center``, ``frame``, ``source`` (the files' names) and
        ``notes``.

    Raises
    ------
    DataError
        If a file is no such table, if tables differ in their centre, frame or time scale, if a body comes twice or
        alone, or if two bodies are at one place.
    """
    files = [Path(path) for path in paths]
    tables = []
    for path in files:
        with naming(path):
            tables.append(read_vector_table(path))
    if len(tables) < 2:
        raise DataError(f"{', '.join(map(str, files)) or 'no file'}: give two bodies or more, one file each")
    for what in ("center", "frame", "scale"):
        _check_same(what, tables, files)
    labels = [table.body for table in tables]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise DataError(f"{files[i]}: it holds {label}, as does {files[labels.index(label)]}; give each body once")
    joined = side_by_side([table.states for table in tables], labels)
    epoch = float(joined.t[0])
    t, y, _ = stacked([body_trajectories(joined, len(tables))], [""])
    t, names = (t - epoch) / _DAYS, _names(labels)
    first = tables[0]
    trajectories = Trajectories(
        t=t,
        y=y,
        columns=columns_of(len(tables)),
        units=tuple(unit for unit in BODY_UNITS for _ in range(3 * len(tables))),
        attrs={
            "system": "n_body",
            "rhs": dict(_RHS),
            "time_unit": "yr",
            "bodies": names,
            "epoch": epoch,
            "time_scale": first.scale,
            "center": first.center,
            "frame": first.frame,
            "source": [path.name for path in files],
            "notes": _notes(first) + body_notes(t, y, names, "yr"),
        },
    )
    check_bodies(trajectories)
    return trajectories


def _check_same(what: str, tables: Sequence[VectorTable], files: Sequence[Path]) -> None:
    values = [getattr(table, what) for table in tables]
    for value, path in zip(values, files, strict=True):
        if value != values[0]:
            word = {"center": "centre", "frame": "reference frame", "scale": "time scale"}[what]
            raise DataError(f"{path}: its {word} is {value!r}, that of {files[0]} {values[0]!r}; ask for the same")


def _names(labels: Sequence[str]) -> list[str]:
    """Bodies' names without their numbers, where that keeps them apart."""
    short = [re.sub(r"\s*\(-?[0-9]+\)$", "", label) for label in labels]
    return short if len(set(short)) == len(short) else list(labels)


def _notes(table: VectorTable) -> list[str]:
    notes = []
    if "solar system barycenter" not in table.center.casefold():
        notes.append(
            f"positions are relative to {table.center}, which is itself attracted; ask Horizons for CENTER='500@0'"
        )
    if table.scale == "UT":
        notes.append("times are UT, which runs unevenly; ask Horizons for TIME_TYPE='TDB'")
    return notes


_LARGEST = 250_000_000  # bytes: the whole text is held in memory
_HEAD = 1_000_000  # bytes in which a table begins
_ANSWER = b"NASA/JPL Horizons API"  # at the top of all that the API says, refusals included
_COMPONENTS = ("X", "Y", "Z", "VX", "VY", "VZ")
_START, _END = "$$SOE", "$$EOE"

_UNITS = {"AU-D": ("AU", "d"), "KM-S": ("km", "s"), "KM-D": ("km", "d")}

_EPOCH = re.compile(r"\s*([0-9]+\.[0-9]*)\s*=\s*(?:A\.D\.|B\.C\.)")
_LABELLED = re.compile(r"\b([A-Z]{1,2})\s*=\s*(\S+)")
_SCALE = re.compile(r"\bJD(TDB|CT|TT|UT)\b")
_COMPLAINT = re.compile(r"error|cannot|no match|no ephemeris|multiple|unknown|not found", re.IGNORECASE)


@dataclass(frozen=True)
class VectorTable:
    """The states of one body.

    Attributes
    ----------
    body, center, frame, scale
        The target, what its states are relative to, the axes, and the time scale (``TDB``, ``TT`` or ``UT``).
    states
        Times as Julian dates, (K,), and positions in AU and velocities in AU/yr, (K, 6); NaN where there are none.
    """

    body: str
    center: str
    frame: str
    scale: str
    states: Series


def is_horizons(path: Path) -> bool:
    """Whether a file holds a table of Horizons, or what its API says where it has none."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    answered = _ANSWER in head[:1000] and not head.lstrip().startswith(b"#")
    return answered or _START.encode() in head


def read_vector_table(path: Path) -> VectorTable:
    """Read a file with one vector table, labelled or with ``CSV_FORMAT=YES``.

    Raises
    ------
    DataError
        If the file is missing, too large or no text, if it holds no vector table or several, if a line of its header is
        missing, if states are corrected for light time, or if the table is cut off or not as Horizons writes it.
    """
    check_file(path, largest=_LARGEST)
    try:
        head, body, skipped = _divided(_result(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise DataError("it holds bytes that are no text") from None
    if "GEOMETRIC" not in _field(head, "Output type", default="GEOMETRIC"):
        raise DataError("its states are corrected for light time; ask Horizons for VEC_CORR='NONE'")
    scale = _SCALE.findall(head)
    if not scale:
        raise DataError("its header does not say JDTDB, JDTT or JDUT; save it as Horizons writes it")
    lines = list(enumerate(body.splitlines(), skipped))
    rows = _labelled_rows(lines) if any(_EPOCH.match(line) for _, line in lines) else _comma_rows(head, lines)
    return VectorTable(
        body=_field(head, "Target body name"),
        center=_joined(_field(head, "Center body name"), _field(head, "Center-site name", default="")),
        frame=_joined(_field(head, "Reference frame"), _field(head, "Coordinate systm", default="")),
        scale=scale[-1].replace("CT", "TDB"),  # CT is the older name
        states=_states(list(rows), _field(head, "Output units")),
    )


def _result(text: str) -> str:
    """The table in what the API answered, which by default is JSON."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("it begins like JSON, but is none; save the answer of Horizons whole") from None
    if isinstance(answer.get("result"), str) and _START in answer["result"]:
        return str(answer["result"])
    raise DataError(_without_table(str(answer.get("error") or answer.get("result") or answer.get("message"))))


def _divided(text: str) -> tuple[str, str, int]:
    """Return what stands before the table, the table, and the number of the table's first line."""
    if _START not in text:
        raise DataError(_without_table(text))
    if text.count(_START) > 1:
        raise DataError(f"it holds {text.count(_START)} tables; save one body a file")
    head, _, rest = text.partition(_START)
    body, end, _ = rest.partition(_END)
    if not end:
        raise DataError(f"its table is cut off: {_START} without {_END}; save it again")
    return head, body, head.count("\n") + 1


def _without_table(text: str) -> str:
    said = [line.strip() for line in text.splitlines() if _COMPLAINT.search(line)]
    because = f"; Horizons says: {shown(said[0], longest=160)}" if said else ""
    return f"it holds no table of Horizons (no {_START}){because}"


def _field(head: str, name: str, *, default: str | None = None) -> str:
    """A line ``name: value`` of the header, without a source in braces and with single blanks."""
    found = re.search(rf"^[^\S\n]*{name}[^\S\n]*:(.*)$", head, re.MULTILINE)
    value = shown(" ".join(found[1].partition("{")[0].split()), longest=100) if found else default
    if value is None:
        raise DataError(f"its header has no line {name!r}; save it as Horizons writes it, header included")
    return value


def _joined(main: str, detail: str) -> str:
    return main if detail in {"", "BODY CENTER"} else f"{main}, {detail}"


def _labelled_rows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[float]]]:
    """Rows (line, [date, x, y, z, vx, vy, vz]) of a table whose every number has a label in front."""
    starts = [i for i, (_, line) in enumerate(lines) if _EPOCH.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        number, line = lines[start]
        epoch = _EPOCH.match(line)
        assert epoch is not None
        found = {label: value for _, text in lines[start + 1 : end] for label, value in _LABELLED.findall(text)}
        yield number, [_number(epoch[1], number), *_components(found, number)]


def _comma_rows(head: str, lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[float]]]:
    """Rows (line, [date, x, y, z, vx, vy, vz]) of a table divided by commas."""
    headers = [line for line in head.splitlines() if _SCALE.search(line) and "," in line]
    if not headers:
        raise DataError("its numbers have no labels; ask Horizons for VEC_LABELS='YES' or CSV_FORMAT='YES'")
    names = [name.strip() for name in headers[-1].split(",")]
    for number, line in lines:
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(names):
            raise DataError(f"row {number} has {len(cells)} cells, the header of the table {len(names)}; save it again")
        yield number, [_number(cells[0], number), *_components(dict(zip(names, cells, strict=True)), number)]


def _components(found: dict[str, str], line: int) -> list[float]:
    """Six numbers by their labels; velocities NaN where the table has none."""
    wanted = _COMPONENTS if "VX" in found else _COMPONENTS[:3]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"row {line}: the state has no {missing[0]}; the table is damaged or no vector table")
    values = [_number(found[name], line) for name in wanted]
    return values + [math.nan] * (len(_COMPONENTS) - len(wanted))


def _number(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"row {line}: {shown(text)!r} is not a number; save the table again")
    return value


def _states(rows: list[tuple[int, list[float]]], label: str) -> Series:
    if not rows:
        raise DataError("its table has no rows")
    names = _UNITS.get(label.partition(",")[0].strip().upper())
    if names is None:
        raise DataError(f"its output units are {label!r}; ask Horizons for AU-D, KM-S or KM-D")
    length = length_unit(names[0], "Output units")
    velocity = over(length, time_unit(names[1], "Output units"))
    numbers = np.array([values for _, values in rows])
    check_order(numbers[:, 0], np.array([line for line, _ in rows]))
    return Series(numbers[:, 0], numbers[:, 1:] / np.repeat([length.per, velocity.per], 3))
