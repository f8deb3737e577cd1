"""Atmosphere, noise and the stretch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import fft

from physode.simulators.galaxies.camera import convolve, exposure, moffat, pixels, record, signal_to_noise, stretch


def test_the_point_spread_function_loses_no_light_and_moves_none():
    scene = np.random.default_rng(0).exponential(size=(3, 48, 48))
    blurred = convolve(scene, moffat(48, fwhm=1.5, step=0.3))
    np.testing.assert_allclose(blurred.sum((1, 2)), scene.sum((1, 2)), rtol=1e-12)
    assert blurred.std() < 0.5 * scene.std()


def test_a_star_has_half_its_height_at_half_the_width():
    kernel = fft.irfft2(moffat(240, fwhm=2.0, step=0.05))
    assert kernel[0, 20] / kernel[0, 0] == pytest.approx(0.5, rel=1e-6)
    assert kernel[20, 0] == pytest.approx(kernel[0, 20])


def test_pixels_are_means_of_fine_pixels_without_the_margins():
    fine = np.arange(36.0).reshape(1, 36, 1) + np.zeros((1, 36, 36))
    found = pixels(fine)
    assert found.shape == (1, 8, 8)
    np.testing.assert_allclose(found[0, :, 0], 3 * np.arange(2, 10) + 1)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_an_empty_pixel_is_shown_with_the_noise_asked_for(noise):
    empty = record(np.zeros((3, 256, 256)), noise=noise, rng=np.random.default_rng(1))
    # Values below black are cut off, and the asinh is a little flatter than a line: less than a tenth.
    assert stretch(empty).std() / 255 == pytest.approx(noise, rel=0.1)


def test_noise_is_that_of_photons_and_camera():
    brightness = np.full((1, 400, 400), 3.0)
    found = record(brightness, noise=0.05, rng=np.random.default_rng(2))
    sky = exposure(0.05)
    assert found.mean() == pytest.approx(3.0, abs=0.001)
    assert found.var() == pytest.approx((sky * 4.0 + 25.0) / sky**2, rel=0.02)


def test_without_noise_the_brightness_is_recorded_as_it_is():
    brightness = np.random.default_rng(0).exponential(size=(3, 8, 8))
    np.testing.assert_array_equal(record(brightness, noise=0.0, rng=np.random.default_rng(0)), brightness)


def test_signal_to_noise_is_that_of_repeated_exposures():
    sums = record(np.full((4000, 20, 1), 0.7), noise=0.1, rng=np.random.default_rng(3)).sum((1, 2))
    assert signal_to_noise(0.7, 20, noise=0.1) == pytest.approx(sums.mean() / sums.std(), rel=0.05)
    assert signal_to_noise(0.7, 20, noise=0.0) == math.inf


def test_the_stretch_keeps_colours_and_order():
    levels = np.geomspace(0.05, 1e4, 60)
    shown = stretch(np.array([1.2, 1.0, 0.7])[:, None, None] * levels[None, None]).astype(float)[:, 0]
    assert (np.diff(shown[0]) >= 0).all()
    bright = levels > 5
    np.testing.assert_allclose(shown[2, bright] / shown[0, bright], 0.7 / 1.2, atol=0.02)
    assert shown[0, -1] == 255  # and what is above full scale is scaled down as a whole


def test_the_stretch_is_the_published_function():
    shown = stretch(np.full((3, 1, 1), 0.8)) / 255
    level = 2.0 * 0.8 + 0.06
    assert shown[0, 0, 0] == pytest.approx(math.asinh(5.0 * level) / 5.0, abs=0.5 / 255)


def test_pixels_darker_than_black_are_black():
    assert stretch(np.full((3, 1, 1), -1.0)).tolist() == [[[0]], [[0]], [[0]]]
    assert stretch(np.full((3, 1, 1), -0.03)).max() == 0  # where asinh(0) / 0 would be
