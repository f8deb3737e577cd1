"""diffrax, the contestant that runs on jax: the whole of solve, loss and gradient is one compiled program."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from benchmarks.peers import Peer, useful_share
from benchmarks.task import Answer, Task, Twin, Work

__all__ = ["FLAGS", "JaxRunner", "diffrax", "missing_jax", "with_loss"]

FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
"""What keeps jax on one thread: the value of XLA_FLAGS, set before jax is imported."""

_STATS = ("num_steps", "num_accepted_steps", "num_rejected_steps")
_METHODS = {"dopri5": "Dopri5", "rodas5p": "Kvaerno5"}
"""diffrax's methods in place of physode's: of the stiff ones it has no Rosenbrock methods of order 5."""


def missing_jax() -> str | None:
    """Return that jax is not there, or None."""
    return "jax is not installed" if importlib.util.find_spec("jax") is None else None


def diffrax(*, shared: bool = False) -> Peer:
    """Return diffrax: one clock a sample (``vmap``, its usual way), or one for the whole batch."""
    name = "diffrax, shared steps" if shared else "diffrax"
    return Peer(name, "diffrax", lambda task, gradient: _Diffrax(task, gradient, mapped=not shared), missing_jax())


class JaxRunner:
    """A compiled program with its inputs: of the task's precision, whatever jax's is otherwise.

    Programs return ``(loss, (outputs, statistics))``, with the gradients in parameters and initial states where asked.
    """

    def __init__(self, task: Task, gradient: bool, *, mapped: bool) -> None:
        if task.twin is None:
            raise ValueError("this task has no right-hand side in jax")
        self.task, self.gradient, self.twin = task, gradient, task.twin
        self.mapped = mapped and task.y0.ndim > 1
        self._last: Any = None

    def run(self) -> Any:
        jax = importlib.import_module("jax")
        with self.precision():
            program, inputs = self.program
            self._last = jax.block_until_ready(program(*inputs))
        return self._last

    def answer(self, result: Any) -> Answer:
        (_, (ys, _)), gradients = result if self.gradient else (result, ((), ()))
        outputs = from_dlpack(ys)
        outputs = outputs.transpose(0, 1) if self.mapped else outputs
        if not self.gradient:
            return Answer(outputs, ())
        params, y0 = gradients
        return Answer(outputs, (*map(from_dlpack, params), from_dlpack(y0)))

    def statistics(self) -> dict[str, Tensor]:
        """Return what the last run counted."""
        result = self.run() if self._last is None else self._last
        _, (_, stats) = result[0] if self.gradient else result
        return {key: from_dlpack(value).double() for key, value in stats.items()}

    def work(self) -> Work:
        return Work()

    def peak(self) -> int:
        """Return what XLA plans for the program: temporaries and outputs."""
        with self.precision():
            analysis = self.program[0].memory_analysis()
        return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    def precision(self) -> Any:
        """Return the context in which jax has the task's precision."""
        jax = importlib.import_module("jax")
        return jax.enable_x64(self.task.y0.dtype == torch.float64)

    @cached_property
    def program(self) -> tuple[Any, tuple[Any, ...]]:
        """The compiled program and its inputs; made in :meth:`precision`."""
        raise NotImplementedError

    def leaves(self) -> tuple[tuple[Any, ...], Any]:
        """Return parameters and initial states as jax's arrays."""
        return tuple(map(to_jax, self.task.params)), to_jax(self.task.y0)


class _Diffrax(JaxRunner):
    @cached_property
    def program(self) -> tuple[Any, tuple[Any, ...]]:
        task = self.task
        own_times = self.mapped and task.t.ndim > 1
        times = to_jax(task.t.T if own_times else task.t)
        tolerances = to_jax(torch.tensor([task.tol, task.absolute], dtype=task.y0.dtype))
        inputs = (*self.leaves(), times, tolerances)
        shapes = str([x.aval for x in importlib.import_module("jax").tree.leaves(inputs)])
        how = (self.twin, _METHODS[task.method], task.end_only, self.mapped, own_times, self.gradient)
        if (*how, shapes) not in _PROGRAMS:
            _PROGRAMS[*how, shapes] = _compile(*how, inputs)
        return _PROGRAMS[*how, shapes], inputs

    def work(self) -> Work:
        attempts, accepted, rejected = (self.statistics()[key] for key in _STATS)
        steps = useful_share(attempts), float(accepted.mean()), float(rejected.mean())
        if self.task.method != "dopri5":
            return Work(None, None, None, *steps)
        calls = 6 * int(attempts.max()) + 2  # first same as last; two more choose the first step
        rows = calls * (len(self.task.y0) if self.task.y0.ndim > 1 else 1)
        return Work(calls, None, rows, *steps)


_PROGRAMS: dict[tuple[Any, ...], Any] = {}
"""Compiled programs, made once for tasks of the same kind."""


def _compile(
    twin: Twin, method: str, end_only: bool, mapped: bool, own_times: bool, gradient: bool, inputs: tuple[Any, ...]
) -> Any:
    jax, package = importlib.import_module("jax"), importlib.import_module("diffrax")

    def solve(params: Any, y0: Any, times: Any, tolerances: Any) -> Any:
        solution = package.diffeqsolve(
            package.ODETerm(twin.f), getattr(package, method)(), times[0], times[-1], None, y0, params,
            saveat=package.SaveAt(t1=True) if end_only else package.SaveAt(ts=times), max_steps=twin.max_steps,
            stepsize_controller=package.PIDController(rtol=tolerances[0], atol=tolerances[1]),
        )  # fmt: skip
        return solution.ys, {key: solution.stats[key] for key in _STATS}

    if mapped:
        solve = jax.vmap(solve, in_axes=(0 if twin.mapped else None, 0, 0 if own_times else None, None))
    return jax.jit(with_loss(solve, gradient)).lower(*inputs).compile()


def with_loss(solve: Callable[..., tuple[Any, Any]], gradient: bool) -> Callable[..., Any]:
    """Return a function of parameters, initial states and more: the outputs' loss, and its gradients in the two."""

    def loss(*inputs: Any) -> Any:
        ys, stats = solve(*inputs)
        return (ys**2).mean(), (ys, stats)

    if not gradient:
        return loss
    jax = importlib.import_module("jax")
    differentiated: Callable[..., Any] = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return differentiated


def to_jax(tensor: Tensor) -> Any:
    """Return a tensor's numbers as an array of jax."""
    return importlib.import_module("jax.numpy").asarray(tensor.detach().numpy())
