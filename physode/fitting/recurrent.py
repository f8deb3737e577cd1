"""Fits of recurrent networks: the baselines that know no differential equation."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.fit_status import status_of
from physode.fitting.config import FitConfig
from physode.fitting.data import FitData, has_bodies, prepare
from physode.fitting.report import Report, span_errors
from physode.fitting.sanity_checks import astray, share_left
from physode.fitting.state import Epoch, OnEpoch, OutOfTimeError, TrainingState
from physode.models.lstm import TrajectoryLSTM
from physode.models.windows import check_gaps, cut, time_step

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
    augmented, layers = config.rhs == "lstm-aug", len(config.hidden)
    model = TrajectoryLSTM(bodies, augmented=augmented, hidden=width, layers=layers, predicts=config.predicts)
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
            betas=config.betas,
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
    states = y if data.batched else y[:, 0]
    errors = span_errors(data, trajectories, states)
    ended = astray(ended, errors[0].mse, share_left(data, states))
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


def fit_sequences(
    model: TrajectoryLSTM,
    sequences: Tensor,
    *,
    epochs: int = 5000,
    lr: float = 0.01,
    lr_decay: float = 0.999,
    betas: Sequence[float] | None = None,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    state: TrainingState | None = None,
    batch: int | None = None,
) -> TrainingState:
    r"""Fit a model to predict each point of the sequences from those before it (ACA paper, Table 8).

    .. math::

        L = \operatorname{mean}_{b,k,c} \bigl( (\hat\Delta_{bkc} - \Delta_{bkc}) / \sigma_c \bigr)^2

    over sequences b, points k and components c, with the true points fed in and :math:`\sigma_c` the standard deviation
    of the steps :math:`\Delta`, or, of a model that predicts positions, of these: 1 is a model that knows the mean
    only. Adam goes at the rate :math:`\mathrm{lr} \cdot \mathrm{lr\_decay}^{\mathrm{epoch}}`.

    Parameters
    ----------
    model
        With its initial weights. It learns the sequences' means and deviations first, and ends with the best weights
        of all epochs. Computations are in its dtype and on its device.
    sequences
        Shape (B, T, 3 n), from :func:`cut`.
    epochs, lr, lr_decay, betas
        As :class:`physode.fitting.FitConfig`. The defaults are the paper's.
    seed
        Of the order of batches; nothing else is drawn.
    on_epoch
        Told of every epoch and of the state after it; epoch 0 is the initial weights.
    state
        Where to go on from; the numbers are then those of an uninterrupted fit.
    batch
        Sequences a step; all by default.

    Returns
    -------
    TrainingState
        After the last epoch. ``loss`` is L over all sequences.

    Raises
    ------
    ConfigError
        If a setting is out of range, sequences are too short or have gaps, or the loss becomes infinite.
    DataError
        If two bodies are at one place and the model's input is augmented.
    ValueError
        If sequences are not of the model's shape.
    """
    _check(model, sequences, epochs=epochs, lr=lr, lr_decay=lr_decay, batch=batch)
    if state is None:
        model.standardise(sequences)
    else:
        model.load_state_dict(state.model)
    trainer = _Trainer(model, sequences, betas=betas, seed=seed, batch=batch, state=state)
    loss = trainer.evaluate()
    if state is None:
        state = trainer.state_after(0, loss, None)
        if on_epoch is not None:
            on_epoch(Epoch(0, loss), state)
    for epoch in range(state.epoch + 1, epochs + 1):
        rate = lr * lr_decay ** (epoch - 1)
        loss = trainer.advance(rate)
        if not math.isfinite(loss):
            raise ConfigError(f"the loss is {loss} after epoch {epoch}; choose a smaller `lr` than {lr:g}")
        state = trainer.state_after(epoch, loss, state)
        if epoch == epochs:
            state.finished = f"all {epoch} epochs done"
        if on_epoch is not None:
            on_epoch(Epoch(epoch, loss, lr=rate), state)
    model.load_state_dict(state.best_model)
    return state


class _Trainer:
    """A model, its standardised sequences, Adam, and the order of batches."""

    def __init__(
        self,
        model: TrajectoryLSTM,
        sequences: Tensor,
        *,
        betas: Sequence[float] | None,
        seed: int,
        batch: int | None,
        state: TrainingState | None,
    ) -> None:
        like = model.step_mean
        positions = sequences.to(like.device)
        # Inputs do not change from epoch to epoch. Steps are small differences: taken before the dtype is lowered.
        self._inputs, self._targets = model.inputs(positions[:, :-1]).to(like), model.targets(positions).to(like)
        self._model, self._count = model, len(sequences)
        self._batch = self._count if batch is None else min(batch, self._count)
        first, second = betas or (0.9, 0.999)
        self._optimizer = torch.optim.Adam(model.parameters(), betas=(first, second))
        self._order = torch.Generator().manual_seed(seed)
        if state is not None:
            self._optimizer.load_state_dict(copy.deepcopy(state.optimizer))
            self._order.set_state(state.random["cpu"].cpu())

    def evaluate(self, rows: Tensor | None = None) -> float:
        """Return the loss of some sequences or of all, and leave its gradient with the parameters."""
        inputs, targets = self._inputs, self._targets
        if rows is not None:
            inputs, targets = inputs[rows], targets[rows]
        self._optimizer.zero_grad()
        steps, _ = self._model.steps(inputs)
        loss = nn.functional.mse_loss(steps, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def advance(self, rate: float) -> float:
        """Take an epoch's steps and return the loss of all sequences after them."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        for rows in self._batches():
            # The gradient over all sequences is there from the evaluation after the last step.
            if rows is not None:
                self.evaluate(rows)
            self._optimizer.step()
        return self.evaluate()

    def state_after(self, epoch: int, loss: float, before: TrainingState | None) -> TrainingState:
        """Return where the fit stands, the best so far included."""
        return TrainingState.after(
            before,
            epoch=epoch,
            loss=loss,
            model={name: value.clone() for name, value in self._model.state_dict().items()},
            optimizer=copy.deepcopy(self._optimizer.state_dict()),
            random={"cpu": self._order.get_state()},
        )

    def _batches(self) -> Iterator[Tensor | None]:
        if self._batch == self._count:
            yield None
        else:
            yield from torch.split(torch.randperm(self._count, generator=self._order), self._batch)


def _check(
    model: TrajectoryLSTM, sequences: Tensor, *, epochs: int, lr: float, lr_decay: float, batch: int | None
) -> None:
    for name, value in (("epochs", epochs), ("batch", batch)):
        if value is not None and value < 1:
            raise ConfigError(f"`{name}` must be at least 1, got {value}")
    if not (lr > 0 and math.isfinite(lr)):
        raise ConfigError(f"`lr` must be positive and finite, got {lr}")
    if not 0 < lr_decay <= 1:
        raise ConfigError(f"`lr_decay` must be above 0 and at most 1, got {lr_decay}")
    model.check_shape(sequences, "sequences")
    if sequences.shape[0] < 1 or sequences.shape[1] < 2:
        raise ConfigError(
            f"`sequences` must be at least one of at least 2 points, got {sequences.shape[0]} of {sequences.shape[1]}"
        )
    check_gaps(sequences, "sequence")
