"""Fig. 5: an image through a convolution and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from scipy.sparse.linalg import LinearOperator, expm_multiply

from physode.experiments import fig5

CONFIG = fig5.Config(size=24, span=16.0, spans=(2.0, 16.0), variants=(("float64", 1e-3), ("float32", 1e-3)))


@pytest.fixture(scope="module")
def result():
    return fig5.run(CONFIG)


def test_the_right_hand_side_is_scipy_s_correlation_with_zeros_outside():
    rhs, image = fig5.Convolution(seed=1), fig5.galaxy(9)
    expected = correlate2d(image.numpy(), rhs.kernel[0, 0].numpy(), mode="same")
    np.testing.assert_allclose(rhs(torch.tensor(0.0), image), expected, rtol=1e-13, atol=1e-14)


def test_the_reference_is_scipy_s_exponential():
    rhs, image = fig5.Convolution(seed=0), fig5.galaxy(8)
    kernel = rhs.kernel[0, 0].numpy()

    def apply(y):
        return correlate2d(y.reshape(8, 8), kernel, mode="same").ravel()

    def adjoint(y):
        return correlate2d(y.reshape(8, 8), kernel[::-1, ::-1], mode="same").ravel()

    operator = LinearOperator((64, 64), matvec=apply, rmatvec=adjoint, dtype=np.float64)
    expected = expm_multiply(2.0 * operator, image.numpy().ravel(), traceA=128.0 * kernel[1, 1])
    np.testing.assert_allclose(fig5._exact(rhs, image, 2.0).numpy().ravel(), expected, rtol=1e-9, atol=1e-11)


def test_the_forward_error_stays_near_the_tolerance(result):
    assert all(row["forward error"] < 10 * row["rtol"] for row in result.rows)


def test_the_image_integrated_back_is_lost_where_the_checkpoint_is_exact(result):
    lost = {row["T"]: row["adjoint reconstruction error"] for row in result.rows if row["precision"] == "float64"}
    assert lost[2.0] < 1e-3
    assert lost[16.0] > 1.0
    assert all(row["ACA reconstruction error"] == 0.0 for row in result.rows)


def test_single_precision_loses_the_image_by_more(result):
    double, single = (row["adjoint reconstruction error"] for row in result.rows if row["T"] == 16.0)
    assert single > 1e4 * double


def test_a_tighter_tolerance_does_not_save_the_image():
    variants = (("float64", 1e-3), ("float64", 1e-5))
    result = fig5.run(fig5.Config(size=24, span=16.0, spans=(16.0,), variants=variants))
    loose, tight = (row["adjoint reconstruction error"] for row in result.rows)
    assert tight > 0.1 * loose
    assert [finding.agrees for finding in result.findings] == [True, True, False]
    assert "rounding" in result.findings[-1].ours


def test_the_seed_draws_the_kernel():
    same, other = fig5.Convolution(seed=0).kernel, fig5.Convolution(seed=1).kernel
    assert torch.equal(same, fig5.Convolution(seed=0).kernel)
    assert not torch.equal(same, other)


def test_the_galaxy_is_an_image():
    image = fig5.galaxy(32)
    assert image.shape == (32, 32)
    assert float(image.max()) == 1.0
    assert float(image.min()) >= 0.0
