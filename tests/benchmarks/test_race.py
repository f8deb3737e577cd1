"""Who may race, in which order, and how the outcome is written down. No time is measured here: clocks are not read."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
import torch

from benchmarks.agreement import Bounds, Errors
from benchmarks.figures import Curves, bars, curves
from benchmarks.peers import Peer
from benchmarks.race import Check, Heat, Placing, Settings, interleave, race, rounds_within
from benchmarks.report import Claim, Limit, claims_table, heat_section, limits_table, markdown_table, seen_ratio
from benchmarks.task import Answer, Task, Work


@dataclass
class Runner:
    """A contestant whose answer is a constant."""

    value: float
    log: list[float] = field(default_factory=list)

    def run(self) -> Any:
        self.log.append(self.value)
        if self.value < 0:
            raise MemoryError("no room for that")
        return self.value

    def answer(self, result: Any) -> Answer:
        return Answer(torch.full((2,), result), ())

    def work(self) -> Work:
        return Work(calls=6, rows=12, accepted=1.0, rejected=0.0)

    def peak(self) -> int:
        return 1_000_000


def peer(name: str, value: float, package: str = "torch", **options: Any) -> Peer:
    return Peer(name, package, lambda task, gradient: Runner(value), **options)


def task() -> Task:
    return Task(torch.nn.Identity(), (), torch.ones(2), torch.tensor([0.0, 1.0]), 1e-5)


def placing(name: str, *times: float, **options: Any) -> Placing:
    return Placing(name, times, 1.0, Errors(1e-4, 0.0), **{"work": Work(), **options})


def placed(name: str, seconds: float, outputs: float, gradients: float, **options: Any) -> Placing:
    return Placing(name, (seconds,), 1.0, Errors(outputs, gradients), Work(), **options)


def hold(*peers: Peer, **options: Any) -> Heat:
    return race("a heat", task(), peers, Settings(rounds=2, say=lambda _: None), **options)


def test_contestants_that_are_missing_or_fail_or_disagree_are_not_timed_and_a_line_says_why():
    heat = hold(
        peer("first", 1.0), peer("absent", 1.0, "no_such_package"), peer("dying", -1.0), peer("wrong", 1.5),
        peer("barred", 1.0, obstacle="it cannot"), peer("right", 1.01),
        bounds=Bounds(0.1, 0.1),
    )  # fmt: skip
    assert [found.name for found in heat.placings] == ["first", "right"]
    assert heat.notes == (
        "absent: left out, no_such_package is not installed",
        "dying: not timed, MemoryError: no room for that",
        "wrong: not timed, outputs differ by 5.0e-01",
        "barred: left out, it cannot",
    )


@pytest.mark.slow
def test_the_right_answer_judges_the_first_contestant_too():
    right = Answer(torch.full((2,), 1.5), ())
    heat = hold(peer("first", 1.0), peer("other", 1.5), right=right, bounds=Bounds(0.1, 0.1))
    assert [found.name for found in heat.placings] == ["other"]


@pytest.mark.slow
def test_a_contestant_that_fails_the_tight_check_is_not_timed():
    check = Check(task(), Answer(torch.ones(2), ()), Bounds(1e-3, 1e-3))
    heat = hold(peer("loose", 1.01), peer("tight", 1.0001), check=check, bounds=Bounds(1.0, 1.0))
    assert [found.name for found in heat.placings] == ["tight"]


def test_a_contestant_is_checked_once():
    made: list[Runner] = []

    def prepare(task: Task, gradient: bool) -> Runner:
        made.append(Runner(1.0))
        return made[-1]

    check = Check(task(), Answer(torch.ones(2), ()), Bounds(1e-3, 1e-3))
    for _ in range(3):
        assert check.verdict(Peer("one", "torch", prepare)) is None
    assert len(made) == 1


@pytest.mark.slow
def test_what_has_no_answer_is_not_compared():
    assert hold(peer("first", 1.0), peer("floor", 9.0, compared=False)).find("floor") is not None


@pytest.mark.slow
def test_peaks_are_measured_on_request():
    assert hold(peer("first", 1.0)).placings[0].peak is None
    assert hold(peer("first", 1.0), peaks=True).placings[0].peak == 1_000_000


def test_rounds_are_interleaved():
    log: list[float] = []
    entries: list[Any] = [(Runner(value, log).run, []) for value in (1.0, 2.0, 3.0)]
    interleave(entries, Settings(rounds=2, seconds=1e9))
    assert [value for value, _ in groupby(log)] == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert [len(times) for _, times in entries] == [2, 2, 2]


@pytest.mark.parametrize(("one", "fit"), [(0.0, 9), (1.0, 9), (4.0, 5), (100.0, 1)])
def test_slow_contestants_get_fewer_rounds_but_one(one, fit):
    assert rounds_within(20.0, one, 9) == fit


def test_a_placing_s_median_is_that_of_its_rounds():
    assert placing("one", 3.0, 1.0, 2.0).median == 2.0


def test_a_heat_s_table_has_medians_over_the_first_contestant_s_and_the_notes():
    slow = placing("other", 0.5, 0.4, work=Work(10, None, 20, 0.25, 3.5, 1.0))
    text = heat_section(Heat("three bodies", (placing("ours", 0.1), slow), ("a third: left out, it is missing",)))
    assert text.startswith("### three bodies\n\n|  | median ms |")
    assert "| ours | 100.00 | 100.00 | 100.00 | 1 | 1.00 |" in text
    assert "| other | 450.00 | 400.00 | 500.00 | 2 | 4.50 |" in text
    assert "| 10 | - | 20 | 25% | 3.5 | 1 |" in text
    assert text.endswith("- a third: left out, it is missing")


def test_a_table_s_rows_have_the_header_s_columns():
    lines = markdown_table(["", "a", "b"], [["x", "1", "2"]]).splitlines()
    assert lines == ["|  | a | b |", "|---|---:|---:|", "| x | 1 | 2 |"]


def test_a_claim_s_ratio_is_the_other_s_cost_over_ours():
    heat = Heat("", (placing("ours", 2.0, work=Work(rows=10)), placing("other", 10.0, work=Work(rows=30), peak=4)))
    assert seen_ratio(Claim("", "ours", "other", 3), heat) == 5.0
    assert seen_ratio(Claim("", "ours", "other", 3, "rows"), heat) == 3.0
    assert seen_ratio(Claim("", "ours", "other", 3, "memory"), heat) == "ours: its memory are not known"


def test_claims_are_reached_or_not_or_say_why_they_cannot_be_seen():
    heat = Heat("", (placing("ours", 1.0), placing("other", 4.0)), ("gone: left out, it is missing",))
    found = [(Claim("case", "ours", name, asked), heat) for name, asked in (("other", 3), ("other", 5), ("gone", 1))]
    rows = claims_table(found).splitlines()[2:]
    assert rows == [
        "| case | ours | other | time | 3x | 1e-04, 0 | 1e-04, 0 | 4x | yes |",
        "| case | ours | other | time | 5x | 1e-04, 0 | 1e-04, 0 | 4x | no |",
        "| case | ours | gone | time | 1x | 1e-04, 0 | - | - | gone: left out, it is missing |",
    ]


@pytest.mark.parametrize(
    ("ours", "other", "seen"),
    [
        ((1e-4, 1e-3), (1e-4, 1e-3), "4x | yes"),
        ((2.9e-4, 1e-3), (1e-4, 1e-3), "4x | yes"),
        ((3.1e-4, 1e-3), (1e-4, 1e-3), "- | not compared: the errors of ours are larger"),
        ((1e-4, 1e-2), (1e-4, 1e-3), "- | not compared: the errors of ours are larger"),
        ((1e-4, 1e-3), (4e-4, 1e-3), "at least 4x | yes"),
    ],
)
def test_ratios_are_of_equal_errors_or_bounds_or_none(ours, other, seen):
    heat = Heat("", (placed("ours", 1.0, *ours), placed("other", 4.0, *other)))
    assert claims_table([(Claim("case", "ours", "other", 2), heat)]).endswith(f"| {seen} |")


def test_what_has_no_answer_has_ratios_all_the_same():
    heat = Heat("", (placed("ours", 1.0, 1e-4, 1e-3), placed("floor", 0.5, 0.0, 0.0, compared=False)))
    assert claims_table([(Claim("case", "ours", "floor", 0.4), heat)]).endswith("| 1e-04, 1e-03 | - | 0.5x | yes |")


def test_limits_are_kept_or_not_or_say_why_they_cannot_be_seen():
    limits = [Limit("case", "it", 3.0, 2.5, "s"), Limit("case", "it", 3.0, 3.5), Limit("case", "it", 3.0, "it is gone")]
    assert limits_table(limits).splitlines()[2:] == [
        "| case | it | 3 s | 2.5 s | yes |",
        "| case | it | 3 | 3.5 | no |",
        "| case | it | 3 | - | it is gone |",
    ]


@pytest.mark.slow
def test_a_contestant_may_run_at_a_multiple_of_the_task_s_tolerances():
    seen: list[tuple[float, float]] = []

    def prepare(task: Task, gradient: bool) -> Runner:
        seen.append((task.tol, task.absolute))
        return Runner(1.0)

    heat = hold(Peer("one", "torch", prepare).held_to(0.5))
    assert [found.name for found in heat.placings] == ["one, tolerance x 0.5"]
    assert seen == [(0.5e-5, 0.5e-5)]


@pytest.mark.slow
def test_part_of_an_answer_may_be_compared():
    first = lambda answer: Answer(answer.outputs[:1], ())  # noqa: E731
    right = Answer(torch.ones(1), ())
    assert hold(peer("one", 1.0), right=right).find("one") is None
    assert hold(peer("one", 1.0), right=right, part=first).find("one") is not None


@pytest.mark.slow
def test_quick_races_are_not_checked_at_tight_tolerances():
    check = Check(task(), Answer(torch.full((2,), 9.0), ()), Bounds(1e-3, 1e-3))
    settings = Settings(rounds=1, quick=True, say=lambda _: None)
    assert race("", task(), [peer("one", 1.0)], settings, check=check).find("one") is not None
    assert hold(peer("one", 1.0), check=check).find("one") is None


def test_bars_show_every_heat_that_was_run():
    heat = Heat("a title", (placing("physode aca", 0.1), placing("other", 0.2)))
    figure = bars([heat, Heat("empty", ()), heat])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a title", "a title"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["physode aca", "other"]


def test_curves_are_logarithmic_and_labelled():
    axes = curves([Curves("costs", "steps", "ms", {"physode": [(1, 2), (2, 4)], "other": [(1, 3)]})]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["physode", "other"]
