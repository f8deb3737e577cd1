"""The tasks are the same for all contestants."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.agreement import errors_of
from benchmarks.cases import CASES, compile_time, conv, irregular, lorenz, mlp, stiff_spread, three_body, vdp_spread
from benchmarks.first_solve import PROBLEMS, FirstSolves
from benchmarks.jax_peer import diffrax
from benchmarks.peers import on_threads, on_union, physode, torchdiffeq, useful_share
from benchmarks.race import Settings
from benchmarks.replay_peer import gradsolve
from physode.rhs import Hires


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
        lorenz.problem(5),
        stiff_spread.problem(stiff_spread.ROBERTSON, 5),
        stiff_spread.problem(stiff_spread.HIRES, 5),
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
        lorenz.problem(5),
        stiff_spread.problem(stiff_spread.HIRES, 5),
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


def test_reactions_at_the_published_rates_are_the_published_ones():
    kinetics = stiff_spread.HIRES
    f = stiff_spread.Mixture(kinetics, torch.tensor(kinetics.rates, dtype=torch.float64).repeat(3, 1))
    y = torch.rand(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(f(torch.tensor(0.0), y).detach(), Hires()(torch.tensor(0.0), y), rtol=1e-12, atol=0)


def test_spread_rates_are_within_their_factor():
    task = stiff_spread.problem(stiff_spread.ROBERTSON, 50)
    factors = task.params[0].detach() / torch.tensor(stiff_spread.ROBERTSON.rates, dtype=torch.float64)
    assert 0.5 <= float(factors.min()) < 0.6
    assert 1.8 < float(factors.max()) <= 2.0


@pytest.mark.parametrize(("case", "pose"), [(lorenz, lorenz.problem), (stiff_spread, None)])
def test_what_is_judged_of_a_large_batch_is_the_answer_of_a_small_one(monkeypatch, case, pose):
    pose = pose or (lambda batch: stiff_spread.problem(stiff_spread.ROBERTSON, batch, 1e-3))
    monkeypatch.setattr(case, "_JUDGED", 2)
    own = physode(step_control="per-sample")
    large, small = (own.prepare(pose(batch), True).run() for batch in (6, 2))
    for found, right in zip(case._judged(large, 6), case._judged(small, 2), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-12)


def test_the_same_task_at_other_tolerances_keeps_their_ratio():
    task = stiff_spread.problem(stiff_spread.ROBERTSON, 2, 1e-6)
    held = task.held_to(100)
    assert (held.tol, held.absolute) == pytest.approx((1e-4, 1e-10))
    assert held.y0 is task.y0
    assert lorenz.problem(2, 1e-6).held_to(10).absolute == pytest.approx(1e-5)


def test_threads_are_as_before_after_a_run_on_others():
    seen: list[int] = []

    class Noting(torch.nn.Module):
        def forward(self, t, y):
            seen.append(torch.get_num_threads())
            return -y

    before = torch.get_num_threads()
    task = mlp.problem(3, 4, torch.float64, 1e-3).with_f(Noting())
    peer = on_threads(physode(), before + 1)
    assert peer.name == f"physode aca, {before + 1} threads"
    peer.prepare(task, False).run()
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # gradsolve asks for double precision, whatever there is
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("end_only", [True, False])
def test_contestants_on_jax_keep_the_task_s_precision_and_agree(dtype, end_only):
    pytest.importorskip("diffrax")
    pytest.importorskip("gradsolve")  # its import alone would have jax compute in double precision
    task = three_body.problem(2, dtype, 1e-5, end_only=end_only)
    right = (
        physode(step_control="per-sample")
        .prepare(three_body.problem(2, torch.float64, 1e-7, end_only=end_only), True)
        .run()
    )
    for peer in (gradsolve(), gradsolve(recording=True), diffrax()):
        runner = peer.prepare(task, True)
        answer = runner.answer(runner.run())
        assert {answer.outputs.dtype, *(gradient.dtype for gradient in answer.gradients)} == {dtype}
        assert answer.outputs.shape == right.outputs.shape
        assert errors_of(answer, right).outputs < 0.1


@pytest.mark.slow
def test_contestants_for_stiff_reactions_agree():
    pytest.importorskip("diffrax")
    pytest.importorskip("gradsolve")
    task = stiff_spread.problem(stiff_spread.ROBERTSON, 2, 1e-5)
    right = physode(step_control="per-sample").prepare(task, True).run()
    for peer in (gradsolve(), diffrax()):
        runner = peer.prepare(task, True)
        errors = errors_of(runner.answer(runner.run()), right)
        assert errors.outputs < 1e-5
        assert errors.gradients < 1e-4


def test_compiling_is_what_a_first_solve_takes_longer():
    assert FirstSolves(2.5, 0.5).compiling == 2.0
    one = compile_time.Compiling("a problem", FirstSolves(2.5, 0.5), FirstSolves(0.75, 0.5), (5.0, 3.0))
    assert compile_time.table([one]).splitlines()[2:] == [
        "| a problem, empty cache | 2.500 | 0.500 | 2.000 | 5.000 |",
        "| a problem, the next process | 0.750 | 0.500 | 0.250 | 3.000 |",
    ]
    assert "three bodies" in PROBLEMS


@pytest.mark.slow
def test_first_solves_are_measured_in_two_processes_on_one_cache():
    one = compile_time.measure(Settings(say=lambda _: None), "three bodies")
    assert one.cold.first > one.warm.first > 0
    assert min(one.processes) > 0


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
