"""What is done by kernels or without, in general, and sensitivities among it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from physode.fused import choice
from physode.fused.unsupported import Unsupported
from physode.problem.checks import pose
from physode.sensitivity import sensitivities
from physode.solvers.driver import Plan
from tests.fused.same import Swing, close

pytestmark = pytest.mark.usefixtures("float64")


@dataclass
class Ready:
    at_hand: bool


@dataclass
class Work:
    """A job that notes how it was done."""

    at_hand: bool = False
    refuses: bool = False
    fails: bool = False
    at_once: bool = True
    shares: tuple[float, ...] = ()
    done: list[str] = field(default_factory=list)

    def job(self, kind="kind"):
        problem = pose(lambda t, y: -y, torch.ones(2), [0.0, 1.0])
        return choice.Job(
            problem, Plan(), kind, self.check, self.prepare, self.by_kernel, self.uncompiled, self.at_once
        )

    def check(self):
        if self.refuses:
            raise Unsupported("it cannot be fused")
        self.done.append("checked")

    def prepare(self):
        self.check()
        self.done[-1] = "prepared"
        return Ready(self.at_hand)

    def by_kernel(self, prepared):
        if self.fails:
            raise Unsupported("the compiler failed")
        self.done.append("kernel")
        return "kernel"

    def uncompiled(self, plan):
        for share in self.shares:
            if plan.progress is not None:
                plan.progress(share)
        self.done.append("uncompiled")
        return "uncompiled"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch):
    monkeypatch.delenv("PHYSODE_COMPILE")


def test_kernels_at_hand_are_looked_for_at_once_where_a_job_says_so_and_others_are_not_waited_for():
    assert choice.run(Work(at_hand=True).job("one"), "auto") == "kernel"
    assert choice.run(Work(at_hand=True, at_once=False).job("another"), "auto") == "uncompiled"
    work = Work()
    assert [choice.run(work.job("other"), "auto") for _ in range(3)] == ["uncompiled"] * 3
    assert work.done.count("checked") == 1
    assert choice.run(work.job("other"), True) == "kernel"


def test_kernels_are_made_once_as_much_time_has_been_spent_as_that_takes(monkeypatch):
    work = Work()
    assert choice.run(work.job(), "auto") == "uncompiled"
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    assert choice.run(work.job(), "auto") == "kernel"


def test_a_job_that_takes_longer_than_compiling_is_begun_anew_unless_it_is_nearly_done(monkeypatch):
    monkeypatch.setattr(choice, "_MAKES_AFTER", 1e-9)
    work = Work(shares=(0.5,))
    assert choice.run(work.job(), "auto") == "kernel"
    assert "uncompiled" not in work.done
    assert choice.run(Work(shares=(0.9, 1.0)).job("another"), "auto") == "uncompiled"


def test_what_kernels_cannot_do_is_asked_a_few_times(monkeypatch):
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    for work in (Work(refuses=True), Work(fails=True)):
        choice.forget()
        assert {choice.run(work.job(), "auto") for _ in range(5)} == {"uncompiled"}
        assert choice._memory.kinds["kind"].refused == 3
        with pytest.raises(Unsupported):
            choice.run(work.job(), True)


def test_never_means_never_but_where_it_is_demanded(monkeypatch):
    monkeypatch.setenv("PHYSODE_COMPILE", "never")
    assert choice.run(Work(at_hand=True).job(), "auto") == "uncompiled"
    assert choice.run(Work().job(), True) == "kernel"


def test_neither_the_number_of_samples_nor_that_of_outputs_makes_another_kind():
    swing, c = Swing(), torch.tensor(0.1)

    def kind(samples, outputs, **options):
        y0 = torch.ones(samples, 2)
        return choice.kind_of(pose(swing, y0, torch.linspace(0, 1, outputs), args=(c,), **options))

    assert kind(5, 10) == kind(2, 3)
    assert kind(5, 10) != kind(5, 10, step_control="per-sample")
    assert kind(5, 10) != kind(5, 10, method="bosh3")


def test_the_same_kernels_serve_growing_spans_and_other_numbers_of_samples(loads):
    swing, c = Swing(), torch.tensor(0.1)
    options = {"args": (c,), "method": "bosh3", "rtol": 1e-4, "atol": 1e-5, "step_control": "per-sample"}
    for samples, outputs in ((4, 5), (2, 9), (30, 3)):
        y0, t = torch.linspace(-1, 1, 2 * samples).reshape(samples, 2), torch.linspace(0, outputs / 4, outputs)
        found, expected = (
            sensitivities(swing, y0, t, [swing.rate, c], initial_state=True, compile=compiled, **options)
            for compiled in (True, False)
        )
        close(found.jacobian, expected.jacobian, 1e-10)
    assert len(set(loads)) <= 2


def test_sensitivities_that_cannot_be_fused_are_found_without_and_said_to_be():
    rate = torch.tensor(0.7)

    def f(t, y, rate):
        return -rate * y if float(t) < 10 else y

    with pytest.warns(RuntimeWarning, match="sensitivities without compilation: .*control flow on values"):
        found = sensitivities(f, torch.ones(1), [0.0, 1.0], [rate], args=(rate,), rtol=1e-9, atol=1e-11, compile=True)
    assert float(found.jacobian[-1]) == pytest.approx(-float(torch.exp(-rate)), rel=1e-7)
