"""Classes, their shares, and the galaxies for testing."""

from __future__ import annotations

import numpy as np
import pytest

from physode.simulators.galaxies import galaxy
from physode.simulators.galaxies.galaxy import CLASSES, FREQUENCIES, labels


def test_frequencies_are_those_of_the_paper_by_class():
    published = {"spiral": 7806, "edge-on": 3903, "cigar-shaped": 578, "in-between": 8069, "completely round": 8434}
    assert dict(zip(CLASSES, FREQUENCIES, strict=True)) == published
    assert sum(FREQUENCIES) == 28790


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [50, 1000, 28790])
@pytest.mark.parametrize("balanced", [False, True])
def test_every_number_of_galaxies_has_the_classes_in_their_shares(seed, count, balanced):
    shares = np.full(5, 0.2) if balanced else np.array(FREQUENCIES) / 28790
    found = np.bincount(labels(count, seed=seed, balanced=balanced), minlength=5)
    assert np.abs(found - count * shares).max() < 4


def test_the_class_of_a_galaxy_does_not_depend_on_how_many_follow():
    np.testing.assert_array_equal(labels(100, seed=3, balanced=False), labels(1000, seed=3, balanced=False)[:100])


def test_another_seed_begins_elsewhere():
    assert not np.array_equal(labels(100, seed=3, balanced=True), labels(100, seed=4, balanced=True))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.9])
def test_every_class_gives_its_share_for_testing(fraction):
    y = labels(3000, seed=0, balanced=False)
    test = galaxy.test_split(y, fraction=fraction)
    for label in range(5):
        assert abs(test[y == label].sum() - fraction * (y == label).sum()) < 1


def test_whether_a_galaxy_is_for_testing_does_not_depend_on_how_many_follow():
    y = labels(3000, seed=0, balanced=False)
    np.testing.assert_array_equal(galaxy.test_split(y[:200], fraction=0.3), galaxy.test_split(y, fraction=0.3)[:200])
