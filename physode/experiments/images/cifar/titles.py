"""What the views of CIFAR say of their images."""

from __future__ import annotations

from physode.experiments.images.cifar.plan import Config

__all__ = ["hundred", "theirs", "title"]


def hundred(config: Config) -> bool:
    """Return whether the paper's figures for CIFAR-100 are those to compare with."""
    return len(config.classes) == 100


def theirs(config: Config) -> str:
    """Return the heading of the paper's figures."""
    return f"the paper (CIFAR{100 if hundred(config) else 10})"


def title(config: Config, subject: str, place: str) -> str:
    """Return a view's title; it says where the images are not CIFAR's."""
    images = "simulated galaxies as stand-in images, not CIFAR" if config.simulated else config.data
    quick = "" if config.preset == "full" else f"; {config.preset}: a narrow network, few images and epochs"
    return f"{subject} (ACA paper, {place}): {images}{quick}"
