"""Right-hand sides: physical, augmented, neural, and physics with a neural remainder."""

from __future__ import annotations

from physode.rhs.base import Preset, Span, System
from physode.rhs.constants import Constant
from physode.rhs.hamiltonian import Hamiltonian, SecondOrder
from physode.rhs.logarithmic_n_body import LogarithmicNBody
from physode.rhs.neural import ACTIVATIONS, MLP, AugmentedNBody, Hybrid, pair_features
from physode.rhs.physical.arenstorf import Arenstorf
from physode.rhs.physical.chemical_kinetics import Hires, Oregonator, Pollution, Robertson
from physode.rhs.physical.lorenz import Lorenz
from physode.rhs.physical.lotka_volterra import LotkaVolterra
from physode.rhs.physical.n_body import G_ASTRONOMICAL, G_GAUSS, NBody, body_columns, pair_distances
from physode.rhs.physical.oscillators import HarmonicOscillator, Pendulum, VanDerPol
from physode.rhs.physical.three_body import ThreeBody
from physode.rhs.registry import SYSTEMS, build

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
    "Span",
    "System",
    "ThreeBody",
    "VanDerPol",
    "body_columns",
    "build",
    "pair_distances",
    "pair_features",
]
