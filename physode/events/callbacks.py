"""What watches a solve with events from outside, round by round: its monitor and limit of time, its recorder."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.events.detection import Detector
from physode.events.jumps import Stops
from physode.solvers.callbacks import Moment, Monitor, Watch
from physode.solvers.clock import Number, expand
from physode.solvers.recorder import Recorder
from physode.solvers.trace import Trace
from physode.status import Status

__all__ = ["RoundRecorder", "RoundWatch"]


@dataclass
class RoundWatch(Watch):
    """What the loop of one round asks after each attempt, on behalf of the whole solve.

    Attributes
    ----------
    stops
        The whole solve's times.
    detector
        The round's detector of events.
    going
        The groups that are on their way in this round; what others solve meanwhile is not told.
    accepted, rejected
        Steps and rejected attempts of the rounds before, all groups together.
    reason
        The status with which this round was ended, 0 if it was not.
    """

    stops: Stops = field(kw_only=True)
    detector: Detector = field(kw_only=True)
    going: Tensor = field(kw_only=True)
    accepted: int = field(kw_only=True)
    rejected: int = field(kw_only=True)
    reason: int = 0

    def after(self, record: Trace, t: Number, h: Number, done: Number, accepted: bool) -> int:
        """Take note of an attempt; see :class:`~physode.solvers.callbacks.Watch`."""
        self.reason = super().after(record, t, h, done, accepted)
        return self.reason

    def _asks_to_stop(self, monitor: Monitor, record: Trace, t: Number, h: Number, done: Number) -> bool:
        return bool(_moved(h, self.going).any()) and super()._asks_to_stop(monitor, record, t, h, done)

    def _moment(self, record: Trace, t: Number, h: Number, done: Number) -> Moment:
        """Tell of the group furthest behind of those under way; when all have ended, of the one that came furthest."""
        time, size = (_one_a_group(value, self.going) for value in (t, h))
        ended = self.detector.last.reshape(time.shape) & (time == self.detector.stop.reshape(time.shape))
        under_way = self.going & ~ended & (record.status == Status.SUCCESS)
        share = self.stops.share(time)
        if bool(under_way.any()):
            last = int(torch.where(under_way, share, torch.inf).argmin())
        else:
            last = int(torch.where(self.going, share, -torch.inf).argmax())
        fraction, at, step = (float(value.reshape(-1)[last]) for value in (share, time, size))
        accepted, rejected = (int((_one_a_group(n, self.going) * self.going).sum()) for n in _counts(record))
        return Moment(fraction, at, step, self.accepted + accepted, self.rejected + rejected, self.seconds)


class RoundRecorder:
    """A recorder as the loop of each round in turn calls it; see :class:`~physode.solvers.recorder.Recorder`.

    A round that begins with a jump has its start noted, the state behind it. Groups that have ended stay as they were.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._going = torch.tensor(True)
        self._starts = True
        self._last: tuple[Tensor, Tensor] | None = None
        self._before: tuple[int, tuple[Tensor, Tensor] | None] = (0, None)

    def begin(self, going: Tensor, *, jumped: bool) -> None:
        """Begin a round in which some groups are on their way; ``jumped``: whether any of them jumped before it."""
        self._going, self._starts = going, jumped
        self._before = (self._recorder.noted, self._last)

    def rewind(self) -> None:
        """Forget the round begun last."""
        noted, self._last = self._before
        self._recorder.forget(noted)

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Note the state at the start of the round."""
        if self._starts or self._last is None:
            self._note(t, y)
        self._starts = False

    def after(self, record: Trace, accepted: bool) -> bool:
        """Note the state at the end of a step that a group on its way accepted; never end the solve."""
        if accepted and bool(_moved(record.sizes[-1], self._going).any()):
            self._note(record.ends[-1], record.nodes[-1])
        return False

    def _note(self, t: Number, y: Tensor) -> None:
        t, y = _one_a_group(t, self._going), y.detach()
        if self._last is not None and not bool(self._going.all()):
            t = torch.where(self._going, t, self._last[0])
            y = torch.where(expand(self._going, y.ndim), y, self._last[1])
        self._last = t, y
        self._recorder.note(t, y)


def _one_a_group(value: Number, groups: Tensor) -> Tensor:
    """Return a number of a loop as a tensor beside the groups."""
    return torch.as_tensor(value, dtype=torch.float64, device=groups.device).detach().expand(groups.shape)


def _moved(h: Number, going: Tensor) -> Tensor:
    """Return which groups on their way took a step of this size."""
    return going & (_one_a_group(h, going) != 0)


def _counts(record: Trace) -> tuple[Number, Number]:
    return record.accepted, record.rejected
