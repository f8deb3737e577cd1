"""A run of any kind as a report shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from physode.datasets import TableOptions
from physode.errors import ConfigError
from physode.reports.blocks import RunView
from physode.training.folder import KINDS, kind_of_run

Progress = Callable[[float], object]


def view_of(
    path: Path,
    *,
    data: Sequence[Path] = (),
    options: TableOptions | None = None,
    progress: Progress | None = None,
) -> RunView:
    """Return a run of any kind as a report shows it.

    Nothing is computed anew, but for forecasts of some series by a model of series: what was kept in the folder is
    shown, beside the data where these are still there.

    Parameters
    ----------
    path
        The run's folder.
    data
        Its data, where they are no longer where the run found them.
    options
        What is known of how a table of them is written, where that is not what the run was told.
    progress
        Told the share of images that are read.

    Raises
    ------
    ConfigError
        If it is no run.
    DataError
        If something in it is damaged.
    """
    kind = kind_of_run(path)
    if kind is None or kind == "fit":  # the reader of fits says what is wrong with a folder that is no run at all
        from physode.fitting.run import open_run
        from physode.reports.fit_page import fit_view

        return fit_view(open_run(path), data=data, options=options)
    if kind == "estimate":
        from physode.estimation.run import open_estimate_run
        from physode.reports.estimate_page import estimate_view

        return estimate_view(open_estimate_run(path))
    moved: Any = data[0] if data else None
    if kind == "train":
        from physode.images.run import open_train_run
        from physode.reports.classifier_page import classifier_view, read_images_of

        classifier = open_train_run(path)
        return classifier_view(classifier, *read_images_of(classifier, moved, progress))
    if kind == "series":
        from physode.reports.series_page import read_series_of, series_view
        from physode.series.run import open_series_run

        run = open_series_run(path)
        return series_view(run, *read_series_of(run, moved))
    raise ConfigError(f"{path} is a run of `{KINDS[kind]}`, which has no report yet")
