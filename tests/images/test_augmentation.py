"""Random changes of images: what each does, and that nothing else happens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from physode.images.augmentation import Changes, augment, draw
from physode.images.config import TrainConfig
from physode.images.data import Normalise

NONE = {"flip": False, "shift": (0, 0), "angle": 0.0, "zoom": 1.0}


def changes(*rows):
    full = [{**NONE, **row} for row in rows]
    flip, shift = (torch.tensor([row[name] for row in full]) for name in ("flip", "shift"))
    angle, zoom = (torch.tensor([row[name] for row in full], dtype=torch.float64) for name in ("angle", "zoom"))
    return Changes(flip, shift, angle, zoom)


def images(count=1, size=9, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nothing_drawn_changes_nothing():
    x = images(4)
    plain = TrainConfig(flip=False, crop=0, rotate=False)
    assert torch.equal(augment(x, draw(plain, 4, torch.Generator())), x)


def test_images_are_flipped_left_to_right_one_by_one():
    x = images(3)
    found = augment(x, changes({"flip": True}, {}, {"flip": True}))
    assert torch.equal(found[[0, 2]], x[[0, 2]].flip(-1))
    assert torch.equal(found[1], x[1])


def test_shifts_move_whole_pixels_down_and_right_and_black_comes_in():
    x = images(2)
    found = augment(x, changes({"shift": (2, -1)}, {"shift": (0, 3)}))
    assert torch.equal(found[0, :, 2:, :-1], x[0, :, :-2, 1:])
    assert float(found[0, :, :2].abs().max()) == float(found[0, :, :, -1].abs().max()) == 0.0
    assert torch.equal(found[1, :, :, 3:], x[1, :, :, :-3])


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 12)])
def test_half_a_turn_is_two_flips(height, width):
    x = torch.rand(2, 3, height, width, dtype=torch.float64)
    found = augment(x, changes({"angle": math.pi}, {"angle": math.pi}))
    torch.testing.assert_close(found, x.flip(-1, -2), rtol=0, atol=1e-9)


def test_a_quarter_turn_is_numpy_s_in_one_direction():
    x = images()
    found = augment(x, changes({"angle": math.pi / 2}))
    torch.testing.assert_close(found[0], torch.from_numpy(np.rot90(x[0].numpy(), 1, (1, 2)).copy()), rtol=0, atol=1e-9)


def test_turns_with_shifts_move_the_turned_image_as_shifts_alone_do():
    x = torch.zeros(1, 3, 21, 21, dtype=torch.float64)
    x[:, :, 10, 14] = 1.0
    found = augment(x, changes({"angle": math.pi / 2, "shift": (3, 2)}))
    turned = np.argwhere(np.rot90(x[0, 0].numpy(), 1) > 0.5)[0]
    assert (found[0, 0] > 0.5).nonzero()[0].tolist() == [turned[0] + 3, turned[1] + 2]


def test_any_angle_is_scipy_s_bilinear_rotation_inside():
    y, x = np.mgrid[-1:1:25j, -1:1:25j]
    smooth = np.exp(-((x - 0.2) ** 2 + 2 * y**2) / 0.1)
    found = augment(torch.from_numpy(smooth)[None, None].expand(1, 3, -1, -1), changes({"angle": 0.7}))
    expected = ndimage.rotate(smooth, math.degrees(0.7), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(found[0, 0, 4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-6)


def test_magnification_is_scipy_s_bilinear_one_inside():
    x = images(size=15)
    changed = augment(x, changes({"zoom": 1.5}))[0, 0].numpy()
    expected = ndimage.affine_transform(x[0, 0].numpy(), [1 / 1.5] * 2, offset=7 - 7 / 1.5, order=1)
    np.testing.assert_allclose(changed, expected, atol=1e-9)


def test_turned_and_magnified_images_keep_what_is_symmetric_about_the_centre():
    across = (torch.arange(33, dtype=torch.float64) - 16) ** 2
    blob = torch.exp(-(across[:, None] + across) / 50).expand(1, 3, 33, 33)
    changed = augment(blob, changes({"zoom": 2.0, "angle": 0.7}))
    larger = torch.exp(-(across[:, None] + across) / 200)
    inside = across[:, None] + across < 100
    assert float((changed[0, 0] - larger)[inside].abs().max()) < 0.01


def test_factors_of_magnification_are_spread_evenly_by_their_logarithm():
    drawn = draw(TrainConfig(zoom=1.5), 4000, torch.Generator().manual_seed(0)).zoom.log()
    assert float(drawn.abs().max()) <= math.log(1.5)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(math.log(1.5) / math.sqrt(3), rel=0.05)


def test_normalisation_keeps_what_it_was_given_apart():
    """Of one tensor given for both, neither changes the other when weights are loaded."""
    ones = torch.ones(3)
    model = Normalise(ones, ones)
    model.load_state_dict({"mean": torch.full((3, 1, 1), 0.5), "deviation": torch.full((3, 1, 1), 0.25)})
    x = torch.full((1, 3, 2, 2), 0.75)
    torch.testing.assert_close(model(x), torch.ones_like(x))


def test_draws_depend_on_the_generator_alone_and_cover_their_range():
    config = TrainConfig(crop=3, rotate=True)
    one, other = (draw(config, 2000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("flip", "shift", "angle"))
    assert one.flip.double().mean() == pytest.approx(0.5, abs=0.05)
    assert (one.shift.min(), one.shift.max()) == (-3, 3)
    assert 0 <= one.angle.min() < 0.1 < 6.1 < one.angle.max() < 2 * math.pi
