"""Names of a model: what each stands for, and where it may stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from physode.datasets.files import shown
from physode.equations.expression import parse
from physode.equations.toml_tables import Section, near
from physode.equations.tree import Expression, name

__all__ = ["TIME", "Scope", "checked_name"]

TIME = "t"
"""The name of time in equations; ``time`` is another one, unless something else is declared by it."""

_NAME = re.compile(r"[^\W\d]\w*'*")
_RESERVED = {TIME, "and", "or", "not", "inf", "nan", "true", "false", "True", "False"}
_KINDS = {"states": "state", "constants": "constant", "inputs": "input"}


def checked_name(text: str, section: Section) -> str:
    """Return a name as expressions have it.

    Raises
    ------
    ConfigError
        If no expression could name it.
    """
    clean = unicodedata.normalize("NFKC", text)
    if not _NAME.fullmatch(clean) or len(clean) > 100:
        raise section.refusal("is no name; take letters, digits and _, such as k_1", text)
    if clean in _RESERVED:
        raise section.refusal(f"{clean} has a meaning of its own; take another name", text)
    return clean


@dataclass
class Scope:
    """The names that a file declares, and the definitions that stand for expressions of them."""

    states: Collection[str] = ()
    constants: Collection[str] = ()
    inputs: Collection[str] = ()
    definitions: dict[str, Expression] = field(default_factory=dict)

    @property
    def declared(self) -> frozenset[str]:
        """All names."""
        return frozenset({*self.states, *self.constants, *self.inputs, *self.definitions})

    def define(self, texts: Mapping[str, tuple[str, Section, str]]) -> None:
        """Add definitions, which may depend on one another: texts by name, with their section and key.

        Raises
        ------
        ConfigError
            If one depends on itself, or on what nothing declares.
        """
        self.definitions = dict.fromkeys(texts, name(TIME))
        parsed = {
            each: parse(text, what=section.where(key), declared=self.declared)
            for each, (text, section, key) in texts.items()
        }
        resolved: dict[str, Expression] = {}
        while len(resolved) < len(parsed):
            ready = [
                each
                for each, expression in parsed.items()
                if each not in resolved and expression.names & parsed.keys() <= resolved.keys()
            ]
            if not ready:
                circle = [each for each in parsed if each not in resolved]
                _, section, key = texts[circle[0]]
                raise section.refusal(f"{', '.join(circle)} depend on one another in a circle", key)
            for each in ready:
                resolved[each] = parsed[each].substitute(resolved)
        self.definitions = resolved
        for each, (text, section, key) in texts.items():
            self._check(parsed[each], text, section, key, ("states", "constants", "inputs"), time=True)

    def read(
        self, text: str, section: Section, key: str,
        kinds: Collection[str] = ("states", "constants", "inputs"), *, time: bool = True,
    ) -> Expression:  # fmt: skip
        """Read an expression of names of some kinds, with definitions put in.

        Raises
        ------
        ConfigError
            If it is none, or depends on what nothing declares, or on names of another kind.
        """
        parsed = parse(text, what=section.where(key), declared=self.declared)
        expression = parsed.substitute(self.definitions)
        self._check(parsed, text, section, key, ("states", "constants", "inputs"), time=True)
        self._check(expression, text, section, key, kinds, time=time)
        return expression if "time" in self.declared else expression.substitute({"time": name(TIME)})

    def _check(
        self, expression: Expression, text: str, section: Section, key: str, kinds: Collection[str], *, time: bool
    ) -> None:
        clock = {TIME} if "time" in self.declared else {TIME, "time"}
        for each in sorted(expression.names):
            if each in clock:
                if not time:
                    raise section.refusal(f"{shown(text)!r} depends on time, but may not here", key)
                continue
            kind = next((kind for kind in _KINDS if each in getattr(self, kind)), None)
            if kind is None and each not in self.definitions:
                names = sorted(self.declared)
                raise section.refusal(
                    f"{shown(text)!r} names {shown(each)}, which nothing declares; {near(each, names)}", key
                )
            if kind is not None and kind not in kinds:
                allowed = " and ".join(kinds)
                raise section.refusal(
                    f"{shown(text)!r} depends on the {_KINDS[kind]} {each}, but may depend on {allowed} only", key
                )
