"""ROC and precision-recall curves as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from physode.metrics import averaged, classify
from physode.plotting import compare_curves, plot_precision_recall, plot_roc


def judged(rng, classes=3, lead=1.0, samples=200):
    labels = np.arange(samples) % classes
    outputs = rng.normal(size=(samples, classes))
    outputs[np.arange(samples), labels] += lead
    shares = np.exp(outputs)
    return classify(shares / shares.sum(axis=1, keepdims=True), labels)


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_every_class_and_both_means_are_drawn_with_their_areas(rng, tmp_path):
    roc = judged(rng).roc
    figure = plot_roc(roc, classes=("a", "b", "c"), path=tmp_path / "roc.png")
    areas = [*roc.areas, roc.macro.area, roc.micro.area]
    names = ["a", "b", "c", "macro mean", "micro mean"]
    assert legend(figure) == ["chance"] + [f"{area:.3f}  {name}" for area, name in zip(areas, names, strict=True)]
    drawn = lines(figure.axes[0])[f"{roc.areas[1]:.3f}  b"]
    assert_allclose(drawn.get_data(), [roc.each[1].x, roc.each[1].y])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("false positive rate", "true positive rate")
    assert (tmp_path / "roc.png").stat().st_size > 10_000


def test_precision_is_drawn_as_the_steps_that_average_precision_sums(rng):
    found = judged(rng).precision_recall
    figure = plot_precision_recall(found, classes=("a", "b", "c"))
    drawn = figure.axes[0].get_lines()[0]
    assert drawn.get_drawstyle() == "steps-pre"
    x, y = drawn.get_data()
    assert np.sum(np.diff(x) * y[1:]) == pytest.approx(found.areas[0])


def test_curves_of_several_runs_have_bands_and_deviations(rng):
    mean = averaged([judged(rng) for _ in range(3)])
    figure = plot_roc(mean.roc, classes=mean.classes)
    macro = mean.roc.macro
    assert legend(figure)[-2] == f"{macro.area:.4f} ± {macro.area_deviation:.4f}  macro mean"
    bands = figure.axes[0].collections
    assert len(bands) == 5
    points = np.concatenate([band.get_paths()[0].vertices for band in bands])
    assert points.min() >= 0
    assert points.max() <= 1


def test_good_classifiers_have_their_corner_enlarged(rng):
    enlarged = plot_roc(judged(rng, lead=4.0).roc, classes="abc").axes[0].child_axes
    assert [(axes.get_xlim(), axes.get_ylim()[0]) for axes in enlarged] == [((0.0, 0.2), 0.8)]
    assert plot_roc(judged(rng).roc, classes="abc").axes[0].child_axes == []


def test_many_classes_are_one_grey_bundle(rng):
    roc = judged(rng, classes=20).roc
    figure = plot_roc(roc, classes=[str(i) for i in range(20)])
    assert legend(figure)[-1] == f"{roc.areas.min():.3f} to {roc.areas.max():.3f}  20 classes"
    assert len(legend(figure)) == 4


def test_classes_that_no_sample_has_are_left_out():
    roc = classify([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], [0, 1]).roc
    assert [entry.split("  ")[-1] for entry in legend(plot_roc(roc, classes="abc"))] == [
        "chance", "a", "b", "macro mean", "micro mean",
    ]  # fmt: skip
    only_micro = classify([[0.6, 0.4], [0.8, 0.2]], [0, 0]).roc
    assert len(legend(plot_roc(only_micro, classes="ab"))) == 2


def test_models_are_compared_by_one_curve_each(rng):
    macro = [judged(rng, lead=lead).precision_recall.macro for lead in (1.0, 2.0)]
    figure = compare_curves("precision-recall", {"NODE": macro[0], "ResNet": macro[1]}, title="Mean")
    assert legend(figure) == [f"{macro[0].area:.3f}  NODE", f"{macro[1].area:.3f}  ResNet"]
    assert figure.axes[0].get_title(loc="left") == "Mean"


def test_curves_of_another_kind_and_missing_names_are_refused(rng):
    found = judged(rng)
    with pytest.raises(ValueError, match="`curves` must be of kind 'roc', got 'precision-recall'"):
        plot_roc(found.precision_recall, classes="abc")
    with pytest.raises(ValueError, match="`classes` must hold one name for each of 3 classes, got 2"):
        plot_roc(found.roc, classes="ab")
    with pytest.raises(ValueError, match="`kind` must be one of roc, precision-recall; got 'det'"):
        compare_curves("det", {"NODE": found.roc.micro})
    with pytest.raises(ValueError, match="`curves` must hold at least one curve, got none"):
        compare_curves("roc", {})
