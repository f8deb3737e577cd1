"""Right-hand sides: physical, augmented, neural, and physics with a neural remainder."""

from __future__ import annotations

from physode.rhs.augmented import AugmentedNBody, pair_features
from physode.rhs.base import System
from physode.rhs.constants import Constant
from physode.rhs.hybrid import Hybrid
from physode.rhs.neural import ACTIVATIONS, MLP
from physode.rhs.physical import (
    G_ASTRONOMICAL,
    G_GAUSS,
    HarmonicOscillator,
    Hires,
    Lorenz,
    LotkaVolterra,
    NBody,
    Oregonator,
    Pendulum,
    Pollution,
    Robertson,
    ThreeBody,
    VanDerPol,
    body_columns,
    pair_distances,
)
from physode.rhs.preset import Preset
from physode.rhs.registry import SYSTEMS, build

__all__ = [
    "ACTIVATIONS",
    "G_ASTRONOMICAL",
    "G_GAUSS",
    "MLP",
    "SYSTEMS",
    "AugmentedNBody",
    "Constant",
    "HarmonicOscillator",
    "Hires",
    "Hybrid",
    "Lorenz",
    "LotkaVolterra",
    "NBody",
    "Oregonator",
    "Pendulum",
    "Pollution",
    "Preset",
    "Robertson",
    "System",
    "ThreeBody",
    "VanDerPol",
    "body_columns",
    "build",
    "pair_distances",
    "pair_features",
]
