"""Fits of anybody's equation in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.estimate import Estimate
from physode.estimation.from_callable import Wishes, estimation_of
from physode.estimation.influence import check_influence
from physode.estimation.observed import observed
from physode.estimation.problem import Estimation
from physode.estimation.search import Problem, compute, prepare, search
from physode.estimation.simulation import SolverOptions
from physode.estimation.spread import search_spread
from physode.estimation.stages import KeptStages
from physode.problem.checks import checked_method
from physode.progress import showing_epochs

Bounds = Mapping[str, tuple[float, float]]


def fit(
    f: Callable[..., Any],
    data: Any,
    *,
    constants: Mapping[str, Any] | None = None,
    start: Any = "fit",
    observe: Callable[..., Any] | Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    sigma: float | Mapping[str, float] | None = None,
    bounds: Bounds | None = None,
    priors: Bounds | None = None,
    fixed: Sequence[str] = (),
    log: Sequence[str] | bool = False,
    own: Sequence[str] = (),
    time: str | None = None,
    experiment: str = "experiment",
    starts: int = 8,
    seed: int = 0,
    method: str | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 10_000,
    iterations: int = 200,
    jobs: int | None = None,
    scheduler: str | None = None,
    on_iteration: Callable[[int, Tensor], object] | None = None,
    progress: bool = False,
) -> Estimate:
    r"""Fit the constants of :math:`dx/dt = f(t, x; k)` to data, with standard errors.

    Parameters
    ----------
    f
        The right-hand side, of one state: ``f(t, x, **constants)`` with t of shape () and x of shape (D,), in PyTorch;
        or a module, called ``f(t, x)``, whose parameters are fitted.
    data
        A table (a dict of columns, a pandas DataFrame) with a column of times and one for each thing that is observed,
        perhaps ``<column>_sigma`` with standard deviations and ``experiment`` with labels; a pair ``(t, y)``; or
        :class:`~physode.datasets.Trajectories`. NaN is what is missing.
    constants
        Constants by name with guesses, numbers or arrays: ``{"k": 1.0}``. By default a module's parameters, or the
        defaults of a function's keyword arguments.
    start
        The state at each experiment's first time: ``"fit"``, numbers in the order of the states, or a mapping of states
        to numbers or ``"fit"``. Fitted ones are called ``x(0)``, or ``x(0)[label]`` where there are several
        experiments.
    observe
        What the columns measure: nothing where they are the states; names of states, one a column; or a function
        ``observe(t, x, **constants)`` that returns one value a column.
    states
        Names of the states; by default the columns, or the keys of `start`.
    sigma
        Standard deviations of the values, one number or by column; where they are unknown they are found, and errors
        follow from the residuals.
    bounds, priors
        ``{"k": (low, high)}``, and ``{"k": (mean, standard deviation)}`` of normal densities; by constant, or by
        element, ``"masses[2]"``, counted from 1, and for initial states ``"x(0)"``.
    fixed, log, own
        Constants that keep their values; that are searched for as logarithms, and so stay above 0 (True for all of
        them); that each experiment has of its own.
    time, experiment
        Names of these columns.
    starts, seed
        From how many points to search, all in one batch, and the seed of these; see
        :func:`~physode.estimation.search.search`.
    method, rtol, atol, max_steps
        As of :func:`physode.solve`; by default an explicit method, or an implicit one where that takes too many steps.
    iterations
        Most evaluations of each start.
    jobs, scheduler
        Search in batches of eight starts, each a search of its own: so many batches at a time, each in a process of its
        own (a script that asks for several does so under ``if __name__ == "__main__"``), or on the Dask cluster whose
        scheduler has this address. What is found is the same for any number of workers; without either, all starts are
        one batch in this process.
    on_iteration
        Called after each iteration with its number and the losses; with `jobs` or `scheduler`, never.
    progress
        Show how far the search is: a bar on a terminal or in a notebook, else a line a minute on stderr.

    Raises
    ------
    ConfigError, DataError
        If the arguments or the data contradict each other, before any long work.
    SolveError
        If the equation cannot be solved at any start.

    Examples
    --------
    >>> def spring(t, x, k, c):
    ...     return torch.stack([x[1], -k * x[0] - c * x[1]])
    >>> physode.fit(spring, {"t": t, "x": x}, constants={"k": 1.0, "c": 0.1}, states=["x", "v"], observe=["x"])
    """
    wishes = Wishes(bounds=bounds or {}, priors=priors or {}, fixed=fixed, log=log, own=own)
    estimation = estimation_of(
        f,
        observed(data, time=time, experiment=experiment),
        constants=constants,
        start=start,
        observe=observe,
        states=states,
        sigma=sigma,
        wishes=wishes,
        stiff=None,
    )
    check_influence(estimation)
    with showing_epochs("fitting", shown=progress) as tell:

        def told(count: int, loss: Tensor) -> None:
            tell(0.0, f"iteration {count}", f"-log L {float(loss.min()):.6g}")
            if on_iteration is not None:
                on_iteration(count, loss)

        return estimate(
            estimation,
            starts=starts,
            seed=seed,
            method=method,
            rtol=rtol,
            atol=atol,
            max_steps=max_steps,
            iterations=iterations,
            jobs=jobs,
            scheduler=scheduler,
            on_iteration=told if progress else on_iteration,
        )


def estimate(
    estimation: Estimation,
    *,
    method: str | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 10_000,
    **options: Any,
) -> Estimate:
    """Search for the most probable unknowns of an estimation; arguments and errors as of :func:`fit`.

    Further options are those of :func:`estimate_posed`.
    """
    problem = posed(estimation, method=method, rtol=rtol, atol=atol, max_steps=max_steps)
    return estimate_posed(problem, **options)


def estimate_posed(
    problem: Problem,
    *,
    starts: int = 8,
    seed: int = 0,
    growing: bool = True,
    iterations: int = 200,
    jobs: int | None = None,
    scheduler: str | None = None,
    folder: Path | None = None,
    on_iteration: Callable[[int, Tensor], object] | None = None,
    on_batch: Callable[[int, int], object] | None = None,
) -> Estimate:
    """Search for the most probable unknowns of what is posed already; arguments and errors as of :func:`fit`.

    In `folder`, if given, the search keeps what is done of it; another one goes on from there, to the same end.
    `growing` is that of :func:`~physode.estimation.search.search_from`; `on_batch` is told how many batches are done,
    and of how many.
    """
    plan: dict[str, Any] = {"starts": starts, "seed": seed, "growing": growing, "iterations": iterations}
    if jobs is None and scheduler is None:
        keep = compute if folder is None else KeptStages(folder)
        minima = search(problem, **plan, keep=keep, on_iteration=on_iteration)
    else:
        workers: dict[str, Any] = {"jobs": 1 if jobs is None else jobs, "scheduler": scheduler}
        minima = search_spread(problem, **plan, **workers, folder=folder, progress=on_batch)
    return Estimate(problem, minima, minima.z[minima.best])


def posed(
    estimation: Estimation,
    *,
    method: str | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 10_000,
) -> Problem:
    """Return an estimation ready to be searched; arguments and errors as of :func:`fit`."""
    if method is not None and not checked_method(method).adaptive:
        raise ConfigError(f"`method` {method!r} takes fixed steps; choose one that adapts them, such as 'tsit5'")
    options = SolverOptions(rtol=rtol, atol=atol, max_steps=max_steps)
    return prepare(estimation, dataclasses.replace(options, method=method) if method else None, options)
