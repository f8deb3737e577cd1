"""What was measured: the columns of observables as rows of values, with what must hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physode.datasets.files import shown
from physode.equations.columns import Recording, Samples
from physode.equations.declarations import Declarations, ObservableText
from physode.equations.toml_tables import near
from physode.equations.tree import Name, name
from physode.equations.units import conversion, known_unit
from physode.errors import ConfigError, DataError
from physode.estimation.problem import Measurements, Vector

__all__ = ["Observed", "observables_of", "observed", "scale_of"]


@dataclass(frozen=True)
class Observed:
    """Values one a row, in the model's units.

    Attributes
    ----------
    measurements
        The values; with their spreads, where any stand beside them.
    spread
        For each observable, whether its spreads stand beside the values.
    first
        For each experiment, the first value of each observable, by its index.
    """

    measurements: Measurements
    spread: tuple[bool, ...]
    first: tuple[dict[int, float], ...]


def observables_of(
    declarations: Declarations, recordings: Sequence[Recording], where: str
) -> tuple[ObservableText, ...]:
    """Return the observables; where none is declared, the states that are columns.

    Raises
    ------
    ConfigError
        If no column is one's, or there are none.
    """
    columns = list(dict.fromkeys(column for recording in recordings for column in recording.columns))
    if not declarations.observables:
        seen = [state for state in declarations.states if state.name in columns]
        if not seen:
            raise ConfigError(
                f"{where}: no state is a column of the data, which are {_quoted(columns)}; declare [observables]"
            )
        return tuple(ObservableText(each.name, each.name, name(each.name), each.name, unit=each.unit) for each in seen)
    for each in declarations.observables:
        if each.column not in columns:
            raise ConfigError(
                f"{where}, [observables] {shown(each.name)}: the data have no column {shown(each.column)}; "
                f"{near(each.column, columns)}"
            )
    return declarations.observables


def observed(
    observables: Sequence[ObservableText], recordings: Sequence[Recording], declarations: Declarations, where: str
) -> Observed:
    """Return what was measured of observables.

    Raises
    ------
    ConfigError, DataError
        If an experiment has no values, two are of one time, spreads are missing or not above 0, units cannot be
        converted, or logarithms not be taken.
    """
    units = {state.name: state.unit for state in declarations.states}
    blocks: list[tuple[int, int, Samples, Vector | None]] = []
    for i, recording in enumerate(recordings):
        before = len(blocks)
        for j, observable in enumerate(observables):
            if observable.column in recording.columns:
                unit = observable.unit
                if unit is None and isinstance(observable.formula, Name):
                    unit = units.get(observable.formula.text)
                samples, spread = _values(observable, recording, unit, where)
                if len(samples.times):
                    blocks.append((i, j, samples, spread))
        if len(blocks) == before:
            names = _quoted([each.name for each in observables])
            raise ConfigError(f"{where}: the experiment {shown(recording.name)!r} has no values of {names}")
    beside = tuple(any(k == j and each is not None for _, k, _, each in blocks) for j in range(len(observables)))
    for i, j, samples, each in blocks:
        if beside[j] and each is None:
            label, column = shown(recordings[i].name), shown(observables[j].column)
            raise DataError(
                f"{samples.file}: the experiment {label!r} has no column of spreads of {column}, others have"
            )
    own = np.concatenate([np.ones(len(samples.times)) if each is None else each for _, _, samples, each in blocks])
    first: tuple[dict[int, float], ...] = tuple({} for _ in recordings)
    for i, j, samples, _ in blocks:
        first[i][j] = float(samples.values[0])
    return Observed(
        Measurements(
            experiment=_repeated([i for i, _, _, _ in blocks], blocks),
            observable=_repeated([j for _, j, _, _ in blocks], blocks),
            times=np.concatenate([samples.times for _, _, samples, _ in blocks]),
            values=np.concatenate([samples.values for _, _, samples, _ in blocks]),
            own=tuple((float(value),) for value in own) if any(beside) else (),
        ),
        beside,
        first,
    )


def scale_of(samples: Samples, unit: str | None, what: str) -> float:
    """Return by what a column is multiplied to be in a unit; 1 where either is not known.

    Raises
    ------
    ConfigError
        If they are of different dimensions.
    """
    if known_unit(samples.unit) is None or known_unit(unit) is None:
        return 1.0
    scale = conversion(samples.unit, unit)
    if scale is None:
        raise ConfigError(f"{samples.file}: {what} is in {samples.unit}, the model has it in {unit}; change one")
    return scale


def _repeated(codes: Sequence[int], blocks: Sequence[tuple[int, int, Samples, Vector | None]]) -> NDArray[np.int64]:
    return np.repeat(np.array(codes, dtype=np.int64), [len(samples.times) for _, _, samples, _ in blocks])


def _values(
    observable: ObservableText, recording: Recording, unit: str | None, where: str
) -> tuple[Samples, Vector | None]:
    """Return an observable's samples in its unit, and their spreads where they have a column."""
    every = recording.columns[observable.column]
    scale = scale_of(every, unit, f"column {shown(observable.column)}")
    rows = ~np.isnan(every.values)
    samples = Samples(every.times[rows], scale * every.values[rows], every.lines[rows], unit or every.unit, every.file)
    _check_times(samples, observable, recording)
    if observable.distribution.startswith("log") and (samples.values <= 0).any():
        line = samples.lines[samples.values <= 0][0]
        raise DataError(
            f"{samples.file}: row {line}: {shown(observable.column)} is not above 0, but its noise is "
            f"{observable.distribution}; choose another noise, or empty the cell"
        )
    column = observable.sigma_column or f"{observable.column}_sigma"
    settled = observable.sigma is not None or observable.proportional
    if settled or (column not in recording.columns and observable.sigma_column is None):
        return samples, None
    if column not in recording.columns:
        raise ConfigError(
            f"{where}, [observables.{shown(observable.name)}] sigma_column: the experiment {shown(recording.name)!r} "
            f"has no column {shown(column)}; {near(column, list(recording.columns))}"
        )
    given = recording.columns[column]
    if observable.distribution.startswith("log"):
        factor = 1.0
    else:
        factor = scale_of(given, unit, f"column {shown(column)}") if given.unit else scale
    spread = factor * given.values[rows]
    wrong = ~(spread > 0)
    if wrong.any():
        raise DataError(
            f"{given.file}: row {given.lines[rows][wrong][0]}: {shown(column)} must be above 0 beside a value"
        )
    return samples, spread


def _check_times(samples: Samples, observable: ObservableText, recording: Recording) -> None:
    again = np.flatnonzero(np.diff(samples.times) == 0)
    if len(again):
        one, other = samples.lines[again[0]], samples.lines[again[0] + 1]
        raise DataError(
            f"{samples.file}: rows {min(one, other)} and {max(one, other)} both give {shown(observable.column)} of the "
            f"experiment {shown(recording.name)!r} at {samples.times[again[0]]:g}; keep one, or their mean"
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:10])) + (", ..." if len(names) > 10 else "")
