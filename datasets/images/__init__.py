"""Labelled images."""

from __future__ import annotations

from physode.datasets.images.hdf5 import write_images
from physode.datasets.images.images import Images, Skipped

__all__ = ["Images", "Skipped", "write_images"]
