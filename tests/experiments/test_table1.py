"""Table 1: what is counted is what happens, and what happens is what the paper's formulas say."""

from __future__ import annotations

import pytest
import torch

from physode.experiments import table1
from physode.experiments.counting import CountedPass, Layers, Meter, Search, Tally, longest_path
from physode.gradients import ACA
from physode.solve import solve


@pytest.fixture(scope="module")
def result():
    cases = ((2, 1e-3, 1.0), (4, 1e-3, 1.0), (2, 1e-5, 1.0), (2, 1e-3, 8.0))
    return table1.run(table1.Config(cases=cases, span=2.0, width=8, batch=16))


def rows(result, method):
    return [row for row in result.rows if row["method"] == method]


def test_the_longest_path_is_counted_through_branches_that_meet_again():
    tally = Tally()
    x = torch.ones(2, requires_grad=True)
    short = CountedPass.apply(x, tally)
    long = CountedPass.apply(torch.sin(CountedPass.apply(2.0 * x, tally)), tally)
    assert longest_path((short * long).sum().grad_fn, {}) == 2
    (short * long).sum().backward()
    assert (tally.forward, tally.backward, tally.deepest) == (3, 3, 2)


def test_what_a_rejected_attempt_has_differentiated_adds_nothing_to_the_depth():
    tally = Tally()
    for accepted in (False, True):
        CountedPass.apply(torch.ones(1, requires_grad=True), tally).sum().backward()
        tally.attempt(accepted)
    tally.close()
    assert (tally.depth, tally.backward, tally.attempts[0], tally.accepted[0]) == (1, 2, 2, 1)


def test_memory_is_that_of_what_is_alive_at_a_time():
    with Meter() as meter:
        first = torch.zeros(100, dtype=torch.float64)
        view = first[:50]
        del first
        assert meter.alive == 800
        del view
        torch.zeros(25, dtype=torch.float64)
    assert (meter.alive, meter.peak) == (0, 800)


def test_the_counted_solve_is_the_uncounted_one():
    y0 = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(3, 4)
    answers = []
    for tally in (None, Tally()):
        torch.manual_seed(0)
        f = Layers(3, 4, tally)
        controller = Search(tally=tally or Tally())
        solution = solve(f, y0, [0.0, 1.0], controller=controller, gradient=ACA(parallel=False), compile=False)
        answers.append(torch.autograd.grad(solution.y[-1].square().sum(), f.layers[0].weight)[0])
    assert torch.equal(*answers)
    assert tally.forward == 3 * solution.stats.rhs_forward
    assert tally.attempts[0] == int(solution.stats.attempts)
    assert tally.accepted[0] == int(solution.stats.accepted)


def test_steps_and_attempts_are_the_same_by_all_methods(result):
    columns = zip(*(rows(result, method) for method in table1.METHODS), strict=True)
    for same in columns:
        assert len({(row["N_t"], row["m"], row["evaluations an attempt"]) for row in same}) == 1


def test_aca_differentiates_each_accepted_step_once(result):
    for row in [*rows(result, "ACA"), *rows(result, "ACA, graphs kept")]:
        accepted = row["N_f"] * row["N_t"] * row["evaluations an attempt"]
        assert row["layers back"] == row["depth"] == accepted
        assert row["deepest graph"] == row["N_f"] * row["evaluations an attempt"]


def test_aca_evaluates_each_accepted_step_again_unless_its_graph_is_kept(result):
    for checkpoint, kept in zip(rows(result, "ACA"), rows(result, "ACA, graphs kept"), strict=True):
        again = checkpoint["N_f"] * checkpoint["N_t"] * checkpoint["evaluations an attempt"]
        assert checkpoint["layers forward"] - kept["layers forward"] == again


def test_naive_differentiates_every_attempt_in_one_graph(result):
    for row in rows(result, "naive"):
        attempts = row["N_f"] * row["N_t"] * row["m"] * row["evaluations an attempt"]
        assert row["deepest graph"] == row["depth"]
        assert attempts <= row["depth"] <= attempts + 2 * row["N_f"]


def test_the_adjoint_s_graphs_are_those_of_single_evaluations(result):
    for row in rows(result, "adjoint"):
        assert row["deepest graph"] == row["N_f"]
        assert row["N_r"] > 0
        assert 0 < row["reverse error"] < 100 * row["tolerance"]


def test_aca_s_memory_grows_by_one_state_a_step_and_the_adjoint_s_does_not(result):
    few, many = (rows(result, "ACA")[number] for number in (0, 2))
    assert many["memory (states)"] - few["memory (states)"] == pytest.approx(many["N_t"] - few["N_t"], rel=0.05)
    few, many = (rows(result, "adjoint")[number] for number in (0, 2))
    assert many["memory (states)"] == few["memory (states)"]


def test_a_longer_search_costs_naive_memory_and_depth_but_not_aca(result):
    near, far = (rows(result, "naive")[number] for number in (0, 3))
    assert far["m"] > 2 * near["m"]
    assert far["depth"] > 1.5 * near["depth"]
    near, far = (rows(result, "ACA")[number] for number in (0, 3))
    assert far["memory (states)"] <= near["memory (states)"]


def test_the_paper_s_orders_hold_and_its_lowest_cost_does_not_without_kept_graphs(result):
    verdicts = {finding.paper: finding.agrees for finding in result.findings}
    assert not verdicts.pop("ACA has the lowest computation cost")
    assert all(agrees for statement, agrees in verdicts.items() if statement.startswith(("depth", "memory of ACA")))
