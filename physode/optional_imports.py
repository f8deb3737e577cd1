"""Packages that only some of physode needs: imported where they are, named where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from physode.errors import ConfigError

__all__ = ["needs"]

_NAMES = {
    "distributed": "Dask",
    "PIL": "Pillow",
    "sklearn": "scikit-learn",
    "tensorboard": "TensorBoard",
}


def needs(module: str, *, extra: str, purpose: str = "this") -> ModuleType:
    """Import a module of a package that physode's extra `extra` brings.

    Parameters
    ----------
    module
        Its name, such as ``"sklearn.metrics"``.
    extra
        The extra of physode that has the package.
    purpose
        What needs it, the beginning of the error's sentence.

    Raises
    ------
    ConfigError
        If the package is not installed: one line with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise  # the package is there, and broken
        name = _NAMES.get(package, package)
        raise ConfigError(f"{purpose} needs {name}; install it with: pip install 'physode[{extra}]'") from error
