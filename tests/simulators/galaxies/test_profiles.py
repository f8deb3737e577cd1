"""Brightness profiles against integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from physode.simulators.galaxies.camera import plane_of
from physode.simulators.galaxies.profiles import bar, edge_on_disc, exponential_disc, sersic, sersic_b


@pytest.mark.parametrize(("n", "published"), [(1.0, 1.67834699), (4.0, 7.66924944)])
def test_sersic_b_has_its_published_values(n, published):
    assert sersic_b(n) == pytest.approx(published, rel=1e-8)


@pytest.mark.parametrize("n", [0.7, 1.0, 2.5, 4.0])
def test_half_of_a_sersic_profile_lies_within_its_half_light_ellipse(n):
    q, half_light = 0.4, 3.0

    def ring(radius):
        return 2 * math.pi * q * radius * float(sersic(np.array(radius), n=n, half_light=half_light, q=q))

    inside, outside = quad(ring, 0, half_light)[0], quad(ring, half_light, math.inf)[0]
    assert inside == pytest.approx(0.5, rel=1e-6)
    assert outside == pytest.approx(0.5, rel=1e-6)


def test_an_exponential_disc_is_a_sersic_profile_of_index_one():
    radius = np.linspace(0, 10, 7)
    disc = exponential_disc(radius, scale_length=2.0, q=0.3)
    np.testing.assert_allclose(sersic(radius, n=1.0, half_light=2.0 * sersic_b(1.0), q=0.3), disc, rtol=1e-9)


@pytest.mark.parametrize(("x", "z"), [(0.0, 0.0), (1e-6, 0.1), (1.5, 0.0), (-4.0, 0.3), (2.0, -1.2)])
def test_an_edge_on_disc_is_its_density_along_the_line_of_sight(x, z):
    h, height = 2.0, 0.5

    def density(y):
        vertical = 1 / math.cosh(z / height) ** 2
        return math.exp(-math.hypot(x, y) / h) * vertical / (4 * math.pi * h**2 * height)

    seen = 2 * quad(density, 0, math.inf)[0]
    found = edge_on_disc(np.array([x]), np.array([z]), scale_length=h, height=height)
    assert found[0] == pytest.approx(seen, rel=1e-6)


def test_far_above_an_edge_on_disc_nothing_overflows():
    assert edge_on_disc(np.array([0.0]), np.array([1e4]), scale_length=1.0, height=0.1)[0] == 0


def test_a_bar_has_light_one_and_ends_at_its_length():
    plane = plane_of(64)
    image = bar(*plane.frame(x=1.0, y=2.0, angle=30.0), length=8.0, q=0.3)
    assert image.sum() * plane.step**2 == pytest.approx(1.0, rel=1e-3)
    end = np.array([7.9, 8.1])
    inside, outside = bar(end, np.zeros(2), length=8.0, q=0.3)
    assert inside > 0 == outside
