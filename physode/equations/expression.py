"""Expressions as text: the usual notation, read on Python's syntax trees by a small grammar, and never run."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
import unicodedata
import warnings
from collections.abc import Collection
from dataclasses import dataclass

from physode.datasets.files import shown
from physode.equations.operations import ALIASES, CONSTANTS, FUNCTIONS
from physode.equations.tree import Apply, EquationError, Expression, Name, Number, apply, name, number

__all__ = ["Apply", "EquationError", "Expression", "Name", "Number", "apply", "name", "number", "parse"]

LONGEST = 10_000
"""Letters of an expression."""
DEEPEST = 200
"""Brackets, signs and calls within one another."""

_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "^", ast.Mod: "mod"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_WORDS = {"log", "pow", "where"}
_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d⁰¹²³⁴-⁹][^\W⁰¹²³⁴-⁹]*'*)|(?P<power>[⁰¹²³⁴-⁹]+)"
    r"|(?P<sign>\^|&&|\|\||!(?!=)|[·×⋅÷−≤≥≠])|(?P<wrong>[\"'#;\\@$?`:\[\]{}])"  # noqa: RUF001
)
_SIGNS = {
    "^": "**", "&&": " and ", "||": " or ", "!": " not ", "·": "*", "×": "*", "⋅": "*", "÷": "/", "−": "-",  # noqa: RUF001
    "≤": "<=", "≥": ">=", "≠": "!=",
}  # fmt: skip
_PRIME = "\ua78c"
"""A letter in the place of ' behind a name, which Python would take for a quotation mark."""
_TOO_MUCH = "it is nested too deep, or holds too long a number; divide it into parts"
_KEYWORD = "\ua66e"
"""A letter before a name that Python keeps for itself, such as lambda."""


@dataclass(frozen=True)
class _Source:
    """A text, Python's form of it, and which letter each of that form comes from."""

    what: str
    text: str
    python: str
    origin: tuple[int, ...]

    def refusal(self, reason: str, node: ast.AST | None = None, at: int | None = None) -> EquationError:
        """Return the error that says what is wrong, and where."""
        if node is not None and isinstance(node, ast.expr):
            at = self.place(node.lineno, len(self.python.encode()[: node.col_offset].decode(errors="ignore")))
        where = "" if at is None else f", at letter {at + 1} ({shown(self.text[at:], longest=12)!r})"
        return EquationError(
            f"{self.what} {shown(self.text)!r}{where}: {reason}", text=self.text, position=at, reason=reason
        )

    def place(self, line: int, column: int) -> int:
        """Return the letter of the text that one of Python's form comes from."""
        return self.origin[min(max(column, 0), len(self.origin) - 1)] if line == 1 else len(self.text)


def parse(text: str, *, what: str = "expression", declared: Collection[str] = ()) -> Expression:
    """Read an expression.

    Numbers, names, ``+ - * / ^`` (or ``**``), ``%``, brackets, comparisons, ``and``, ``or``, ``not`` (or ``&&``,
    ``||``, ``!``), and calls of functions: `FUNCTIONS`, their `ALIASES`, ``log(x, base)``, ``pow(x, n)``,
    ``where(condition, value, otherwise)``, and ``piecewise(value, condition, ..., otherwise)``. Names may be followed
    by ``'``. The text is never evaluated or compiled.

    Parameters
    ----------
    text
        The expression.
    what
        What it is, for errors.
    declared
        Names that something else declares, so that they are not constants such as ``e`` and ``pi``.

    Raises
    ------
    EquationError
        If it is no expression of these, longer than 10,000 letters, nested more than 200 deep, or has a part that is
        no finite number, such as ``9**9**9`` or ``1/0``.
    """
    if len(text) > LONGEST:
        raise EquationError(f"{what} has {len(text)} letters; divide it into parts of at most {LONGEST}", text=text)
    source = _source(text, what)
    if not source.python.strip():
        raise source.refusal("there is nothing; write a number, a name or a formula")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)  # 2if is one
            body = ast.parse(source.python, mode="eval").body
    except SyntaxError as error:
        reason = _TOO_MUCH if re.search("nested|limit", error.msg) else _syntax(text)
        raise source.refusal(reason, at=source.place(error.lineno or 1, (error.offset or 1) - 1)) from None
    except (RecursionError, MemoryError, ValueError):
        raise source.refusal(_TOO_MUCH) from None
    return _Reader(source, frozenset(declared)).expression(body, 0)


def _source(text: str, what: str) -> _Source:
    """Write a text as Python would: on one line, ^ as **, names freed of ' and of what Python keeps for itself."""
    flat = "".join(" " if letter.isspace() else letter for letter in text)
    python: list[str] = []
    origin: list[int] = []

    def write(piece: str, at: int) -> None:
        python.append(piece)
        origin.extend([at] * len(piece))

    end = 0
    for token in _TOKEN.finditer(flat):
        for i in range(end, token.start()):
            write(flat[i], i)
        end, at = token.end(), token.start()
        if token["wrong"]:
            bare = _Source(what, text, flat, tuple(range(len(flat) + 1)))
            raise bare.refusal(f"{token['wrong']!r} has no place in an expression", at=at)
        if token["name"]:
            word = unicodedata.normalize("NFKC", token["name"].rstrip("'"))
            if keyword.iskeyword(word) and word not in ("and", "or", "not", "True", "False"):
                word = _KEYWORD + word
            write(word + _PRIME * (len(token["name"]) - len(token["name"].rstrip("'"))), at)
        elif token["power"]:
            write("**" + unicodedata.normalize("NFKC", token["power"]), at)
        else:
            write(_SIGNS.get(token[0], token[0]), at)
    for i in range(end, len(flat)):
        write(flat[i], i)
    written = "".join(python)
    spaces = len(written) - len(written.lstrip())
    return _Source(what, text, written[spaces:], (*origin[spaces:], len(text)))


def _syntax(text: str) -> str:
    if re.search(r"(?<![<>=!])=(?!=)", text):
        return "one = makes it an equation; compare by =="
    if text.count("(") != text.count(")"):
        return f"it has {text.count('(')} opening and {text.count(')')} closing brackets"
    return "this is no expression; write it as in 2*x + sin(t)"


class _Reader:
    """Turns Python's nodes into expressions; what is not on the list is refused."""

    def __init__(self, source: _Source, declared: frozenset[str]) -> None:
        self.source = source
        self.declared = declared

    def expression(self, node: ast.expr, depth: int) -> Expression:
        if depth > DEEPEST:
            raise self.source.refusal(f"it is nested more than {DEEPEST} deep; divide it into parts", node)
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name(id=identifier):
                return self.named(identifier)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.expression(operand, depth + 1)
            case ast.UnaryOp(op=ast.USub() | ast.Not() as sign, operand=operand):
                op = "neg" if isinstance(sign, ast.USub) else "not"
                return self.applied(node, op, self.expression(operand, depth + 1))
            case ast.BinOp(op=op) if type(op) in _BINARY:
                return self.chain(node, depth)
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                return self.applied(node, word, *(self.expression(each, depth + 1) for each in values))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
                sides = self.expression(left, depth + 1), self.expression(right, depth + 1)
                return self.applied(node, _COMPARED[type(op)], *sides)
            case ast.Compare(ops=[_, _, *_]):
                raise self.source.refusal("comparisons cannot be chained; write 0 < x and x < 1", node)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                if any(isinstance(each, ast.Starred) for each in arguments):
                    raise self.source.refusal("* has no place before an argument", node)
                return self.called(node, function, [self.expression(each, depth + 1) for each in arguments])
            case ast.Call(keywords=[_, *_]):
                raise self.source.refusal("arguments of functions have no names", node)
            case ast.Attribute(attr=attribute):
                raise self.source.refusal(f".{shown(attribute)} has no place in an expression", node)
            case ast.Tuple():
                raise self.source.refusal("a comma has no place here; decimals are written with a point, as 0.5", node)
            case _:
                raise self.source.refusal("this has no place in an expression", node)

    def constant(self, node: ast.Constant) -> Expression:
        value = node.value
        if isinstance(value, bool):
            return number(float(value))
        if not isinstance(value, int | float):
            raise self.source.refusal("only real numbers have a place in an expression", node)
        try:
            read = float(value)
        except OverflowError:
            read = float("inf")
        if read == float("inf"):
            raise self.source.refusal("this number is too large for double precision", node)
        return number(read)

    def named(self, identifier: str) -> Expression:
        text = _plain(identifier)
        return number(CONSTANTS[text]) if text in CONSTANTS and text not in self.declared else name(text)

    def chain(self, node: ast.expr, depth: int) -> Expression:
        """Read what is added or multiplied from left to right: its length is no depth."""
        links: list[ast.BinOp] = []
        inner = node
        while isinstance(inner, ast.BinOp) and type(inner.op) in _BINARY and not isinstance(inner.op, ast.Pow):
            links.append(inner)
            inner = inner.left
        if isinstance(inner, ast.BinOp) and not links:
            sides = self.expression(inner.left, depth + 1), self.expression(inner.right, depth + 1)
            return self.applied(inner, "^", *sides)
        terms, kind, last = [self.expression(inner, depth + 1)], "", inner
        for link in reversed(links):
            op, right = _BINARY[type(link.op)], self.expression(link.right, depth + 1)
            if op == "-":
                op, right = "+", self.applied(link, "neg", right)
            if kind and (op != kind or op not in ("+", "*")):
                terms = [self.applied(last, kind, *terms)]
            terms.append(right)
            kind, last = op, link
        return self.applied(last, kind, *terms)

    def called(self, node: ast.expr, identifier: str, arguments: list[Expression]) -> Expression:
        function = _plain(identifier)
        op = ALIASES.get(function, function)
        match op, arguments:
            case "log", [x, base]:
                return self.applied(node, "/", self.applied(node, "log", x), self.applied(node, "log", base))
            case "pow", [x, exponent]:
                return self.applied(node, "^", x, exponent)
            case "where", [condition, value, otherwise]:
                return self.applied(node, "piecewise", value, condition, otherwise)
        if op in FUNCTIONS:
            return self.applied(node, op, *arguments)
        if op in ("pow", "where"):
            raise self.source.refusal(f"{op} takes {2 if op == 'pow' else 3} arguments, not {len(arguments)}", node)
        raise self.source.refusal(self.unknown(function), node)

    def unknown(self, function: str) -> str:
        if function in self.declared:
            return f"{function} is no function; write {function}*(...) for a product"
        near = difflib.get_close_matches(function, [*FUNCTIONS, *ALIASES, *_WORDS], n=1)
        hint = f"did you mean {near[0]}?" if near else "the functions are " + ", ".join(sorted({*FUNCTIONS, *_WORDS}))
        return f"there is no function {shown(function)}; {hint}"

    def applied(self, node: ast.expr, op: str, *arguments: Expression) -> Expression:
        try:
            result = apply(op, *arguments)
        except EquationError:
            if op == "piecewise":
                reason = "piecewise takes a value and its condition, once or more, and last the value otherwise"
            else:
                reason = f"{op} cannot take {len(arguments)} argument{'s' if len(arguments) != 1 else ''}"
            raise self.source.refusal(reason, node) from None
        if isinstance(result, Apply) and all(isinstance(each, Number) for each in result.arguments):
            raise self.source.refusal(f"{shown(str(result))} is no finite number", node)
        if isinstance(result, Apply) and op == "factorial":
            raise self.source.refusal("factorial takes a whole number from 0 to 170", node)
        return result


def _plain(identifier: str) -> str:
    return identifier.removeprefix(_KEYWORD).replace(_PRIME, "'")
