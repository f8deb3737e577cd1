"""Contact sheets, and misclassified images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from physode.datasets.images import Images
from physode.plotting import plot_mistakes, plot_sheet


def class_images(y, *, classes, size=(8, 8), attrs=None, tests=0):
    """Return images of one colour each: red is the number of the image, green that of its class."""
    y = np.asarray(y, dtype=np.int64)
    x = np.zeros((len(y), 3, *size), dtype=np.uint8)
    x[:, 0], x[:, 1] = np.arange(len(y))[:, None, None], y[:, None, None]
    return Images(x=x, y=y, classes=tuple(classes), test=np.arange(len(y)) < tests, attrs=attrs or {})


def mosaic_of(figure):
    return figure.axes[0].images[0].get_array()


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_each_class_has_a_row_with_images_spread_over_all_of_it(tmp_path):
    images = class_images([0, 1] * 10, classes=("disc", "spiral"), attrs={"name": "sky"}, tests=4)
    figure = plot_sheet(images, each=5, path=tmp_path / "sheet.png")
    picture = mosaic_of(figure)
    assert_array_equal(picture[4, 4::9], [[red, 0, 0] for red in (0, 4, 8, 12, 16)])
    assert_array_equal(picture[13, 4::9], [[red, 1, 0] for red in (1, 5, 9, 13, 17)])
    assert names(figure) == ["disc\n10", "spiral\n10"]
    assert figure.get_suptitle() == "sky: 20 images of 8 x 8 pixels, 4 for the test"
    assert (tmp_path / "sheet.png").stat().st_size > 5_000


def test_where_a_class_has_fewer_images_the_sheet_is_white():
    picture = mosaic_of(plot_sheet(class_images([0, 0, 0, 2], classes="abc"), each=10))
    assert picture.shape == (3 * 9, 3 * 9, 3)
    assert (picture[9:18] == 255).all()
    assert (picture[18:, 9:] == 255).all()
    assert_array_equal(picture[20, 2], [3, 2, 0])


def test_of_many_classes_the_first_are_drawn_and_the_title_says_so():
    figure = plot_sheet(class_images(np.arange(100), classes=map(str, range(100))))
    assert names(figure) == [f"{label}\n1" for label in range(20)]
    assert figure.get_suptitle() == "images: 100 images of 8 x 8 pixels, 20 of 100 classes"


def test_large_images_are_drawn_with_fewer_pixels():
    assert mosaic_of(plot_sheet(class_images([0, 1], classes="ab", size=(300, 600)))).shape == (2 * 112, 212, 3)


def test_names_from_a_file_are_no_mathematics():
    figure = plot_sheet(class_images([0, 1], classes=("$x^{", "a" * 50), attrs={"name": "$y_"}))
    figure.canvas.draw()
    assert names(figure) == ["\\$x^{\n1", "a" * 19 + "…\n1"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(
        ValueError, match="`images` must hold at least one image and `each` be at least 1, got 0 and 10"
    ):
        plot_sheet(class_images([], classes="ab"))
    with pytest.raises(ValueError, match="got 1 and 0"):
        plot_sheet(class_images([0], classes="ab"), each=0)


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


def test_each_mistake_has_its_files_name_below(images):
    names = [f"disc/{letter}.fits" for letter in "abcde"]
    figure = plot_mistakes(images, SHARES, LABELS, classes="ab", names=names)
    assert [axes.texts[-1].get_text() for axes in figure.axes if axes.images] == ["d.fits", "b.fits", "c.fits"]
    with pytest.raises(ValueError, match="`names` must be 5 names or none, got 2"):
        plot_mistakes(images, SHARES, LABELS, classes="ab", names=names[:2])


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
