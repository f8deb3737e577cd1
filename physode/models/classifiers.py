"""The image classifiers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from physode.errors import ConfigError
from physode.models.galaxy import galaxy_node, galaxy_resnet
from physode.models.residual import node18, resnet18
from physode.models.torchvision import resnet50, resnet101

__all__ = ["CLASSIFIERS", "build_classifier", "classifier_options"]

CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "node18": node18,
    "resnet18": resnet18,
    "galaxy-node": galaxy_node,
    "galaxy-resnet": galaxy_resnet,
    "resnet50": resnet50,
    "resnet101": resnet101,
}
"""Each from the number of classes and options of its own."""


def classifier_options(name: str) -> set[str]:
    """Return the names of the options that a classifier has.

    Raises
    ------
    ConfigError
        If there is no classifier of this name.
    """
    if name not in CLASSIFIERS:
        raise ConfigError(f"`model` must be one of {', '.join(CLASSIFIERS)}; got {name!r}")
    return set(inspect.signature(CLASSIFIERS[name]).parameters) - {"classes"}


def build_classifier(name: str, classes: int, **options: Any) -> nn.Module:
    """Build a classifier with weights from torch's global generator: seed it before.

    Parameters
    ----------
    name
        A key of :data:`CLASSIFIERS`.
    classes
        How many.
    options
        Of the classifier; None stands for its own default.

    Raises
    ------
    ConfigError
        If there is no such classifier, it has no such option, or a value does not suit it.
    """
    known = classifier_options(name)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            raise ConfigError(f"the model {name} has no `{key}`; it has {', '.join(sorted(known))}")
    try:
        return CLASSIFIERS[name](classes, **given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
