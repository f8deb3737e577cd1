"""Deeper residual networks for comparison, torchvision's with the beginning that suits images of 32x32."""

from __future__ import annotations

from typing import Any

from torch import nn

from physode.models.layers import conv3x3, he_initialise
from physode.optional_imports import needs

__all__ = ["resnet50", "resnet101"]


def resnet50(classes: int) -> nn.Module:
    """Return ResNet50 for (B, 3, H, W).

    Raises
    ------
    ConfigError
        If torchvision is not installed.
    """
    return _small_images("resnet50", classes)


def resnet101(classes: int) -> nn.Module:
    """Return ResNet101 for (B, 3, H, W).

    Raises
    ------
    ConfigError
        If torchvision is not installed.
    """
    return _small_images("resnet101", classes)


def _small_images(name: str, classes: int) -> nn.Module:
    """Let the first convolution keep the image's size, as is usual for CIFAR (Liu 2017)."""
    model: Any = getattr(needs("torchvision.models", extra="torchvision"), name)(num_classes=classes)
    model.conv1 = conv3x3(3, 64)
    model.maxpool = nn.Identity()
    he_initialise(model)
    found: nn.Module = model
    return found
