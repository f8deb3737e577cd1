"""Imports that wait until they are needed: of packages that may be missing, and of a package's own public names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from physode.errors import ConfigError

__all__ = ["check_installed", "import_when_used", "needs"]

_NAMES = {
    "distributed": "Dask",
    "PIL": "Pillow",
    "libsbml": "python-libsbml",
    "sklearn": "scikit-learn",
    "tensorboard": "TensorBoard",
    "yaml": "PyYAML",
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
        raise _missing(package, extra, purpose) from error


def check_installed(package: str, *, extra: str, purpose: str) -> None:
    """Raise as :func:`needs` if a package is not installed, without importing it: asked before long work.

    Parameters
    ----------
    package
        What is imported, such as ``"sklearn"``.
    extra, purpose
        As of :func:`needs`.

    Raises
    ------
    ConfigError
        If the package is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise _missing(package, extra, purpose)


def _missing(package: str, extra: str, purpose: str) -> ConfigError:
    return ConfigError(
        f"{purpose} needs {_NAMES.get(package, package)}; install it with: pip install 'physode[{extra}]'"
    )


class _LazyPackage(ModuleType):
    """A package whose public names are imported when they are first used."""

    _homes: Mapping[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r}; it has {', '.join(self.__all__)}"
            )
        value = getattr(importlib.import_module(self._homes[name]), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds every submodule as an attribute of its package when it has been loaded, and so would
        # put the module physode.fitting.fit over the function of the same name.
        # (physode.estimation.estimate is a module, too, and the function of that name lives in another.)
        if isinstance(value, ModuleType) and name in self._homes:
            if self._homes[name] != value.__name__:
                return
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._homes})


def import_when_used(package: str, homes: Mapping[str, str]) -> None:
    """Let a package import its public names when they are first used, so that its settings do not wait for torch.

    Parameters
    ----------
    package
        Its ``__name__``.
    homes
        The module below it that has each name.
    """
    module = sys.modules[package]
    module.__class__ = _LazyPackage
    module.__dict__["_homes"] = {name: f"{package}.{home}" for name, home in homes.items()}
