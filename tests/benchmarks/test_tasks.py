"""The tasks are the same for all contestants."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.agreement import errors_of
from benchmarks.cases import CASES, conv, irregular, mlp, three_body, vdp_spread
from benchmarks.peers import on_union, physode, torchdiffeq, useful_share


def test_irregular_times_rise_from_zero_to_one_and_no_two_are_alike():
    t = irregular.irregular_times(7, 5)
    assert t.shape == (7, 5)
    assert bool((t.diff(dim=0) > 0).all())
    assert bool((t[0] == 0).all())
    assert float(t.max()) == 1.0
    assert len(t[1:].unique()) == 30


@pytest.mark.parametrize(
    "task",
    [
        three_body.problem(1, torch.float64),
        three_body.problem(4, torch.float32),
        vdp_spread.problem(6, 1e-5),
        mlp.problem(3, 4, torch.float32, 1e-5),
        irregular.problem(5, torch.float32, 1e-5),
    ],
)
def test_the_right_hand_sides_in_jax_and_torch_are_equal(task):
    numpy = pytest.importorskip("jax.numpy")
    jax = pytest.importorskip("jax")
    y = task.y0.detach() + 0.3
    with jax.enable_x64(y.dtype == torch.float64):
        found = task.twin.f(0.0, numpy.asarray(y.numpy()), [numpy.asarray(p.detach().numpy()) for p in task.params])
    right = task.f(task.t[0], y).detach()
    torch.testing.assert_close(torch.tensor(found.tolist(), dtype=y.dtype), right, rtol=2e-5, atol=2e-5)


def test_gradients_are_asked_for_in_the_leaves_of_the_right_hand_side():
    for task in (
        three_body.problem(4, torch.float32),
        vdp_spread.problem(6, 1e-5),
        mlp.problem(3, 4, torch.float32, 1e-5),
    ):
        learned = {id(parameter) for parameter in task.f.parameters() if parameter.requires_grad}
        assert {id(parameter) for parameter in task.params} == learned
        assert all(tensor.requires_grad for tensor in task.wrt)


def test_an_end_state_is_one_output():
    task = conv.problem(2, 4, torch.float32, 1e-2, size=4)
    answer = physode().prepare(task, True).run()
    assert answer.outputs.shape == (1, 2, 4, 4, 4)
    assert [g.shape for g in answer.gradients] == [tensor.shape for tensor in task.wrt]


@pytest.mark.parametrize("inner", [physode(), torchdiffeq()])
def test_the_union_of_times_gives_each_sample_its_own(inner):
    task = irregular.problem(6, torch.float64, 1e-8)
    found = on_union(inner).prepare(task, True).run()
    right = physode(step_control="per-sample").prepare(task, True).run()
    errors = errors_of(found, right)
    assert errors.outputs < 1e-6
    assert errors.gradients < 1e-6


def test_work_is_counted_apart_from_what_is_timed():
    work = torchdiffeq().prepare(mlp.problem(3, 4, torch.float64, 1e-5), True).work()
    assert work.calls is not None
    assert work.rows == 4 * work.calls
    assert work.calls == 6 * (work.accepted + work.rejected) + 2
    assert work.backward_calls == 0


def test_the_useful_share_is_the_mean_of_attempts_over_the_largest():
    assert useful_share(torch.tensor([10, 20, 30, 40])) == pytest.approx(25 / 40)
    assert useful_share(torch.tensor(7)) == 1.0


def test_an_unknown_case_is_an_error_that_lists_the_known(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "three_bodies"])
    with pytest.raises(SystemExit, match="2"):
        main()
    message = capsys.readouterr().err
    assert all(name in message for name in ("unknown case three_bodies", *CASES))


def test_help_has_examples_and_cases(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert all(name in shown for name in CASES)
