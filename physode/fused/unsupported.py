"""What the fused engine cannot do, said by name."""

from __future__ import annotations

__all__ = ["MixesSamples", "Unsupported"]


class Unsupported(RuntimeError):  # noqa: N818 - a reason, not a fault: the eager engine answers
    """Says why a solve is done without the fused engine: a clause that completes a sentence."""


class MixesSamples(Unsupported):
    """Says that the right-hand side of one sample depends on others."""

    def __init__(self, what: str = "the right-hand side") -> None:
        super().__init__(f"{what} mixes samples")
