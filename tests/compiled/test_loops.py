"""Loops as replays of one recorded turn, the way of GPUs: here a turn is called instead of replayed."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import physode as po
from physode.compiled import choice, engine
from physode.compiled.loops import Loop, Replayed

pytestmark = pytest.mark.usefixtures("float64")


def plain(function, device):
    return function


def called(turn):
    """Stand in for a graph: settle by turns too many, as recording does, then call."""
    turn()
    turn()
    return turn


def powers() -> Loop:
    """Write the powers of a number into a table until they exceed a bound."""

    def once(state, x, bound, table):
        table.index_copy_(0, state[0].reshape(1), state[1].reshape(1))
        return state[0] + 1, state[1] * x

    return Loop(
        start=lambda x, bound, table: (torch.zeros((), dtype=torch.int64), torch.ones_like(x)),
        goes_on=lambda state, x, bound, table: (state[1] < bound) & (state[0] < len(table) - 1),
        once=once,
        finish=lambda state, *inputs: (state[0], state[1]),
        written=2,
    )


def looped(loop, *inputs):
    """Run the loop as its definition says."""
    state = loop.start(*inputs)
    while loop.goes_on(state, *inputs):
        state = loop.once(state, *inputs)
    return loop.finish(state, *inputs)


@pytest.mark.parametrize(("x", "bound"), [(2.0, 100.0), (3.0, 0.5), (1.1, 1e9)])
def test_a_replayed_loop_ends_where_the_program_ends(x, bound):
    tables = [torch.zeros(41), torch.zeros(41)]
    inputs = [(torch.tensor(x), torch.tensor(bound), table) for table in tables]
    replayed = Replayed(powers(), torch.device("cpu"), compiler=plain, graph=called)
    for _ in range(2):  # the second time from buffers that hold the first time's end
        tables[1].zero_()
        found = replayed(*inputs[1])
        wanted = looped(powers(), *inputs[0])
        torch.testing.assert_close(found, wanted)
        count = int(wanted[0])
        torch.testing.assert_close(tables[1][:count], tables[0][:count])
    assert inputs[1][0].item() == x


def test_a_known_number_of_turns_is_made():
    table = torch.zeros(41)
    replayed = Replayed(powers(), torch.device("cpu"), compiler=plain, graph=called)
    row, power = replayed(torch.tensor(2.0), torch.tensor(1e9), table, turns=5)
    assert (int(row), float(power)) == (5, 32.0)


def test_inputs_that_a_loop_does_not_write_are_left_alone():
    x, bound, table = torch.tensor(2.0), torch.tensor(100.0), torch.zeros(41)
    versions = x._version, bound._version
    Replayed(powers(), torch.device("cpu"), compiler=plain, graph=called)(x, bound, table)
    assert (x._version, bound._version) == versions


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Solve by replayed turns, uncompiled."""
    choice.forget()
    monkeypatch.setattr(engine, "Compiled", plain)
    monkeypatch.setattr(engine, "Replayed", partial(Replayed, compiler=plain, graph=called))
    monkeypatch.setattr(engine, "_REPLAYED", {"cpu"})
    monkeypatch.setattr(engine, "_BLOCK_ROWS", 8)


def solved(way, y0, t, weight, **options):
    y0, t, weight = (x.clone().requires_grad_() for x in (y0, t, weight))
    sol = po.solve(lambda t, y: torch.tanh(y @ weight) - 0.1 * y, y0, t, compile=way, **options)
    grads = torch.autograd.grad(
        (sol.y * torch.linspace(0, 1, sol.y.numel()).reshape(sol.y.shape)).sum(), [y0, weight, t]
    )
    return sol, grads


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"step_control": "per-sample"},
        {"method": "rk4", "step_size": 0.1},
        {"method": "rk4", "step_size": 0.1, "step_control": "per-sample"},
    ],
    ids=["shared", "per-sample", "grid", "grid-per-sample"],
)
@pytest.mark.parametrize("count", [2, 9])
def test_solves_by_replays_agree_with_the_uncompiled(as_on_a_gpu, options, count):
    generator = torch.Generator().manual_seed(0)
    y0, weight = (torch.randn(*shape, generator=generator) for shape in ((10, 3), (3, 3)))
    t = torch.linspace(0, 4, count)
    (one, grads), (other, others) = (solved(way, y0, t, weight, **options) for way in (True, False))
    torch.testing.assert_close(one.y, other.y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grads, others, rtol=1e-10, atol=1e-12)
    assert torch.equal(one.stats.accepted, other.stats.accepted)
    assert torch.equal(one.stats.rejected, other.stats.rejected)
    torch.testing.assert_close(one.step_times, other.step_times, rtol=1e-9, atol=0)


def test_failures_by_replays_agree_with_the_uncompiled(as_on_a_gpu):
    def blows_up(t, y):
        return y * y

    y0 = torch.tensor([[0.1], [2.0], [0.2]])
    for options in ({"step_control": "per-sample"}, {}, {"max_steps": 4}):
        one, other = (
            po.solve(blows_up, y0, [0.0, 0.5, 1.0], throw=False, compile=way, **options) for way in (True, False)
        )
        assert torch.equal(one.status, other.status)
        torch.testing.assert_close(one.ended, other.ended, rtol=1e-9, atol=0)
        torch.testing.assert_close(one.y, other.y, rtol=1e-9, atol=0, equal_nan=True)
