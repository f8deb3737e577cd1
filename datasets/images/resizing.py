"""Images brought to one size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physode.datasets.images.images import Images
from physode.optional_imports import needs

__all__ = ["resized"]


def resized(images: Images, size: int) -> Images:
    """Return images of `size` x `size` pixels, by bilinear interpolation; those that have this size as they are.

    Where they shrink, the interpolation's support grows with the scale, so that finer detail is averaged. The aspect
    ratio is not kept.

    Raises
    ------
    ConfigError
        If Pillow is needed and not installed.
    """
    if images.x.shape[2:] == (size, size):
        return images
    library = needs("PIL.Image", extra="images", purpose="resizing images")
    x = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for place, image in enumerate(images.x):
        picture = library.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        x[place] = np.asarray(picture.resize((size, size), library.Resampling.BILINEAR)).transpose(2, 0, 1)
    return replace(images, x=x)
