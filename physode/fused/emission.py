"""A graph as the text of a C function, one line a node; a kernel's source, from a right-hand side and a tableau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, TypeAlias

from physode.fused.arguments import structure
from physode.fused.coefficients import FusedMethod, coefficients, interpolant_terms
from physode.fused.differentiation import Pullback
from physode.fused.graph import Node, Program
from physode.fused.halves import Halves
from physode.fused.linearisation import Linearisation
from physode.fused.places import GradientPlaces
from physode.status import Status

__all__ = ["LANES", "Entry", "Kernel", "Pullbacks", "source"]

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


class Pullbacks(NamedTuple):
    """The vector-Jacobian products that a pass back takes, by the names of the functions that they are of."""

    named: Mapping[str, Pullback]

    @property
    def places(self) -> GradientPlaces:
        """Where their gradients lie."""
        return GradientPlaces.of(*self.named.values())


@dataclass(frozen=True)
class Kernel:
    """What a kernel is made from.

    Attributes
    ----------
    entry
        What it does: adaptive steps by each sample's own clock (``"walk"``) or by one (``"walk_shared"``), given steps
        (``"walk_grid"``), or ACA's pass back (``"pull"``).
    program
        The right-hand side.
    method
        The method.
    single
        Whether states are of single precision.
    groups
        Where the parts of a state begin whose norms are taken by themselves, and where the last one ends.
    derived
        What methods evaluate beside the right-hand side: it with its derivatives, or one half of it by itself.
    pullbacks
        For the pass back.
    clock_too
        Whether gradients in steps' starts and sizes are asked for.
    """

    entry: Entry
    program: Program
    method: FusedMethod
    single: bool
    groups: tuple[int, ...]
    derived: Linearisation | Halves | None = None
    pullbacks: Pullbacks | None = None
    clock_too: bool = False

    @property
    def nodes(self) -> list[Node]:
        """All that is evaluated."""
        nodes = [*self.program.nodes]
        if isinstance(self.derived, Linearisation):
            nodes += self.derived.program.nodes
        if self.pullbacks is not None:
            nodes += [node for one in self.pullbacks.named.values() for node in one.nodes]
        return nodes


def source(kernel: Kernel, *, vector_functions: bool) -> str:
    """Return the text of a kernel's source: for a CPU's C++ compiler, or as it stands for CUDA's."""
    method = coefficients(kernel.method)
    heads = [
        f"#define SCALAR {'float' if kernel.single else 'double'}",
        f"#ifndef __CUDACC__\n#define LANES {LANES}\n#endif",
        "#define VECTOR_FUNCTIONS" if vector_functions else "",
        _part("lanes"),
        structure(),
        _numbers(kernel),
        _part("functions"),
        *_library(kernel.nodes, kernel.single),
        program_text("rhs", kernel.program),
    ]
    if isinstance(kernel.derived, Linearisation):
        heads.append(linearisation_text(kernel.derived))
    if isinstance(kernel.derived, Halves):
        heads += [program_text("velocity", kernel.derived.velocity), program_text("force", kernel.derived.force)]
    if kernel.pullbacks is not None:
        arguments, places = "V t, const V* y, const S* p, const V* q, const V* g", kernel.pullbacks.places
        for name, pulled in kernel.pullbacks.named.items():
            heads.append(pullback_text(f"{name}_pullback({arguments}", pulled, places))
    steps = {"step": method.step, "pull_step": method.pull}
    parts = [part for name in _PARTS[kernel.entry] for part in steps.get(name, (name,))]
    text = "\n".join([*heads, *map(_part, ["sums", *parts, "launch"])])
    return "\n".join(line for line in text.splitlines() if line != "#pragma once" and not line.startswith('#include "'))


_PARTS: dict[Entry, tuple[str, ...]] = {
    "walk": ("step", "controller", "samples", "walk"),
    "walk_shared": ("step", "controller", "samples", "group", "walk_shared"),
    "walk_grid": ("step", "samples", "group", "walk_grid"),
    "pull": ("step", "samples", "back", "pull_step", "pull"),
}
"""The source's parts in their order, where the method's own have the names ``step`` and ``pull_step``."""


def program_text(name: str, program: Program) -> str:
    """Return a program as a function of time, state and numbers."""
    stores = [Store(f"f[{d}]", node, False) for d, node in enumerate(program.outputs)]
    head = f"{_attribute(len(program.nodes))} void {name}(V t, const V* y, const S* p, const V* q, V* f)"
    return function(head, program.nodes, stores)


def linearisation_text(linearisation: Linearisation) -> str:
    """Return the right-hand side with its derivatives by state and time as a function."""
    program, targets = linearisation.program, [f"J[{e}]" for e in range(len(linearisation.entries))]
    targets += [f"f_t[{e}]" for e in range(len(linearisation.drifts))]
    targets += [f"f[{d}]" for d in range(len(program.outputs) - len(targets))]
    stores = [Store(target, node, False) for target, node in zip(targets, program.outputs, strict=True)]
    arguments = "V t, const V* y, const S* p, const V* q, V* f, V* J, V* f_t"
    return function(f"{_attribute(len(program.nodes))} void linearise({arguments})", program.nodes, stores)


def pullback_text(name: str, pullback: Pullback, places: GradientPlaces) -> str:
    """Return a vector-Jacobian product as a function that adds to what it is handed."""
    stores = [Store(f"d_y[{d}]", node, True) for d, node in enumerate(pullback.state)]
    if pullback.time is not None:
        stores.append(Store("d_t[0]", pullback.time, True))
    stores += [Store(f"d_p[{places.shared.index(slot)}]", node, True) for slot, node in pullback.shared]
    stores += [Store(f"d_q[{places.sample.index(slot)}]", node, True) for slot, node in pullback.sample]
    head = f"{_attribute(len(pullback.nodes))} void {name}, V* d_y, V* d_t, V* d_p, V* d_q)"
    return function(head, pullback.nodes, stores, _outer_lines(pullback, places))


def _outer_lines(pullback: Pullback, places: GradientPlaces) -> list[str]:
    """Return the lines that add products of two vectors to matrices' gradients."""
    lines = []
    for number, one in enumerate(pullback.outer):
        lines += [
            f"const V {name}{number}[] = {{{', '.join(f'v{node}' for node in nodes)}}};"
            for name, nodes in (("rows", one.rows), ("columns", one.columns))
        ]
        shape = f"{one.matrix.rows}, {one.matrix.columns}"
        lines.append(f"outer<{shape}>(d_p + {places.first_of(one.matrix)}, rows{number}, columns{number});")
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
    program, method, own = kernel.program, kernel.method, coefficients(kernel.method)
    places = GradientPlaces.of() if kernel.pullbacks is None else kernel.pullbacks.places
    defined: dict[str, object] = {
        "D": program.dimension,
        "P": program.shared,
        "Q": program.sample,
        "TERMS": interpolant_terms(method),
        "ERROR_ORDER": method.error_order,
        "SMALLEST_ROOT": 1e-12 ** (1.0 / (method.error_order + 1.0)),
        "GROUPS": len(kernel.groups) - 1,
        "SHARED_GRADIENTS": len(places.slots),
        "SAMPLE_GRADIENTS": len(places.sample),
        "CLOCK_TOO": int(kernel.clock_too),
        "NON_FINITE": float(Status.NON_FINITE),
        "STEP_UNDERFLOW": float(Status.STEP_UNDERFLOW),
        "MAX_STEPS": float(Status.MAX_STEPS),
        **own.defined,
    }
    defined[f"ENTRY_{kernel.entry.upper()}"] = 1
    tables = [*own.tables, _integers("GROUP", kernel.groups)]
    if isinstance(kernel.derived, Linearisation):
        tables += _derivatives(kernel, kernel.derived, defined)
    return "\n".join([*(f"#define {name} {value}" for name, value in defined.items()), *tables])


def _derivatives(kernel: Kernel, linearisation: Linearisation, defined: dict[str, object]) -> list[str]:
    """Return tables of where the Jacobian has entries; their sizes are added to the numbers that are defined."""
    rows, columns = [row for row, _ in linearisation.entries], [column for _, column in linearisation.entries]
    pulled: tuple[int, ...] = ()
    if kernel.pullbacks is not None:
        pulled = linearisation.asked_entries(kernel.pullbacks.named["linearise"], clock=kernel.clock_too)
    defined |= {
        "ENTRIES": len(rows),
        "DRIFTS": len(linearisation.drifts),
        "PULLED": len(pulled),
    }
    named = {"ENTRY_ROW": rows, "ENTRY_COLUMN": columns, "DRIFT": linearisation.drifts, "PULLED_ENTRY": pulled}
    return [_integers(name, values) for name, values in named.items()]


def _integers(name: str, values: Sequence[int]) -> str:
    return f"TABLE int {name}[] = {{{', '.join(map(str, values)) or '0'}}};"


@cache
def _part(name: str) -> str:
    return (files("physode.fused") / "sources" / f"{name}.h").read_text()
