"""Right-hand sides: physical, augmented, neural, and physics with a neural remainder."""

from __future__ import annotations

from physode.rhs.augmented import AugmentedNBody, pair_features
from physode.rhs.base import System
from physode.rhs.constants import Constant
from physode.rhs.hamiltonian import Hamiltonian
from physode.rhs.hybrid import Hybrid
from physode.rhs.logarithmic import LogarithmicNBody
from physode.rhs.neural import ACTIVATIONS, MLP
from physode.rhs.physical import (
    G_ASTRONOMICAL,
    G_GAUSS,
    Arenstorf,
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
from physode.rhs.second_order import SecondOrder

__all__ = [
    "ACTIVATIONS",
    "G_ASTRONOMICAL",
    "G_GAUSS",
    "MLP",
    "SYSTEMS",
    "Arenstorf",
    "AugmentedNBody",
    "Constant",
    "Hamiltonian",
    "HarmonicOscillator",
    "Hires",
    "Hybrid",
    "LogarithmicNBody",
    "Lorenz",
    "LotkaVolterra",
    "NBody",
    "Oregonator",
    "Pendulum",
    "Pollution",
    "Preset",
    "Robertson",
    "SecondOrder",
    "System",
    "ThreeBody",
    "VanDerPol",
    "body_columns",
    "build",
    "pair_distances",
    "pair_features",
]
