"""What a check of gradients means, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_EXACT = 1e-6  # relative errors beyond which an exact method does not agree with finite differences
_UNREST = 1e-3  # differences by one step and by half of it are apart by its square where f is smooth, some 1e-6
_STIFF = 1.5


@dataclass(frozen=True)
class Row:
    """One gradient method: relative errors, seconds, bytes, steps and evaluations; or why it gave none.

    ``error_parameters`` is None where the right-hand side depends on nothing but its state.
    """

    method: str
    error_y0: float | None = None
    error_parameters: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    rhs_forward: int | None = None
    rhs_backward: int | None = None
    failure: str | None = None

    @property
    def error(self) -> float | None:
        """The larger error."""
        found = [error for error in (self.error_y0, self.error_parameters) if error is not None]
        return max(found) if found else None


@dataclass(frozen=True)
class Facts:
    """What was seen of the right-hand side.

    Attributes
    ----------
    deterministic
        Whether two evaluations agree.
    unregistered
        Shapes of tensors that it depends on and no module has registered.
    parameters
        The number of elements that it depends on.
    dtype
        The state's precision.
    rtol
        The solve's relative tolerance.
    stability
        Step size times fastest rate of decay, the median; None if not looked at.
    unrest
        How far differences by one step and by half of it are apart, relative.
    adaptive, explicit
        Whether steps were adapted, and are those of an explicit method.
    """

    deterministic: bool
    unregistered: tuple[tuple[int, ...], ...]
    parameters: int
    dtype: str
    rtol: float
    stability: float | None
    unrest: float
    adaptive: bool
    explicit: bool


def advice(rows: Sequence[Row], facts: Facts) -> Iterator[str]:
    """Give sentences on what the numbers mean, the gravest first."""
    for row in rows:
        if row.failure is not None:
            yield f"{row.method} gave no gradient: {row.failure}"
    yield from _on_differences(facts)
    yield from _on_methods({row.method: row for row in rows}, facts)
    if facts.unregistered:
        shapes = ", ".join(map(str, facts.unregistered))
        yield (
            f"f depends on tensors of shape {shapes} that no module has registered: gradients reach them, but "
            "parameters() and .to() do not; make them nn.Parameter attributes"
        )
    if facts.parameters == 0:
        yield "f depends on no tensor that requires gradients: only the initial state was checked"
    if facts.stability is not None and facts.stability > _STIFF and facts.adaptive and facts.explicit:
        yield (
            f"step size times the fastest rate of decay is {facts.stability:.2g} at the median: stability, not "
            "accuracy, limits the steps; the problem is stiff, an implicit method takes fewer"
        )


def _on_differences(facts: Facts) -> Iterator[str]:
    if not facts.deterministic:
        yield "two evaluations of f at one place differ: draw random numbers before the solve, put dropout in eval()"
    elif facts.unrest > _UNREST and facts.dtype == "float64":
        yield (
            "finite differences do not settle when their step is halved: f jumps or has kinks (if, abs, clamp, sign, "
            "tables), or the solution is chaotic over this span; shorten the span, or smooth f, and judge again"
        )
    if facts.dtype != "float64":
        yield (
            f"in {facts.dtype} gradients are right to some 1e-5 at best; run again with float64 to tell "
            "rounding from errors"
        )


def _on_methods(rows: dict[str, Row], facts: Facts) -> Iterator[str]:
    smooth = facts.deterministic and facts.unrest <= _UNREST and facts.dtype == "float64"
    aca, adjoint, naive = (rows.get(name) for name in ("aca", "adjoint", "naive-steps"))
    if aca is not None and aca.error is not None and smooth:
        if aca.error > _EXACT:
            yield (
                f"aca differs from finite differences by {aca.error:.1e}, which it should not: does f detach "
                "tensors, use .item() or .data, keep state between calls, use tensors that require no gradients, or "
                "have backward passes of its own (autograd.Function)?"
            )
        else:
            yield f"aca agrees with finite differences to {aca.error:.1e}: f is differentiated rightly"
    if aca is not None and aca.error is not None and aca.error > _EXACT:
        smooth = False  # f itself is at fault: nothing is said of the other methods
    if adjoint is not None and adjoint.error is not None and smooth and adjoint.error > 10 * facts.rtol:
        yield (
            f"the adjoint method is off by {adjoint.error:.1e}, more than ten times rtol={facts.rtol:g}: use "
            "gradient='aca', or tighter tolerances for its backward solve, Adjoint(rtol=..., atol=...)"
        )
    if naive is not None and naive.error is not None and smooth and facts.adaptive and naive.error > _EXACT:
        yield (
            f"naive-steps is off by {naive.error:.1e}: it differentiates the choice of step sizes, too; "
            "gradient='naive' and gradient='aca' do not"
        )
