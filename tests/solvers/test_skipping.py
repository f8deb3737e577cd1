"""Samples that have arrived may be left out of evaluations."""

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

GRADIENTS = ["naive", "aca", po.ACA(memory="graph"), po.ACA(memory="checkpoint"), "adjoint"]


class Counted(torch.nn.Module):
    """Van der Pol's oscillator, which counts the samples that it is evaluated on."""

    def __init__(self):
        super().__init__()
        self.mu, self.rows = torch.nn.Parameter(torch.tensor(3.0)), 0

    def forward(self, t, y):
        self.rows += len(y)
        return torch.stack([y[:, 1], self.mu * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], 1)


def solved(ends, *, skip, gradient="aca"):
    f = Counted()
    generator = torch.Generator().manual_seed(0)
    y0 = torch.randn(len(ends), 2, generator=generator).requires_grad_()
    t = torch.stack([torch.zeros_like(ends), ends])
    options = {"step_control": "per-sample", "skip_finished": skip, "gradient": gradient, "rtol": 1e-8, "atol": 1e-10}
    solution = po.solve(f, y0, t, **options)
    forward = f.rows
    solution.y[-1].square().sum().backward()
    return f, solution, forward, [f.mu.grad, y0.grad]


ENDS = torch.tensor([0.1, 2.0, 0.5, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("gradient", GRADIENTS, ids=str)
def test_nothing_changes_but_the_work(gradient):
    _, whole, all_rows, expected = solved(ENDS, skip=False, gradient=gradient)
    _, found, rows, gradients = solved(ENDS, skip=True, gradient=gradient)
    torch.testing.assert_close(found.y, whole.y, rtol=1e-13, atol=1e-13)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert torch.equal(found.stats.attempts, whole.stats.attempts)
    assert rows < 0.7 * all_rows


def test_a_batch_costs_what_its_samples_cost_alone():
    f, _, _, _ = solved(ENDS, skip=True)
    assert f.rows == sum(solved_alone(row) for row in range(len(ENDS)))


def solved_alone(row):
    f = Counted()
    y0 = torch.randn(len(ENDS), 2, generator=torch.Generator().manual_seed(0))[row : row + 1].requires_grad_()
    t = torch.stack([torch.zeros(1), ENDS[row : row + 1]])
    options = {"step_control": "per-sample", "gradient": po.ACA(parallel=False), "rtol": 1e-8, "atol": 1e-10}
    po.solve(f, y0, t, **options).y[-1].square().sum().backward()
    return f.rows


def test_failed_samples_are_left_out_too():
    def f(t, y):
        assert torch.isfinite(y).all()
        return y**2

    y0 = torch.tensor([[1.0], [0.1]])
    found = po.solve(f, y0, [0.0, 3.0], step_control="per-sample", skip_finished=True, throw=False)
    assert found.status.tolist() == [po.Status.STEP_UNDERFLOW, po.Status.SUCCESS]
    torch.testing.assert_close(found.y[-1, 1], torch.tensor([1 / 7]), rtol=1e-5, atol=0.0)


def test_what_cannot_be_divided_into_samples_is_refused():
    with pytest.raises(ValueError, match="`skip_finished` needs step_control='per-sample'"):
        po.solve(lambda t, y: -y, torch.ones(2, 1), [0.0, 1.0], skip_finished=True)
