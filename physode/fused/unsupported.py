"""What the fused engine cannot do, said by name."""

from __future__ import annotations

__all__ = ["Unsupported"]


class Unsupported(RuntimeError):  # noqa: N818 - a reason, not a fault: the eager engine answers
    """Says why a solve is done without the fused engine: a clause that completes a sentence."""
