"""A contact sheet shows images of each class in its row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from physode.datasets.images import Images
from physode.plotting import plot_sheet


def make(y, *, classes, size=(8, 8), attrs=None, tests=0):
    """Return images of one colour each: red is the number of the image, green that of its class."""
    y = np.asarray(y, dtype=np.int64)
    x = np.zeros((len(y), 3, *size), dtype=np.uint8)
    x[:, 0], x[:, 1] = np.arange(len(y))[:, None, None], y[:, None, None]
    return Images(x=x, y=y, classes=tuple(classes), test=np.arange(len(y)) < tests, attrs=attrs or {})


def drawn(figure):
    return figure.axes[0].images[0].get_array()


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_each_class_has_a_row_with_images_spread_over_all_of_it(tmp_path):
    images = make([0, 1] * 10, classes=("disc", "spiral"), attrs={"name": "sky"}, tests=4)
    figure = plot_sheet(images, each=5, path=tmp_path / "sheet.png")
    picture = drawn(figure)
    assert_array_equal(picture[4, 4::9], [[red, 0, 0] for red in (0, 4, 8, 12, 16)])
    assert_array_equal(picture[13, 4::9], [[red, 1, 0] for red in (1, 5, 9, 13, 17)])
    assert names(figure) == ["disc\n10", "spiral\n10"]
    assert figure.get_suptitle() == "sky: 20 images of 8 x 8 pixels, 4 for the test"
    assert (tmp_path / "sheet.png").stat().st_size > 5_000


def test_where_a_class_has_fewer_images_the_sheet_is_white():
    picture = drawn(plot_sheet(make([0, 0, 0, 2], classes="abc"), each=10))
    assert picture.shape == (3 * 9, 3 * 9, 3)
    assert (picture[9:18] == 255).all()
    assert (picture[18:, 9:] == 255).all()
    assert_array_equal(picture[20, 2], [3, 2, 0])


def test_of_many_classes_the_first_are_drawn_and_the_title_says_so():
    figure = plot_sheet(make(np.arange(100), classes=map(str, range(100))))
    assert names(figure) == [f"{label}\n1" for label in range(20)]
    assert figure.get_suptitle() == "images: 100 images of 8 x 8 pixels, 20 of 100 classes"


def test_large_images_are_drawn_with_fewer_pixels():
    assert drawn(plot_sheet(make([0, 1], classes="ab", size=(300, 600)))).shape == (2 * 112, 212, 3)


def test_names_from_a_file_are_no_mathematics():
    figure = plot_sheet(make([0, 1], classes=("$x^{", "a" * 50), attrs={"name": "$y_"}))
    figure.canvas.draw()
    assert names(figure) == ["\\$x^{\n1", "a" * 19 + "…\n1"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(
        ValueError, match="`images` must hold at least one image and `each` be at least 1, got 0 and 10"
    ):
        plot_sheet(make([], classes="ab"))
    with pytest.raises(ValueError, match="got 1 and 0"):
        plot_sheet(make([0], classes="ab"), each=0)
