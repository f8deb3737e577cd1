"""What PEtab and SBML mean, against closed forms: conditions, periods, events, compartments, steady states."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("libsbml")
pytest.importorskip("petab")

from physode.errors import DataError
from physode.petab import read_problem
from tests.petab.problems import model, write_version_1, write_version_2
from tests.petab.reference import guesses, simulations

DECAY = {"species": {"A": {"initial": 2.0}}, "parameters": {"k": 0.5}, "reactions": {"v": ("A ->", "c * k * A")}}


def simulated(path, **values):
    estimation = read_problem(path)
    return simulations(estimation, {**guesses(estimation), **values})[0]


def observables(*formulas):
    return [{"observableId": f"o{i}", "observableFormula": f, "noiseFormula": 1} for i, f in enumerate(formulas)]


def measured(times, *, experiment="", observable="o0", **others):
    return [
        {"observableId": observable, "experimentId": experiment, "time": t, "measurement": 1.0, **others} for t in times
    ]


def measured_1(times, condition="c0", observable="o0", **others):
    return [
        {"observableId": observable, "simulationConditionId": condition, "time": t, "measurement": 1.0, **others}
        for t in times
    ]


def problem_2(tmp_path, text, formulas, measurements, *, parameters=({"parameterId": "k"},), **tables):
    return write_version_2(
        tmp_path, text, parameters=parameters, observables=observables(*formulas), measurements=measurements, **tables
    )


def problem_1(tmp_path, text, formulas, measurements, *, conditions=({"conditionId": "c0"},), parameters=None):
    return write_version_1(
        tmp_path, text, parameters=parameters or [{"parameterId": "k"}], observables=observables(*formulas),
        measurements=measurements, conditions=conditions,
    )  # fmt: skip


def test_a_period_s_values_hold_from_its_beginning_on_and_are_seen_by_what_is_measured_then(tmp_path):
    path = problem_2(
        tmp_path, model(**{**DECAY, "parameters": {"k": 0.5, "f": 1.0}, "reactions": {"v": ("A ->", "c * k * f * A")}}),
        ["A"], measured([0, 1, 2, 3], experiment="e"),
        conditions=[{"conditionId": "on", "targetId": "f", "targetValue": "2 * f"},
                    {"conditionId": "on", "targetId": "A", "targetValue": "A + k"}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "e", "time": 2, "conditionId": "on"}],
    )  # fmt: skip
    k = 0.7
    at_2 = 2 * math.exp(-2 * k) + k
    expected = [2.0, 2 * math.exp(-k), at_2, at_2 * math.exp(-2 * k)]
    assert simulated(path, k=k) == pytest.approx(expected, rel=1e-7)


def test_a_size_changed_between_periods_leaves_concentrations_and_amounts_as_they_are(tmp_path):
    species = {"A": {"initial": 2.0}, "N": {"initial": 3.0, "amount": True}}
    path = problem_2(
        tmp_path, model(species=species, parameters={"k": 0.5}, reactions={"v": ("A ->", "k * A")}),
        ["A", "N", "N / c"],
        [*measured([1, 2], experiment="e"), *measured([2], experiment="e", observable="o1"),
         *measured([2], experiment="e", observable="o2")],
        conditions=[{"conditionId": "large", "targetId": "c", "targetValue": 4}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "e", "time": 1, "conditionId": "large"}],
    )  # fmt: skip
    # The rate k A is an amount per time: a concentration falls by k / c.
    expected = [2 * math.exp(-0.5), 2 * math.exp(-0.5 - 0.125), 3.0, 0.75]
    assert simulated(path, k=0.5) == pytest.approx(expected, rel=1e-7)


def test_an_event_that_changes_a_size_keeps_amounts(tmp_path):
    events = {"grow": {"trigger": "time >= 1", "assignments": {"c": "4"}}}
    species = {"A": {"initial": 2.0}, "B": {"initial": 1.0}}
    text = model(species=species, parameters={"k": 0.5}, reactions={"v": ("A -> B", "c * k * A")}, events=events)
    path = problem_2(tmp_path, text, ["A"], measured([0.5, 1, 2]))
    expected = [2 * math.exp(-0.25), 0.5 * math.exp(-0.5), 0.5 * math.exp(-1.0)]
    assert simulated(path, k=0.5) == pytest.approx(expected, rel=1e-7)


def test_an_event_sees_what_the_period_that_begins_with_it_has_done(tmp_path):
    events = {"double": {"trigger": "time >= 1", "assignments": {"A": "2 * A"}}}
    path = problem_2(
        tmp_path, model(**DECAY, events=events), ["A"], measured([1, 2], experiment="e"),
        conditions=[{"conditionId": "dose", "targetId": "A", "targetValue": "A + 1"}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "e", "time": 1, "conditionId": "dose"}],
    )  # fmt: skip
    at_1 = 2 * (2 * math.exp(-1.0) + 1)
    assert simulated(path, k=1.0) == pytest.approx([at_1, at_1 * math.exp(-1.0)], rel=1e-7)


def test_events_at_one_time_follow_their_priorities_each_after_the_other(tmp_path):
    events = {
        "add": {"trigger": "time >= 1", "assignments": {"A": "A + 1"}, "priority": 1},
        "double": {"trigger": "time >= 1", "assignments": {"A": "2 * A"}, "priority": 2},
    }
    path = problem_2(tmp_path, model(**DECAY, events=events), ["A"], measured([1]))
    assert simulated(path, k=1.0) == pytest.approx([2 * 2 * math.exp(-1.0) + 1], rel=1e-7)


@pytest.mark.parametrize(("trigger", "seen"), [("time >= 1", 10.0), ("time > 1", 2 * math.exp(-1.0))])
def test_what_is_measured_at_a_strict_trigger_s_time_is_measured_before_it(tmp_path, trigger, seen):
    events = {"set": {"trigger": trigger, "assignments": {"A": "10"}}}
    path = problem_2(tmp_path, model(**DECAY, events=events), ["A"], measured([1, 2]))
    assert simulated(path, k=1.0) == pytest.approx([seen, 10 * math.exp(-1.0)], rel=1e-7)


@pytest.mark.parametrize(("initially", "expected"), [(True, 2.0), (False, 5.0)])
def test_a_trigger_that_is_true_at_the_start_acts_unless_it_counts_as_true_before(tmp_path, initially, expected):
    events = {"set": {"trigger": "time >= 0", "assignments": {"A": "5"}, "initially": initially}}
    path = problem_2(tmp_path, model(**DECAY, events=events), ["A"], measured([0]))
    assert simulated(path) == pytest.approx([expected])


@pytest.mark.parametrize("initially", [True, False])
def test_a_state_s_trigger_acts_where_the_solution_reaches_it(tmp_path, initially):
    events = {"refill": {"trigger": "A <= 1", "assignments": {"A": "A + 3", "n": "n + 1"}, "initially": initially}}
    text = model(**{**DECAY, "parameters": {"k": 0.5, "n": 0.0}}, events=events)
    path = problem_2(tmp_path, text, ["A", "n"], [*measured([1, 3]), *measured([3], observable="o1")])
    first = math.log(2)  # from 2 to 1, k = 1; then from 4 to 1 in log 4, at 2.079
    second = first + math.log(4)
    expected = [4 * math.exp(-(1 - first)), 4 * math.exp(-(3 - second)), 2.0]
    assert simulated(path, k=1.0) == pytest.approx(expected, rel=1e-6)


def test_an_event_at_a_time_that_is_estimated_is_a_trigger_of_the_solution(tmp_path):
    events = {"dose": {"trigger": "time >= when", "assignments": {"A": "A + 1"}}}
    text = model(**{**DECAY, "parameters": {"k": 0.5, "when": 1.0}}, events=events)
    path = problem_2(tmp_path, text, ["A"], measured([3]), parameters=[{"parameterId": "k"}, {"parameterId": "when"}])
    estimation = read_problem(path)
    assert [trigger.name for trigger in estimation.model.triggers] == ["dose"]
    at_3 = 2 * math.exp(-3.0) + math.exp(-1.6)
    assert simulated(path, k=1.0, when=1.4) == pytest.approx([at_3], rel=1e-6)


def test_steps_of_time_become_constants_that_switch(tmp_path):
    text = model(
        species={"A": {"initial": 0.0}}, parameters={"k": 1.0, "off": 2.0, "input": None},
        assigned={"input": "piecewise(0, time < 1, k, time < off, 0)"}, reactions={"v": ("-> A", "c * input")},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "input"], [*measured([0.5, 1.5, 3], experiment="e"),
                                        *measured([1, 2.5], experiment="e", observable="o1"),
                                        *measured([5], experiment="late")],
        conditions=[{"conditionId": "later", "targetId": "off", "targetValue": 4}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "late", "time": 0, "conditionId": "later"}],
    )  # fmt: skip
    estimation = read_problem(path)
    assert [change.time for change in estimation.experiments[0].changes] == [1.0, 2.0]
    assert [change.time for change in estimation.experiments[1].changes] == [1.0, 4.0]
    assert estimation.model.triggers == ()
    assert simulated(path, k=3.0) == pytest.approx([0.0, 1.5, 3.0, 3.0, 0.0, 9.0], abs=1e-9)


def test_initial_assignments_follow_the_values_of_the_first_period(tmp_path):
    text = model(
        species={"A": {"initial": 1.0}, "B": {"initial": 1.0}}, parameters={"k": 0.0, "a": 3.0, "twice": None},
        initial={"A": "a", "twice": "2 * A", "B": "twice + time"}, reactions={"v": ("B ->", "c * k * B")},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "B", "twice"],
        [measured([1], experiment=e, observable=f"o{i}")[0] for e in ("e", "f", "g") for i in range(3)],
        conditions=[{"conditionId": "of_a", "targetId": "a", "targetValue": 5},
                    {"conditionId": "of_A", "targetId": "A", "targetValue": "k"}],
        experiments=[{"experimentId": "e", "time": 1, "conditionId": ""},
                     {"experimentId": "f", "time": 1, "conditionId": "of_a"},
                     {"experimentId": "g", "time": 1, "conditionId": "of_A"}],
    )  # fmt: skip
    assert simulated(path, k=0.25) == pytest.approx([3, 7, 6, 5, 11, 10, 0.25, 1.5, 0.5])


def test_amounts_and_concentrations_are_what_their_symbols_mean(tmp_path):
    species = {
        "A": {"initial": 6.0, "by_amount": True}, "B": {"initial": 2.0, "by_amount": False, "amount": True},
        "E": {"initial": 5.0, "boundary": True},
    }  # fmt: skip
    text = model(
        compartments={"c": 3.0}, species=species, parameters={"k": 0.5},
        reactions={"v": ("A + E -> 2 B", "k * A * c"), "w": ("2 B ->", "0 * B")},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "B", "E"], [m for i in range(3) for m in measured([0, 1], observable=f"o{i}")]
    )
    left = math.exp(-0.5)
    expected = [2.0, 2 * left, 6.0, 6 + 2 * 3 * 2 * (1 - left), 5.0, 5.0]
    assert simulated(path, k=0.5) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    "growth", [{"rates": {"c": "0.3 * c"}}, {"assigned": {"c": "2 * exp(0.3 * time)"}}], ids=["rate", "assignment"]
)
def test_concentrations_fall_as_their_compartment_grows(tmp_path, growth):
    species = {"A": {"initial": 4.0, "by_amount": True}, "B": {"initial": 1.0}}
    text = model(
        compartments={"c": 2.0},
        species=species,
        parameters={"k": 0.5},
        reactions={"v": ("A ->", "c * k * A")},
        **growth,
    )
    path = problem_2(tmp_path, text, ["A", "A * c"], [*measured([0, 2]), *measured([2], observable="o1")])
    expected = [2.0, 2 * math.exp(-2 * (0.5 + 0.3)), 4 * math.exp(-1.0)]
    assert simulated(path, k=0.5) == pytest.approx(expected, rel=1e-7)


def test_local_parameters_functions_and_reaction_rates_can_be_used(tmp_path):
    text = model(
        species={"A": {"initial": 2.0}, "B": {"initial": 2.0}}, parameters={"k": 0.5},
        functions={"mass_action": "lambda(rate, x, rate * x)"},
        reactions={"v": ("A ->", "c * mass_action(p, A)"), "w": ("B ->", "c * mass_action(p, B)")},
        local={"v": {"p": 3.0}, "w": {"p": 0.1}},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "B", "v"],
        [measured([1], experiment="e", observable=f"o{i}")[0] for i in range(3)],
        conditions=[{"conditionId": "slow", "targetId": "quick", "targetValue": "k / 2"}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": "slow"}],
        mappings=[{"petabEntityId": "quick", "modelEntityId": "v.p"}],
    )  # fmt: skip
    left = 2 * math.exp(-0.25)
    assert simulated(path, k=0.5) == pytest.approx([left, 2 * math.exp(-0.1), 0.25 * left], rel=1e-7)


def test_version_1_takes_constants_anew_after_a_steady_state_and_keeps_states_where_nothing_is_given(tmp_path):
    text = model(
        species={"A": {"initial": 0.0}, "B": {"initial": 1.0}}, parameters={"k": 1.0, "f": 2.0, "g": None},
        initial={"g": "10 * f"}, reactions={"in": ("-> A", "c * f"), "out": ("A ->", "c * k * A")},
    )  # fmt: skip
    conditions = [
        {"conditionId": "before", "f": 4, "A": "", "B": 7},
        {"conditionId": "kept", "f": "", "A": "", "B": ""},
        {"conditionId": "anew", "f": "", "A": "k", "B": 3},
    ]
    measurements = [
        m for condition in ("kept", "anew") for i in range(3)
        for m in measured_1([0], condition, f"o{i}", preequilibrationConditionId="before")
    ]  # fmt: skip
    path = problem_1(tmp_path, text, ["A", "B", "g"], measurements, conditions=conditions)
    assert simulated(path, k=0.5) == pytest.approx([8.0, 7.0, 20.0, 0.5, 3.0, 20.0], rel=1e-7)


def test_version_2_keeps_what_a_steady_state_s_condition_gave(tmp_path):
    text = model(
        species={"A": {"initial": 0.0}}, parameters={"k": 1.0, "f": 2.0, "g": None}, initial={"g": "10 * f"},
        reactions={"in": ("-> A", "c * f"), "out": ("A ->", "c * k * A")},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "f", "g"],
        [*measured([0, "inf"], experiment="e"), *measured([1], experiment="e", observable="o1"),
         *measured([0], experiment="e", observable="o2")],
        conditions=[{"conditionId": "before", "targetId": "f", "targetValue": 4},
                    {"conditionId": "after", "targetId": "A", "targetValue": "A / 2 + f"}],
        experiments=[{"experimentId": "e", "time": "-inf", "conditionId": "before"},
                     {"experimentId": "e", "time": 0, "conditionId": "after"}],
    )  # fmt: skip
    assert simulated(path, k=0.5) == pytest.approx([8.0, 8.0, 4.0, 40.0], rel=1e-7)


def test_events_that_change_constants_act_while_a_steady_state_is_sought_and_again_afterwards(tmp_path):
    text = model(
        species={"A": {"initial": 0.0}}, parameters={"k": 1.0, "f": 2.0},
        reactions={"in": ("-> A", "c * f"), "out": ("A ->", "c * k * A")},
        events={"double": {"trigger": "time >= 5", "assignments": {"f": "2 * f"}}},
    )  # fmt: skip
    path = problem_2(
        tmp_path, text, ["A", "f"],
        [*measured([0], experiment="e"), *measured([4, 5], experiment="e", observable="o1"),
         *measured(["inf"], experiment="e")],
        experiments=[{"experimentId": "e", "time": "-inf", "conditionId": ""}],
    )  # fmt: skip
    estimation = read_problem(path)
    assert estimation.model.triggers == ()
    assert simulated(path, k=0.5) == pytest.approx([8.0, 4.0, 8.0, 16.0], rel=1e-7)


def test_constants_that_get_values_only_the_solution_knows_become_states(tmp_path):
    text = model(**{**DECAY, "parameters": {"k": 0.5, "kept": 0.0}})
    path = problem_2(
        tmp_path, text, ["kept"], measured([0, 2], experiment="e"),
        conditions=[{"conditionId": "keep", "targetId": "kept", "targetValue": "A + kept"}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "e", "time": 1, "conditionId": "keep"}],
    )  # fmt: skip
    assert read_problem(path).model.states == ("A", "kept")
    assert simulated(path, k=1.0) == pytest.approx([0.0, 2 * math.exp(-1.0)], rel=1e-7)


def test_a_measurement_s_own_parameters_are_numbers_unknowns_and_constants_of_its_time(tmp_path):
    path = write_version_2(
        tmp_path, model(**{**DECAY, "parameters": {"k": 0.5, "f": 1.0}}),
        parameters=[{"parameterId": "k", "nominalValue": 0}, {"parameterId": "s", "nominalValue": 3}],
        observables=[{"observableId": "o", "observableFormula": "scale * A + shift", "noiseFormula": "sd * o",
                      "observablePlaceholders": "scale;shift", "noisePlaceholders": "sd"},
                     {"observableId": "plain", "observableFormula": "A", "noiseFormula": "f"}],
        measurements=[
            {"observableId": "plain", "experimentId": "e", "time": 1, "measurement": 1},
            {"observableId": "o", "experimentId": "e", "time": 1, "measurement": 1, "observableParameters": "2;s",
             "noiseParameters": "0.1"},
            {"observableId": "o", "experimentId": "e", "time": 2, "measurement": 1, "observableParameters": "s;0",
             "noiseParameters": "s"},
        ],
        conditions=[{"conditionId": "more", "targetId": "f", "targetValue": "f + s"}],
        experiments=[{"experimentId": "e", "time": 0, "conditionId": ""},
                     {"experimentId": "e", "time": 1, "conditionId": "more"}],
    )  # fmt: skip
    estimation = read_problem(path)
    values, spreads = simulations(estimation, guesses(estimation))
    assert values == pytest.approx([2.0, 7.0, 6.0])
    assert spreads == pytest.approx([4.0, 0.7, 18.0])
    assert estimation.measurements.own == ((0.0, 0.0, 0.0), (2.0, "s", 0.1), ("s", 0.0, "s"))
    assert np.array_equal(estimation.measurements.observable, [1, 0, 0])


@pytest.mark.parametrize("estimate", ["true", "false"])
def test_what_an_event_sets_at_an_unknown_time_is_no_parameter_of_the_table(tmp_path, estimate):
    events = {"switch": {"trigger": "A <= 1", "assignments": {"k": "0.1"}}}
    parameters = [{"parameterId": "k", "estimate": estimate}]
    path = problem_2(tmp_path, model(**DECAY, events=events), ["A"], measured([1, 2]), parameters=parameters)
    with pytest.raises(DataError, match=r"an event sets k at a time that only the solution knows.*initial assignment"):
        read_problem(path)
    text = model(
        **{**DECAY, "parameters": {"k": 0.5, "k0": 0.5}}, initial={"k": "k0"}, events=events
    )  # what the line advises
    path = problem_2(tmp_path, text, ["A"], measured([1, 3]), parameters=[{"parameterId": "k0"}])
    switch = 2 * math.log(2)
    assert simulated(path, k0=0.5) == pytest.approx([2 * math.exp(-0.5), math.exp(-0.1 * (3 - switch))], rel=1e-6)
