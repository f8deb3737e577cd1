"""Galaxies as drawn: shape, thickness, arms, light, colour."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physode.simulators.galaxies import Galaxy
from physode.simulators.galaxies.camera import plane_of
from physode.simulators.galaxies.galaxy import (
    CIGAR,
    CLASSES,
    EDGE_ON,
    IN_BETWEEN,
    PARAMETERS,
    ROUND,
    SCALE_LENGTHS,
    SPIRAL,
    columns,
    draw_galaxy,
)
from physode.simulators.galaxies.profiles import arm_density, arm_phase, arm_start, knots
from physode.simulators.galaxies.rendering import bands, render

PLANE = plane_of(64)
# Small enough that next to nothing of it lies outside of the field.
SMOOTH = Galaxy(
    label=IN_BETWEEN,
    x=0.7,
    y=-1.1,
    position_angle=25.0,
    radius=3.0,
    axis_ratio=0.5,
    index=1.0,
    brightness=20.0,
    colour=0.8,
    psf=1.3,
)
DISC = replace(SMOOTH, label=EDGE_ON, radius=4.0, inclination=90.0, thickness=0.3)
ARMS = replace(
    SMOOTH,
    label=SPIRAL,
    inclination=60.0,
    bulge_fraction=0.1,
    bulge_radius=0.6,
    bulge_index=1.0,
    bulge_colour=0.8,
    arms=2,
    pitch=20.0,
    winding=1.0,
    arm_angle=40.0,
    arm_contrast=0.9,
    arm_sharpness=3.0,
    young=0.4,
)
BARRED = replace(ARMS, bar_fraction=0.2, bar_length=2.0)


def rng():
    return np.random.default_rng(0)


def moments(image):
    """Centre (x, y), standard deviations along the minor and the major axis, and the major axis's angle."""
    share = image / image.sum()
    x, y = (share * PLANE.x).sum(), (share * PLANE.y).sum()
    right, down = PLANE.x - x, PLANE.y - y
    matrix = [[(share * a * b).sum() for a in (right, down)] for b in (right, down)]
    values, vectors = np.linalg.eigh(matrix)
    return (x, y), np.sqrt(values), math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180


def test_second_moments_give_axis_ratio_angle_and_centre_of_a_smooth_galaxy():
    centre, (minor, major), angle = moments(render(SMOOTH, PLANE, rng())[1])
    assert minor / major == pytest.approx(0.5, rel=0.01)
    assert angle == pytest.approx(25.0, abs=0.1)
    assert centre == pytest.approx((0.7, -1.1), abs=0.01)


def test_second_moments_give_the_thickness_of_an_edge_on_disc():
    _, (minor, _), angle = moments(render(DISC, PLANE, rng())[1])
    height = 0.3 * 4.0 / SCALE_LENGTHS
    assert minor == pytest.approx(math.pi * height / math.sqrt(12), rel=0.01)  # of sech^2(z / height)
    assert angle == pytest.approx(25.0, abs=0.1)


@pytest.mark.parametrize("galaxy", [SMOOTH, DISC, ARMS, BARRED])
def test_all_of_a_galaxy_s_light_is_drawn(galaxy):
    total = render(galaxy, PLANE, rng())[1].sum() * PLANE.step**2
    assert total == pytest.approx(galaxy.flux, rel=0.03)


def test_flux_gives_the_mean_brightness_within_the_half_light_ellipse():
    image = render(SMOOTH, PLANE, rng())[1]
    u, v = PLANE.frame(x=SMOOTH.x, y=SMOOTH.y, angle=SMOOTH.position_angle)
    inside = np.hypot(u, v / 0.5) < 3.0
    assert -2.5 * math.log10(image[inside].mean()) == pytest.approx(20.0, abs=0.02)


def test_scale_length_and_half_light_radius_of_a_disc_agree():
    assert (1 + SCALE_LENGTHS) * math.exp(-SCALE_LENGTHS) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("arms", [2, 3, 4])
@pytest.mark.parametrize("winding", [-1.0, 1.0])
def test_crests_of_the_arms_climb_with_their_pitch(arms, winding):
    galaxy = replace(ARMS, arms=arms, winding=winding)
    angle = np.linspace(-math.pi, math.pi, 36_000, endpoint=False)

    def crests(radius):
        density = arm_density(np.full_like(angle, radius), angle, galaxy)
        return angle[(density > np.roll(density, 1)) & (density >= np.roll(density, -1))]

    inner, outer = crests(3.0), crests(3.03)
    assert len(inner) == len(outer) == arms
    climbed = (outer[:, None] - inner + math.pi) % (2 * math.pi) - math.pi
    step = climbed.flat[np.abs(climbed).argmin()]
    assert math.log(3.03 / 3.0) / step == pytest.approx(winding * math.tan(math.radians(20.0)), rel=0.02)


@pytest.mark.parametrize("radius", [0.1, 2.0, 9.0])
def test_arms_leave_the_mean_over_a_circle_as_it_is(radius):
    angle = np.linspace(-math.pi, math.pi, 1000, endpoint=False)
    assert arm_density(np.full_like(angle, radius), angle, BARRED).mean() == pytest.approx(1.0, abs=1e-9)


def test_arms_begin_at_the_bar_s_ends():
    assert arm_start(BARRED) == 2.0
    ends = arm_phase(np.full(2, 2.0), np.array([0.0, math.pi]), BARRED)
    np.testing.assert_allclose(np.cos(ends), 1.0)


def test_star_forming_regions_lie_along_the_arms():
    radius, angle, share = knots(ARMS, rng())
    assert share.sum() == pytest.approx(1.0)
    assert (np.cos(arm_phase(radius, angle, ARMS)) > 0.6).all()
    assert (radius >= arm_start(ARMS)).all()


def test_star_forming_regions_are_seen_on_the_arms_that_are_drawn():
    even = replace(ARMS, young=1.0, bulge_fraction=0.0, arm_contrast=1.0, arm_sharpness=4.0)
    u, v = PLANE.frame(x=even.x, y=even.y, angle=even.position_angle)
    radius = np.hypot(u, v / 0.5)
    phase = arm_phase(radius, np.arctan2(v / 0.5, u) - math.radians(even.arm_angle), even)
    image = render(even, PLANE, rng())[1]
    smooth = render(replace(even, arm_contrast=0.0), PLANE, rng())[1]
    ring = (radius > 3.0) & (radius < 5.0)
    on, off = ring & (np.cos(phase) > 0.8), ring & (np.cos(phase) < -0.8)
    assert image[on].mean() > 5 * image[off].mean()
    assert smooth[on].mean() > 1.3 * smooth[off].mean()  # only the regions are left


def test_dust_dims_and_reddens_the_middle_of_a_disc():
    clear, dusty = (render(replace(DISC, dust=depth, dust_offset=0.0), PLANE, rng()) for depth in (0.0, 2.0))
    ratio = dusty / clear
    middle = np.unravel_index(clear[1].argmax(), clear[1].shape)
    i, r, g = ratio[(slice(None), *middle)]
    assert 1 > i > r > g > 0
    assert ratio[1].max() > 0.99


def test_points_keep_their_light_and_their_place():
    x, y, flux = np.array([1.23, -4.0]), np.array([0.4, 3.3]), np.array([2.0, 1.0])
    image = PLANE.points(x, y, flux) * PLANE.step**2
    assert image.sum() == pytest.approx(3.0)
    assert (image * PLANE.x).sum() == pytest.approx((flux * x).sum())
    assert (image * PLANE.y).sum() == pytest.approx((flux * y).sum())


def test_points_outside_of_the_field_are_left_out():
    assert PLANE.points(np.array([1e3]), np.array([0.0]), np.array([1.0])).sum() == 0


def test_old_stars_are_red_and_young_ones_blue():
    old, young = bands(0.8), bands(0.2)
    assert old[0] > old[1] > old[2]
    assert young[0] < young[1] < young[2]
    assert -2.5 * math.log10(old[2] / young[2]) == pytest.approx(0.6)


@pytest.mark.parametrize("label", range(5))
def test_drawn_galaxies_are_what_their_class_says(label):
    drawn = [draw_galaxy(label, np.random.default_rng(seed)) for seed in range(100)]
    q = np.array([galaxy.axis_ratio for galaxy in drawn])
    ranges = {ROUND: (0.84, 1), IN_BETWEEN: (0.38, 0.84), CIGAR: (0.18, 0.35), EDGE_ON: (0, 0.2), SPIRAL: (0.4, 1)}
    low, high = ranges[label]
    assert ((q >= low) & (q <= high)).all()
    assert {galaxy.label for galaxy in drawn} == {label}
    assert all(galaxy.has_disc == (label in {EDGE_ON, SPIRAL}) for galaxy in drawn)
    assert all((galaxy.arms >= 2) == (label == SPIRAL) for galaxy in drawn)
    image = render(drawn[0], PLANE, rng())
    assert np.isfinite(image).all()
    assert (image >= 0).all()


def test_every_parameter_has_a_column_a_unit_and_a_description():
    table = columns([SMOOTH, ARMS])
    assert set(PARAMETERS) == {*table, "signal_to_noise"}
    assert all(each["description"] and set(each) == {"unit", "description"} for each in PARAMETERS.values())
    assert table["arms"].tolist() == [0, 2]
    assert math.isnan(table["pitch"][0])
    assert table["radius"].dtype == np.float64
    assert len(CLASSES) == 5
