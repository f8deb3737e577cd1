"""Differential equations from neural networks to pure physics, solved and fitted with PyTorch.

The public names are loaded when they are first used, so that ``import physode`` (and with it ``physode --help``)
waits for neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physode import (
        compat,
        datasets,
        ensembles,
        errors,
        estimation,
        experiments,
        fitting,
        plotting,
        rhs,
        series,
        simulators,
        sweeps,
        training,
    )
    from physode.compat import odeint, odeint_adjoint, odeint_dense, odeint_event, odesolve, odesolve_adjoint
    from physode.ensembles.fit import fit_ensemble
    from physode.ensembles.simulate import simulate_ensemble
    from physode.estimation.fit import fit
    from physode.estimation.posterior import log_posterior
    from physode.events.event import Event
    from physode.gradients import ACA, MALI, Adjoint, Naive
    from physode.regularized_n_body import solve_regularised
    from physode.sink import Sink
    from physode.solution import Solution, Stats
    from physode.solve import solve
    from physode.solvers.callbacks import Moment, progress_bar
    from physode.status import Status
    from physode.sweeps.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "ACA",
    "MALI",
    "Adjoint",
    "Event",
    "Moment",
    "Naive",
    "Sink",
    "Solution",
    "Stats",
    "Status",
    "__version__",
    "compat",
    "datasets",
    "ensembles",
    "errors",
    "estimation",
    "experiments",
    "fit",
    "fit_ensemble",
    "fitting",
    "log_posterior",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "odesolve",
    "odesolve_adjoint",
    "plotting",
    "progress_bar",
    "rhs",
    "series",
    "simulate_ensemble",
    "simulators",
    "solve",
    "solve_regularised",
    "sweep",
    "sweeps",
    "training",
]

_MODULES = {
    "compat",
    "datasets",
    "ensembles",
    "errors",
    "estimation",
    "experiments",
    "fitting",
    "plotting",
    "rhs",
    "series",
    "simulators",
    "sweeps",
    "training",
}

_HOMES = {
    "ACA": "physode.gradients",
    "MALI": "physode.gradients",
    "Adjoint": "physode.gradients",
    "Event": "physode.events.event",
    "Moment": "physode.solvers.callbacks",
    "Naive": "physode.gradients",
    "Sink": "physode.sink",
    "Solution": "physode.solution",
    "Stats": "physode.solution",
    "Status": "physode.status",
    "fit": "physode.estimation.fit",
    "fit_ensemble": "physode.ensembles.fit",
    "log_posterior": "physode.estimation.posterior",
    "odeint": "physode.compat",
    "odeint_adjoint": "physode.compat",
    "odeint_dense": "physode.compat",
    "odeint_event": "physode.compat",
    "odesolve": "physode.compat",
    "odesolve_adjoint": "physode.compat",
    "progress_bar": "physode.solvers.callbacks",
    "simulate_ensemble": "physode.ensembles.simulate",
    "solve": "physode.solve",
    "solve_regularised": "physode.regularized_n_body",
    "sweep": "physode.sweeps.sweep",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"physode.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'physode' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``physode.solve`` the function.

    The import system binds every submodule as an attribute of its package when it has been loaded, and so would put
    the module ``physode.solve`` over the function of the same name.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Go by name, as other modules do, to where functions that speak of this one are sent."""
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
