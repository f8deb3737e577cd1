"""One training update of a Latent-ODE as a task; by physode, and on torchdiffeq, as its users write it.

On torchdiffeq one time axis serves a batch: the recognition network goes through all times at which any sample is
observed, one Euler step between two of them and a masked GRU at each, and the latent path is solved for all times at
which any sample is asked.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.memory import peak_bytes
from benchmarks.peers import Peer
from benchmarks.task import Answer, Work
from physode.models import LatentODE, Solver
from physode.models.gaussian import divergence
from physode.models.latent_ode import Posterior
from physode.models.observations import Points

__all__ = [
    "UnionLatentODE",
    "Update",
    "UpdateRunner",
    "answer_of",
    "physode_update",
    "rows_alone",
    "torchdiffeq_update",
]


class _Field(nn.Module):
    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        found: Tensor = self.f(z)
        return found


class UnionLatentODE(nn.Module):
    """The same networks and loss, on the union of all samples' times.

    Parameters
    ----------
    model
        Whose networks are copied.
    adjoint
        Whether the latent path's gradient is the adjoint method's, or that of the solver's operations.
    """

    def __init__(self, model: LatentODE, *, adjoint: bool) -> None:
        super().__init__()
        self.model, self.adjoint = copy.deepcopy(model), adjoint

    def loss(self, observed: Points, target: Points) -> Tensor:
        """Return the negative evidence lower bound by one draw, nats a value; all samples begin at the first time."""
        model = self.model
        times, places = torch.unique(target.t, return_inverse=True)
        posterior = self._recognise(observed, times[0])
        path = self._path(posterior.draw(1)[0], times)
        own = path[places, torch.arange(len(target.t))[:, None]]
        likelihood = model.noise.log_density(target.x, model.readout(own), target.mask)
        return -(likelihood - divergence(*posterior)).sum() / target.mask.sum()

    def _recognise(self, observed: Points, start: Tensor) -> Posterior:
        jumps = self.model.recognition.jumps
        times, x, mask = _on_union(observed)
        seen, used = jumps.inputs(x, mask), mask.any(-1)
        gaps = times.diff(prepend=start[None]).to(x.dtype)
        h = jumps.begin(x)
        for place in reversed(range(len(times))):
            h = torch.where(used[:, place, None], jumps.cell(seen[:, place], h), h)
            h = h + gaps[place] * jumps.flow.f(h)
        mean, log_sigma = self.model.recognition.head(h).chunk(2, -1)
        return Posterior(mean, log_sigma.clamp(-10.0, 5.0))

    def _path(self, z: Tensor, times: Tensor) -> Tensor:
        package = importlib.import_module("torchdiffeq")
        field, solver = _Field(self.model.flow.f), self.model.flow.solver
        options: dict[str, Any] = {"method": "dopri5", "rtol": solver.rtol, "atol": solver.atol}
        if self.adjoint:
            options["adjoint_params"] = tuple(field.parameters())
        solve = package.odeint_adjoint if self.adjoint else package.odeint
        found: Tensor = solve(field, z, times, **options)
        return found


def _on_union(points: Points) -> tuple[Tensor, Tensor, Tensor]:
    """Return all times (U,) of a batch, and its observations and masks there, (B, U, C)."""
    times, places = torch.unique(points.t, return_inverse=True)
    x = points.x.new_zeros(len(points.t), len(times), points.x.shape[-1])
    index = places[..., None].expand_as(points.x)
    return times, x.scatter_add(1, index, points.x), torch.zeros_like(x).scatter_add(1, index, points.mask.to(x)) > 0


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
