"""Random changes of training images, a batch at once on the device that holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from physode.images.config import TrainConfig

__all__ = ["Changes", "augment", "draw"]


@dataclass(frozen=True)
class Changes:
    """What happens to each image of a batch.

    Attributes
    ----------
    flip
        Whether it is mirrored left to right, (B,).
    shift
        By how many pixels it is moved down and right, (B, 2).
    angle
        By how many radians it is turned, (B,).
    zoom
        By what it is magnified, (B,); below 1, it is shrunk.
    """

    flip: Tensor
    shift: Tensor
    angle: Tensor
    zoom: Tensor

    def part(self, rows: slice, device: torch.device) -> Changes:
        """Return those of some images, on a device."""
        return Changes(*(values[rows].to(device) for values in (self.flip, self.shift, self.angle, self.zoom)))


def draw(config: TrainConfig, count: int, generator: Generator) -> Changes:
    """Draw the changes of `count` images; what the settings leave out is drawn as none."""
    flip = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
    shift = torch.randint(-config.crop, config.crop + 1, (count, 2), generator=generator)
    angle = torch.rand(count, generator=generator) * (2 * math.pi if config.rotate else 0.0)
    reach = math.log(config.zoom)
    zoom = torch.exp((2 * torch.rand(count, generator=generator) - 1) * reach) if reach else torch.ones(count)
    return Changes(flip, shift, angle, zoom)


def augment(x: Tensor, changes: Changes) -> Tensor:
    """Return changed images (B, C, H, W): flipped, then magnified and turned about the centre, and shifted.

    Shifts alone move whole pixels, black coming in. With turns or magnification, all is one bilinear interpolation, and
    what was outside is as the nearest edge.
    """
    x = torch.where(changes.flip[:, None, None, None], x.flip(-1), x)
    if bool((changes.angle != 0).any()) or bool((changes.zoom != 1).any()):
        return _turn(x, changes)
    return _shift(x, changes.shift) if bool((changes.shift != 0).any()) else x


def _shift(x: Tensor, shift: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    reach = int(shift.abs().max())
    padded = functional.pad(x, (reach, reach, reach, reach))
    rows = torch.arange(height, device=x.device) + (reach - shift[:, :1])
    columns = torch.arange(width, device=x.device) + (reach - shift[:, 1:])
    index = torch.arange(batch, device=x.device)[:, None, None]
    # Indexed axes apart from a slice come first: (B, H, W, C).
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _turn(x: Tensor, changes: Changes) -> Tensor:
    height, width = x.shape[-2:]
    cos, sin = changes.angle.cos() / changes.zoom, changes.angle.sin() / changes.zoom
    down, right = (changes.shift.to(x) * torch.tensor([2 / height, 2 / width]).to(x)).unbind(1)
    aspect = height / width
    # Where each pixel of the result comes from, in units of half the image: x right, y down.
    matrix = torch.stack(
        [
            torch.stack([cos, -sin * aspect, -(cos * right - sin * aspect * down)], 1),
            torch.stack([sin / aspect, cos, -(sin / aspect * right + cos * down)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(matrix.to(x), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
