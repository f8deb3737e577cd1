"""An estimation's unknowns changed from outside: guesses, bounds, priors, what is fixed, what is free."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from physode.errors import ConfigError
from physode.estimation.problem import Estimation, Prior, Unknown

Numbers = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Adjustments:
    """Changes by the name of an unknown (``k``, ``k[A]``, ``x(0)``), or of all that begin so (``k`` for ``k[A]``).

    Attributes
    ----------
    guesses
        New guesses: one number, or one for each of them.
    fixed
        The same, of those to be kept; without a number at their guess.
    free
        If any, only these are estimated.
    bounds, priors
        Lower and upper ends; means and standard deviations.
    positive
        Whether all that are free and whose guess is above 0 are searched for as logarithms.
    """

    guesses: Numbers = field(default_factory=dict)
    fixed: Numbers = field(default_factory=dict)
    free: Sequence[str] = ()
    bounds: Numbers = field(default_factory=dict)
    priors: Numbers = field(default_factory=dict)
    positive: bool = False

    def apply(self, estimation: Estimation) -> Estimation:
        """Return an estimation with these changes.

        Raises
        ------
        ConfigError
            If a name is none of an unknown's, or numbers do not fit.
        """
        unknowns = {unknown.name: unknown for unknown in estimation.unknowns}

        def change(name: str, numbers: Sequence[float], made: Callable[[Unknown, float | None], Unknown]) -> None:
            names = _named(name, unknowns)
            if len(numbers) not in (0, 1, len(names)):
                raise ConfigError(f"{name!r} takes 1 number or {len(names)}, got {len(numbers)}")
            several = len(names) if len(numbers) == 1 else 1
            own: list[float | None] = [*numbers] * several or [None] * len(names)
            for each, number in zip(names, own, strict=True):
                unknowns[each] = made(unknowns[each], number)

        if self.free:
            wanted = {each for name in self.free for each in _named(name, unknowns)}
            unknowns = {name: replace(each, free=name in wanted) for name, each in unknowns.items()}
        for name, numbers in self.guesses.items():
            change(name, numbers, lambda old, number: replace(old, guess=old.guess if number is None else number))
        for name, numbers in self.fixed.items():
            change(
                name,
                numbers,
                lambda old, number: replace(old, guess=old.guess if number is None else number, free=False),
            )
        for name, (low, high) in self.bounds.items():
            change(name, (), lambda old, _, low=low, high=high: replace(old, low=low, high=high))  # type: ignore[misc]
        for name, numbers in self.priors.items():
            prior = Prior("normal", tuple(numbers))
            change(name, (), lambda old, _, prior=prior: replace(old, prior=prior))  # type: ignore[misc]
        if self.positive:
            unknowns = {
                name: replace(each, scale="log", low=max(each.low, 0.0)) if each.free and each.guess > 0 else each
                for name, each in unknowns.items()
            }
        return replace(estimation, unknowns=tuple(unknowns.values()))


def _named(name: str, unknowns: Mapping[str, Unknown]) -> list[str]:
    if name in unknowns:
        return [name]
    names = [each for each in unknowns if each.partition("[")[0] == name]
    if not names:
        near = difflib.get_close_matches(name, unknowns, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(list(unknowns)[:12])}"
        raise ConfigError(f"there is no constant {name!r}{hint}")
    return names
