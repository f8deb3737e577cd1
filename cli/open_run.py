"""Runs of equations of the user's own, looked at again: their figures, and profile likelihoods of their constants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physode.cli.open_source import Asked
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.estimation.bands import Bands
    from physode.estimation.estimate import Estimate
    from physode.estimation.profile_likelihood import Profile
    from physode.estimation.run import EstimateRun

__all__ = ["draw_figures", "draw_open", "profile_open"]

_AGREES = 1e-3  # of -log L, within which a run's best is met again


def draw_figures(
    folder: Path,
    estimate: Estimate,
    curves: Bands,
    *,
    only: Sequence[str] = (),
    overwrite: bool = False,
    owner: Path | None = None,
) -> list[Path]:
    """Draw an estimate's figures into a folder: those of ``ESTIMATE_FIGURES``."""
    from physode.plotting.estimates import plot_bands, plot_correlations, plot_estimate_residuals, plot_starts
    from physode.plotting.style import save_all

    drawings = {
        "fit": lambda: plot_bands(curves),
        "residuals": lambda: plot_estimate_residuals(estimate),
        "starts": lambda: plot_starts(estimate),
        "correlations": lambda: plot_correlations(estimate),
    }
    if "states" in only:
        drawings["states"] = lambda: plot_bands(curves, states=True)
    return list(save_all(drawings, folder, overwrite, only=only, owner=owner).values())


def draw_open(
    path: Path, *, data: tuple[Path, ...], table: TableOptions, only: Sequence[str], force: bool
) -> list[Path]:
    """Draw the figures of a run anew."""
    from physode.estimation.bands import bands

    run, asked, estimate = reopened(path, data, table)
    curves = bands(estimate, until=asked.options.get("until"))
    return draw_figures(run.figures, estimate, curves, only=only, overwrite=force, owner=path)


def reopened(path: Path, data: tuple[Path, ...], table: TableOptions | None) -> tuple[EstimateRun, Asked, Estimate]:
    """Return a run's estimate, made again from its equation, its data and where its starts ended."""
    from physode.errors import DataError
    from physode.estimation.estimate import Estimate
    from physode.estimation.fit import posed
    from physode.estimation.run import open_estimate_run

    run = open_estimate_run(path)
    minima = run.minima()
    asked = Asked.of_run(run, data, table)
    estimation = asked.estimation()
    run.check_data(estimation)
    problem = posed(estimation, **asked.solver)
    same = minima.z.shape[1] == len(problem.scales.free)
    if not same or not abs(float(problem(minima.z[[minima.best]]).loss) - float(minima.loss.min())) < _AGREES:
        raise DataError(f"the model of {path} has changed since it was fitted; fit it again (--force)")
    return run, asked, Estimate(problem, minima, minima.z[minima.best])


def profile_open(path: Path, name: str, *, points: int, data: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Profile the likelihood of a constant, and show it; the figure and the table go into the run's folder."""
    from physode.datasets.files import check_outputs
    from physode.estimation.profile_likelihood import profile
    from physode.estimation.run import write_profile
    from physode.plotting.estimates import plot_profiles
    from physode.plotting.style import save

    run, _, estimate = reopened(path, data, None)
    short = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    figure = run.figures / f"profile_{short}.png"
    check_outputs([figure, run.path / "profiles" / f"{short}.csv"], overwrite=force)
    with progress_bar(f"profiling {name}"):
        found = profile(estimate, name, points=points)
    figure.parent.mkdir(exist_ok=True)
    save(plot_profiles([found]), figure, overwrite=force)
    table = write_profile(run, found, short, overwrite=force)
    files = {"figure": str(figure), "table": str(table)}
    if as_json:
        show_json({"run": str(path), **files, **_as_dict(found)})
    else:
        _show(found, files)


def _as_dict(found: Profile) -> dict[str, Any]:
    return {
        "name": found.name, "unit": found.unit, "fitted": found.value, "standard_error": found.error,
        "interval": list(found.interval), "threshold": found.threshold, "values": found.values.tolist(),
        "delta": found.delta.tolist(), "others": {name: column.tolist() for name, column in found.others.items()},
        "sentence": found.sentence,
    }  # fmt: skip


def _show(found: Profile, files: dict[str, str]) -> None:
    rows = [[precise(value), delta] for value, delta in zip(found.values, found.delta, strict=True)]
    show_table(f"profile of {found.name}", [found.name, "-log L above the estimate"], rows)
    pairs = {
        "fitted": precise(found.value),
        "standard error": found.error,
        "95 % from": precise(found.interval[0]),
        "to": precise(found.interval[1]),
        "in words": found.sentence,
    }
    show_pairs("profile likelihood", {**pairs, **files})
