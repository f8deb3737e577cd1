"""The models by name: image classifiers, and models of irregular series."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from physode.errors import ConfigError
from physode.models.galaxy import galaxy_node, galaxy_resnet
from physode.models.latent_ode import LatentODE
from physode.models.recurrent import GRUD, ODERNN, GapRNN
from physode.models.residual import node18, resnet18, resnet50, resnet101
from physode.models.series_model import SeriesModel

__all__ = [
    "CLASSIFIERS",
    "SERIES_MODELS",
    "build_classifier",
    "build_series_model",
    "classifier_options",
    "series_model_options",
]

Model = TypeVar("Model", bound=nn.Module)


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "node18": node18,
    "resnet18": resnet18,
    "galaxy-node": galaxy_node,
    "galaxy-resnet": galaxy_resnet,
    "resnet50": resnet50,
    "resnet101": resnet101,
}
"""Each from the number of classes and options of its own."""

SERIES_MODELS: dict[str, Callable[..., SeriesModel]] = {
    "latent-ode": LatentODE,
    "ode-rnn": ODERNN,
    "rnn": functools.partial(GapRNN, cell="rnn"),
    "gru": functools.partial(GapRNN, cell="gru"),
    "gru-d": GRUD,
}
"""Each from the number of channels and options of its own."""


def classifier_options(name: str) -> set[str]:
    """Return the names of the options that a classifier has.

    Raises
    ------
    ConfigError
        If there is no classifier of this name.
    """
    return _options(CLASSIFIERS, name) - {"classes"}


def series_model_options(name: str) -> set[str]:
    """Return the names of the options that a model of series has.

    Raises
    ------
    ConfigError
        If there is no model of this name.
    """
    return _options(SERIES_MODELS, name) - {"channels", "cell"}


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
    return _build(CLASSIFIERS, name, classes, _given(name, options, classifier_options(name)))


def build_series_model(name: str, channels: int, **options: Any) -> SeriesModel:
    """Build a model of series with weights from torch's global generator: seed it before.

    Parameters
    ----------
    name
        A key of :data:`SERIES_MODELS`.
    channels
        How many.
    options
        Of the model; None stands for its own default.

    Raises
    ------
    ConfigError
        If there is no such model, it has no such option, or a value does not suit it.
    """
    given = _given(name, options, series_model_options(name))
    widths = [each for value in given.values() for each in (value if isinstance(value, Sequence) else ())]
    sizes = [given[key] for key in ("latent", "hidden") if key in given]
    if any(each < 1 for each in (*widths, *sizes)):
        raise ConfigError(f"widths of the model {name} must be at least 1, got {given}")
    return _build(SERIES_MODELS, name, channels, given)


def _options(models: Mapping[str, Callable[..., nn.Module]], name: str) -> set[str]:
    if name not in models:
        raise ConfigError(f"`model` must be one of {', '.join(models)}; got {name!r}")
    return set(inspect.signature(models[name]).parameters)


def _given(name: str, options: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """Return the options that are set, found to be the model's."""
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            raise ConfigError(f"the model {name} has no `{key}`; it has {', '.join(sorted(known))}")
    return given


def _build(models: Mapping[str, Callable[..., Model]], name: str, count: int, options: Mapping[str, Any]) -> Model:
    try:
        return models[name](count, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from error
