"""A graph as the text of a C function, one line a node; a kernel's source, from a right-hand side and a tableau."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from physode.fused.arguments import structure
from physode.fused.coefficients import coefficients
from physode.fused.differentiation import Pullback
from physode.fused.elimination import Elimination
from physode.fused.graph import Node, Program, needed
from physode.fused.halves import Halves
from physode.fused.kernel import LANES, Entry, Kernel, numbers
from physode.fused.linearisation import Linearisation
from physode.fused.places import GradientPlaces
from physode.fused.rolling import Array, Element, rolled
from physode.fused.tangent_map import TangentMap

__all__ = ["source"]

_SHORTEST = 8  # stores that are made in a loop
_UNROLLED = 64  # operations up to which a right-hand side is written into every stage
_UNROLLED_ON_CUDA = 512

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


def source(kernel: Kernel, *, vector_functions: bool) -> str:
    """Return the text of a kernel's source: for a CPU's C++ compiler, or as it stands for CUDA's."""
    method = coefficients(kernel.method)
    heads = [
        f"#define SCALAR {'float' if kernel.single else 'double'}",
        f"#ifndef __CUDACC__\n#define LANES {LANES}\n#endif",
        "#define VECTOR_FUNCTIONS" if vector_functions else "",
        _part("lanes"),
        structure(),
        numbers(kernel),
        _part("functions"),
        *_library(kernel.nodes, kernel.single),
        program_text("rhs", kernel.program),
    ]
    if isinstance(kernel.derived, Linearisation):
        heads.append(linearisation_text(kernel.derived))
        elimination = Elimination.of(kernel.program.dimension, kernel.derived.entries)
        if elimination.pays:
            heads += ["#define STRUCTURED", elimination.text()]
    if isinstance(kernel.derived, Halves):
        heads += [program_text("velocity", kernel.derived.velocity), program_text("force", kernel.derived.force)]
    if kernel.pullbacks is not None:
        for name, pulled in kernel.pullbacks.named.items():
            heads.append(pullback_text(f"{name}_pullback", pulled, kernel.pullbacks.places))
    if kernel.tangents is not None:
        heads += tangent_texts(kernel.tangents)
    steps = {"step": method.step, "pull_step": method.pull}
    parts = [part for name in _PARTS[kernel.entry] for part in steps.get(name, (name,))]
    text = "\n".join([*heads, *map(_part, ["sums", *parts, "launch"])])
    return "\n".join(line for line in text.splitlines() if line != "#pragma once" and not line.startswith('#include "'))


_PARTS: dict[Entry, tuple[str, ...]] = {
    "walk": ("step", "controller", "samples", "walk"),
    "walk_shared": ("step", "controller", "samples", "group", "walk_shared"),
    "walk_grid": ("step", "samples", "group", "walk_grid"),
    "pull": ("step", "samples", "back", "pull_step", "pull"),
    "push": ("step", "samples", "push"),
}
"""The source's parts in their order, where the method's own have the names ``step`` and ``pull_step``."""


def program_text(name: str, program: Program) -> str:
    """Return a program as a function of time, state and numbers."""
    stores = [Store("f", d, node, False) for d, node in enumerate(program.outputs)]
    head = f"{_attribute(program.nodes)} void {name}(V t, const V* y, const S* p, const V* q, V* f)"
    return function(head, program.nodes, stores)


def linearisation_text(linearisation: Linearisation) -> str:
    """Return the right-hand side with its derivatives by state and time as a function."""
    program, entries, drifts = linearisation.program, len(linearisation.entries), len(linearisation.drifts)
    places = [("J", e) for e in range(entries)] + [("f_t", e) for e in range(drifts)]
    places += [("f", d) for d in range(len(program.outputs) - entries - drifts)]
    stores = [Store(*place, node, False) for place, node in zip(places, program.outputs, strict=True)]
    arguments = "V t, const V* y, const S* p, const V* q, V* f, V* J, V* f_t"
    return function(f"{_attribute(program.nodes)} void linearise({arguments})", program.nodes, stores)


def tangent_texts(tangents: TangentMap) -> list[str]:
    """Return two functions: one for what is computed once at a point, and one for the derivative in a direction."""
    stores = [Store("f", d, node, False) for d, node in enumerate(tangents.outputs)]
    stores += [Store("kept", i, node, False) for i, node in enumerate(tangents.kept)]
    head = f"{_attribute(tangents.once)} void rhs_once(V t, const V* y, const S* p, const V* q, V* f, V* kept)"
    once = function(head, tangents.once, stores)
    stores = [Store("d_f", d, node, False) for d, node in enumerate(tangents.tangents)]
    head = f"{_attribute(tangents.each)} void rhs_each(const V* kept, const S* p, const V* u, const V* w, V* d_f)"
    return [once, function(head, tangents.each, stores)]


def pullback_text(name: str, pullback: Pullback, places: GradientPlaces) -> str:
    """Return a vector-Jacobian product as a function that adds to what it is handed."""
    stores = [Store("d_y", d, node, True) for d, node in enumerate(pullback.state)]
    if pullback.time is not None:
        stores.append(Store("d_t", 0, pullback.time, True))
    stores += [Store("d_p", places.shared.index(slot), node, True) for slot, node in pullback.shared]
    stores += [Store("d_q", places.sample.index(slot), node, True) for slot, node in pullback.sample]
    arguments = "V t, const V* y, const S* p, const V* q, const V* g, V* d_y, V* d_t, V* d_p, V* d_q, S* d_m"
    head = f"{_attribute(pullback.nodes)} void {name}({arguments})"
    others = [node for one in pullback.outer for node in (*one.rows, *one.columns)]
    return function(head, pullback.nodes, stores, others, lambda text: _outer_lines(pullback, places, text))


def _outer_lines(pullback: Pullback, places: GradientPlaces, text: Text) -> list[str]:
    """Return the lines that add products of two vectors to matrices' gradients."""
    lines = []
    for number, one in enumerate(pullback.outer):
        rows, row = text.row(one.rows, f"rows{number}")
        columns, column = text.row(one.columns, f"columns{number}")
        shape = f"{one.matrix.rows}, {one.matrix.columns}"
        lines += [*rows, *columns, f"outer<{shape}>(d_m + {places.first_of(one.matrix)}, {row}, {column});"]
    return lines


class Store(NamedTuple):
    """A result: the array that it goes to and its place there, which node it is, and whether it is added to what is."""

    target: str
    place: int
    node: int
    adds: bool


def function(
    head: str,
    nodes: Sequence[Node],
    stores: Sequence[Store],
    others: Sequence[int] = (),
    last: Callable[[Text], list[str]] | None = None,
) -> str:
    """Return a function: a line a number, a loop an array, the stores, the ``last`` lines, which need ``others``."""
    text, order = Text.of(nodes, [*(one.node for one in stores), *others])
    lines = [line for unit in order for line in text.lines(unit)]
    lines += text.stores(stores)
    lines += [] if last is None else last(text)
    return head + " {\n" + "\n".join(f"    {line}" for line in lines) + "\n}\n"


def _attribute(nodes: Sequence[Node]) -> str:
    """Return whether a function is written out where it is called; on a GPU not what has products with matrices."""
    if any(node.op == "matvec" for node in nodes):
        return "MATRIX_FUNCTION" if len(nodes) <= _UNROLLED else "FUNCTION"
    if len(nodes) <= _UNROLLED:
        return "INLINE"
    return "LONG_FUNCTION" if len(nodes) <= _UNROLLED_ON_CUDA else "FUNCTION"


_MEMORY = {
    "state": "y[{}]", "sample": "q[{}]", "cotangent": "g[{}]", "tangent": "u[{}]", "slot": "w[{}]", "kept": "kept[{}]",
    "shared": "vector(p[{}])",
}  # fmt: skip
_VERDICTS = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}


@dataclass(frozen=True)
class Text:
    """The text of a graph's numbers: scalars are called ``v`` and their node, arrays ``a`` and their first node."""

    nodes: Sequence[Node]
    homes: Mapping[int, Element]

    @classmethod
    def of(cls, nodes: Sequence[Node], wanted: Sequence[int]) -> tuple[Text, list[int | Array]]:
        """Return the text of what some numbers need, and the order in which that is computed."""
        used = needed(nodes, wanted)
        order, homes = rolled(nodes, used)
        return cls(nodes, homes), order

    def name(self, node: int, step: str = "") -> str:
        """Return what a number is called; with a ``step``, the one that many elements behind it, if it has any."""
        home = self.homes.get(node)
        if home is None:
            return "t" if self.nodes[node].op == "time" else f"v{node}"
        place = f"{home.place} + {step}" if step and home.place else step or str(home.place)
        pattern = _MEMORY[home.array] if isinstance(home.array, str) else f"a{home.array}[{{}}]"
        return pattern.format(place)

    def row(self, nodes: Sequence[int], name: str) -> tuple[list[str], str]:
        """Return the lines that put numbers next to one another, none where they are, and where they begin."""
        first = self.homes.get(nodes[0])
        whole = first is not None and first.array != "shared"
        if (
            first is not None
            and whole
            and all(self.homes.get(node) == Element(first.array, first.place + step) for step, node in enumerate(nodes))
        ):
            return [], f"&{self.name(nodes[0])}"
        return [f"const V {name}[] = {{{', '.join(map(self.name, nodes))}}};"], name

    def lines(self, unit: int | Array) -> list[str]:
        """Return the lines that compute a scalar, a matrix product or an array."""
        if isinstance(unit, Array):
            first, sides = unit.first, range(len(self.nodes[unit.first].operands))
            alone = [len({self.nodes[node].operands[side] for node in unit.nodes}) == 1 for side in sides]
            operands = [self.name(self.nodes[first].operands[side], "" if alone[side] else "j") for side in sides]
            kind = "MV" if self.nodes[first].op in _VERDICTS else "V"
            value = _value(self.nodes[first], operands)
            count = len(unit.nodes)
            return [f"{kind} a{first}[{count}];", f"for (int j = 0; j < {count}; ++j) a{first}[j] = {value};"]
        node = self.nodes[unit]
        if node.op == "time":
            return []
        if node.op == "matvec":
            matrix = node.matrix
            assert matrix is not None
            shape = f"{matrix.rows}, {matrix.columns}, {matrix.by_row}, {matrix.by_column}"
            lines, vector = self.row(node.operands, f"x{unit}")
            return [*lines, f"V a{unit}[{matrix.rows}];", f"matvec<{shape}>(p + {matrix.offset}, {vector}, a{unit});"]
        kind = "MV" if node.op in _VERDICTS else "V"
        return [f"const {kind} v{unit} = {_value(node, list(map(self.name, node.operands)))};"]

    def stores(self, stores: Sequence[Store]) -> list[str]:
        """Return the lines that put results where they go, those of successive elements in one loop."""
        lines, first = [], 0
        while first < len(stores):
            count = 1
            while first + count < len(stores) and self._follows(stores[first], stores[first + count], count):
                count += 1
            one = stores[first]
            sign = "+=" if one.adds else "="
            if count < _SHORTEST:
                lines.append(f"{one.target}[{one.place}] {sign} {self.name(one.node)};")
                first += 1
                continue
            lines.append(
                f"for (int j = 0; j < {count}; ++j) {one.target}[{one.place} + j] {sign} {self.name(one.node, 'j')};"
            )
            first += count
        return lines

    def _follows(self, one: Store, other: Store, step: int) -> bool:
        home, next_home = self.homes.get(one.node), self.homes.get(other.node)
        return (
            home is not None
            and next_home == Element(home.array, home.place + step)
            and other == Store(one.target, one.place + step, other.node, one.adds)
        )


def _value(node: Node, operands: Sequence[str]) -> str:
    if node.op == "constant":
        return f"vector({literal(node.value)})"
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


@cache
def _part(name: str) -> str:
    return (files("physode.fused") / "sources" / f"{name}.h").read_text()
