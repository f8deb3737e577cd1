"""A graph as the text of a C function, one line a node; a kernel's source, from a right-hand side and a tableau."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, TypeAlias

from physode.fused.arguments import structure
from physode.fused.differentiation import Pullback
from physode.fused.graph import Matrix, Node, Program
from physode.solvers.tableaus import Tableau
from physode.status import Status

__all__ = ["LANES", "Entry", "Kernel", "gradient_slots", "source"]

Entry: TypeAlias = Literal["walk", "walk_shared", "walk_grid", "pull"]

LANES = 8  # samples beside one another on a CPU

_UNROLLED = 64  # operations up to which a right-hand side is written into every stage

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|",
}  # fmt: skip
_HELPERS = {"abs": "magnitude_of", "sign": "sign_of", "minimum": "minimum", "maximum": "maximum", "where": "select"}
_LIBRARY = {
    "sqrt": "sqrt", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2", "log10": "log10",
    "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "erf": "erf",
    "erfc": "erfc", "floor": "floor", "ceil": "ceil", "round": "nearbyint", "trunc": "trunc", "pow": "pow",
    "atan2": "atan2", "fmod": "fmod",
}  # fmt: skip
_LANEWISE = {"sqrt", "floor", "ceil", "round", "trunc", "fmod"}  # without a vector function, or with an instruction


@dataclass(frozen=True)
class Kernel:
    """What a kernel is made from.

    Attributes
    ----------
    entry
        What it does: adaptive steps by each sample's own clock (``"walk"``) or by one (``"walk_shared"``), given steps
        (``"walk_grid"``), or ACA's pass back (``"pull"``).
    program, pullback
        The right-hand side, and for the pass back its vector-Jacobian product.
    tableau
        The method.
    single
        Whether states are of single precision.
    groups
        Where the parts of a state begin whose norms are taken by themselves, and where the last one ends.
    clock_too
        Whether gradients in steps' starts and sizes are asked for.
    """

    entry: Entry
    program: Program
    tableau: Tableau
    single: bool
    groups: tuple[int, ...]
    pullback: Pullback | None = None
    clock_too: bool = False


def source(kernel: Kernel, *, vector_functions: bool) -> str:
    """Return the text of a kernel's source: for a CPU's C++ compiler, or as it stands for CUDA's."""
    program, pullback = kernel.program, kernel.pullback
    nodes = [*program.nodes, *(() if pullback is None else pullback.nodes)]
    heads = [
        f"#define SCALAR {'float' if kernel.single else 'double'}",
        f"#ifndef __CUDACC__\n#define LANES {LANES}\n#endif",
        "#define VECTOR_FUNCTIONS" if vector_functions else "",
        _part("lanes"),
        structure(),
        _numbers(kernel),
        _part("functions"),
        *_library(nodes, kernel.single),
        rhs_text(program),
    ]
    if kernel.entry == "pull":
        assert pullback is not None
        heads.append(pullback_text(pullback, program))
    text = "\n".join([*heads, *map(_part, _PARTS[kernel.entry]), _part("launch")])
    return "\n".join(line for line in text.splitlines() if line != "#pragma once" and not line.startswith('#include "'))


_PARTS: dict[Entry, tuple[str, ...]] = {
    "walk": ("step", "controller", "samples", "walk"),
    "walk_shared": ("step", "controller", "samples", "group", "walk_shared"),
    "walk_grid": ("step", "samples", "group", "walk_grid"),
    "pull": ("step", "samples", "pull"),
}


def rhs_text(program: Program) -> str:
    """Return the right-hand side as a function."""
    stores = [Store(f"f[{d}]", node, False) for d, node in enumerate(program.outputs)]
    head = f"{_attribute(len(program.nodes))} void rhs(V t, const V* y, const S* p, const V* q, V* f)"
    return function(head, program.nodes, stores)


def pullback_text(pullback: Pullback, program: Program) -> str:
    """Return the vector-Jacobian product as a function that adds to what it is handed."""
    stores = [Store(f"d_y[{d}]", node, True) for d, node in enumerate(pullback.state)]
    if pullback.time is not None:
        stores.append(Store("d_t[0]", pullback.time, True))
    stores += [Store(f"d_p[{place}]", node, True) for place, (_, node) in enumerate(pullback.shared)]
    stores += [Store(f"d_q[{place}]", node, True) for place, (_, node) in enumerate(pullback.sample)]
    arguments = "V t, const V* y, const S* p, const V* q, const V* g, V* d_y, V* d_t, V* d_p, V* d_q"
    head = f"{_attribute(len(pullback.nodes))} void rhs_pullback({arguments})"
    return function(head, pullback.nodes, stores, _outer_lines(pullback))


def gradient_slots(pullback: Pullback) -> tuple[int, ...]:
    """Return which shared number each entry of a kernel's gradient is of: single ones, then matrices row by row."""
    single = tuple(slot for slot, _ in pullback.shared)
    return single + tuple(
        matrix.offset + i * matrix.by_row + k * matrix.by_column
        for matrix in _matrices(pullback)
        for i in range(matrix.rows)
        for k in range(matrix.columns)
    )


def _matrices(pullback: Pullback) -> list[Matrix]:
    return list(dict.fromkeys(one.matrix for one in pullback.outer))


def _outer_lines(pullback: Pullback) -> list[str]:
    """Return the lines that add products of two vectors to matrices' gradients."""
    places, first = {}, len(pullback.shared)
    for matrix in _matrices(pullback):
        places[matrix] = first
        first += matrix.rows * matrix.columns
    lines = []
    for number, one in enumerate(pullback.outer):
        lines += [
            f"const V {name}{number}[] = {{{', '.join(f'v{node}' for node in nodes)}}};"
            for name, nodes in (("rows", one.rows), ("columns", one.columns))
        ]
        shape = f"{one.matrix.rows}, {one.matrix.columns}"
        lines.append(f"outer<{shape}>(d_p + {places[one.matrix]}, rows{number}, columns{number});")
    return lines


class Store(NamedTuple):
    """A result: where it goes, which node it is, and whether it is added to what is there."""

    target: str
    node: int
    adds: bool


def function(head: str, nodes: Sequence[Node], stores: Sequence[Store], last: Sequence[str] = ()) -> str:
    """Return a function of straight lines, one a node, then the stores."""
    lines = [line for number, node in enumerate(nodes) for line in _lines(number, node)]
    lines += [f"{one.target} {'+=' if one.adds else '='} v{one.node};" for one in stores]
    lines += last
    return head + " {\n" + "\n".join(f"    {line}" for line in lines) + "\n}\n"


def _attribute(count: int) -> str:
    return "INLINE" if count <= _UNROLLED else "FUNCTION"


_LEAVES = {"state": "y[{}]", "sample": "q[{}]", "cotangent": "g[{}]", "shared": "vector(p[{}])", "time": "t"}
_VERDICTS = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}


def _lines(number: int, node: Node) -> list[str]:
    name = f"v{number}"
    operands = [f"v{operand}" for operand in node.operands]
    if node.op == "matvec":
        matrix = node.matrix
        assert matrix is not None
        shape = f"{matrix.rows}, {matrix.columns}, {matrix.by_row}, {matrix.by_column}"
        return [
            f"const V x{number}[] = {{{', '.join(operands)}}};",
            f"V {name}[{matrix.rows}];",
            f"matvec<{shape}>(p + {matrix.offset}, x{number}, {name});",
        ]
    kind = "MV" if node.op in _VERDICTS else "V"
    return [f"const {kind} {name} = {_value(node, operands)};"]


def _value(node: Node, operands: Sequence[str]) -> str:
    if node.op == "constant":
        return f"vector({literal(node.value)})"
    if node.op in _LEAVES:
        return _LEAVES[node.op].format(node.place)
    if node.op == "element":
        return f"{operands[0]}[{node.place}]"
    if node.op in _INFIX:
        return f"{operands[0]} {_INFIX[node.op]} {operands[1]}"
    if node.op == "neg":
        return f"-{operands[0]}"
    if node.op == "not":
        return f"opposite_of({operands[0]})"
    if node.op == "sigmoid":
        return f"vector(1) / (vector(1) + op_exp(-{operands[0]}))"
    name = _HELPERS.get(node.op, f"op_{node.op}")
    return f"{name}({', '.join(operands)})"


def literal(value: float) -> str:
    """Return a number as C's text, as a constant of the state's precision."""
    if value != value:
        return "(S)NAN"
    if value in (float("inf"), float("-inf")):
        return f"(S){'-' if value < 0 else ''}INFINITY"
    return f"(S){value!r}"


def _library(nodes: Sequence[Node], single: bool) -> list[str]:
    """Return the declarations of the functions that some nodes call."""
    used = {node.op for node in nodes} & set(_LIBRARY)
    if any(node.op == "sigmoid" for node in nodes):
        used.add("exp")
    return [_declaration(op, single) for op in sorted(used)]


def _declaration(op: str, single: bool) -> str:
    name, two = _LIBRARY[op], op in ("pow", "atan2", "fmod")
    plain = f"{name}f" if single else name
    suffix = "_2" if two else ""
    if op in _LANEWISE:
        return f"BY_LANES{suffix}(op_{op}, {plain})"
    wide, narrow = (f"_ZGV{width}{'vv' if two else 'v'}_{plain}" for width in _WIDTHS[single])
    return f"VECTORS{suffix}(op_{op}, {plain}, {wide}, {narrow})"


_WIDTHS = {True: ("eN16", "dN8"), False: ("eN8", "dN4")}


def _numbers(kernel: Kernel) -> str:
    """Return the method's and the problem's numbers as C's constants."""
    program, tableau, pullback = kernel.program, kernel.tableau, kernel.pullback
    stages = tableau.stages
    extra = len(tableau.c_extra)
    everything = stages + 1 + extra
    defined = {
        "D": program.dimension,
        "P": program.shared,
        "Q": program.sample,
        "STAGES": stages,
        "EXTRA": extra,
        "TERMS": tableau.interpolant_terms,
        "ERRORS": max(1, len(tableau.b_err)),
        "ERROR_ORDER": tableau.error_order,
        "SMALLEST_ROOT": 1e-12 ** (1.0 / (tableau.error_order + 1.0)),
        "FSAL": int(tableau.fsal),
        "GROUPS": len(kernel.groups) - 1,
        "SHARED_GRADIENTS": 0 if pullback is None else len(gradient_slots(pullback)),
        "SAMPLE_GRADIENTS": 0 if pullback is None else len(pullback.sample),
        "CLOCK_TOO": int(kernel.clock_too),
        "NON_FINITE": float(Status.NON_FINITE),
        "STEP_UNDERFLOW": float(Status.STEP_UNDERFLOW),
        "MAX_STEPS": float(Status.MAX_STEPS),
    }
    defined[f"ENTRY_{kernel.entry.upper()}"] = 1
    tables = [
        _table("A", tableau.a, stages),
        _row("B", tableau.b),
        _row("C", tableau.c),
        _table("B_ERR", tableau.b_err or ((),), stages + 1),
        _table("A_EXTRA", tableau.a_extra or ((),), everything),
        _row("C_EXTRA", tableau.c_extra or (0.0,)),
        _table("D_ROWS", tableau.d or ((),), everything),
        f"TABLE int GROUP[] = {{{', '.join(map(str, kernel.groups))}}};",
    ]
    return "\n".join([*(f"#define {name} {value}" for name, value in defined.items()), *tables])


def _row(name: str, row: Sequence[float]) -> str:
    return f"TABLE double {name}[{len(row)}] = {{{', '.join(map(repr, row))}}};"


def _table(name: str, rows: Sequence[Sequence[float]], width: int) -> str:
    filled = ", ".join("{" + ", ".join(map(repr, (*row, *[0.0] * (width - len(row))))) + "}" for row in rows)
    return f"TABLE double {name}[{len(rows)}][{width}] = {{{filled}}};"


@cache
def _part(name: str) -> str:
    return (files("physode.fused") / "sources" / f"{name}.h").read_text()
