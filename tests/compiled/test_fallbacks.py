"""Where a solve cannot be compiled it goes on without, and says why once."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
import torch
from torch import nn

import physode as po
from physode.compiled import choice
from physode.compiled.build import Compiled
from tests.fused.same import Swing, close

pytestmark = pytest.mark.usefixtures("float64")

COARSE = {"method": "heun_euler", "rtol": 1e-2, "atol": 1e-2}


class Net(nn.Sequential):
    def forward(self, t, y):
        return super().forward(y)


def assert_goes_on(f, y0, builds, match, gradient="aca", leaves=(), **options):
    """Three solves give the uncompiled answer, one warning, and no compiled program."""
    options = COARSE | options
    expected = po.solve(f, y0, [0.0, 0.5], gradient=gradient, **options)
    with pytest.warns(RuntimeWarning, match=f"solving without compilation: .*{match}") as told:
        found = [po.solve(f, y0, [0.0, 0.5], gradient=gradient, compile=True, **options) for _ in range(3)]
    assert len(told) == 1
    assert told[0].filename == __file__
    assert builds == []
    for sol in found:
        assert torch.equal(sol.y, expected.y)
    if leaves:
        wanted = torch.autograd.grad(expected.y.sum(), leaves)
        for a, b in zip(torch.autograd.grad(found[0].y.sum(), leaves), wanted, strict=True):
            close(a, b, 1e-12)


def by_value(t, y):
    return -y if y.sum() > 0 else y


def test_control_flow_on_values(builds):
    assert_goes_on(by_value, torch.ones(2), builds, "")


def test_complex_states(builds):
    assert_goes_on(lambda t, y: 1j * y, torch.ones(2, dtype=torch.complex128), builds, "complex")


@pytest.mark.parametrize("gradient", ["adjoint", "naive"])
def test_other_gradient_methods(gradient, builds):
    y0 = torch.ones(2, requires_grad=True)
    assert_goes_on(lambda t, y: -y, y0, builds, "gradient='aca'", gradient=gradient, leaves=[y0])


def test_a_right_hand_side_that_changes_tensors_in_place(builds):
    seen = torch.zeros(2)

    def f(t, y):
        seen.add_(1.0)
        return -y

    assert_goes_on(f, torch.ones(2), builds, "in place")


def test_a_right_hand_side_that_keeps_what_it_computes(builds):
    class Kept(nn.Module):
        def forward(self, t, y):
            self.last = 2.0 * y
            return -y

    assert_goes_on(Kept(), torch.ones(2), builds, "stores tensors")


def test_a_right_hand_side_that_counts_its_calls(builds):
    class Counted(nn.Module):
        calls = 0

        def forward(self, t, y):
            self.calls += 1
            return -y

    assert_goes_on(Counted(), torch.ones(2), builds, "changes something of its own")


def test_random_numbers_in_the_right_hand_side(builds):
    with pytest.warns(RuntimeWarning, match="not a function of time and state alone"):
        po.solve(lambda t, y: torch.randn_like(y), torch.ones(2), [0.0, 0.5], method="euler", compile=True)
    assert builds == []


def test_batch_norm_statistics_end_as_in_the_uncompiled_solve(builds):
    f = Net(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    twin, y0 = copy.deepcopy(f), torch.randn(8, 3)
    expected = po.solve(twin, y0, [0.0, 0.5], **COARSE)
    with pytest.warns(RuntimeWarning, match="solving without compilation"):
        found = po.solve(f, y0, [0.0, 0.5], compile=True, **COARSE)
    assert torch.equal(found.y, expected.y)
    for a, b in zip(f.buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b)
    assert builds == []


def test_dropout(builds):
    f = Net(nn.Linear(3, 3), nn.Dropout(0.5))
    with pytest.warns(RuntimeWarning, match="dropout"):
        po.solve(f, torch.ones(2, 3), [0.0, 0.5], compile=True, **COARSE)
    assert builds == []


@pytest.mark.parametrize(
    ("f", "y0"),
    [
        (lambda t, y: y[:1], torch.ones(2)),
        (lambda t, y: y.half(), torch.ones(2)),
        (lambda t, y: None, torch.ones(2)),
        (lambda t, y: (y[0], y[1], y[1]), (torch.ones(2), torch.ones(3))),
        (lambda t, y: (y[0].reshape(3, 1), y[1].reshape(1, 3)), (torch.ones(1, 3), torch.ones(3, 1))),
        (lambda t, y: {"x": y["x"]}, {"x": torch.ones(2), "v": torch.ones(2)}),
    ],
)
def test_a_wrong_value_is_the_same_error(f, y0, builds):
    with pytest.raises((ValueError, TypeError)) as expected:
        po.solve(f, y0, [0.0, 0.5], **COARSE)
    with pytest.warns(RuntimeWarning), pytest.raises((ValueError, TypeError)) as found:
        po.solve(f, y0, [0.0, 0.5], compile=True, **COARSE)
    assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))
    assert builds == []


def test_a_compiler_that_fails_is_tried_three_times_and_told_of_once(monkeypatch):
    tries = []

    def fail(self, *arguments):
        tries.append(self)
        raise OSError("no compiler here")

    monkeypatch.setattr(Compiled, "__call__", fail)
    swing, c = Swing(), torch.tensor(0.1)
    with pytest.warns(RuntimeWarning, match="solving without compilation: no compiler here") as told:
        solutions = [po.solve(swing, torch.ones(2), [0.0, 0.5], args=(c,), compile=True, **COARSE) for _ in range(5)]
    assert len(told) == 1
    assert len(tries) == 3
    assert all(sol.success for sol in solutions)


def test_an_interruption_is_passed_on(monkeypatch):
    def interrupt(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Compiled, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        po.solve(Swing(), torch.ones(2), [0.0, 0.5], args=(torch.tensor(0.1),), compile=True, **COARSE)


@pytest.mark.parametrize("value", ["yes", 1, 0, None, "Auto"])
def test_other_values_of_compile_are_refused(value):
    with pytest.raises(ValueError, match=r"`compile` must be True, False or 'auto'"):
        po.solve(lambda t, y: -y, torch.ones(2), [0.0, 0.5], compile=value)


def test_auto_compiles_once_uncompiled_solves_have_taken_long_enough_and_never_warns(monkeypatch):
    tried = []

    def fail(self, *arguments):
        tried.append(self)
        raise OSError("no compiler here")

    monkeypatch.setattr(Compiled, "__call__", fail)
    swing, options = Swing(), {"args": (torch.tensor(0.1),), "compile": "auto", **COARSE}
    for _ in range(3):
        po.solve(swing, torch.ones(2), [0.0, 0.5], **options)
    assert tried == []
    monkeypatch.setattr(choice, "_PAYS_AFTER", 0.0)
    po.solve(swing, torch.ones(2), [0.0, 0.5], **options)
    assert len(tried) == 1
    po.solve(swing, torch.ones(4, 2), [0.0, 0.5], **options)  # another kind of solve: nothing is known of it
    assert len(tried) == 1


def test_a_solve_that_is_being_transformed(builds):
    def end(c):
        return po.solve(
            lambda t, y: -c * y, torch.ones(2), [0.0, 0.5, 1.0], method="euler", gradient="naive", compile=True
        ).y[-1].sum()  # fmt: skip

    with pytest.warns(RuntimeWarning, match=r"torch\.func|naive|aca"):
        slope = torch.func.grad(end)(torch.tensor(0.4))
    assert float(slope) == pytest.approx(-2 * 2 * 0.5 * 0.8)
    assert builds == []


def test_forward_derivatives_are_not_lost(builds):
    import torch.autograd.forward_ad as forward

    with forward.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y0 = forward.make_dual(torch.ones(2), torch.ones(2))
        expected = forward.unpack_dual(po.solve(lambda t, y: -y, y0, [0.0, 0.5], method="euler").y).tangent
        found = forward.unpack_dual(po.solve(lambda t, y: -y, y0, [0.0, 0.5], method="euler", compile=True).y).tangent
    assert (found is None) == (expected is None)
    assert expected is None or torch.equal(found, expected)
    assert builds == []


def test_norms_with_tensors_of_their_own(builds):
    weights = torch.tensor([1.0, 2.0])
    assert_goes_on(lambda t, y: -y, torch.ones(2), builds, "its norm", norm=lambda x: (weights * x).abs().max())


def test_threads_that_are_refused_at_the_same_time_all_get_their_answer(builds):
    found = []

    def work():
        found.append(po.solve(by_value, torch.ones(2), [0.0, 0.5], compile="auto", **COARSE).y)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


@pytest.mark.parametrize(
    "options",
    [{"monitor": lambda moment: None}, {"max_seconds": 1e6}, {"gradient": po.ACA(checkpoints=4), "leaves": ()}],
    ids=["monitor", "max_seconds", "checkpoints"],
)
def test_what_asks_after_each_step(builds, options):
    y0 = torch.ones(2, requires_grad="gradient" in options)
    assert_goes_on(lambda t, y: -y, y0, builds, "", **options)
