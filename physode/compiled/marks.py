"""What tells norms apart that are not to share a compiled program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from physode.compiled.build import Unsupported, fresh, reason
from physode.compiled.capture import code_of
from physode.typing import Norm

__all__ = ["mark_of"]


class _Caught(threading.local):
    mark: object = None


_caught = _Caught()
_marks: dict[Hashable, Callable[..., Tensor]] = {}
_lock = threading.Lock()


def mark_of(norm: Norm, y: Tensor) -> object:
    """Return what stands for a norm's trace: another object wherever numbers, attributes or code of it are others.

    Raises
    ------
    Unsupported
        If it cannot be traced, or uses tensors of its own.
    """
    key = "norm", code_of(getattr(norm, "norm", norm)), tuple(y.shape), y.dtype, y.device
    with _lock:
        if key not in _marks:
            _marks[key] = torch.compile(fresh(_measure), fullgraph=True, dynamic=False, backend=_mark)
        trace = _marks[key]
    try:
        with torch.no_grad():
            trace(norm, torch.zeros_like(y))
        if _caught.mark is None:
            raise Unsupported("its norm is not made of tensor operations that can be traced")
        return _caught.mark
    except Unsupported:
        raise
    except Exception as error:
        raise Unsupported(f"its norm cannot be traced: {reason(error)}") from error
    finally:
        _caught.mark = None


def _measure(norm: Norm, y: Tensor) -> Tensor:
    return norm(y).clone()


def _mark(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    mark = object()
    if len(example) != 1:
        raise Unsupported("its norm uses tensors of its own")

    def run(*inputs: Tensor) -> Any:
        _caught.mark = mark
        return graph(*inputs)

    return run
