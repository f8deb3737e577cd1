"""The models of irregular series by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from physode.errors import ConfigError
from physode.models.gap_rnn import GapRNN
from physode.models.latent_ode import LatentODE
from physode.models.ode_rnn import ODERNN
from physode.models.series_model import SeriesModel

__all__ = ["SERIES_MODELS", "build_series_model", "series_model_options"]

SERIES_MODELS: dict[str, Callable[..., SeriesModel]] = {
    "latent-ode": LatentODE,
    "ode-rnn": ODERNN,
    "rnn": functools.partial(GapRNN, cell="rnn"),
    "gru": functools.partial(GapRNN, cell="gru"),
}
"""Each from the number of channels and options of its own."""


def series_model_options(name: str) -> set[str]:
    """Return the names of the options that a model has.

    Raises
    ------
    ConfigError
        If there is no model of this name.
    """
    if name not in SERIES_MODELS:
        raise ConfigError(f"`model` must be one of {', '.join(SERIES_MODELS)}; got {name!r}")
    return set(inspect.signature(SERIES_MODELS[name]).parameters) - {"channels", "cell"}


def build_series_model(name: str, channels: int, **options: Any) -> SeriesModel:
    """Build a model with weights from torch's global generator: seed it before.

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
    known = series_model_options(name)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            raise ConfigError(f"the model {name} has no `{key}`; it has {', '.join(sorted(known))}")
    widths = [each for value in given.values() for each in (value if isinstance(value, Sequence) else ())]
    sizes = [given[key] for key in ("latent", "hidden") if key in given]
    if any(each < 1 for each in (*widths, *sizes)):
        raise ConfigError(f"widths of the model {name} must be at least 1, got {given}")
    try:
        return SERIES_MODELS[name](channels, **given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
