"""Fused solves of every kind against those by the eager engine: many kernels, a minute of compiling."""

from __future__ import annotations

import functools
import gc
import threading
import weakref

import pytest
import torch
from torch import nn

import physode as po
from physode.fused import forward
from physode.solvers.step_control import PID, Controller
from physode.status import Status
from tests.fused.same import Swing, assert_same, close

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]

COARSE = {"method": "heun_euler", "rtol": 1e-3, "atol": 1e-4}


def swing_problem(*shape, dtype=torch.float64):
    torch.manual_seed(1)
    swing = Swing().to(dtype)
    y0 = torch.randn(*shape, 2, dtype=dtype).mul(0.5).requires_grad_()
    return swing, y0, torch.tensor(0.05, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
@pytest.mark.parametrize("method", ["heun_euler", "bosh3", "dopri5", "tsit5", "dopri8"])
def test_methods(method, step_control):
    swing, y0, c = swing_problem(3)
    times = torch.linspace(0, 3, 8, requires_grad=True)
    assert_same(
        swing, y0, times, args=(c,), leaves=[y0, c, swing.rate, times], method=method, rtol=1e-4, atol=1e-6,
        step_control=step_control, gradients=1e-7, clock=1e-7,
    )  # fmt: skip


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
@pytest.mark.parametrize(
    "options", [{"method": "rk4"}, {"method": "dopri5", "step_size": 0.13}, {"method": "midpoint"}]
)
def test_grids(options, step_control):
    swing, y0, c = swing_problem(9)
    times = torch.linspace(1, -1, 5, requires_grad=True)
    assert_same(
        swing, y0, times, args=(c,), leaves=[y0, c, swing.rate, times], step_control=step_control, **options
    )  # fmt: skip


def test_gradients_in_a_grid_given_beside_times_without():
    swing, y0, c = swing_problem(2)
    grid = torch.tensor([0.0, 0.3, 0.7, 1.0], requires_grad=True)
    assert_same(swing, y0, [0.0, 0.5, 1.0], args=(c,), leaves=[y0, grid], method="dopri5", grid=grid)


@pytest.mark.parametrize("rows", [4, 7])
@pytest.mark.parametrize("times", ["own", "shared", "ends"])
@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_several_blocks(rows, times, step_control, monkeypatch):
    if times == "own" and step_control == "shared":
        pytest.skip("one clock has no times for each sample")
    monkeypatch.setattr(forward, "_FIRST_ROWS", rows)
    swing, y0, c = swing_problem(9)
    t = torch.linspace(0, 2, 2 if times == "ends" else 6)
    if times == "own":
        t = t[:, None] * torch.linspace(0.5, 1.5, 9)
    t.requires_grad_()
    told = []
    sol = assert_same(
        swing, y0, t, args=(c,), leaves=[y0, c, swing.rate, t], step_control=step_control, progress=told.append,
        method="dopri5", rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    assert len(sol.step_times) > 2 * rows
    assert told[-1] == 1.0


@pytest.mark.parametrize("lay", ["strided", "expanded", "contiguous"])
def test_times_of_each_sample_in_any_memory_layout(lay):
    swing, y0, c = swing_problem(8)
    t = torch.linspace(0, 1, 5)
    if lay == "expanded":
        t = t[:, None].expand(5, 8)
    else:
        t = (torch.linspace(0.5, 1.0, 8)[:, None] * t).T
        t = t.contiguous() if lay == "contiguous" else t
    leaf = t.clone().requires_grad_() if lay == "contiguous" else None
    assert_same(
        swing, y0, t if leaf is None else leaf, args=(c,), leaves=[y0, c] + [leaf] * (leaf is not None),
        step_control="per-sample", **COARSE,
    )  # fmt: skip


def test_one_bad_sample_among_own_times_with_gradients_in_these():
    swing, _, _ = swing_problem(3)
    c = torch.tensor(1.0, requires_grad=True)
    y0 = torch.tensor([[0.2, 0.1], [6.0, 2.0], [-0.3, 0.1]], requires_grad=True)
    t = (torch.linspace(0, 0.8, 5)[:, None] * torch.tensor([0.5, 1.0, 0.9])).requires_grad_()
    sol = assert_same(
        swing, y0, t, args=(c,), leaves=[y0, c, swing.rate, t], step_control="per-sample", throw=False,
        method="heun_euler", rtol=0.03, atol=0.03, outputs=1e-9, gradients=1e-7,
    )  # fmt: skip
    assert sol.status.tolist() == [Status.SUCCESS, Status.STEP_UNDERFLOW, Status.SUCCESS]


def test_a_sample_that_starts_with_nan():
    swing, y0, c = swing_problem(3)
    start = y0.detach().clone()
    start[1, 0] = torch.nan
    start.requires_grad_()
    sol = assert_same(
        swing, start, [0.0, 0.5, 1.0], args=(c,), leaves=[start, c, swing.rate], step_control="per-sample",
        throw=False, **COARSE,
    )  # fmt: skip
    assert sol.status.tolist() == [0, Status.NON_FINITE, 0]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (16, 2, 3), (3, 800)])
def test_shapes(shape):
    rate = torch.tensor(0.7, requires_grad=True)
    y0 = torch.rand(shape).requires_grad_()
    times = torch.linspace(0, 2, 6, requires_grad=True)
    assert_same(lambda t, y: -rate * y * (1 + torch.sin(t)), y0, times, leaves=[y0, rate, times], **COARSE)


def test_states_of_one_component_a_sample():
    y0 = torch.rand(9).requires_grad_()
    times = torch.linspace(0, 2, 6, requires_grad=True)
    options = {"leaves": [y0, times], "step_control": "per-sample", **COARSE}
    assert_same(lambda t, y: -y * t, y0, times, **options)


def test_a_state_that_overflows_on_a_grid():
    for y0 in (torch.tensor(3.0), torch.full((4,), 3.0)):
        sol = assert_same(lambda t, y: y**3, y0, torch.linspace(0, 40, 41), method="euler", throw=False)
        assert int(sol.status.max()) == Status.NON_FINITE
    y0 = torch.tensor([[3.0], [0.01]])
    sol = assert_same(
        lambda t, y: y**3, y0, torch.linspace(0, 40, 41), method="euler", throw=False, step_control="per-sample"
    )
    assert sol.status.tolist() == [Status.NON_FINITE, 0]


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_states_of_several_parts(step_control):
    a = torch.tensor([0.3, 1.1], requires_grad=True)
    x, v = torch.rand(9, 2).requires_grad_(), torch.rand(9, 3).requires_grad_()
    times = torch.linspace(0, 1, 4)

    def of_dict(t, y):
        scale = a[0] * torch.cos(t)
        return {"v": -a[1] * y["v"] * y["x"][..., :1], "x": scale * torch.sin(y["x"])}

    def of_tuple(t, y):
        return y[1] * a[0], -y[0] * a[1]

    options = {"step_control": step_control, **COARSE}
    assert_same(of_dict, {"x": x, "v": v}, times, leaves=[x, v, a], **options)
    w = torch.rand(9, 2).requires_grad_()
    assert_same(of_tuple, (x, w), times, leaves=[x, w, a], **options)


def test_three_bodies_in_single_precision():
    m = nn.Parameter(torch.tensor([1.0, 1.1, 0.9], dtype=torch.float32))

    def bodies(t, y):
        r, v = y[..., 0, :, :], y[..., 1, :, :]
        d = r.unsqueeze(-3) - r.unsqueeze(-2)
        pull = d / (d.square().sum(-1, keepdim=True) + 1e-1) ** 1.5
        return torch.stack([v, (pull * m[:, None]).sum(-2)], -3)

    y0 = torch.randn(20, 2, 3, 3, dtype=torch.float32).requires_grad_()
    for step_control in ("shared", "per-sample"):
        assert_same(
            bodies, y0, torch.linspace(0, 0.5, 5), leaves=[y0, m], rtol=1e-4, atol=1e-5, step_control=step_control,
            outputs=1e-4, gradients=1e-3,
            clock=0.05,
        )  # fmt: skip


def test_views_that_only_contiguous_states_have():
    y0 = torch.rand(10, 6).requires_grad_()
    assert_same(lambda t, y: torch.sin(y.view(-1)).view(10, 6), y0, [0.0, 1.0], leaves=[y0], **COARSE)
    assert_same(lambda t, y: y.as_strided((10, 6), (6, 1)) * -1, y0, [0.0, 1.0], leaves=[y0], **COARSE)


def test_views_written_as_attributes():
    a = torch.rand(3, 3).requires_grad_()
    y0 = torch.rand(9, 3).requires_grad_()
    assert_same(lambda t, y: (a.T @ y.mT).mT - y.T.T, y0, [0.0, 1.0], leaves=[a, y0], **COARSE)


def test_a_right_hand_side_of_time_alone():
    y0 = torch.rand(2).requires_grad_()
    assert_same(lambda t, y: torch.cos(t) * torch.ones_like(y), y0, [0.0, 1.0], leaves=[y0], **COARSE)


def test_dense_solutions_without_gradients():
    swing, y0, c = swing_problem(3)
    for step_control in ("shared", "per-sample"):
        options = {"args": (c,), "dense": True, "step_control": step_control, **COARSE}
        with torch.no_grad():
            found = assert_same(swing, y0, [0.0, 1.0], **options)
            expected = po.solve(swing, y0, [0.0, 1.0], **options)
            close(found(torch.linspace(0, 1, 17)), expected(torch.linspace(0, 1, 17)), 1e-12)
            close(found(0.3), expected(0.3), 1e-12)


def test_first_smallest_and_largest_steps():
    swing, y0, c = swing_problem()
    options = {"args": (c,), "leaves": [y0], "first_step": 0.2, "max_step": 0.25, "min_step": 1e-3}
    assert_same(swing, y0, [0.0, 2.0], **options, **COARSE)


def test_tolerances_of_components_in_any_layout_and_shared():
    y0 = torch.rand(2, 3)
    tolerance = torch.tensor([[1e-3, 1e-4, 1e-5]] * 2)

    def falling(t, y):
        return -y * torch.tensor([1.0, 2.0, 3.0])

    for rtol, atol in (
        (tolerance, tolerance),
        (tolerance * 0.1, tolerance),
        (tolerance.T.contiguous().T, tolerance * 2),
        (torch.tensor(1e-4).expand(2, 3), tolerance),
    ):
        assert_same(falling, y0, [0.0, 2.0], method="heun_euler", rtol=rtol, atol=atol)


class Mine(Controller):
    """A controller with an attribute of its own."""

    def __init__(self, gain):
        super().__init__(safety=0.8)
        self.gain = gain

    def next(self, control, error, size, accepted, error_order):
        return super().next(control, error * self.gain, size, accepted, error_order)


def test_controllers():
    y0 = torch.rand(2)
    assert_same(lambda t, y: -y * t, y0, [0.0, 2.0], controller=PID(), **COARSE)
    with pytest.warns(RuntimeWarning, match="the controller is the user's own"):
        assert_same(lambda t, y: -y * t, y0, [0.0, 2.0], controller=Mine(3.0), **COARSE)


def test_closures_partial_applications_and_bound_methods():
    rate = nn.Parameter(torch.tensor([0.5, 0.7]))
    y0 = torch.rand(2).requires_grad_()

    def closed(k):
        return lambda t, y: -k * rate * y

    for k in (2.0, 3.0):
        assert_same(closed(k), y0, [0.0, 1.0], leaves=[y0, rate], method="euler")

    def scaled(weight, t, y, power=1.0):
        return -weight * y**power

    for power in (1.0, 2.0):  # another power is another program
        raised = functools.partial(scaled, rate, power=power)
        assert_same(raised, y0, [0.0, 1.0], leaves=[y0, rate], method="euler")

    class Hidden:
        def __init__(self):
            self.weights = [torch.tensor([0.1, 0.2], requires_grad=True)]

        def field(self, t, y):
            return -self.weights[0] * y

    hidden = Hidden()
    assert_same(hidden.field, y0, [0.0, 1.0], leaves=[y0, *hidden.weights], method="euler")


def test_one_right_hand_side_with_two_shapes_and_two_precisions():
    for dtype in (torch.float64, torch.float32):
        for count in (3, 5):
            swing, y0, c = swing_problem(count, dtype=dtype)
            assert_same(
                swing, y0, [0.0, 1.0], args=(c,), leaves=[y0, c], method="euler",
                outputs=1e-12 if dtype is torch.float64 else 1e-5, gradients=1e-10 if dtype is torch.float64 else 1e-5,
            )  # fmt: skip


def test_states_laid_out_otherwise():
    swing, y0, c = swing_problem(9)
    turned = y0.detach().T.contiguous().T
    assert_same(swing, y0.detach(), [0.0, 1.0], args=(c,), leaves=[c], **COARSE)
    assert_same(swing, turned, [0.0, 1.0], args=(c,), leaves=[c], **COARSE)
    assert_same(swing, y0.detach()[:1].expand(9, 2), [0.0, 1.0], args=(c,), leaves=[c], **COARSE)


def test_evaluation_and_training_modes_differ():
    class Net(nn.Sequential):
        def forward(self, t, y):
            return super().forward(y)

    net = Net(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3)).eval()
    y0 = torch.randn(9, 3)
    assert_same(net, y0, [0.0, 0.5], leaves=list(net.parameters()), **COARSE)
    net.train()
    with pytest.warns(RuntimeWarning, match="solving without compilation"):
        po.solve(net, y0, [0.0, 0.5], compile=True, **COARSE)
    net.eval()
    assert_same(net, y0, [0.0, 0.5], leaves=list(net.parameters()), **COARSE)


def test_inference_mode_before_and_after_gradients():
    swing, y0, c = swing_problem()
    with torch.inference_mode(), pytest.warns(RuntimeWarning, match="inference mode"):
        assert_same(swing, y0.detach().clone(), [0.0, 1.0], args=(c,), **COARSE)
    assert_same(swing, y0, [0.0, 1.0], args=(c,), leaves=[y0, c], **COARSE)
    with torch.inference_mode():
        assert_same(swing, y0.detach().clone(), [0.0, 1.0], args=(c,), **COARSE)


def test_the_default_precision_may_change_between_solves():
    swing, y0, c = swing_problem()
    first = assert_same(swing, y0, [0.0, 1.0], args=(c,), leaves=[y0], **COARSE)
    torch.set_default_dtype(torch.float32)
    second = assert_same(swing, y0, [0.0, 1.0], args=(c,), leaves=[y0], **COARSE)
    assert torch.equal(first.y, second.y)


def test_threads_that_compile_at_the_same_time():
    swing, y0, c = swing_problem(2)
    expected = po.solve(swing, y0, [0.0, 1.0], args=(c,), **COARSE)
    found, failed = [], []

    def work():
        try:
            found.extend(po.solve(swing, y0, [0.0, 1.0], args=(c,), compile=True, **COARSE) for _ in range(3))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(found) == 9
    for sol in found:
        close(sol.y, expected.y, 1e-12)


def test_a_solve_holds_no_memory_when_it_is_over():
    swing, y0, c = swing_problem(2)
    sol = po.solve(swing, y0, [0.0, 1.0], args=(c,), compile=True, **COARSE)
    node = sol.y.grad_fn
    while not hasattr(node, "plan"):
        node = node.next_functions[0][0]
    plan = weakref.ref(node.plan())
    assert plan() is not None
    sol.y.sum().backward()
    del sol
    gc.collect()
    assert plan() is None
