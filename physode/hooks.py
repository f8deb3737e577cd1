"""Backward hooks on parameters and modules: fired once a pass back, on the sum over all steps.

A pass back that goes step by step meets a parameter or a module many times. A hook that clips or scales is meant for
the gradient, not for each step's part of it. So hooks are taken off while steps are pulled back. Those on tensors fire
where autograd hands the sum on; those on modules are called once at the end, with the sums of what they would see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

__all__ = ["Hooks"]

_KINDS = ("_backward_pre_hooks", "_backward_hooks")

Parts = tuple[Any, ...]


@dataclass
class Hooks:
    """The backward hooks of a right-hand side's modules, held back while its steps are pulled back.

    Attributes
    ----------
    modules
        Those that have hooks.
    """

    modules: tuple[nn.Module, ...]
    _sums: dict[tuple[int, str], list[Parts]] = field(default_factory=dict)

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> Hooks:
        """Look which of the modules have backward hooks."""
        return cls(tuple(module for module in modules if any(vars(module).get(kind) for kind in _KINDS)))

    @contextmanager
    def held_back(self, tensors: Sequence[Tensor] = ()) -> Iterator[None]:
        """Let the hooks of the modules only add up what they see, and those of ``tensors`` do nothing."""
        # Emptied, not replaced: a tensor with a graph hands this very table to the graph's node.
        hooked = [(x._backward_hooks, dict(x._backward_hooks)) for x in tensors if x._backward_hooks]
        held = [(module, kind, vars(module)[kind]) for module in self.modules for kind in _KINDS]
        for table, _ in hooked:
            table.clear()
        for module, kind, hooks in held:
            if hooks:
                vars(module)[kind] = type(hooks)({0: _Adder(self._sums.setdefault((id(module), kind), []))})
        try:
            yield
        finally:
            for table, entries in hooked:
                table.update(entries)
            for module, kind, hooks in held:
                vars(module)[kind] = hooks

    def fire(self) -> None:
        """Call each hook of a module once, with the sums over the pass back; what it returns has nowhere to go."""
        sums, self._sums = self._sums, {}
        for module in self.modules:
            for kind in _KINDS:
                seen = sums.get((id(module), kind))
                if seen:
                    for hook in vars(module)[kind].values():
                        hook(module, *seen)


@dataclass
class _Adder:
    """Stands for a module's hooks while steps are pulled back."""

    sums: list[Parts]

    def __call__(self, module: nn.Module, *gradients: Any) -> None:
        parts = [part if isinstance(part, tuple) else (part,) for part in gradients]
        self.sums[:] = [_added(*pair) for pair in zip(self.sums, parts, strict=True)] if self.sums else parts


def _added(total: Parts, part: Parts) -> Parts:
    return tuple(_sum(a, b) for a, b in zip(total, part, strict=True))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b if a.shape == b.shape else b
