"""A recurrent network that continues bodies' positions, point by point (ACA paper, Sect. 4.4 and Appendix D)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physode.errors import DataError
from physode.rhs.neural import pair_features, pair_features_width

__all__ = ["TrajectoryLSTM"]

Carried = tuple[Tensor, Tensor]
"""What the network remembers from point to point: its hidden and cell states, (layers, B, hidden) each."""


class TrajectoryLSTM(nn.Module):
    r"""Next positions of bodies from all earlier ones, at equally spaced times.

    .. math::

        r_{k+1} = r_k + \mu_\Delta + \sigma_\Delta \odot (W h_k + b), \qquad
        h_k, c_k = \mathrm{LSTM}\Bigl(\frac{x_k - \mu_x}{\sigma_x}, h_{k-1}, c_{k-1}\Bigr)

    where :math:`x_k` are the positions :math:`r_k` themselves, or the augmented input :math:`\mathrm{Aug}(r_k)` of
    Eq. 33. Means :math:`\mu` and standard deviations :math:`\sigma` of inputs and of steps
    :math:`\Delta_k = r_{k+1} - r_k` are those of the training sequences (:meth:`standardise`). They are buffers, so
    ``state_dict()`` is all that a forecast needs. A component that always takes the same step has
    :math:`\sigma_\Delta = 0` and is continued by it.

    The paper says neither what the network predicts nor how large it is. By default it learns the step, not the next
    position, :math:`r_{k+1} = \mu_r + \sigma_r \odot (W h_k + b)`: a position differs from the one before by some
    thousandths of its range, so a network of positions spends its accuracy on repeating its input. One layer of 64 is
    the smallest width, of 32, 64 and 128, beyond which forecasts of the paper's three bodies no longer improved for
    both inputs.

    The weights follow torch's default initialisation: call ``torch.manual_seed`` before, and ``.double()`` after, where
    positions are float64.

    Parameters
    ----------
    bodies
        Number of bodies n, at least 1; 2 where `augmented`.
    augmented
        Whether the input is :func:`physode.rhs.pair_features` of the positions.
    hidden
        Width of the hidden state.
    layers
        Number of LSTM layers, one above the other.
    predicts
        ``"step"`` or ``"position"``; ``step_mean`` and ``step_scale`` are those of what is predicted.

    Raises
    ------
    ValueError
        If a number is too small, or `predicts` is neither.
    """

    input_mean: Tensor
    input_scale: Tensor
    step_mean: Tensor
    step_scale: Tensor

    def __init__(
        self,
        bodies: int = 3,
        *,
        augmented: bool = False,
        hidden: int = 64,
        layers: int = 1,
        predicts: str = "step",
    ) -> None:
        super().__init__()
        for name, value in (("bodies", bodies), ("hidden", hidden), ("layers", layers)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}")
        if augmented and bodies < 2:
            raise ValueError(f"`augmented` needs distances, `bodies` at least 2, got {bodies}; leave it False")
        if predicts not in ("step", "position"):
            raise ValueError(f"`predicts` must be 'step' or 'position', got {predicts!r}")
        self.bodies, self.augmented, self.hidden, self.layers = bodies, augmented, hidden, layers
        self.predicts = predicts
        components = 3 * bodies
        features = pair_features_width(bodies) if augmented else components
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True)
        self.readout = nn.Linear(hidden, components)
        self.register_buffer("input_mean", torch.zeros(features))
        self.register_buffer("input_scale", torch.ones(features))
        self.register_buffer("step_mean", torch.zeros(components))
        self.register_buffer("step_scale", torch.ones(components))

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; weights and standardisation are in ``state_dict()``."""
        return {
            "bodies": self.bodies,
            "augmented": self.augmented,
            "hidden": self.hidden,
            "layers": self.layers,
            "predicts": self.predicts,
        }

    def standardise(self, sequences: Tensor) -> None:
        """Take means and standard deviations from training sequences, (B, T, 3 n) with T at least 2.

        Raises
        ------
        DataError
            If two bodies are at one place, where the augmented input does not exist.
        """
        self.check_shape(sequences, "sequences")
        features = self._features(sequences)
        lost = (~features.isfinite().all(-1)).nonzero()
        if len(lost):
            sequence, point = lost[0].tolist()
            raise DataError(
                f"two bodies are at one place at point {point} of sequence {sequence}, where the augmented input "
                "divides by their distance 0; correct the data or leave `augmented` False"
            )
        mean, scale = _moments(features, features)
        self.input_mean.copy_(mean)
        self.input_scale.copy_(torch.where(scale > 0, scale, 1.0))
        mean, scale = _moments(self._predicted(sequences), sequences)
        self.step_mean.copy_(mean)
        self.step_scale.copy_(scale)

    def inputs(self, sequence: Tensor) -> Tensor:
        """Return what the LSTM sees of positions (B, T, 3 n): standardised, (B, T, 3 n or 3 n + 12 n (n - 1))."""
        return (self._features(sequence) - self.input_mean) / self.input_scale

    def targets(self, sequence: Tensor) -> Tensor:
        """Return what is to be predicted along (B, T, 3 n), standardised: (B, T - 1, 3 n)."""
        scale = torch.where(self.step_scale > 0, self.step_scale, 1.0)
        return (self._predicted(sequence) - self.step_mean) / scale

    def steps(self, inputs: Tensor, carried: Carried | None = None) -> tuple[Tensor, Carried]:
        """Return what is predicted after each of :meth:`inputs`, as :meth:`targets`, and what the network remembers."""
        outputs, carried = self.lstm(inputs, carried)
        return self.readout(outputs), carried

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the position that follows each point of `sequence`, given those before: (B, T, 3 n) both.

        Raises
        ------
        ValueError
            If `sequence` is of another shape or dtype.
        """
        self.check_shape(sequence, "sequence")
        self._check_dtype(sequence, "sequence")
        return self._after(sequence, self.steps(self.inputs(sequence))[0])

    @torch.no_grad()
    def forecast(self, start: Tensor, steps: int) -> Tensor:
        """Continue `start` (B, k, 3 n) by `steps` points, feeding each prediction back: (B, k + steps, 3 n).

        The result begins with `start` and carries no gradients. Errors are fed back too, and `start` may be continued
        far beyond the length of the training sequences: the error of a forecast is not that of one step.

        Raises
        ------
        ValueError
            If `start` is of another shape or dtype or has no points, or `steps` is negative.
        """
        self.check_shape(start, "start")
        self._check_dtype(start, "start")
        if start.shape[1] == 0 or steps < 0:
            raise ValueError(
                f"`start` must have at least 1 point and `steps` be at least 0, got {start.shape[1]} and {steps}"
            )
        points = [start]
        seen, carried = start, None
        for _ in range(steps):
            ahead, carried = self.steps(self.inputs(seen), carried)
            seen = self._after(seen[:, -1:], ahead[:, -1:])
            points.append(seen)
        return torch.cat(points, 1)

    def check_shape(self, sequence: Tensor, name: str) -> None:
        """Raise ``ValueError``, calling the argument `name`, unless `sequence` is (B, T, 3 n)."""
        if sequence.ndim != 3 or sequence.shape[-1] != 3 * self.bodies:
            raise ValueError(
                f"`{name}` must be (B, T, {3 * self.bodies}), three coordinates for each of {self.bodies} bodies; "
                f"got {tuple(sequence.shape)}"
            )

    def _check_dtype(self, sequence: Tensor, name: str) -> None:
        if sequence.dtype != self.step_mean.dtype:
            raise ValueError(
                f"`{name}` must be {self.step_mean.dtype} like the weights, got {sequence.dtype}; "
                f"convert it or the model with .to(...)"
            )

    def _features(self, sequence: Tensor) -> Tensor:
        return pair_features(torch.unflatten(sequence, -1, (self.bodies, 3))) if self.augmented else sequence

    def _predicted(self, sequence: Tensor) -> Tensor:
        """Return the steps between points of (B, T, 3 n), or the points after the first: (B, T - 1, 3 n)."""
        return sequence.diff(dim=1) if self.predicts == "step" else sequence[:, 1:]

    def _after(self, positions: Tensor, steps: Tensor) -> Tensor:
        ahead = self.step_mean + self.step_scale * steps
        return positions + ahead if self.predicts == "step" else ahead


def _moments(values: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of (B, T, C) by component, the latter 0 where it is rounding of `origin`."""
    deviation, mean = torch.std_mean(values, (0, 1), correction=0)
    rounding = 8 * torch.finfo(values.dtype).eps * origin.abs().amax((0, 1))
    return mean, torch.where(deviation > rounding, deviation, 0.0)
