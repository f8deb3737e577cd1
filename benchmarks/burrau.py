"""Burrau's three bodies (masses 3, 4 and 5 at rest on a Pythagorean triangle) in many digits, by Taylor series.

``python -m benchmarks.burrau 70 --digits 40 --order 36`` prints the state at t = 70 (five minutes). An error made
early grows by some 1e8 until then; 40 digits and 48 digits (order 42) agree in all that is printed.

With positions as series :math:`q(t) = \\sum_k q_k t^k`, squared distances :math:`r^2` and :math:`s = (r^2)^{-3/2}`
follow term by term, :math:`k r^2_0 s_k = \\sum_{j<k} (-\\tfrac32 k + \\tfrac12 j) \\, r^2_{k-j} s_j`, and with them
:math:`q_{k+2}`.
"""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["AT_70", "solve"]

AT_70 = (
    6.9334635990118872903, 20.261804305951714138, -2.0030060026059840868, -6.8724634358245448456,
    -2.5576733573223451048, -6.6591118349113926065,
)  # fmt: skip
"""The positions at t = 70 of the three bodies, in the plane."""

_PAIRS = ((0, 1), (0, 2), (1, 2))


def solve(end: str, digits: int, order: int) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return positions and velocities at the time ``end``, as numbers of ``digits`` digits."""
    from mpmath import mp, mpf

    mp.dps = digits
    masses = [mpf(3), mpf(4), mpf(5)]
    q = [[mpf(x) for x in row] for row in ((1, 3), (-2, -1), (1, -1))]
    v = [[mpf(0), mpf(0)] for _ in range(3)]
    t, last, tolerance = mpf(0), mpf(end), mpf(10) ** (4 - digits)
    while t < last:
        series = _series(masses, q, v, order)
        sizes = {k: max(abs(component[k]) for body in series for component in body) for k in (order, order - 1)}
        h = min(*((tolerance / size) ** (mpf(1) / k) for k, size in sizes.items() if size), last - t)
        for body, place in enumerate(series):
            for axis, terms in enumerate(place):
                q[body][axis], v[body][axis] = mp.polyval(terms[::-1], h, derivative=1)
        t += h
    return q, v


def _series(masses: list[Any], q: list[list[Any]], v: list[list[Any]], order: int) -> list[list[list[Any]]]:
    """Return the coefficients of each body's coordinates, up to the order."""
    from mpmath import mp, mpf

    alpha = mpf(-3) / 2
    places = [[[q[body][axis], v[body][axis]] for axis in range(2)] for body in range(3)]
    apart: dict[tuple[int, int], list[list[Any]]] = {pair: [[], []] for pair in _PAIRS}
    square: dict[tuple[int, int], list[Any]] = {pair: [] for pair in _PAIRS}
    power: dict[tuple[int, int], list[Any]] = {pair: [] for pair in _PAIRS}
    for k in range(order - 1):
        pull = [[mpf(0), mpf(0)] for _ in range(3)]
        for i, j in _PAIRS:
            d, r, s = apart[i, j], square[i, j], power[i, j]
            for axis in range(2):
                d[axis].append(places[i][axis][k] - places[j][axis][k])
            r.append(mp.fdot((d[axis][n], d[axis][k - n]) for axis in range(2) for n in range(k + 1)))
            if k == 0:
                s.append(r[0] ** alpha)
            else:
                terms = (((k * alpha - n * (alpha + 1)) * r[k - n], s[n]) for n in range(k))
                s.append(mp.fdot(terms) / (k * r[0]))
            for axis in range(2):
                force = mp.fdot((d[axis][n], s[k - n]) for n in range(k + 1))
                pull[i][axis] -= masses[j] * force
                pull[j][axis] += masses[i] * force
        for body in range(3):
            for axis in range(2):
                places[body][axis].append(pull[body][axis] / ((k + 1) * (k + 2)))
    return places


def main() -> None:
    """Print the state at a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.burrau", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("end", help="the time, such as 70")
    parser.add_argument("--digits", type=int, default=40)
    parser.add_argument("--order", type=int, default=36, help="of the Taylor series")
    chosen = parser.parse_args()
    from mpmath import mp

    for name, rows in zip(("positions", "velocities"), solve(chosen.end, chosen.digits, chosen.order), strict=True):
        print(name, [mp.nstr(x, 20) for row in rows for x in row])


if __name__ == "__main__":
    main()
