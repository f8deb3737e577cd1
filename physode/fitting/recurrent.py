"""Fits of recurrent networks: the baselines that know no differential equation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.fitting.config import FitConfig
from physode.fitting.data import FitData, has_bodies, prepare
from physode.fitting.ending import status_of
from physode.fitting.report import Report, span_errors
from physode.fitting.sequences import cut, fit_sequences, time_step
from physode.fitting.state import OnEpoch, OutOfTimeError, TrainingState
from physode.models import TrajectoryLSTM

__all__ = ["RECURRENT", "build_recurrent", "fit_recurrent", "forecast_all", "recurrent_report"]

RECURRENT = ("lstm", "lstm-aug")


def build_recurrent(config: FitConfig, trajectories: Trajectories) -> TrajectoryLSTM:
    """Build the network, with weights from torch's global generator: seed it before.

    Raises
    ------
    ConfigError
        If the data are not positions of bodies at equally spaced times, or too few.
    """
    columns = trajectories.columns
    if not has_bodies(columns):
        raise ConfigError(
            f"rhs={config.rhs!r} needs bodies' positions, columns r1_x, ..., vn_z; the data have {', '.join(columns)}; "
            "try rhs='neural'"
        )
    if trajectories.t.ndim == 2:
        raise ConfigError(f"rhs={config.rhs!r} needs times that all trajectories share; choose one with `trajectories`")
    time_step(torch.from_numpy(trajectories.t))
    if config.given >= trajectories.y.shape[1]:
        raise ConfigError(f"`given` {config.given} points leave none of the {trajectories.y.shape[1]} to forecast")
    bodies = len(columns) // 6
    assert config.hidden is not None
    width = config.hidden[0]
    model = TrajectoryLSTM(bodies, augmented=config.rhs == "lstm-aug", hidden=width, layers=len(config.hidden))
    return model.to(device=config.device, dtype=config.torch_dtype)


def fit_recurrent(
    model: TrajectoryLSTM,
    trajectories: Trajectories,
    config: FitConfig,
    *,
    state: TrainingState | None,
    on_epoch: OnEpoch,
) -> tuple[FitData, TrainingState]:
    """Train the network on the training span, cut into sequences; return the data as tensors, and where it ended.

    Raises
    ------
    ConfigError, DataError
        If the training span is too short, or has gaps.
    """
    data = prepare(trajectories, config)
    if data.steps < config.sequence:
        raise ConfigError(f"`sequence` {config.sequence} is longer than the training span, {data.steps} points")
    positions = _positions(trajectories, data.steps)
    assert config.epochs is not None
    assert config.lr is not None
    assert config.lr_decay is not None
    sequences = torch.cat([cut(each, config.sequence) for each in positions])
    try:
        ended = fit_sequences(
            model,
            sequences,
            epochs=config.epochs,
            lr=config.lr,
            lr_decay=config.lr_decay,
            seed=config.seed,
            on_epoch=on_epoch,
            state=state,
        )
    except OutOfTimeError as limit:
        ended = limit.ended()
        model.load_state_dict(ended.best_model)
    return data, ended


def forecast_all(model: TrajectoryLSTM, trajectories: Trajectories, config: FitConfig) -> Tensor:
    """Return what the network makes of each trajectory's first points: states (N, T, D), velocities NaN."""
    n, times, components = trajectories.y.shape
    like = model.step_mean
    start = _positions(trajectories, config.given).to(like)
    states = torch.full((n, times, components), math.nan, dtype=torch.float64)
    states[..., : components // 2] = model.forecast(start, times - config.given).double().cpu()
    return states


def recurrent_report(
    model: TrajectoryLSTM, data: FitData, trajectories: Trajectories, predicted: Tensor, *, epochs: int, ended: str
) -> Report:
    """Compare a forecast, (N, T, D), with the data."""
    y = predicted.transpose(0, 1)
    errors = span_errors(data, trajectories, y if data.batched else y[:, 0])
    return Report(
        constants=(),
        initial_states=(),
        errors=errors,
        loss=math.nan if errors[0].mse is None else errors[0].mse,
        epochs=epochs,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        ended=ended,
        status=status_of(ended),
        notes=(),
    )


def _positions(trajectories: Trajectories, steps: int) -> Tensor:
    return torch.from_numpy(trajectories.y[:, :steps, : len(trajectories.columns) // 2].astype("float64"))
