"""Estimation of the constants of anybody's equation from what was observed, in any number of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.estimation.bands import Bands, Curve, bands
    from physode.estimation.bootstrap import Bootstrap, bootstrap
    from physode.estimation.estimate import Constant, Estimate
    from physode.estimation.fit import estimate, fit
    from physode.estimation.identifiability import Identifiability, identifiability
    from physode.estimation.posterior import LogPosterior, log_posterior
    from physode.estimation.profile_likelihood import Profile, profile
    from physode.estimation.residual_tests import ResidualTest, residual_tests
    from physode.estimation.sampling import Posterior, sample

__all__ = [
    "Bands",
    "Bootstrap",
    "Constant",
    "Curve",
    "Estimate",
    "Identifiability",
    "LogPosterior",
    "Posterior",
    "Profile",
    "ResidualTest",
    "bands",
    "bootstrap",
    "estimate",
    "fit",
    "identifiability",
    "log_posterior",
    "profile",
    "residual_tests",
    "sample",
]

import_when_used(
    __name__,
    {
        "Bands": "bands",
        "Bootstrap": "bootstrap",
        "Constant": "estimate",
        "Curve": "bands",
        "Estimate": "estimate",
        "Identifiability": "identifiability",
        "LogPosterior": "posterior",
        "Posterior": "sampling",
        "Profile": "profile_likelihood",
        "ResidualTest": "residual_tests",
        "bands": "bands",
        "bootstrap": "bootstrap",
        "estimate": "fit",
        "fit": "fit",
        "identifiability": "identifiability",
        "log_posterior": "posterior",
        "profile": "profile_likelihood",
        "residual_tests": "residual_tests",
        "sample": "sampling",
    },
)
