"""From a model file and tables of data to an estimation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from physode.datasets.files import shown
from physode.datasets.table import TableOptions
from physode.equations.columns import Recording, read_recordings
from physode.equations.declarations import ChangeText, Constant, Declarations, Guess, InputColumn, ObservableText
from physode.equations.jumps import check_jumps
from physode.equations.model import ChangeFormula, MeasuredFormula, OwnSpread, model_of
from physode.equations.observing import Observed, observables_of, observed, scale_of
from physode.equations.resolution import Resolution, entry_of
from physode.equations.toml_tables import near
from physode.equations.tree import Expression, Name, apply, name, number
from physode.errors import ConfigError, DataError
from physode.estimation.problem import (
    Change,
    Entry,
    Estimation,
    Experiment,
    Input,
    Measured,
    Model,
    Observable,
    Unknown,
)

__all__ = ["pose"]


def pose(
    declarations: Declarations,
    paths: Sequence[Path],
    *,
    where: str,
    options: TableOptions | None = None,
    tell: Callable[[str], object] | None = None,
) -> Estimation:
    """Pose the estimation of a model's unknowns; see :meth:`physode.equations.model_file.ModelFile.estimation`."""
    clock, label, unit = declarations.time_column, declarations.experiment_column, declarations.time_unit
    recordings = read_recordings(
        paths, time=clock, experiment=label, time_unit=unit, texts=True, options=options, tell=tell
    )
    if not recordings:
        raise ConfigError(f"{where} needs data; name a table")
    _check_experiments(declarations, recordings, where)
    _check_numbers(declarations, recordings)
    observables = observables_of(declarations, recordings, where)
    rows = observed(observables, recordings, declarations, where)
    resolution = Resolution(declarations, where, len(recordings) == 1)
    constants = [resolution.constants(recording) for recording in recordings]
    shares = {each.name: resolution.spread(each.name) for each in _shares(observables, rows)}
    model = _model(declarations, resolution, constants, shares, recordings, observables, rows)

    @cache
    def inputs_of(file: Path) -> tuple[Recording, ...]:
        return read_recordings([file], time=clock, experiment=label, time_unit=unit, strict=False)

    experiments = tuple(
        _experiment(declarations, model, recording, each, resolution, observables, rows, i, inputs_of, where)
        for i, (recording, each) in enumerate(zip(recordings, constants, strict=True))
    )
    posed = Estimation(
        model,
        _used(resolution.unknowns, model, experiments),
        experiments,
        tuple(_observable(each, model, rows.spread[j], shares.get(each.name)) for j, each in enumerate(observables)),
        rows.measurements,
    )
    _check_count(posed, where)
    check_jumps(declarations, constants[0], posed.unknowns, where)
    return posed


def _check_numbers(declarations: Declarations, recordings: Sequence[Recording]) -> None:
    """Refuse text in the columns that are asked for; others, such as remarks, may hold what they want."""
    asked = {each.column for each in declarations.inputs if each.file is None}
    asked |= {each.source for each in declarations.constants if isinstance(each.source, str)}
    asked |= {state.name for state in declarations.states if not declarations.observables}
    asked |= {name for each in declarations.observables for name in (each.column, each.sigma_column) if name}
    asked |= {f"{name}_sigma" for name in asked}
    for recording in recordings:
        for column in sorted(asked & set(recording.refused)):
            raise DataError(recording.refused[column])


def _check_experiments(declarations: Declarations, recordings: Sequence[Recording], where: str) -> None:
    names = [recording.name for recording in recordings]
    for label in declarations.treatments:
        if label not in names:
            raise ConfigError(
                f"{where}, [experiments] {shown(label)}: the data have no such experiment; {near(label, names)}"
            )


def _shares(observables: Sequence[ObservableText], rows: Observed) -> list[ObservableText]:
    """Return the observables whose noise is an unknown share of them."""
    pairs = zip(observables, rows.spread, strict=True)
    return [each for each, beside in pairs if each.proportional and each.sigma is None and not beside]


def _model(
    declarations: Declarations,
    resolution: Resolution,
    constants: Sequence[Mapping[str, Expression]],
    shares: Mapping[str, str],
    recordings: Sequence[Recording],
    observables: Sequence[ObservableText],
    rows: Observed,
) -> Model:
    start: list[Expression] = []
    for state in declarations.states:
        if isinstance(state.start, Guess):
            seen = _seen(state.name, observables, rows, 0)
            start.append(number(state.start.unknown(state.name, None, seen).guess))
        else:
            start.append(state.start if isinstance(state.start, Expression) else number(state.start))
    values: list[Entry] = [
        entry_of(_default(constant, [each[constant.name] for each in constants])) for constant in declarations.constants
    ]
    return model_of(
        [state.name for state in declarations.states],
        [state.rate for state in declarations.states],
        start,
        [*(constant.name for constant in declarations.constants), *shares.values()],
        [*values, *shares.values()],
        inputs=[each.name for each in declarations.inputs],
        state_units=[state.unit or "" for state in declarations.states],
        time_unit=declarations.time_unit or "",
        stiff=declarations.stiff,
        equations=declarations.equations,
    )


def _default(constant: Constant, entries: Sequence[Expression]) -> Expression:
    """Return what a constant is where no experiment says otherwise."""
    match constant.source:
        case Guess(value=guess):
            shared: Expression = name(constant.name)
            return shared if not constant.own and shared in entries else number(1.0 if guess is None else guess)
        case float(value):
            return number(value)
        case _:
            return entries[0]


def _seen(state: str, observables: Sequence[ObservableText], rows: Observed, experiment: int) -> float:
    """Return the first value that was measured of a state itself; 0 where none was."""
    for j, observable in enumerate(observables):
        if observable.formula == Name(state) and j in rows.first[experiment]:
            return rows.first[experiment][j]
    return 0.0


def _experiment(
    declarations: Declarations,
    model: Model,
    recording: Recording,
    constants: Mapping[str, Expression],
    resolution: Resolution,
    observables: Sequence[ObservableText],
    rows: Observed,
    index: int,
    inputs_of: Callable[[Path], tuple[Recording, ...]],
    where: str,
) -> Experiment:
    treatment = declarations.treatments.get(recording.name)
    times = rows.measurements.times[rows.measurements.experiment == index]
    begins = [None if treatment is None else treatment.begin, declarations.begin, recording.begin]
    begin = next(each for each in begins if each is not None)
    if times.min() < begin:
        first = f"has values at {times.min():g}, before it begins at {begin:g}"
        raise ConfigError(f"{where}: the experiment {shown(recording.name)!r} {first}")
    initial = {}
    for state in declarations.states:
        own = treatment is not None and state.name in treatment.start
        if own or isinstance(state.start, Guess):
            seen = _seen(state.name, observables, rows, index)
            initial[state.name] = resolution.start(state, recording, constants, seen)
    defaults = dict(zip(model.constants, model.values, strict=True))
    entries = {label: entry_of(each) for label, each in constants.items()}
    tabled = {each.name for each in declarations.constants if isinstance(each.source, str)}
    changes = declarations.changes + (() if treatment is None else treatment.changes)
    return Experiment(
        name=recording.name,
        start=begin,
        constants={label: entry for label, entry in entries.items() if entry != defaults[label] or label in tabled},
        initial=initial,
        changes=_changes(changes, model, constants, begin, recording.name, where),
        inputs={
            each.name: _input(each, recording, inputs_of, begin, float(times.max()), where)
            for each in declarations.inputs
        },
        calendar=recording.calendar,
    )


def _changes(
    texts: Iterable[ChangeText], model: Model, constants: Mapping[str, Expression], begin: float, label: str, where: str
) -> tuple[Change, ...]:
    changes = []
    for text in texts:
        states = {key: ChangeFormula(each, model.states, model.constants) for key, each in text.states.items()}
        own = {key: entry_of(each.substitute(constants)) for key, each in text.constants.items()}
        for time in text.times:
            if time < begin and time > -math.inf:
                raise ConfigError(f"{where}: a change at {time:g} is before {shown(label)!r} begins at {begin:g}")
            changes.append(Change(time, own, states))
    return tuple(sorted(changes, key=lambda change: change.time))


def _input(
    text: InputColumn,
    recording: Recording,
    inputs_of: Callable[[Path], tuple[Recording, ...]],
    begin: float,
    end: float,
    where: str,
) -> Input:
    """Return an input's samples in an experiment, which must reach from its beginning to the last value."""
    of = f"{where}, [inputs] {shown(text.name)}"
    source = recording
    if text.file is not None:
        others = inputs_of(text.file)
        matching = [each for each in others if each.name == recording.name] or (others if len(others) == 1 else ())
        if not matching:
            names = [each.name for each in others]
            raise ConfigError(
                f"{of}: {text.file} has no experiment {shown(recording.name)!r}; {near(recording.name, names)}"
            )
        source = matching[0]
    if text.column not in source.columns:
        raise ConfigError(
            f"{of}: there is no column {shown(text.column)} in the experiment {shown(source.name)!r}; "
            f"{near(text.column, list(source.columns))}"
        )
    samples = source.columns[text.column].present()
    if not len(samples.times):
        raise ConfigError(f"{of}: column {shown(text.column)} has no value in the experiment {shown(source.name)!r}")
    values = samples.values * scale_of(samples, text.unit, f"column {shown(text.column)}")
    again = np.flatnonzero(np.diff(samples.times) == 0)
    if len(again):
        raise ConfigError(f"{of}: {samples.file} has two values at {samples.times[again[0]]:g}; keep one")
    if samples.times[0] > begin:
        raise ConfigError(
            f"{of}: it begins at {samples.times[0]:g}, after {shown(recording.name)!r} does, at {begin:g}"
        )
    if samples.times[-1] < end and text.kind != "step":
        raise ConfigError(
            f"{of}: it ends at {samples.times[-1]:g}, before the last value of {shown(recording.name)!r}, at {end:g}"
        )
    return Input(samples.times, values, text.kind)


def _observable(text: ObservableText, model: Model, beside: bool, share: str | None) -> Observable:
    def measured(expression: Expression) -> Measured:
        return MeasuredFormula(expression, model.states, model.constants, model.inputs)

    sigma = name(share) if share is not None else text.sigma
    if beside:
        spread: Measured | None = OwnSpread()
    elif sigma is None:
        spread = None
    else:
        spread = measured(apply("*", sigma, apply("abs", text.formula)) if text.proportional else sigma)
    return Observable(text.name, measured(text.formula), spread, text.distribution, text.unit or "", text.text)


def _used(unknowns: Mapping[str, Unknown], model: Model, experiments: Sequence[Experiment]) -> tuple[Unknown, ...]:
    """Return the unknowns that an experiment depends on."""
    used: set[str] = set()
    for experiment in experiments:
        values = dict(zip(model.constants, model.values, strict=True)) | dict(experiment.constants)
        entries = [*values.values(), *experiment.initial.values()]
        entries += [entry for change in experiment.changes for entry in change.constants.values()]
        for entry in entries:
            if isinstance(entry, str):
                used.add(entry)
            elif not isinstance(entry, float):
                used |= entry.names
    return tuple(each for label, each in unknowns.items() if label in used)


def _check_count(posed: Estimation, where: str) -> None:
    loose = [unknown for unknown in posed.free if unknown.prior is None]
    count = len(posed.measurements)
    if len(loose) > count:
        values = "1 value" if count == 1 else f"{count} values"
        raise ConfigError(
            f"{where}: {len(loose)} unknowns are free, but the data have {values}; keep some fixed, or give them priors"
        )
