"""Numbers in a traced right-hand side, as inputs of its program: another value of one is no other program.

A tracer writes Python's numbers down as they are, attributes as well as literals. In sums, products, powers,
comparisons and choices beside a tensor in single or double precision a number acts as a tensor without axes does.
"""

from __future__ import annotations

import operator
import re
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["code_without_numbers", "lift_numbers", "names_all"]

_MOST = 64  # numbers that become inputs; of more than that none do
_DTYPES = (torch.float32, torch.float64)
_BINARY = ("add", "sub", "mul", "truediv", "gt", "ge", "lt", "le")
_FUNCTIONS = {getattr(operator, name) for name in _BINARY}
_FUNCTIONS |= {
    getattr(torch, name) for name in ("add", "sub", "mul", "div", "true_divide", "gt", "ge", "lt", "le", "where")
}
_METHODS = {"add", "sub", "mul", "div", "true_divide", "gt", "ge", "lt", "le", "where"}
_POWERS = {operator.pow, torch.pow}
_NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d*)?(e[-+]?\d+)?(?![\w.])")


def lift_numbers(graph: GraphModule) -> list[Tensor]:
    """Make inputs of a graph's numbers, behind its own inputs, and return their values, tensors without axes."""
    found = [(node, place) for node in graph.graph.nodes for place in _numbers(node)]
    if not found or len(found) > _MOST:
        return []
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if not inputs:
        return []
    last, values = inputs[-1], list[Tensor]()
    for node, place in found:
        like = _operand(node)
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(f"number_{len(values)}")
        values.append(torch.tensor(float(node.args[place]), dtype=like.dtype, device=like.device))
        node.update_arg(place, last)
    graph.recompile()
    return values


def names_all(graph: GraphModule) -> bool:
    """Whether a graph's code and inputs are all that decides its value: it keeps nothing of its own."""
    return not any(node.op in ("get_attr", "call_module") for node in graph.graph.nodes)


def code_without_numbers(graph: GraphModule) -> str:
    """Return the code of a graph with all numbers taken out: what traces that differ in a number alone share."""
    return _NUMBER.sub("#", graph.code)


def _numbers(node: Node) -> list[int]:
    """Return the places of a node's numbers that may be tensors."""
    if node.op == "call_function":
        power = node.target in _POWERS
        known = power or node.target in _FUNCTIONS
    else:
        power, known = False, node.op == "call_method" and node.target in _METHODS
    if not known or node.kwargs or _operand(node) is None:
        return []
    places = [i for i, value in enumerate(node.args) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if power:  # squares and roots have code of their own
        return [i for i in places if i == 0 or not float(2 * node.args[i]).is_integer()]  # type: ignore[operator,arg-type]
    return places


def _operand(node: Node) -> Any:
    """Return an example of the tensor that stands beside a number; None where that does not act as one."""
    tensors = [value.meta.get("example_value") for value in node.args if isinstance(value, Node)]
    beside = [x for x in tensors if isinstance(x, Tensor) and x.dtype != torch.bool]
    return beside[0] if len(beside) == 1 and beside[0].dtype in _DTYPES else None
