"""Fit a right-hand side to trajectories: the library call behind ``physode fit``."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from physode.datasets import Trajectories
from physode.errors import ConfigError, SolveError
from physode.fit_status import OUT_OF_TIME
from physode.fitting.config import FitConfig
from physode.fitting.constants import constants_of, told_settings
from physode.fitting.data import choose, digest, has_bodies, prepare, start_is_known, train_end
from physode.fitting.objective import Objective
from physode.fitting.problem import FitProblem, optimise, pose_fit
from physode.fitting.recurrent import build_recurrent, fit_recurrent, forecast_all, recurrent_report
from physode.fitting.report import Report, make_report
from physode.fitting.rhs import build_rhs
from physode.fitting.run import Run
from physode.fitting.sanity_checks import verdict
from physode.fitting.state import BeginError, Epoch, OutOfTimeError, TrainingState
from physode.models import TrajectoryLSTM
from physode.rhs import System
from physode.simulators.reach import check_reach
from physode.solution import Solution
from physode.solvers.callbacks import checked_seconds
from physode.solvers.methods import METHODS
from physode.summary import Described, Summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Fit(Described):
    """What a fit returns.

    Attributes
    ----------
    config
        The effective settings.
    model
        The fitted right-hand side, or recurrent network, the best of all epochs.
    initial_states
        Fitted or known, (D,) or (N, D).
    report
        Constants, errors, and how it ended.
    history
        One entry an epoch, those of a resumed run's first part excepted.
    predictions
        Solutions of the fitted right-hand side at all times of the data.
    """

    config: FitConfig
    model: System | TrajectoryLSTM
    initial_states: np.ndarray[Any, Any]
    report: Report
    history: tuple[Epoch, ...]
    predictions: Trajectories

    @property
    def summary(self) -> Summary:
        """That of the report, with what was fitted to what."""
        report, data = self.report.summary, self.predictions
        title = f"Fit of rhs={self.config.rhs!r} to {len(data.y)} x {len(data.t)} states: {self.report.status}"
        return dataclasses.replace(report, title=title, notes=(self.report.ended, *report.notes))

    def to_frame(self) -> Any:
        """Return what was fitted, as :meth:`physode.fitting.Report.to_frame`."""
        return self.report.to_frame()

    @property
    def rhs(self) -> System:
        """The fitted right-hand side.

        Raises
        ------
        ConfigError
            If a recurrent network was fitted.
        """
        if not isinstance(self.model, System):
            raise ConfigError(f"a fit of rhs={self.config.rhs!r} has no right-hand side; its network is `model`")
        return self.model


def effective_config(config: FitConfig, trajectories: Trajectories) -> FitConfig:
    """Fill in every default, those that depend on the data included.

    Raises
    ------
    ConfigError
        If the settings do not fit the data.
    DataError
        If what the data say of their right-hand side is damaged.
    """
    chosen = choose(trajectories, config)
    told_settings(chosen)
    init: dict[str, tuple[float, ...]] = {}
    free: tuple[str, ...] = ()
    if config.rhs in ("physical", "hybrid"):
        found = constants_of(config, chosen)
        init = {name: tuple(found.values[name].reshape(-1).tolist()) for name in found.names}
        free = found.free_targets()
    if (config.priors or config.robust) and config.sigma is None and chosen.sigma is None:
        what = "priors" if config.priors else "robust"
        raise ConfigError(
            f"`{what}` need the standard deviation of the observations: give `sigma` (--sigma), "
            "or one a value in the data"
        )
    return dataclasses.replace(
        config.completed(),
        init=init,
        free=free,
        initial_state=_initial_state(config, chosen),
        train_until=train_end(chosen.t, config.train_until),
        loss=config.loss or ("positions" if config.recurrent or has_bodies(chosen.columns) else "state"),
    )


def check_model(config: FitConfig, trajectories: Trajectories) -> None:
    """Build what would be fitted, and raise what `fit` would raise about settings and data that do not go together."""
    (build_recurrent if config.recurrent else build_rhs)(config, trajectories)
    prepare(trajectories, config)


def _initial_state(config: FitConfig, chosen: Trajectories) -> str:
    if config.recurrent:
        return "known"
    return config.initial_state or ("known" if start_is_known(chosen) else "fit")


def fit(
    trajectories: Trajectories,
    config: FitConfig | None = None,
    *,
    run: Run | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 5.0,
    max_seconds: float | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Fit:
    """Fit a right-hand side to trajectories by least squares.

    The loss is the mean squared difference from the observed values up to ``config.train_until``, over all trajectories
    at once, in standard deviations where these are known.

    Parameters
    ----------
    trajectories
        The data; NaN marks missing values.
    config
        Settings; by default the data's own system with all its constants unknown.
    run
        A folder to keep history, checkpoints, predictions and log in.
    resume
        Whether to go on from the last checkpoint of `run`, or, where it has none yet, to begin again with its settings.
        The numbers are then those of a run that was never interrupted.
    checkpoint_seconds
        Shortest time between checkpoints; 0 for one every epoch.
    max_seconds
        Wall-clock time after which the fit ends, between two epochs, with the best found so far: its report says
        ``"out of time"``. With a `run`, it can be gone on with.
    on_epoch
        Called after every epoch.

    Raises
    ------
    ConfigError
        If the settings do not fit the data, a resumed run's data have changed, or `checkpoint_seconds` is not finite or
        below 0.
    DataError
        If initial states are missing, or a checkpoint or the history is damaged.
    SolveError
        If the solve fails at the initial guess, or after every first step from there however short.
    ValueError
        If `checkpoint_seconds` or `max_seconds` is no length of time.
    """
    if not 0 <= checkpoint_seconds < math.inf:
        raise ValueError(f"`checkpoint_seconds` must be at least 0 and finite, got {checkpoint_seconds}")
    limit = checked_seconds(max_seconds)
    config = effective_config(config or FitConfig(), trajectories)
    if resume and run is None:
        raise ConfigError("`resume` needs a `run` to go on with")
    if run is not None and run.digest != digest(trajectories):
        raise ConfigError(f"the data are not those that {run.path} was made with; start another run")
    journal = _Journal(run, checkpoint_seconds, limit, on_epoch)
    with nullcontext() if run is None else run.working():
        return _fit(choose(trajectories, config), config, journal, resume=resume)


def _fit(chosen: Trajectories, config: FitConfig, journal: _Journal, *, resume: bool) -> Fit:
    devices = [config.device] if torch.device(config.device).type == "cuda" else []
    run = _recurrent if config.recurrent else _dynamic
    with torch.random.fork_rng(devices):
        torch.manual_seed(config.seed)
        return run(chosen, config, journal, resume=resume)


def _dynamic(chosen: Trajectories, config: FitConfig, journal: _Journal, *, resume: bool) -> Fit:
    """Fit a right-hand side."""
    problem = pose_fit(chosen, config)
    if not resume:
        _check_guess(problem)
    with journal.of(config, resume=resume):
        objective, state = optimise(problem, state=journal.state, on_epoch=journal)
    solution = objective.predict()
    # Least squares take no step upwards: only the others have to be held against the start.
    ended = verdict(state, start=math.inf if config.optimizer == "lm" else problem.start[0])
    report = make_report(objective, chosen, solution, epochs=state.epoch, ended=ended)
    predictions = _predictions(objective, chosen, solution)
    journal.end(state, predictions, report)
    initial_states = objective.parameters.states.detach().cpu().double().numpy()
    return Fit(config, objective.rhs, initial_states, report, tuple(journal.history), predictions)


def _check_guess(problem: FitProblem) -> None:
    """Refuse a guess from which not even the first stage can be solved, before all its steps are taken."""
    config, data = problem.config, problem.data
    assert config.method is not None
    if not METHODS[config.method].adaptive:
        return
    y0 = torch.nan_to_num(data.y0 if data.batched else data.y0.unsqueeze(0))
    options = {name: getattr(config, name) for name in ("method", "rtol", "atol", "max_steps")}
    try:
        check_reach(problem.rhs, y0, data.t[: problem.stages[0].times], **options)
    except SolveError as error:
        raise BeginError.because(error) from error


def _recurrent(chosen: Trajectories, config: FitConfig, journal: _Journal, *, resume: bool) -> Fit:
    """Fit a recurrent network."""
    model = build_recurrent(config, chosen)
    with journal.of(config, resume=resume):
        data, state = fit_recurrent(model, chosen, config, state=journal.state, on_epoch=journal)
    predicted = forecast_all(model, chosen, config)
    ended = verdict(state, start=journal.first_loss())
    report = recurrent_report(model, data, chosen, predicted, epochs=state.epoch, ended=ended)
    attrs = {"system": config.rhs, "time_unit": chosen.attrs.get("time_unit", ""), "fit": config.as_dict()}
    predictions = Trajectories(t=chosen.t, y=predicted.numpy(), columns=chosen.columns, units=chosen.units, attrs=attrs)
    journal.end(state, predictions, report)
    return Fit(config, model, data.y0.cpu().double().numpy(), report, tuple(journal.history), predictions)


class _Journal:
    """Keeps the history, and a run's folder up to date, while an optimiser works."""

    def __init__(
        self, run: Run | None, seconds: float, limit: float, on_epoch: Callable[[Epoch], object] | None
    ) -> None:
        self.history: list[Epoch] = []
        self.state: TrainingState | None = None
        self._run, self._seconds, self._limit, self._on_epoch = run, seconds, limit, on_epoch
        self._began = self._saved = time.monotonic()

    @contextmanager
    def of(self, config: FitConfig, *, resume: bool) -> Iterator[None]:
        """Keep what the block tells; where it is interrupted, where it stands."""
        _log.info("fit %s: %s", "goes on" if resume else "begins", config.as_dict())
        if resume and self._run is not None:
            self._restore(self._run)
        try:
            yield
        except BaseException as error:
            _log.info("fit stopped: %s", error or type(error).__name__)
            self.keep()
            raise

    def _restore(self, run: Run) -> None:
        if not run.has_checkpoint:
            run.begin_again()
            return
        self.state = run.last()
        run.forget_after(self.state.epoch, first=0)

    def __call__(self, epoch: Epoch, state: TrainingState) -> None:
        if self._run is not None:
            self._run.append(dataclasses.asdict(epoch))  # first: a checkpoint never knows more than the history
        self.history.append(epoch)
        self.state = state
        if time.monotonic() - self._saved >= self._seconds:
            self.keep()
        if self._on_epoch is not None:
            self._on_epoch(epoch)
        if not state.finished and time.monotonic() - self._began > self._limit:
            raise OutOfTimeError(self._limit, state)

    def first_loss(self) -> float:
        """Return the loss of the initial guess; infinite where the history has lost it."""
        lines = [epoch.loss for epoch in self.history if epoch.epoch == 0]
        if self._run is not None and not lines:
            lines = [line.get("loss") for line in self._run.history() if line.get("epoch") == 0]
        return next((loss for loss in lines if loss is not None), math.inf)

    def keep(self) -> None:
        """Write a checkpoint of where the fit stands, if it has got anywhere."""
        if self._run is not None and self.state is not None:
            self._run.save(self.state)
            self._saved = time.monotonic()

    def end(self, state: TrainingState, predictions: Trajectories, report: Report) -> None:
        if report.status != OUT_OF_TIME:  # which goes on from where it was stopped
            self.state = state
        self.keep()
        if self._run is not None:
            self._run.write_results(predictions, report.as_dict())
        _log.info("fit ended after epoch %d: %s; loss %.6g", state.epoch, report.ended, report.loss)


def _predictions(objective: Objective, chosen: Trajectories, solution: Solution) -> Trajectories:
    """Return what the fitted right-hand side predicts, in the layout of the data."""
    rhs, config, n = objective.rhs, objective.config, len(chosen)
    y = solution.y.detach().cpu().numpy()
    constants = {name: value.detach().double().cpu().numpy() for name, value in rhs.constants.items()}
    own: dict[str, Any] = {key: value for key, value in rhs.config().items() if key not in ("learnable", "positive")}
    return Trajectories(
        t=chosen.t,
        y=y.transpose(1, 0, 2) if objective.data.batched else y[None],
        params={name: np.repeat(value[None], n, axis=0) for name, value in constants.items()},
        columns=chosen.columns,
        units=chosen.units,
        attrs={
            "system": rhs.name,
            "rhs": own,
            "time_unit": chosen.attrs.get("time_unit", ""),
            "param_units": {name: unit for name, unit in rhs.constant_units.items() if name in constants},
            "method": config.method,
            "rtol": config.rtol,
            "atol": config.atol,
            "seed": config.seed,
            "fit": config.as_dict(),
        },
    )
