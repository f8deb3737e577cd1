"""Confusion matrices, calibration and accuracies as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from physode.metrics import calibrate
from physode.plotting import plot_accuracies, plot_calibration, plot_confusion


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_cells_have_the_share_of_the_true_class_and_the_count(tmp_path):
    figure = plot_confusion([[30, 10], [0, 5]], classes=("disc", "spiral"), path=tmp_path / "confusion.png")
    axes = figure.axes[0]
    assert written(axes) == ["75.0 %", "30", "25.0 %", "10", "0 %", "0", "100 %", "5"]
    assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "predicted class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["disc", "spiral"]
    assert (tmp_path / "confusion.png").stat().st_size > 5_000


def test_mean_counts_have_a_digit_behind_the_point():
    assert written(plot_confusion([[7.25, 1.0], [0.5, 1.5]], classes=("a", "b")).axes[0])[1::2] == [
        "7.2", "1", "0.5", "1.5",
    ]  # fmt: skip


def test_a_class_without_samples_is_grey_and_says_so():
    axes = plot_confusion([[3, 0], [0, 0]], classes=("a", "b")).axes[0]
    assert np.ma.masked_invalid(axes.images[0].get_array()).mask.tolist() == [[False, False], [True, True]]
    assert written(axes)[4::2] == ["no samples", "no samples"]


@pytest.mark.parametrize(("size", "texts"), [(12, 288), (20, 20), (60, 0)])
def test_many_classes_have_fewer_words_a_cell(size, texts):
    figure = plot_confusion(np.diag(np.arange(1, size + 1)), classes=[f"class {i}" for i in range(size)])
    assert len(figure.axes[0].texts) == texts
    assert len(figure.axes[0].get_yticklabels()) == size


def test_names_of_hundreds_of_classes_are_thinned_out():
    axes = plot_confusion(np.eye(300), classes=[str(i) for i in range(300)]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:3] == ["0", "3", "6"]


@pytest.mark.parametrize("size", [2, 5, 25])
def test_all_words_are_inside_the_picture(size):
    figure = plot_confusion(np.eye(size), classes=[f"a rather long name {i}" for i in range(size)])
    figure.canvas.draw()
    tight = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert tight.x0 >= 0
    assert tight.y0 >= 0
    assert tight.x1 <= width
    assert tight.y1 <= height


def test_names_from_files_are_no_mathematics():
    plot_confusion(np.eye(2), classes=("$\\frac{", "a" * 80)).canvas.draw()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"`confusion` must have shape \(2, 2\) for 2 classes, got \(3, 3\)"),
        ([[1, -1], [0, 1]], "`confusion` must hold counts, at least 0; got -1"),
        ([[1, np.nan], [0, 1]], "`confusion` must hold counts"),
    ],
)
def test_what_is_no_confusion_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        plot_confusion(matrix, classes=("a", "b"))


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


def test_every_run_is_a_point_beside_mean_and_deviation(tmp_path):
    values = [0.94, 0.95, 0.95, 0.96]
    figure = plot_accuracies({"NODE18": values, "ResNet18": [0.93]}, path=tmp_path / "accuracies.png")
    axes = figure.axes[0]
    points = axes.get_lines()[0]
    assert_allclose(points.get_ydata(), np.multiply(values, 100))
    assert len(set(points.get_xdata())) == 4
    assert [text.get_text() for text in axes.texts] == [f"95.00\nsd {np.std([94, 95, 95, 96], ddof=1):.2f}", "93.00"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["NODE18", "ResNet18"]
    assert (tmp_path / "accuracies.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("accuracies", "message"),
    [
        ({}, "`accuracies` must hold at least one model, got none"),
        ({"NODE18": []}, r"`accuracies` of 'NODE18' must be shares from 0 to 1, one a run; got \[\]"),
        ({"NODE18": [95.0]}, "`accuracies` of 'NODE18' must be shares from 0 to 1"),
    ],
)
def test_no_runs_and_percents_are_refused(accuracies, message):
    with pytest.raises(ValueError, match=message):
        plot_accuracies(accuracies)
