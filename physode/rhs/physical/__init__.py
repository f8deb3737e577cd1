"""Right-hand sides known from physics, one system a file."""

from __future__ import annotations

from physode.rhs.physical.arenstorf import Arenstorf
from physode.rhs.physical.harmonic_oscillator import HarmonicOscillator
from physode.rhs.physical.hires import Hires
from physode.rhs.physical.lorenz import Lorenz
from physode.rhs.physical.lotka_volterra import LotkaVolterra
from physode.rhs.physical.n_body import G_ASTRONOMICAL, G_GAUSS, NBody, body_columns, pair_distances
from physode.rhs.physical.oregonator import Oregonator
from physode.rhs.physical.pendulum import Pendulum
from physode.rhs.physical.pollution import Pollution
from physode.rhs.physical.robertson import Robertson
from physode.rhs.physical.three_body import ThreeBody
from physode.rhs.physical.van_der_pol import VanDerPol

__all__ = [
    "G_ASTRONOMICAL",
    "G_GAUSS",
    "Arenstorf",
    "HarmonicOscillator",
    "Hires",
    "Lorenz",
    "LotkaVolterra",
    "NBody",
    "Oregonator",
    "Pendulum",
    "Pollution",
    "Robertson",
    "ThreeBody",
    "VanDerPol",
    "body_columns",
    "pair_distances",
]
