"""What fits and models of series say at times that are asked for, as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.cli.data import read_as_run, say
from physode.cli.tables import merged
from physode.errors import ConfigError, DataError

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.datasets.series import IrregularSeries
    from physode.series import SeriesRun

__all__ = ["fitted_rows", "own_rows", "series_rows", "times_of"]

Rows = Iterator[dict[str, Any]]
Times = np.ndarray[Any, Any] | None

_BAND = 1.959963984540054  # standard deviations of a 95 % interval of a normal distribution


def times_of(text: str | None) -> Times:
    """Return times from A:B:N or numbers with commas; None of None.

    Raises
    ------
    ConfigError
        If they are no finite numbers that rise.
    """
    if text is None:
        return None
    from physode.sweeps.axes import parse_values

    values = parse_values(text)
    if not all(isinstance(value, int | float) for value in values):
        raise ConfigError(f"{text!r} are no times; give FROM:TO:COUNT, or numbers with commas between them")
    times = np.array(values, dtype=np.float64)
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ConfigError(f"the times {text} do not rise")
    return times


def fitted_rows(
    path: Path,
    data: Sequence[Path],
    times: np.ndarray[Any, Any] | None,
    start: Sequence[str],
    *,
    table: TableOptions,
) -> Rows:
    """Solve a run's fitted right-hand side from its own initial states, or others, and yield a row a time.

    Raises
    ------
    ConfigError
        If a recurrent network was fitted, a column is unknown, or the times begin before the initial state.
    """
    import torch

    from physode.fitting import open_run
    from physode.fitting.run import fitted_rhs
    from physode.plotting.run import open_view
    from physode.solve import solve

    run = open_run(path)
    if run.config.recurrent:
        raise ConfigError(
            f"{path} fitted a recurrent network, which continues its data only; see {path}/predictions.h5"
        )
    view, known = open_view(run, data=data, options=merged(run.table, table)), run.predictions()
    y0, first = torch.from_numpy(np.array(known.y[:, 0], dtype=np.float64)), float(known.t[0])
    columns = list(known.columns)
    for setting in start:
        name, value = _setting(setting)
        if name not in columns:
            raise ConfigError(f"`--start` knows no {name!r}; the states are {', '.join(columns)}")
        y0[:, columns.index(name)] = value
    asked = known.t if times is None else times
    if asked[0] < first:
        raise ConfigError(f"the times begin at {asked[0]:g}, before the initial state at {first:g}")
    grid = np.unique(np.concatenate([[first], asked]))
    if len(grid) < 2:
        raise ConfigError(f"give a time after {first:g}, where the initial state is")
    options = {name: getattr(run.config, name) for name in ("method", "rtol", "atol", "max_steps")}
    with torch.no_grad():
        rhs = fitted_rhs(run, view.observed).double()
        states = solve(rhs, y0, torch.from_numpy(grid), step_control="per-sample", throw=False, **options).y.numpy()
    places = np.searchsorted(grid, asked)
    for trajectory in range(y0.shape[0]):
        for time, place in zip(asked.tolist(), places, strict=True):
            yield {
                "trajectory": trajectory,
                "t": time,
                **dict(zip(columns, states[place, trajectory].tolist(), strict=True)),
            }


def own_rows(path: Path, data: Sequence[Path], times: Times, *, table: TableOptions) -> Rows:
    """Yield the curves of an equation of one's own with their 95 % bands, a row a curve and time."""
    from physode.cli.open_run import reopened
    from physode.estimation.bands import bands

    _, _, estimate = reopened(path, tuple(data), table)
    numbers = ("t", "mean", "error", "low", "high", "lowest", "highest")
    for curve in bands(estimate, None if times is None else times.tolist()).curves:
        for values in zip(*(getattr(curve, name).tolist() for name in numbers), strict=True):
            told = {"experiment": curve.experiment, "kind": curve.kind, "name": curve.name}
            yield {**told, **dict(zip(numbers, values, strict=True))}


def series_rows(
    path: Path,
    data: Sequence[Path],
    times: np.ndarray[Any, Any] | None,
    *,
    table: TableOptions,
    which: str,
    device: str | None,
    seed: int = 0,
) -> Rows:
    """Yield what a model of series says of series, a row a series, time and channel, with 95 % intervals of new values.

    Without `times`, each series is continued for half of its length, at 50 times. `table` says what the run does not
    know of how the file is written.
    """
    from physode.series import Forecaster, open_series_run
    from physode.series.data import points_of
    from physode.series.forecaster import checked_times

    if len(data) != 1:
        raise ConfigError("a model of series needs one file of series: physode predict RUN SERIES")
    run = open_series_run(path)
    read = read_as_run(run, data[0], table)
    for note in _not_known(read, run, data[0]):
        say(note)
    series = read.of_channels(run.channels)
    model = Forecaster.of_run(run, which=which, device=device or "cpu")
    ends = series.spans
    steps = np.linspace(0.0, 0.5, 51)[1:]
    at = ends[:, 1:] + (ends[:, 1:] - ends[:, :1]) * steps if times is None else times
    found = model.forecast(points_of(series), checked_times(at, len(series)), seed=seed)
    for row, name in enumerate(series.names):
        for place, time in enumerate(found.t[row].tolist()):
            for column, channel in enumerate(series.channels):
                mean, std = float(found.mean[row, place, column]), float(found.std[row, place, column])
                told = {"series": name, "t": time, "channel": channel, "mean": mean, "std": std}
                yield {**told, "low": mean - _BAND * std, "high": mean + _BAND * std}


def _not_known(series: IrregularSeries, run: SeriesRun, source: Path) -> Iterator[str]:
    """Yield what is said of channels that a model of series does not know, or misses."""
    if not set(series.channels) & set(run.channels):
        raise DataError(
            f"{source} has the channels {', '.join(series.channels)}, {run.path} knows {', '.join(run.channels)}"
        )
    for what, names, others in (
        ("left out, as the model does not know them", series.channels, run.channels),
        ("not in the data, and told from the others", run.channels, series.channels),
    ):
        names = tuple(name for name in names if name not in others)
        if names:
            yield f"channels {what}: {', '.join(names)}"
    unit = str(series.attrs.get("time_unit", ""))
    if unit and run.time_unit and unit != run.time_unit:
        yield f"times are in {unit}, those that the model was trained on in {run.time_unit}"


def _setting(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not equals or not np.isfinite(number):
        raise ConfigError(f"`--start` must be NAME=NUMBER, got {text!r}")
    return name.strip(), number
