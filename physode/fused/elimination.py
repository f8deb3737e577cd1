"""Gaussian elimination of matrices whose zeros are known: written out, without what zeros make superfluous.

It goes down the diagonal. Where a pivot there is too small in some lane, the lanes say so and are solved as dense
matrices, rows exchanged; what both ways compute is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Elimination"]

_SHARE = 0.8  # of a matrix that may be filled
_MOST = 3000  # operations that are written out


@dataclass(frozen=True)
class Elimination:
    """Where a matrix may differ from 0, before and while it is eliminated.

    Attributes
    ----------
    size
        The number of rows.
    places
        Row and column of each entry of J in I - h gamma J.
    rows
        The columns of each row that may be filled, in their order.
    """

    size: int
    places: tuple[tuple[int, int], ...]
    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, size: int, places: Sequence[tuple[int, int]]) -> Elimination:
        """Return the elimination of matrices with entries at some places and on the diagonal."""
        rows = [{i} | {column for row, column in places if row == i} for i in range(size)]
        for k in range(size):
            for i in range(k + 1, size):
                if k in rows[i]:
                    rows[i] |= {column for column in rows[k] if column > k}
        return cls(size, tuple(places), tuple(tuple(sorted(row)) for row in rows))

    @property
    def pays(self) -> bool:
        """Whether there are zeros enough, and the text is short enough."""
        filled = sum(map(len, self.rows))
        steps = sum(len(self._below(k)) * (2 + len(self._behind(k))) for k in range(self.size))
        return filled <= _SHARE * self.size**2 and steps + 2 * filled <= _MOST

    def _below(self, k: int) -> list[int]:
        return [i for i in range(k + 1, self.size) if k in self.rows[i]]

    def _behind(self, k: int) -> list[int]:
        return [column for column in self.rows[k] if column > k]

    def text(self) -> str:
        """Return the functions ``eliminate``, which tells whether rows must be exchanged, and two that solve."""
        functions = [
            ("bool eliminate(V length, const V* J, V (*lu)[D], V* reciprocal)", self._eliminated()),
            ("void solve_filled(const V (*lu)[D], const V* reciprocal, V* x)", self._solved(transposed=False)),
            (
                "void solve_filled_transposed(const V (*lu)[D], const V* reciprocal, V* x)",
                self._solved(transposed=True),
            ),
        ]
        return "".join(f"INLINE {head} {{\n    " + "\n    ".join(lines) + "\n}\n" for head, lines in functions)

    def _eliminated(self) -> list[str]:
        entries = {place: f"length * J[{e}]" for e, place in enumerate(self.places)}
        lines = []
        for i, row in enumerate(self.rows):
            for column in row:
                entry = entries.get((i, column))
                lines.append(f"lu[{i}][{column}] = vector({int(i == column)}){f' - {entry}' if entry else ''};")
        lines.append("MV exchanged = narrow_mask(verdict(false));")
        for k in range(self.size):
            below, behind = self._below(k), self._behind(k)
            if below:
                lines.append(f"const V size{k} = vector(PREFERENCE) * magnitude_of(lu[{k}][{k}]);")
            lines += [f"exchanged = exchanged | (magnitude_of(lu[{i}][{k}]) > size{k});" for i in below]
            lines.append(f"reciprocal[{k}] = vector(1) / lu[{k}][{k}];")
            for i in below:
                lines.append(f"lu[{i}][{k}] = lu[{i}][{k}] * reciprocal[{k}];")
                lines += [f"lu[{i}][{c}] = lu[{i}][{c}] - lu[{i}][{k}] * lu[{k}][{c}];" for c in behind]
        lines += [f"lu[{k}][{c}] = lu[{k}][{c}] * reciprocal[{k}];" for k in range(self.size) for c in self._behind(k)]
        return [*lines, "return somewhere(widen_mask(exchanged));"]

    def _solved(self, *, transposed: bool) -> list[str]:
        """Return both substitutions; the transposed matrix's lower triangle is the upper one."""
        down, up = (self._behind, self._below) if transposed else (self._below, self._behind)
        size, entry = self.size, "lu[{1}][{0}]" if transposed else "lu[{0}][{1}]"
        lines = [f"x[{i}] = x[{i}] - {entry.format(i, k)} * x[{k}];" for k in range(size) for i in down(k)]
        lines += [f"x[{k}] = x[{k}] * reciprocal[{k}];" for k in range(size)]
        above = {k: [i for i in range(k) if k in up(i)] for k in range(size)}
        return lines + [
            f"x[{i}] = x[{i}] - {entry.format(i, k)} * x[{k}];" for k in reversed(range(size)) for i in above[k]
        ]
