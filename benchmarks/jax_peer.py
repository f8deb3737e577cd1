"""diffrax, the contestant that runs on jax: the whole of solve, loss and gradient is one compiled program."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from benchmarks.peers import Peer, useful_share
from benchmarks.task import Answer, Task, Twin, Work

__all__ = ["FLAGS", "diffrax"]

FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
"""What keeps jax on one thread: the value of XLA_FLAGS, set before jax is imported."""

_STATS = ("num_steps", "num_accepted_steps", "num_rejected_steps")


def diffrax(*, shared: bool = False) -> Peer:
    """Return diffrax: one clock a sample (``vmap``, its usual way), or one for the whole batch."""
    name = "diffrax, shared steps" if shared else "diffrax"
    obstacle = "jax is not installed" if importlib.util.find_spec("jax") is None else None
    return Peer(name, "diffrax", lambda task, gradient: _JaxRunner(task, gradient, shared), obstacle)


class _JaxRunner:
    def __init__(self, task: Task, gradient: bool, shared: bool) -> None:
        if task.twin is None:
            raise ValueError("this task has no right-hand side in jax")
        self.task, self.gradient, self.shared = task, gradient, shared
        self._twin = task.twin

    def run(self) -> Any:
        jax = importlib.import_module("jax")
        with self._precision():
            program, inputs = self._program
            return jax.block_until_ready(program(*inputs))

    def answer(self, result: Any) -> Answer:
        (_, (ys, _)), gradients = result if self.gradient else (result, ((), ()))
        outputs = from_dlpack(ys)
        outputs = outputs.transpose(0, 1) if self._mapped else outputs
        params, y0 = gradients
        return Answer(outputs, (*map(from_dlpack, params), from_dlpack(y0)) if self.gradient else ())

    def work(self) -> Work:
        result = self.run()
        _, (_, stats) = result[0] if self.gradient else result
        attempts, accepted, rejected = (from_dlpack(stats[key]).double() for key in _STATS)
        calls = 6 * int(attempts.max()) + 2  # first same as last; two more choose the first step
        rows = calls * (len(self.task.y0) if self.task.y0.ndim > 1 else 1)
        return Work(calls, None, rows, useful_share(attempts), float(accepted.mean()), float(rejected.mean()))

    def peak(self) -> int:
        """Return what XLA plans for the program: temporaries and outputs."""
        with self._precision():
            analysis = self._program[0].memory_analysis()
        return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    @property
    def _mapped(self) -> bool:
        return self.task.y0.ndim > 1 and not self.shared

    def _precision(self) -> Any:
        jax = importlib.import_module("jax")
        return jax.enable_x64(self.task.y0.dtype == torch.float64)

    @property
    def _program(self) -> tuple[Any, tuple[Any, ...]]:
        """The compiled program, made once for tasks of the same kind, and its inputs."""
        times = _to_jax(self.task.t.T if self._mapped and self.task.t.ndim > 1 else self.task.t)
        tol = _to_jax(torch.tensor(self.task.tol, dtype=self.task.y0.dtype))
        inputs = (tuple(map(_to_jax, self.task.params)), _to_jax(self.task.y0), times, tol)
        key = (self._twin, self._mapped, self.task.t.ndim > 1, self.gradient, str([x.aval for x in _leaves(inputs)]))
        if key not in _PROGRAMS:
            _PROGRAMS[key] = _compile(*key[:4], inputs)
        return _PROGRAMS[key], inputs


_PROGRAMS: dict[tuple[Twin, bool, bool, bool, str], Any] = {}


def _leaves(inputs: Any) -> list[Any]:
    found: list[Any] = importlib.import_module("jax").tree.leaves(inputs)
    return found


def _compile(twin: Twin, mapped: bool, own_times: bool, gradient: bool, inputs: Any) -> Any:
    jax, package = importlib.import_module("jax"), importlib.import_module("diffrax")

    def solve(params: Any, y0: Any, times: Any, tol: Any) -> Any:
        solution = package.diffeqsolve(
            package.ODETerm(twin.f), package.Dopri5(), times[0], times[-1], None, y0, params,
            saveat=package.SaveAt(ts=times), max_steps=twin.max_steps,
            stepsize_controller=package.PIDController(rtol=tol, atol=tol),
        )  # fmt: skip
        return solution.ys, {key: solution.stats[key] for key in _STATS}

    if mapped:
        solve = jax.vmap(solve, in_axes=(0 if twin.mapped else None, 0, 0 if own_times else None, None))

    def loss(*inputs: Any) -> Any:
        ys, stats = solve(*inputs)
        return (ys**2).mean(), (ys, stats)

    work = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True) if gradient else loss
    return jax.jit(work).lower(*inputs).compile()


def _to_jax(tensor: Tensor) -> Any:
    return importlib.import_module("jax.numpy").asarray(tensor.detach().numpy())
