"""Numbers of a right-hand side, attributes and literals: another value of one is no other program."""

from __future__ import annotations

import warnings

import pytest
import torch

import physode as po
from physode.compiled.build import Unsupported
from physode.compiled.capture import capture
from physode.problem.checks import pose
from tests.fused.same import assert_same

pytestmark = pytest.mark.usefixtures("float64")


class Driven(torch.nn.Module):
    """Numbers in every place where a tensor can take theirs."""

    def __init__(self, k: float, offset: float = 1.0) -> None:
        super().__init__()
        self.k, self.offset, self.steep = k, offset, 1.0
        self.rate = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, t, y):
        pulled = torch.where(y > self.offset, -self.k, self.k * y) - self.offset
        return (self.offset - y).mul(self.k) * self.rate + torch.sin(self.k * t) / (3 + self.k**2) + pulled


def captured(f, y0=(1.0, 2.0), args=()):
    y = torch.tensor(y0)
    dynamics = pose(f, y, [0.0, 1.0], args=args).dynamics
    found = capture(dynamics, torch.tensor(0.25, dtype=torch.float64), y)
    value = found.program(torch.tensor(0.25), y, found.tensors)
    torch.testing.assert_close(value, f(torch.tensor(0.25), y, *args), rtol=1e-14, atol=1e-15)
    return found.program


def test_another_value_of_a_number_is_the_same_program():
    f = Driven(2.5)
    program = captured(f)
    for k, offset in [(1.0, 1.0), (0.5, -3.0), (3, 2), (1e-8, 1e8), (-1.0, 0.0), (2.5, 1.0)]:
        f.k, f.offset = k, offset
        assert captured(f) is program
    assert captured(Driven(7.0, 0.1)) is program  # another instance of the module


def test_numbers_in_closures_and_arguments_are_inputs_as_well():
    def made(k):
        return lambda t, y, c: -k * y + c

    program = captured(made(1.5), args=(2.0,))
    for k, c in [(2.5, 2.0), (0.1, -1.0)]:
        assert captured(made(k), args=(c,)) is program


def test_a_sweep_over_many_values_needs_one_program(monkeypatch):
    monkeypatch.setattr("physode.compiled.capture._TRACES", 9)  # more than the compiler's own limit
    f = Driven(0.0)
    programs = set()
    for i in range(12):
        f.k = 0.01 * i
        programs.add(id(captured(f)))
    assert len(programs) == 1


def test_single_precision_keeps_its_dtype_and_value():
    f = Driven(0.1).float()
    y = torch.tensor([1.0, 2.0], dtype=torch.float32)
    for k in (0.1, 0.7):
        f.k = k
        found = capture(pose(f, y, [0.0, 1.0]).dynamics, torch.tensor(0.25), y)
        value = found.program(torch.tensor(0.25, dtype=torch.float32), y, found.tensors)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, f(torch.tensor(0.25, dtype=torch.float32), y), rtol=1e-6, atol=0.0)


class Steep(Driven):
    def forward(self, t, y):
        return -torch.nn.functional.softplus(y, beta=self.steep)


def test_a_number_that_decides_the_program_is_warned_of_once():
    f = Steep(1.0)
    first = captured(f)
    f.steep = 2.0
    with pytest.warns(RuntimeWarning, match=r"compiling anew: a number .* has changed .* `args`, or make it a buffer"):
        assert captured(f) is not first
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f.steep = 3.0
        captured(f)
        f.steep = 1.0
        assert captured(f) is first


class Squared(Driven):
    def forward(self, t, y):
        return -(y**2) * self.k + y**1.5 - 2**y


def test_squares_stay_squares_and_other_powers_are_inputs():
    f = Squared(1.0)
    program = captured(f)
    assert "** 2" in program._graph.code
    f.k = 2.0
    assert captured(f) is program


class Restless(Driven):
    def forward(self, t, y):
        self.k = 1.01 * self.k
        return -self.k * y


def test_a_number_that_changes_at_every_call_is_still_refused():
    with pytest.raises(Unsupported, match="changes something of its own at every call"):
        captured(Restless(1.0))


class Shaped(Driven):
    def forward(self, t, y, w):
        return -self.k * y * w.sum()


def test_another_shape_of_an_argument_is_another_program():
    f = Shaped(1.0)
    one = captured(f, args=(torch.ones(2),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert captured(f, args=(torch.ones(3),)) is not one


class Smooth(Driven):
    def forward(self, t, y):
        return -self.k * y * self.rate + torch.sin(self.k * t) / 3 - self.offset * y / (2 + y * y)


@pytest.mark.slow
def test_a_sweep_is_compiled_once_with_values_and_gradients_right(builds):
    f, y0, counts = Smooth(2.5), torch.tensor([1.0, 2.0]), []
    for k in (2.5, 0.3, 1.0):
        f.k = k
        found = []
        for compiled in (True, False):
            end = po.solve(f, y0, [0.0, 1.0], compile=compiled, rtol=1e-9, atol=1e-11).y[-1]
            found.append((end.detach(), torch.autograd.grad(end.sum(), f.rate)[0]))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
        counts.append(len(builds))
    assert counts[0] > 0
    assert counts == [counts[0]] * 3


@pytest.mark.slow
def test_norms_are_compiled_anew_where_their_numbers_change_and_only_there(builds):
    def norm_of(weight):
        return lambda x: weight * x.abs().max()

    y0 = torch.rand(2)

    def falling(t, y):
        return -y * t

    assert_same(falling, y0, [0.0, 2.0], norm=norm_of(1.0), method="heun_euler", rtol=1e-3, atol=1e-4)
    once = len(builds)
    assert_same(falling, y0, [0.0, 2.0], norm=norm_of(1.0), method="heun_euler", rtol=1e-3, atol=1e-4)
    assert len(builds) == once
    assert_same(falling, y0, [0.0, 2.0], norm=norm_of(30.0), method="heun_euler", rtol=1e-3, atol=1e-4)
    assert len(builds) > once
