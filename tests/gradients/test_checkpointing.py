"""ACA with few checkpoints: the same numbers as with all of them, in memory that does not grow with the steps."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import physode as po
from physode.gradcheck.diagnosis import peak_bytes
from physode.gradients import checkpointing
from physode.gradients.checkpointing import longest, split
from physode.solvers.checkpoints import CheckpointedTrace, Ticks
from physode.solvers.online_output import InMemory, OnlineOutput
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")

PLAIN = po.ACA(memory="checkpoint", parallel=False)
CASES = {
    "adaptive": {},
    "backwards in time": {"times": torch.linspace(3, 0, 20, dtype=torch.float64)},
    "extra stages": {"method": "dopri8"},
    "fixed steps": {"method": "rk4", "step_size": 0.05},
    "from output to output": {"method": "euler", "times": torch.linspace(0, 3, 61, dtype=torch.float64)},
    "a batch that shares steps": {"batch": 4},
    "per sample": {"batch": 4, "step_control": "per-sample"},
    "per sample, on a grid": {"batch": 4, "step_control": "per-sample", "method": "rk4", "step_size": 0.07},
    "Rosenbrock, per sample": {"batch": 3, "step_control": "per-sample", "method": "rodas5p"},
    "coupled stages": {"method": "radauIIA5", "step_size": 0.2},
    "leapfrog's derivative at the end": {"method": "alf", "rtol": 1e-4, "atol": 1e-6},
    "many outputs a step": {"times": torch.linspace(0, 1, 300, dtype=torch.float64)},
}


@pytest.fixture(autouse=True)
def _no_other_room(monkeypatch):
    """Let the backward pass hold few states, however small they are."""
    monkeypatch.setattr(checkpointing, "_BYTES", 0)


def gradients(gradient, *, times=None, batch=None, clock=True, **options):
    torch.manual_seed(1)
    system = Spiral()
    y0 = (torch.tensor([1.0, 0.5]) if batch is None else 2 * torch.rand(batch, 2)).requires_grad_()
    t = (torch.linspace(0, 3, 9) if times is None else times).clone().requires_grad_(clock)
    sol = po.solve(system, y0, t, gradient=gradient, **options)
    weights = torch.linspace(0.5, 1.5, sol.y.numel()).reshape(sol.y.shape)
    inputs = [y0, *system.parameters(), *([t] if clock else [])]
    return sol, torch.autograd.grad((sol.y * weights).nan_to_num().sum(), inputs)


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("checkpoints", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_outputs_and_gradients_are_those_of_plain_aca_to_the_last_bit(name, checkpoints):
    expected, right = gradients(PLAIN, clock=False, **CASES[name])
    sol, found = gradients(po.ACA(checkpoints=checkpoints, parallel=False), clock=False, **CASES[name])
    assert torch.equal(sol.y, expected.y)
    assert torch.equal(sol.step_times, expected.step_times)
    assert len(sol.step_times) > checkpoints + 1
    for a, b in zip(found, right, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith(("Rosenbrock", "leapfrog")) else name
        for name in CASES
    ],
)
def test_gradients_in_times_are_those_of_plain_aca(name):
    _, right = gradients(PLAIN, **CASES[name])
    _, found = gradients(po.ACA(checkpoints=3, parallel=False), **CASES[name])
    for a, b in zip(found, right, strict=True):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["adaptive", "per sample", "fixed steps"])
def test_segments_pulled_back_at_once_agree_to_rounding(name):
    _, right = gradients(PLAIN, **CASES[name])
    _, found = gradients(po.ACA(checkpoints=4, parallel=True), **CASES[name])
    for a, b in zip(found, right, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_what_failed_solves_reached_has_the_same_gradients(control):
    options = {"batch": 4, "step_control": control, "max_steps": 15, "throw": False, "clock": False}
    expected, right = gradients(PLAIN, **options)
    sol, found = gradients(po.ACA(checkpoints=2, parallel=False), **options)
    assert torch.equal(sol.y.isnan(), expected.y.isnan())
    assert sol.y.isnan().any()
    assert torch.equal(sol.status, expected.status)
    for a, b in zip(found, right, strict=True):
        assert torch.equal(a, b)


def test_an_overflow_of_fixed_steps_is_named_with_its_time():
    def solve(gradient):
        y0 = torch.tensor([2.0], requires_grad=True)
        return po.solve(
            lambda t, y: y**3, y0, [0.0, 2.0], method="euler", step_size=0.05, gradient=gradient, throw=False
        )

    expected, sol = solve(PLAIN), solve(po.ACA(checkpoints=2))
    assert sol.status == expected.status == po.Status.NON_FINITE
    assert sol.ended == expected.ended


def test_a_second_backward_pass_finds_its_checkpoints():
    y0 = torch.tensor([1.0, 0.5], requires_grad=True)
    sol = po.solve(Spiral(), y0, [0.0, 3.0], gradient=po.ACA(checkpoints=3))
    (first,) = torch.autograd.grad(sol.y[-1].sum(), y0, retain_graph=True)
    (second,) = torch.autograd.grad(sol.y[-1].sum(), y0)
    assert torch.equal(first, second)


def test_each_step_is_walked_again_about_once_while_the_steps_are_few():
    mu = torch.tensor([[3.0]])
    y0 = torch.tensor([[2.0, 0.0]], requires_grad=True)

    def backward_calls(gradient):
        sol = po.solve(van_der_pol, y0, [0.0, 3.0], args=(mu,), method="rk4", step_size=0.05, gradient=gradient)
        sol.y[-1].sum().backward()
        return sol.stats.rhs_backward

    steps = 60
    assert backward_calls(PLAIN) == 4 * steps
    assert backward_calls(po.ACA(checkpoints=16, parallel=False)) <= 2 * 4 * steps


@pytest.mark.slow
def test_memory_is_flat_while_the_steps_grow_a_hundredfold():
    rate = torch.tensor(0.3, requires_grad=True)

    def peak(steps, gradient):
        def work():
            y0 = torch.ones(20_000, requires_grad=True)
            sol = po.solve(
                lambda t, y: -rate * y, y0, [0.0, 1.0], method="euler", step_size=1 / steps, gradient=gradient
            )
            sol.y[-1].sum().backward()

        return peak_bytes(work, torch.device("cpu"))

    few, many = (peak(steps, po.ACA(checkpoints=4, parallel=False)) for steps in (12, 1200))
    assert many <= 1.15 * few
    assert peak(120, PLAIN) > 4 * few


def test_outputs_between_steps_need_no_states():
    rate = torch.tensor(0.3, requires_grad=True)

    def peak_beyond_outputs(outputs):
        def work():
            y0 = torch.ones(20_000, requires_grad=True)
            times = torch.linspace(0, 1, outputs)
            sol = po.solve(
                lambda t, y: -rate * y, y0, times, method="rk4", step_size=0.013, gradient=po.ACA(checkpoints=4)
            )
            torch.autograd.grad(sol.y, y0, torch.ones(()).expand_as(sol.y))

        return peak_bytes(work, torch.device("cpu")) - outputs * 20_000 * 8

    assert peak_beyond_outputs(60) <= peak_beyond_outputs(6) * 1.5


@pytest.mark.parametrize("most", [1, 2, 5, 8])
def test_the_nodes_kept_are_few_and_evenly_spaced(most):
    status, ended = torch.zeros((), dtype=torch.int8), torch.tensor(1.0)
    record = CheckpointedTrace(nodes=[torch.zeros(1)], status=status, ended=ended, most=most)
    for i in range(1, 101):
        record.append(i - 1.0, 1.0, float(i), torch.full((1,), float(i)), None)
        assert [float(node) for node in record.kept] == [record.stride * j for j in range(len(record.kept))]
        assert i < (len(record.kept)) * record.stride or i == record.stride * (len(record.kept) - 1)
        assert min(i + 1, most) / 2 < len(record.kept) <= most or most == 1
    assert torch.equal(record.clock().ends, torch.arange(1.0, 101.0))


def test_ticks_are_numbers_or_rows_of_them():
    floats, rows = Ticks(), Ticks()
    for i in range(600):
        floats.add(float(i))
        rows.add(torch.tensor([i, -i], dtype=torch.float64))
    like = torch.zeros(2, dtype=torch.float64)
    assert floats[599] == 599.0
    assert rows[300].tolist() == [300.0, -300.0]
    assert rows.stacked(like).shape == (600, 2)
    assert floats.stacked(like[0]).tolist() == [float(i) for i in range(600)]


def test_outputs_are_read_once_each_and_by_sample():
    times = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    values = InMemory(3, torch.zeros(2, 1))
    reader = OnlineOutput(times, torch.zeros(2, 1), values)
    start, size = torch.zeros(2), torch.tensor([1.0, 4.0])
    dense = torch.tensor([[[1.0], [4.0]], [[0.0], [0.0]], [[0.0], [0.0]]])
    reader.step(start, size, size, torch.zeros(2, 1), size[:, None], dense)
    assert values.values[:, 1, 0].tolist() == [0.0, 2.0, 4.0]
    assert values.values[:2, 0, 0].tolist() == [0.0, 1.0]
    assert values.values[2, 0].isnan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoints": 0}, "`checkpoints` must be a number of states, at least 1, got 0"),
        ({"checkpoints": 4, "memory": "graph"}, "give one of them, not both"),
    ],
)
def test_options_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        po.ACA(**options)


def test_derivatives_of_its_gradients_are_refused():
    y0 = torch.tensor([1.0, 0.5], requires_grad=True)
    sol = po.solve(Spiral(), y0, [0.0, 1.0], gradient=po.ACA(checkpoints=3))
    (found,) = torch.autograd.grad(sol.y[-1].sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="memory='graph'"):
        found.sum().backward()


@cache
def fewest(steps: int, room: int) -> int:
    """The walks that a chain needs at least, by trying every place of the next checkpoint."""
    if steps <= room + 1:
        return max(0, steps - 1)
    return min(
        at + fewest(steps - at, room - 1) + fewest(at, room) for at in range(1, steps) if room > 1 or at == steps - 1
    )


def walked(steps: int, room: int) -> int:
    if steps <= room + 1:
        return max(0, steps - 1)
    at = split(steps, room)
    return at + walked(steps - at, room - 1) + walked(at, room)


@pytest.mark.parametrize("room", [1, 2, 3, 5])
def test_no_other_places_would_walk_fewer_steps(room):
    for steps in range(2, 70):
        assert walked(steps, room) == fewest(steps, room)


def test_the_longest_chain_of_three_walks_with_sixteen_states():
    assert longest(16, 1) == 17
    assert longest(16, 3) == 969
    assert walked(969, 16) <= 3 * 969
