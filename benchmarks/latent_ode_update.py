"""One training update of a Latent-ODE as a task, and the contestants that do it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.latent_ode_peer import UnionLatentODE
from benchmarks.memory import peak_bytes
from benchmarks.peers import Peer
from benchmarks.task import Answer, Work
from physode.models import LatentODE, Solver
from physode.models.observations import Points

__all__ = ["Update", "UpdateRunner", "answer_of", "physode_update", "rows_alone", "torchdiffeq_update"]


@dataclass(frozen=True, eq=False)
class Update:
    """A model's weights, what it is told and asked of a batch of series, and the tolerances of its latent path."""

    model: LatentODE
    told: Points
    target: Points
    rtol: float
    atol: float

    def rows(self, index: torch.Tensor) -> Update:
        """Return the update of some of the series."""
        return replace(self, told=self.told.rows(index), target=self.target.rows(index))

    def with_gradient(self, gradient: str) -> LatentODE:
        """Return a copy of the model whose latent path is differentiated by a method."""
        model = copy.deepcopy(self.model)
        model.flow.solver = Solver("dopri5", rtol=self.rtol, atol=self.atol, gradient=gradient)
        return model


class UpdateRunner:
    """The loss and its gradients in all weights, always by the same draw of the latent state."""

    def __init__(self, network: Any, model: LatentODE, update: Update) -> None:
        self.network, self.update = network, update
        self.weights = tuple(model.parameters())
        self.fields = (model.flow.f, model.recognition.jumps.flow.f)
        self._work: Work | None = None

    def run(self) -> Answer:
        if self._work is None:  # the first run is counted: the slowest contestants take minutes
            return self._counted()
        return self._run(lambda: None)

    def answer(self, result: Answer) -> Answer:
        return result

    def work(self) -> Work:
        if self._work is None:
            self._counted()
        return self._work or Work()

    def peak(self) -> int:
        return peak_bytes(self.run)

    def _counted(self) -> Answer:
        calls: list[int] = []
        forward: list[int] = []
        hooks = [field.register_forward_hook(lambda _, given, out: calls.append(len(out))) for field in self.fields]
        answer = self._run(lambda: forward.append(len(calls)))
        for hook in hooks:
            hook.remove()
        self._work = Work(forward[0], len(calls) - forward[0], sum(calls))
        return answer

    def _run(self, between: Callable[[], object]) -> Answer:
        torch.manual_seed(0)
        loss = self.network.loss(self.update.told, self.update.target)
        between()
        return Answer(loss.detach()[None], torch.autograd.grad(loss, self.weights))


def physode_update(gradient: str) -> Peer:
    """Return physode with a gradient method."""

    def prepare(update: Any, _: bool) -> UpdateRunner:
        model = update.with_gradient(gradient)
        return UpdateRunner(model, model, update)

    return Peer(f"physode {gradient}", "physode", prepare)


def torchdiffeq_update(*, adjoint: bool = False) -> Peer:
    """Return the Latent-ODE on torchdiffeq: back-propagation through its solver (naive), or its adjoint method."""

    def prepare(update: Any, _: bool) -> UpdateRunner:
        network = UnionLatentODE(update.with_gradient("naive"), adjoint=adjoint)
        return UpdateRunner(network, network.model, update)

    return Peer(f"torchdiffeq {'adjoint' if adjoint else 'naive'}", "torchdiffeq", prepare)


def answer_of(update: Update) -> Answer:
    """Return physode's answer by ACA."""
    model = update.with_gradient("aca")
    return UpdateRunner(model, model, update).run()


def rows_alone(update: Update, name: str) -> int | None:
    """Return the rows of physode's contestant of this name over all series one by one; None of another package's."""
    package, gradient = name.split()
    if package != "physode":
        return None
    model, total = update.with_gradient(gradient), 0
    for row in range(len(update.target.t)):
        total += UpdateRunner(model, model, update.rows(torch.tensor([row]))).work().rows or 0
    return total
