"""What a solve and its backward pass cost, counted while they run: layers, attempts, depth of graphs, memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from physode.solvers.clock import Number, Verdict, where
from physode.solvers.step_control import Control, Controller


@dataclass
class Tally:
    """What is counted, of the forward solve until :meth:`turn`, then of the backward pass.

    Attributes
    ----------
    forward, backward
        Passes through a layer, by direction.
    forward_solve
        Those of the forward solve.
    attempts, accepted
        Of steps, in the forward solve and in the backward pass.
    deepest
        Layers on the longest path of any one graph that was differentiated.
    depth
        Layers that are differentiated one after the other, over all graphs of the steps that count.
    """

    forward: int = 0
    backward: int = 0
    forward_solve: int = 0
    attempts: list[int] = field(default_factory=lambda: [0, 0])
    accepted: list[int] = field(default_factory=lambda: [0, 0])
    deepest: int = 0
    depth: int = 0
    _phase: int = 0
    _pending: int = 0
    _walked: dict[Any, int] = field(default_factory=dict)

    def turn(self) -> None:
        """Begin to count the backward pass."""
        self._phase, self.forward_solve = 1, self.forward

    def attempt(self, accepted: bool) -> None:
        """Count an attempt; what was differentiated for a rejected one leads nowhere."""
        self.attempts[self._phase] += 1
        self.accepted[self._phase] += accepted
        self.depth += self._pending if accepted else 0
        self._pending = 0

    def pass_back(self, node: Any) -> None:
        """Count a layer's backward pass, and where its graph is met for the first time the layers of this."""
        self.backward += 1
        if node not in self._walked:
            layers = longest_path(node, self._walked)
            self.deepest = max(self.deepest, layers)
            self._pending += layers

    def close(self) -> None:
        """Count the graphs after the last attempt, and let go of all."""
        self.depth, self._pending = self.depth + self._pending, 0
        self._walked.clear()


class CountedPass(torch.autograd.Function):
    """The identity, which is counted in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tally: Tally) -> Tensor:
        """Return the same."""
        ctx.tally = tally
        tally.forward += 1
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        """Return the same."""
        ctx.tally.pass_back(ctx)
        return cotangents[0], None


_COUNTED = "CountedPassBackward"  # what autograd calls the nodes


def longest_path(end: Any, lengths: dict[Any, int]) -> int:
    """Return how many counted passes lie on the longest path that leads to a node of autograd's graph.

    Parameters
    ----------
    end
        The node from which the backward pass sets out.
    lengths
        Those of nodes that are known already; those met here are added.
    """
    stack = [end]
    while stack:
        node = stack[-1]
        before = [earlier for earlier, _ in node.next_functions if earlier is not None]
        if waiting := [earlier for earlier in before if earlier not in lengths]:
            stack.extend(waiting)
            continue
        own = int(type(node).__name__ == _COUNTED)
        lengths[stack.pop()] = own + max((lengths[earlier] for earlier in before), default=0)
    return lengths[end]


class Layers(nn.Module):
    r"""A right-hand side of :math:`N_f` linear layers with tanh between them, in double precision; each is counted.

    :math:`dy/dt = (1 + \tfrac12 \sin 3t) \, W_{N_f} \tanh(\dots \tanh(W_1 y)) - y`.
    """

    def __init__(self, layers: int, width: int, tally: Tally | None = None) -> None:
        super().__init__()
        self.tally = tally
        self.layers = nn.ModuleList(nn.Linear(width, width, dtype=torch.float64) for _ in range(layers))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, (batch, width)."""
        x = y
        for number, layer in enumerate(self.layers):
            x = layer(torch.tanh(x) if number else x)
            x = x if self.tally is None else CountedPass.apply(x, self.tally)  # type: ignore[no-untyped-call]
        return (1.0 + 0.5 * torch.sin(3.0 * t)) * x - y


@dataclass(frozen=True)
class Search(Controller):
    """The integral controller, whose verdicts are counted, and whose search for a step can be made longer.

    After a step that was accepted the next is tried `reach` times as long, and at most halved from attempt to attempt.
    """

    min_factor: float = 0.5
    reach: float = 1.0
    tally: Tally = field(default_factory=Tally, compare=False)

    def accepts(self, error: Number, size: Number) -> Verdict:
        """Say whether an attempt is accepted, and count it."""
        verdict = super().accepts(error, size)
        self.tally.attempt(bool(verdict))
        return verdict

    def next(self, control: Control, error: Number, size: Number, accepted: Verdict, error_order: int) -> Control:
        """Return the memory after an attempt."""
        after = super().next(control, error, size, accepted, error_order)
        return after._replace(size=after.size * where(accepted, self.reach, 1.0))


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is in force, the bytes of tensors made since it began that are alive, and the most that were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        self._storages: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the memory that its outputs have."""
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor):
                self._note(output.untyped_storage())
        return outputs

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._storages:
            self._storages.add(storage)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.alive -= size
