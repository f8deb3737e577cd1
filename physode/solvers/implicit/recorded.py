"""Evaluations with a graph, whatever mode the caller is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

__all__ = ["with_graph"]

T = TypeVar("T")


def with_graph(compute: Callable[[], T]) -> T:
    """Return what ``compute`` computes while operations are recorded.

    Under ``torch.inference_mode()``, or where tensors made there take part, they are recorded outside of it, on copies
    of those tensors, which autograd refuses to save.
    """
    if not torch.is_inference_mode_enabled():
        try:
            with torch.enable_grad():
                return compute()
        except RuntimeError as error:
            if "nference tensor" not in str(error):
                raise
    with torch.inference_mode(False), torch.enable_grad(), _Copies():
        return compute()


class _Copies(TorchFunctionMode):
    """Puts a copy in place of each tensor made in inference mode, the same one at each of its uses."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.is_inference, Tensor.clone):
            return func(*args, **(kwargs or {}))
        return func(*tree_map(self._normal, args), **tree_map(self._normal, kwargs or {}))

    def _normal(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_inference():
            return x
        if id(x) not in self._copies:
            self._copies[id(x)] = x, x.detach().clone()
        return self._copies[id(x)][1]
