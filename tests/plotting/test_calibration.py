"""Calibration as a picture."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from physode.metrics import calibrate
from physode.plotting import plot_calibration


def test_accuracy_is_drawn_against_confidence_over_the_number_of_samples(tmp_path):
    sure = np.repeat([0.55, 0.95], [4, 60])
    labels = np.r_[0, 1, 1, 1, np.zeros(60, int)]
    found = calibrate(np.stack([sure, 1 - sure], axis=1), labels, bins=10)
    figure = plot_calibration(found, path=tmp_path / "calibration.png")
    upper, lower = figure.axes
    assert_allclose(upper.get_lines()[1].get_data(), [[0.55, 0.95], [0.25, 1.0]])
    assert_array_equal([bar.get_height() for bar in lower.patches], found.counts)
    assert upper.get_legend().get_title().get_text() == f"expected calibration error {found.error:.3f}"
    assert (tmp_path / "calibration.png").stat().st_size > 5_000
