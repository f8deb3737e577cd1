"""Labelled images."""

from __future__ import annotations

from physode.datasets.images.images import Images, Skipped

__all__ = ["Images", "Skipped"]
