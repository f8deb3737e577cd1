"""Sets of images of galaxies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from physode.simulators.galaxies import (
    CLASSES,
    PARAMETERS,
    Galaxy,
    photograph,
    simulate_galaxies,
    simulate_galaxies_with_parameters,
)
from physode.simulators.galaxies.galaxy import SPIRAL

COUNT = 60


@pytest.fixture(scope="module")
def simulated():
    return simulate_galaxies_with_parameters(COUNT, seed=5)


def test_images_have_three_bands_of_8_bits_and_a_class_each(simulated):
    images, _ = simulated
    assert (images.x.shape, images.x.dtype) == ((COUNT, 3, 32, 32), np.uint8)
    assert (images.y.dtype, images.classes) == (np.int64, CLASSES)
    assert len(images.testing()) + len(images.training()) == COUNT
    assert images.attrs["seed"] == 5
    assert images.attrs["noise"] == 0.03


def test_same_seed_gives_the_same_images_and_another_seed_others(simulated):
    images, _ = simulated
    assert simulate_galaxies(COUNT, seed=5).digest() == images.digest()
    assert simulate_galaxies(COUNT, seed=6).digest() != images.digest()


def test_a_smaller_set_is_the_beginning_of_a_larger_one(simulated):
    images, parameters = simulated
    fewer, fewer_parameters = simulate_galaxies_with_parameters(20, seed=5)
    np.testing.assert_array_equal(fewer.x, images.x[:20])
    np.testing.assert_array_equal(fewer.y, images.y[:20])
    np.testing.assert_array_equal(fewer.test, images.test[:20])
    for name, values in fewer_parameters.items():
        np.testing.assert_array_equal(values, parameters[name][:20])


def test_parameters_are_those_that_the_images_were_made_from(simulated):
    images, parameters = simulated
    assert set(parameters) == set(PARAMETERS)
    assert {values.shape for values in parameters.values()} == {(COUNT,)}
    np.testing.assert_array_equal(parameters["label"], images.y)
    index = int(np.flatnonzero(images.y == SPIRAL)[0])
    own = {name: values[index].item() for name, values in parameters.items() if name != "signal_to_noise"}
    again = photograph(Galaxy(**own), seed=5, index=index, size=32, noise=0.03)
    np.testing.assert_array_equal(again, images.x[index])


def test_all_galaxies_stand_out_of_the_noise(simulated):
    _, parameters = simulated
    assert (parameters["signal_to_noise"] > 20).all()
    assert np.isfinite(parameters["signal_to_noise"]).all()


def test_the_middle_is_bright_and_the_corners_are_sky(simulated):
    shown = simulated[0].x.astype(float).mean(1)
    assert (shown[:, 12:20, 12:20].mean((1, 2)) > 2 * np.median(shown[:, :4, :4], axis=(1, 2))).all()


def test_a_galaxy_is_the_same_on_finer_pixels():
    coarse = simulate_galaxies(15, seed=1, noise=0.0).x.astype(float)
    fine = simulate_galaxies(15, seed=1, noise=0.0, size=64).x.astype(float)
    means = fine.reshape(15, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(means - coarse).mean() < 1.0  # of 255; the asinh of a mean is not the mean of the asinh
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.99


def test_noise_is_in_the_sky_and_nothing_else_changes(simulated):
    quiet, parameters = simulate_galaxies_with_parameters(COUNT, seed=5, noise=0.0)
    difference = simulated[0].x.astype(float) - quiet.x
    faint = quiet.x < 20
    assert difference[faint].std() / 255 == pytest.approx(0.03, rel=0.1)
    assert abs(difference.mean()) < 0.5
    assert (parameters["signal_to_noise"] == math.inf).all()


def test_balanced_sets_have_all_classes_equally_often():
    counts = np.bincount(simulate_galaxies(50, balanced=True, size=8).y, minlength=5)
    assert counts.min() >= 8
    assert counts.max() <= 12


def test_progress_rises_to_the_end():
    told = []
    simulate_galaxies(30, size=8, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be at least 1 galaxy, got 0"),
        ({"size": 4}, "`size` must be from 8 to 256 pixels, got 4"),
        ({"size": 1000}, "`size` must be from 8 to 256 pixels, got 1000"),
        ({"noise": -0.1}, "`noise` must be from 0 to 1, full scale, got -0.1"),
        ({"noise": math.nan}, "`noise` must be from 0 to 1, full scale, got nan"),
        ({"test_fraction": 1.0}, "`test_fraction` must be from 0 to below 1, got 1.0"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.") + "$"):
        simulate_galaxies(**{"count": 1, **arguments})
