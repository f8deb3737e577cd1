"""What can be seen of a right-hand side that its gradients depend on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.functional import jacobian as jacobian_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from physode.problem.references import Referred
from physode.solve import solve

_STATES = 16  # along the solution, at which the Jacobian is looked at
_LARGEST = 200  # components of a state up to which it is


def is_deterministic(f: Callable[..., Any], t: Tensor, y: Tensor) -> bool:
    """Whether two evaluations at one place agree to the last bit."""
    time = t.to(y.dtype)
    with torch.no_grad():
        one, other = f(time, y.detach()), f(time, y.detach())
    return torch.equal(one, other) or bool((one.isnan() & other.isnan() | (one == other)).all())


def unregistered(f: Callable[..., Any], leaves: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the tensors that ``f`` depends on and that no module it calls upon has registered."""
    known = {id(parameter) for module in Referred(f).modules for parameter in module.parameters()}
    return tuple(tuple(leaf.shape) for leaf in leaves if id(leaf) not in known)


def stability(f: Callable[..., Any], y0: Tensor, steps: Tensor, options: dict[str, Any]) -> float | None:
    r"""Return the median of :math:`h |\lambda|` over steps, with the eigenvalue that decays fastest; None if too large.

    An explicit method is stable up to some number between 2 and 6. Where steps stay close to it all along, it is
    stability that keeps them small, not accuracy: the problem is stiff.
    """
    if y0.numel() > _LARGEST or len(steps) < 3:
        return None
    rows = torch.linspace(0, len(steps) - 2, min(_STATES, len(steps) - 1)).long()
    sizes = steps.diff().abs()[rows]
    with torch.no_grad():
        times = torch.cat([steps[:1], steps[rows[1:]], steps[-1:]])
        states = solve(f, y0.detach(), times, **{**options, "grid": steps, "step_size": None}).y[:-1]
    found = []
    for t, y, h in zip(times, states, sizes, strict=False):
        jacobian = jacobian_of(lambda y: f(t.to(y.dtype), y), y)  # type: ignore[no-untyped-call] # noqa: B023
        assert isinstance(jacobian, Tensor)
        values = torch.linalg.eigvals(jacobian.detach().reshape(y.numel(), y.numel()))
        decay = values[values.real < 0.0]
        found.append(float(decay.abs().max() * h) if len(decay) else 0.0)
    return float(torch.tensor(found).median())


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations give, each once, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors made by ``work`` held at a time.

    On a GPU its allocator is asked. On a CPU the results of operations are counted, each memory once, until it goes;
    not what an operation holds for itself only. What existed before does not count.
    """
    if device.type == "cuda":
        before: int = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        most: int = torch.cuda.max_memory_allocated(device)
        return most - before
    with _Tally() as tally:
        work()
    peak: int = tally.peak
    return peak
