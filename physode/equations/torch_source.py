"""A model's equations as the source of a PyTorch module, to go on from in Python."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Sequence
from functools import reduce

from physode.datasets.files import shown
from physode.equations.declarations import Constant, Declarations, Guess
from physode.equations.operations import COMPARISONS, LOGICAL
from physode.equations.scope import TIME
from physode.equations.tree import Apply, Expression, Name, Number, postorder

__all__ = ["torch_source"]

_ARITHMETIC: dict[str, ast.operator] = {"+": ast.Add(), "*": ast.Mult(), "/": ast.Div(), "^": ast.Pow()}
_COMPARED: dict[str, ast.cmpop] = {
    "<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE(), "==": ast.Eq(), "!=": ast.NotEq(),
}  # fmt: skip
_TORCH = {"min": "minimum", "max": "maximum", "mod": "remainder"}
_TRUTH = COMPARISONS.keys() | LOGICAL.keys()


def torch_source(declarations: Declarations) -> str:
    """Return the source of a module ``forward(t, y)`` with a parameter for each free constant.

    Inputs are callables of time that its constructor takes. Initial values, observables and experiments are not in it.
    """
    states = [state.name for state in declarations.states]
    inputs = [each.name for each in declarations.inputs]
    names = _identifiers([*states, *(constant.name for constant in declarations.constants), *inputs])
    title = "".join(part.capitalize() for part in re.findall(r"[^\W_]+", declarations.name)) or "Model"
    title = title if title.isidentifier() and not keyword.iskeyword(title) else f"Model{title}"
    taken = "".join(f", {names[each]}" for each in inputs)
    used = frozenset[str]().union(*(state.rate.names for state in declarations.states))
    lines = [
        "import torch",
        "",
        "",
        f"class {title}(torch.nn.Module):",
        *_docstring(declarations, [names[state] for state in states]),
        "",
        f"    def __init__(self{taken}):",
        "        super().__init__()",
        *(line for each in declarations.constants if each.name in used for line in _declared(each, names[each.name])),
        *(f"        self.{names[each]} = {names[each]}" for each in inputs),
        "",
        "    def forward(self, t, y):",
        f"        {', '.join(names[state] for state in states)}{',' if len(states) == 1 else ''} = y.unbind(-1)",
    ]
    own = {each.name: f"self.{names[each.name]}" for each in declarations.constants}
    own |= {each: f"self.{names[each]}(t)" for each in inputs} | {state: names[state] for state in states}
    rates = ", ".join(_rate(state.rate, own, states, names[states[0]]) for state in declarations.states)
    lines.append(f"        return torch.stack([{rates}], -1)")
    return "\n".join(lines) + "\n"


def _identifiers(labels: Sequence[str]) -> dict[str, str]:
    """Return a name that Python can have for each, other than those of the module itself."""
    names: dict[str, str] = {}
    reserved = {TIME, "y", "self", "torch", *dir(ast.AST), "forward", "train", "eval", "type", "to", "half", "float"}
    for label in labels:
        clean = label.replace("'", "_dot")
        while clean in reserved or keyword.iskeyword(clean) or clean in names.values():
            clean += "_"
        names[label] = clean
    return names


def _docstring(declarations: Declarations, columns: Sequence[str]) -> list[str]:
    equations = [line.replace("\\", "").replace('"""', "") for line in declarations.equations]
    return [
        f'    """The state y has the columns {", ".join(columns)}.',
        "",
        *(f"    {each}" for each in equations),
        '    """',
    ]


def _declared(constant: Constant, identifier: str) -> Iterable[str]:
    unit = f"  # {shown(constant.unit)}" if constant.unit else ""
    match constant.source:
        case Guess(value=value, free=True):
            yield f"        self.{identifier} = torch.nn.Parameter(torch.tensor({value!r}, dtype=torch.float64)){unit}"
        case Guess(value=value) | float(value):
            yield f'        self.register_buffer("{identifier}", torch.tensor({value!r}, dtype=torch.float64)){unit}'
        case column:
            yield f"        # {shown(str(column))} is the column that it stands in; give its value here"
            yield f'        self.register_buffer("{identifier}", torch.tensor(1.0, dtype=torch.float64)){unit}'


def _rate(rate: Expression, names: dict[str, str], states: Sequence[str], like: str) -> str:
    if isinstance(rate, Number):
        return f"torch.full_like({like}, {rate.value!r})"
    text = ast.unparse(_python(rate, names))
    return text if rate.names & set(states) else f"{text} + torch.zeros_like({like})"


def _python(expression: Expression, names: dict[str, str]) -> ast.expr:
    """Return an expression as Python would read it."""
    made: dict[int, ast.expr] = {}
    for node in postorder([expression]):
        match node:
            case Number(value):
                made[id(node)] = _number(value)
            case Name(text):
                made[id(node)] = ast.parse(names.get(text, text), mode="eval").body
            case Apply(op, arguments):
                made[id(node)] = _applied(op, arguments, [made[id(each)] for each in arguments])
    return made[id(expression)]


def _number(value: float) -> ast.expr:
    if value != value or value in (float("inf"), -float("inf")):
        return ast.parse(f"float({str(value)!r})", mode="eval").body
    size = ast.Constant(abs(int(value)) if value == int(value) and abs(value) < 1e15 else abs(value))
    return ast.UnaryOp(ast.USub(), size) if value < 0 else size


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name("torch"), function), list(arguments), [])


def _choice(condition: ast.expr, value: ast.expr, otherwise: ast.expr) -> ast.expr:
    return _call("where", condition, value, otherwise)


def _applied(op: str, arguments: Sequence[Expression], made: Sequence[ast.expr]) -> ast.expr:
    if op in ("and", "or", "not"):
        truths = [_truth(node, each) for node, each in zip(arguments, made, strict=True)]
        if op == "not":
            return _call("logical_not", truths[0])
        return reduce(lambda one, other: _call(f"logical_{op}", one, other), truths)
    if op == "piecewise":
        result = _tensor(arguments[-1], made[-1])
        for i in range(len(made) - 3, -1, -2):
            result = _choice(_truth(arguments[i + 1], made[i + 1]), _tensor(arguments[i], made[i]), result)
        return result
    values = [_real(node, each) for node, each in zip(arguments, made, strict=True)]
    if op == "+":
        total = values[0]
        for node, value in zip(arguments[1:], values[1:], strict=True):
            taken = isinstance(node, Apply) and node.op == "neg" and isinstance(value, ast.UnaryOp)
            sign: ast.operator = ast.Sub() if taken else ast.Add()
            total = ast.BinOp(total, sign, value.operand if taken and isinstance(value, ast.UnaryOp) else value)
        return total
    if op in _ARITHMETIC:
        return reduce(lambda one, other: ast.BinOp(one, _ARITHMETIC[op], other), values)
    if op == "neg":
        return ast.UnaryOp(ast.USub(), values[0])
    if op in _COMPARED:
        return ast.Compare(values[0], [_COMPARED[op]], [values[1]])
    if op == "step":
        return _choice(ast.Compare(values[0], [ast.GtE()], [ast.Constant(0)]), ast.Constant(1.0), ast.Constant(0.0))
    tensors = [_tensor(node, each) for node, each in zip(arguments, made, strict=True)]
    function = _TORCH.get(op, op)
    return (
        reduce(lambda one, other: _call(function, one, other), tensors)
        if len(tensors) > 1
        else _call(function, *tensors)
    )


def _real(node: Expression, made: ast.expr) -> ast.expr:
    """Return 1 and 0 for true and false."""
    if isinstance(node, Apply) and node.op in _TRUTH:
        return _choice(made, ast.Constant(1.0), ast.Constant(0.0))
    return made


def _tensor(node: Expression, made: ast.expr) -> ast.expr:
    """Return a number as a tensor of the state's precision."""
    if isinstance(node, Number):
        return ast.Call(ast.Attribute(ast.Name("y"), "new_tensor"), [made], [])
    return _real(node, made)


def _truth(node: Expression, made: ast.expr) -> ast.expr:
    """Return whether a number is not 0."""
    if isinstance(node, Apply) and node.op in _TRUTH:
        return made
    return ast.Compare(made, [ast.NotEq()], [ast.Constant(0)])
