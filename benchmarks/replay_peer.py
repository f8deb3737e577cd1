"""gradsolve, on jax: the accepted steps of one solve are recorded once, and every gradient replays them.

A recording is good near the parameters that it was made at; whoever takes an optimiser's step makes another. So two
times are taken: of the replay on steps recorded before, which is what the package publishes, and of both together. Its
method where the task asks for dopri5 is Tsit5, at the same tolerances.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.jax_peer import JaxRunner, missing_jax, with_loss
from benchmarks.peers import Peer
from benchmarks.task import Answer, Task, Twin

__all__ = ["RECORDED", "RECORDING", "gradsolve"]

RECORDED, RECORDING = "gradsolve, recorded before", "gradsolve, recording and replay"
_ENGINES = {"dopri5": "tsit5_replay", "rodas5p": "rodas5p_replay"}


def gradsolve(*, recording: bool = False) -> Peer:
    """Return gradsolve, whose runs replay one recording, or make another each time and replay."""
    name = RECORDING if recording else RECORDED
    return Peer(name, "gradsolve", lambda task, gradient: _Replay(task, gradient, recording), missing_jax())


class _Key(NamedTuple):
    """What a recording depends on; tensors by identity."""

    twin: Twin
    tensors: tuple[Tensor, ...]
    tol: float
    atol: float
    method: str
    end_only: bool

    def __hash__(self) -> int:
        return hash((self.twin, *map(id, self.tensors), *self[2:]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Key):
            return NotImplemented
        same = all(a is b for a, b in zip(self.tensors, other.tensors, strict=True))
        return same and (self.twin, *self[2:]) == (other.twin, *other[2:])


_PROGRAMS: dict[tuple[_Key, bool], tuple[Any, tuple[Any, ...]]] = {}
_PROBLEMS: dict[_Key, Any] = {}


class _Replay(JaxRunner):
    def __init__(self, task: Task, gradient: bool, recording: bool) -> None:
        super().__init__(task, gradient, mapped=True)
        if task.t.ndim > 1:
            raise ValueError("its outputs are at the same times for all samples")
        self.recording = recording

    def run(self) -> Any:
        if self.recording:
            with self.precision():
                self.record()
        return super().run()

    def answer(self, result: Any) -> Answer:
        outputs, gradients = super().answer(result)
        if self.mapped:
            return Answer(outputs, gradients)
        return Answer(outputs[0], gradients)  # its batch of one

    def record(self) -> Any:
        """Solve, and return the function of initial states and parameters that replays."""
        params, y0 = self.leaves()
        task = self.task
        samples = y0 if y0.ndim > 1 else y0[None]
        package = importlib.import_module("gradsolve")
        with _compiled_recorder():
            return package.grad_closure(
                self._problem, samples, self._rows(params, len(samples)), wrt=("y0", "params"),
                engine=_ENGINES[task.method], rtol=task.tol, atol=task.absolute, fused=False,
                saveat=None if task.end_only else task.t.numpy(),
            )  # fmt: skip

    @cached_property
    def program(self) -> tuple[Any, tuple[Any, ...]]:
        key = (self._key, self.gradient)
        if key not in _PROGRAMS:
            _PROGRAMS[key] = self._compiled()
        return _PROGRAMS[key]

    def _compiled(self) -> tuple[Any, tuple[Any, ...]]:
        jax = importlib.import_module("jax")
        replay = self.record()

        def solve(params: Any, y0: Any) -> tuple[Any, dict[str, Any]]:
            samples = y0 if y0.ndim > 1 else y0[None]
            ys = replay(samples, self._rows(params, len(samples)))
            return (ys[:, None] if self.task.end_only else ys), {}

        inputs = self.leaves()
        return jax.jit(with_loss(solve, self.gradient)).lower(*inputs).compile(), inputs

    @property
    def _key(self) -> _Key:
        task = self.task
        return _Key(self.twin, (*task.params, task.y0, task.t), task.tol, task.absolute, task.method, task.end_only)

    @property
    def _problem(self) -> Any:
        """What gradsolve calls a problem; kept, for its compiled recorder is remembered by the right-hand side."""
        if self._key not in _PROBLEMS:
            _PROBLEMS[self._key] = self._posed()
        return _PROBLEMS[self._key]

    def _posed(self) -> Any:
        params, f = self.task.params, self.twin.f
        shapes = [p.shape[1:] if self.twin.mapped else p.shape for p in params]

        def f_jax(t: Any, y: Any, row: Any) -> Any:
            parts, start = [], 0
            for shape in shapes:
                parts.append(row[start : start + shape.numel()].reshape(tuple(shape)))
                start += shape.numel()
            return f(t, y, tuple(parts))

        return SimpleNamespace(
            name="benchmark", dim=self.task.y0.shape[-1], t0=float(self.task.t[0]), t1=float(self.task.t[-1]),
            is_stiff=self.task.method == "rodas5p", f_jax=f_jax,
        )  # fmt: skip

    def _rows(self, params: tuple[Any, ...], samples: int) -> Any:
        """Return the parameters, one row a sample."""
        numpy = importlib.import_module("jax.numpy")
        shape = (samples, -1) if self.twin.mapped else (1, -1)
        parts = [p.reshape(shape) for p in params]
        return numpy.concatenate([numpy.broadcast_to(p, (samples, p.shape[1])) for p in parts], 1)


@contextmanager
def _compiled_recorder() -> Iterator[None]:
    """Have steps recorded by gradsolve's compiled loop: its other one, of numpy, is slower for small batches."""
    before = os.environ.get("GRADSOLVE_RECORDER")
    os.environ["GRADSOLVE_RECORDER"] = "jax"
    try:
        yield
    finally:
        if before is None:
            del os.environ["GRADSOLVE_RECORDER"]
        else:
            os.environ["GRADSOLVE_RECORDER"] = before
