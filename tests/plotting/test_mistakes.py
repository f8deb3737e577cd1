"""Misclassified images on one sheet."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from physode.plotting import plot_mistakes

SHARES = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.01, 0.99], [0.4, 0.6]])
LABELS = np.array([0, 1, 0, 0, 1])


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, size=(5, 3, 8, 8), dtype=np.uint8)


def test_the_surest_mistakes_come_first_with_both_classes(images, tmp_path):
    figure = plot_mistakes(images, SHARES, LABELS, classes=("disc", "spiral"), path=tmp_path / "mistakes.png")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [[text.get_text() for text in axes.texts] for axes in drawn] == [
        ["disc", "spiral, 99 %"],
        ["spiral", "disc, 80 %"],
        ["disc", "spiral, 70 %"],
    ]
    assert_array_equal(drawn[0].images[0].get_array(), images[3].transpose(1, 2, 0))
    assert figure.get_suptitle() == "Misclassified: 3 of 5 images"
    assert (tmp_path / "mistakes.png").stat().st_size > 5_000


def test_only_so_many_are_drawn(images):
    figure = plot_mistakes(images, SHARES, LABELS, classes="ab", most=2)
    assert sum(bool(axes.images) for axes in figure.axes) == 2
    assert figure.get_suptitle() == "Misclassified: 3 of 5 images, the surest 2"


def test_a_classifier_without_mistakes_has_an_empty_sheet(images):
    figure = plot_mistakes(images, SHARES, SHARES.argmax(axis=1), classes="ab")
    assert not any(axes.images for axes in figure.axes)
    assert figure.get_suptitle() == "Misclassified: 0 of 5 images"


def test_what_does_not_belong_together_is_refused(images):
    with pytest.raises(ValueError, match=r"`images` must be uint8 \(5, 3, H, W\), got uint8 \(4, 3, 8, 8\)"):
        plot_mistakes(images[:4], SHARES, LABELS, classes="ab")
    with pytest.raises(ValueError, match=r"`images` must be uint8 \(5, 3, H, W\), got float64"):
        plot_mistakes(images / 255, SHARES, LABELS, classes="ab")
    with pytest.raises(ValueError, match="`classes` must hold 2 names, and `most` be at least 1; got 3 and 24"):
        plot_mistakes(images, SHARES, LABELS, classes="abc")
    with pytest.raises(ValueError, match="`most` be at least 1; got 2 and 0"):
        plot_mistakes(images, SHARES, LABELS, classes="ab", most=0)
