"""The views of the study of CIFAR: their cells by the paper's protocol, and their tables from scripted outcomes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.experiments import find_experiment
from physode.experiments.cifar.config import MODELS, SOLVERS
from physode.experiments.cifar.error_rates import NODE, RESNET
from physode.metrics import reliability
from physode.sweeps.cells import Outcome

VIEWS = ("table2", "table3", "table6", "table7", "fig7")
IMAGES = 40
_OWN = {"resnet18": "Euler, step 1", "node18-aca": "HeunEuler, 0.01"}


def planned(name, **changes):
    view = find_experiment(name)
    config = view.Config(**changes)
    return view, config, view.cells(config)


def scripted(cell, *, error, seed=0):
    """What a training returns, made up: wrong where its own random numbers say so."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    truth = np.arange(IMAGES) % 10
    wrong = rng.permutation(IMAGES) < round(error * IMAGES / 100)
    epochs = cell.arguments["settings"]["epochs"]
    line = {"test_accuracy": 1 - error / 100, "seconds": 2.0, "rhs_forward": 10.0, "rhs_backward": 5.0}
    tests = {
        test["label"]: {"error": error + 0.5 * number, "rhs": 5.0, "seconds": 1.0}
        for number, test in enumerate(cell.arguments["tests"])
    }
    key = cell.name.split(" ")[0]
    if key in _OWN and tests:
        tests[_OWN[key]]["error"] = error
    return Outcome(
        result={
            "history": [{"epoch": epoch, **line} for epoch in range(1, epochs + 1)],
            "parameters": 11_000_000,
            "error": error,
            "tests": tests,
            "truth": truth.tolist(),
            "predicted": np.where(wrong, (truth + 1) % 10, truth).tolist(),
            "right": rng.uniform(0.0, 1.0, IMAGES).tolist(),
        }
    )


ERRORS = {"node18-aca": 5.0, "node18-adjoint": 10.0, "node18-naive": 12.5, "resnet18": 7.5}
ERRORS |= {"anode18": 6.0, "resnet50": 7.0, "resnet101": 6.5}


def gathered(name, *, errors=ERRORS, failed=(), **changes):
    few = {"long_epochs": 3, "epochs": 2, "compared_epochs": 2, "compared": 2, "repeats": 3}
    view, config, cells = planned(name, **{**few, **changes})
    outcomes = {
        cell.name: Outcome(failure="SolveError: no") if cell.name in failed
        else scripted(cell, error=errors[cell.name.split(" ")[0]])
        for cell in cells
    }  # fmt: skip
    return view, view.aggregate(config, outcomes)


def test_the_cells_have_the_paper_s_protocol():
    cells = {cell.name: cell for name in VIEWS for cell in planned(name)[2]}
    settings = {name: cell.arguments["settings"] for name, cell in cells.items()}
    long = settings["node18-aca long seed 0"]
    assert (long["epochs"], long["lr"], long["batch"]) == (350, 0.1, 128)
    assert [350 * share for share in long["milestones"]] == pytest.approx([150, 250])
    assert (long["method"], long["rtol"], long["atol"], long["gradient"]) == ("heun_euler", 1e-2, 1e-2, "aca")
    for seed in range(3):
        adjoint, naive = (settings[f"node18-{key} compared seed {seed}"] for key in ("adjoint", "naive"))
        for each in (adjoint, naive, settings[f"node18-aca compared seed {seed}"]):
            assert (each["epochs"], each["lr"], each["seed"]) == (90, 0.01, seed)
            assert [90 * share for share in each["milestones"]] == pytest.approx([30, 60])
        assert (adjoint["method"], adjoint["rtol"], adjoint["batch"], naive["batch"]) == ("dopri5", 1e-5, 128, 32)
    repeated = {name: each for name, each in settings.items() if "repeated" in name}
    assert len(repeated) == 20
    assert {(each["epochs"], each["lr"]) for each in repeated.values()} == {(90, 0.1)}


def test_views_share_their_cells_and_the_folder_of_these():
    seen = {}
    for name in VIEWS:
        _, config, cells = planned(name)
        assert config.name == name
        assert config.folder == "cifar-on-simulated-galaxies"
        for cell in cells:
            assert seen.setdefault(cell.name, cell.fingerprint) == cell.fingerprint
    assert {cell.name for cell in planned("table3")[2]} < {cell.name for cell in planned("fig7")[2]}
    assert {cell.name for cell in planned("table6")[2]} < {cell.name for cell in planned("table3")[2]}
    assert {cell.name for cell in planned("table7")[2]} < {cell.name for cell in planned("table2")[2]}


def test_other_images_have_another_folder_and_other_cells():
    real = {"data": "../cifar 10", "digest": "ab" * 32, "classes": tuple("0123456789")}
    _, config, cells = planned("table7", **real)
    assert config.folder == "cifar-on-cifar-10-abababab"
    assert cells[0].fingerprint != planned("table7")[2][0].fingerprint
    assert dataclasses.replace(config, preset="quick").folder == "cifar-on-cifar-10-abababab-quick"


def test_quick_versions_are_labelled_smaller_and_have_the_same_models_but_the_largest():
    for name in VIEWS:
        view = find_experiment(name)
        quick = view.Config.quick(seed=4)
        assert (quick.name, quick.seed) == (f"{name}-quick", 4)
        cells = view.cells(quick)
        models = {cell.name.split(" ")[0] for cell in planned(name)[2]}
        assert {cell.name.split(" ")[0] for cell in cells} == models - {"resnet101"}
        assert {cell.arguments["settings"]["width"] for cell in cells} == {8}
        failed = view.aggregate(quick, {cell.name: Outcome(failure="no") for cell in cells})
        assert "quick: a narrow network" in failed.title


def test_every_table_says_where_its_images_are_not_cifar_s():
    for name in VIEWS:
        assert "simulated galaxies as stand-in images, not CIFAR" in gathered(name)[1].title
        real = gathered(name, data="cifar10", digest="ab" * 32, classes=tuple("0123456789"))[1].title
        assert "stand-in" not in real
        assert real.endswith(": cifar10")


def test_the_solvers_are_those_of_tables_6_and_7_with_the_paper_s_increases():
    assert len(SOLVERS) == len(RESNET.increases) == len(NODE.increases) == 3 * 4 + 3 * 3
    assert SOLVERS["RK23, 0.01"] == {"method": "bosh3", "rtol": 1e-2, "atol": 1e-2}
    assert SOLVERS["Euler, step 0.2"] == {"method": "euler", "step": 0.2}
    assert (RESNET.increases["RK2, step 1"], RESNET.increases["RK45, 0.001"]) == (7.69, 6.46)
    chosen = ("Euler, step 0.1", "HeunEuler, 0.1", "HeunEuler, 0.01")
    assert [NODE.increases[label] for label in chosen] == [0.57, 1.29, 0.0]


def test_an_increase_is_the_error_rate_above_that_of_the_training_s_own_solver():
    _, result = gathered("table7")
    rows = {row["solver"]: row for row in result.rows}
    labels = list(SOLVERS)
    assert rows["RK4, step 0.1"]["increase (points)"] == pytest.approx(0.5 * labels.index("RK4, step 0.1"))
    assert rows["HeunEuler, 0.01 (training)"]["increase (points)"] == 0
    assert rows["RK4, step 0.1"]["the paper (CIFAR10)"] == 0.37
    others = [0.5 * number for number, label in enumerate(labels) if label != "HeunEuler, 0.01"]
    (found,) = [each for each in result.findings if each.paper.startswith("most other solvers")]
    assert found.ours == f"median {np.median(others):+.2f}, largest {max(others):+.2f}"
    assert not found.agrees


def test_table_6_is_the_mean_over_all_runs_with_its_deviation():
    _, result = gathered("table6")
    row = result.rows[3]
    assert (row["solver"], row["runs"], row["increase (points)"], row["sd of runs"]) == ("Euler, step 0.1", 3, 1.5, 0.0)


def test_table_2_has_the_same_training_by_six_solvers_and_the_other_models_beside_the_paper():
    _, result = gathered("table2", data="cifar10", digest="ab" * 32, classes=tuple("0123456789"))
    rows = [(row["model"], row["solver of the test"], row["epochs"], row["error (%)"]) for row in result.rows]
    labels = list(SOLVERS)
    assert rows[:2] == [
        ("NODE18-ACA", "HeunEuler, 0.01", 3, 5.0),
        ("NODE18-ACA", "RK23, 0.01", 3, 5.0 + 0.5 * labels.index("RK23, 0.01")),
    ]
    assert [row["the paper (CIFAR10)"] for row in result.rows][:6] == [4.85, 4.92, 5.29, 5.52, 5.27, 5.24]
    trained = {row["model"]: row for row in result.rows[6:]}
    assert [trained[name]["the paper (CIFAR10)"] for name in ("ANODE18", "ResNet50", "ResNet101")] == [6.8, 6.38, 6.25]
    assert all(row["test images"] == IMAGES for row in result.rows)
    assert (trained["NODE18-ACA"]["epochs"], trained["NODE18-ACA"]["the paper (CIFAR10)"]) == (2, None)
    assert trained["NODE18-adjoint"]["the paper (CIFAR10)"] == 9.8
    findings = {finding.paper: finding for finding in result.findings}
    adjoint = findings["NODE18-ACA has 0.49 of NODE18-adjoint's error rate (4.85 and 9.8 %)"]
    assert (adjoint.ours, adjoint.agrees) == ("0.50 of it (5 and 10 %)", True)
    assert findings["NODE18-ACA has 0.69 of ResNet18's error rate (4.85 and 6.98 %)"].ours.startswith("0.67 of it")


def test_anode18_is_node18_by_fixed_steps_and_their_gradient():
    settings = {cell.name: cell.arguments["settings"] for cell in planned("table2")[2]}
    node, anode = settings["node18-aca long seed 0"], settings["anode18 long seed 0"]
    assert (anode["model"], anode["form"]) == (node["model"], node["form"]) == ("node18", "published")
    assert (anode["method"], anode["step"], "rtol" in anode) == ("euler", 0.5, False)
    assert (anode["epochs"], anode["lr"]) == (node["epochs"], node["lr"])


@pytest.mark.parametrize("name", VIEWS)
def test_only_models_that_a_table_needs_are_tested_by_other_solvers(name):
    tested = {cell.name.partition(" seed")[0] for cell in planned(name)[2] if cell.arguments["tests"]}
    assert tested <= {"node18-aca long", "resnet18 repeated"}
    assert bool(tested)


def test_a_model_that_was_not_trained_is_a_row_that_says_so_and_no_finding():
    view, result = gathered("table2", left_out=("resnet101", "node18-naive"))
    rows = {row["model"]: row for row in result.rows[6:]}
    for model in ("ResNet101", "NODE18-naive"):
        assert (rows[model]["error (%)"], rows[model]["runs"], rows[model]["note"]) == (None, 0, "not run")
        assert not any(model in finding.paper for finding in result.findings)
    assert rows["ResNet101"]["the paper (CIFAR10)"] == 6.25
    assert rows["ResNet50"]["note"] == ""
    ticks = [tick.get_text() for tick in view.draw(result).axes[0].get_yticklabels()]
    assert "ResNet101, 3 epochs, not run" in ticks


@pytest.mark.parametrize("name", VIEWS)
def test_few_images_are_held_against_nothing(name):
    """Which of two accuracies on some hundred images is larger differs from one machine to another."""
    result = gathered(name, preset="quick")[1]
    assert "accuracies tell no order of models" in result.title
    for finding in result.findings:
        assert not any(word in finding.paper for word in ("error rate", "accura", "ICC", " time"))
    assert any(finding.paper == "every training ends" for finding in result.findings)


def test_intervals_of_figures_are_those_of_tables():
    view, result = gathered("table6")
    result = dataclasses.replace(result, rows=[{**row, "sd of runs": 0.25} for row in result.rows])
    axes = view.draw(result).axes[0]
    assert "standard deviation of runs" in axes.get_xlabel()
    lines = [line.get_xdata() for line in axes.lines if line.get_ls() == "-"]
    rises = [row["increase (points)"] for row in result.rows]
    assert [tuple(line) for line in lines] == [(rise - 0.25, rise + 0.25) for rise in rises]
    view, result = gathered("fig7")
    labels = view.draw(result)["a-b"].axes[0].get_legend_handles_labels()[1]
    assert "± standard deviation of runs" in labels


def test_every_table_says_where_it_departs_from_the_paper():
    for name in VIEWS:
        deviations = find_experiment(name).deviations
        items = [each.item for each in deviations]
        assert len(set(items)) == len(items)
        assert {"Sect. 4.2, NODE18", "Sect. 4.2, ResNet18", "Quick presets"} < set(items)
        assert all(each.paper and each.here and each.reason for each in deviations)
    assert "Table 2, ANODE18" in {each.item for each in find_experiment("table2").deviations}


def test_the_numbers_of_parameters_are_compared_by_every_preset():
    for preset in ("full", "quick"):
        (same,) = [each for each in gathered("table2", preset=preset)[1].findings if "parameters" in each.paper]
        assert (same.ours, same.agrees) == ("11,000,000 and 11,000,000", True)


def test_a_method_has_one_colour_in_all_figures():
    from physode.experiments.comparison_plot import colour_of

    view, result = gathered("fig7")
    figures = view.draw(result)
    curves = {line.get_label(): line.get_color() for line in figures["a-b"].axes[0].lines}
    assert curves == {name: colour_of(name) for name in ("NODE18-ACA", "NODE18-adjoint", "NODE18-naive")}
    points = [line.get_color() for line in figures["c"].axes[0].lines if line.get_marker() == "o"]
    assert points == [colour_of("NODE18-ACA"), colour_of("ResNet18")]
    view, result = gathered("table2")
    marks = [line for line in view.draw(result).axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [mark.get_markeredgecolor() for mark in marks] == [colour_of(row["model"]) for row in result.rows]


def test_of_a_hundred_classes_the_paper_s_figures_are_those_of_cifar_100():
    classes = tuple(map(str, range(100)))
    _, result = gathered("table2", data="cifar100", digest="ab" * 32, classes=classes)
    assert result.rows[0]["the paper (CIFAR100)"] == 22.66
    _, table3 = gathered("table3", data="cifar100", digest="ab" * 32, classes=classes)
    assert table3.rows[0]["the paper (CIFAR100)"] == "0.759 to 0.768"
    view, fig7 = gathered("fig7", data="cifar100", digest="ab" * 32, classes=classes)
    assert {row["panel"] for row in fig7.rows} == {"a, b", "d"}
    assert set(view.draw(fig7)) == {"a-b", "d"}


def test_table_3_is_of_all_images_and_of_those_that_any_run_of_either_model_gets_wrong():
    _, config, cells = planned("table3", repeats=3, epochs=1)
    outcomes = {cell.name: scripted(cell, error=20.0, seed=3) for cell in cells}
    result = find_experiment("table3").aggregate(config, outcomes)
    rows = {(row["of"], row["images"], row["model"]): row for row in result.rows}
    assert len(rows) == 8
    answers = {
        key: np.array([outcomes[f"{key} repeated seed {seed}"].result["predicted"] for seed in range(3)])
        for key in ("node18-aca", "resnet18")
    }
    truth = np.arange(IMAGES) % 10
    wrong = (np.concatenate(list(answers.values())) != truth).any(0)
    for key, model in (("node18-aca", "NODE18-ACA"), ("resnet18", "ResNet18")):
        expected = reliability(answers[key], truth, among=wrong)
        for where, each in (("all", expected.whole), ("misclassified", expected.misclassified)):
            row = rows["predicted class", where, model]
            assert (row["ICC1"], row["ICC1k"], row["samples"]) == (each.icc1, each.icc1k, each.targets)
    assert rows["predicted class", "misclassified", "NODE18-ACA"]["the paper (CIFAR10)"] == "0.650 to 0.675"
    assert rows["probability of the right class", "all", "ResNet18"]["the paper (CIFAR10)"] is None


def test_fig_7_has_the_curves_of_all_runs_and_the_ratios_of_times():
    view, result = gathered("fig7")
    assert result.series["compared node18-aca"].shape == (2, 2, 2)
    assert result.series["repeated resnet18"].shape == (3, 2, 2)
    rows = {(row["panel"], row["model"]): row for row in result.rows}
    adjoint = rows["a, b", "NODE18-adjoint"]
    assert (adjoint["accuracy (%)"], adjoint["the paper, about"], adjoint["training time (s)"]) == (90.0, 90.0, 4.0)
    assert adjoint["rhs evaluations a batch"] == 15.0
    findings = {finding.paper: finding for finding in result.findings}
    assert findings["NODE18-ACA has about half the error rate of NODE18-adjoint (about 5 and 10 %)"].agrees
    time = findings["NODE18-adjoint takes about 2 times NODE18-ACA's time (18 and 9 h)"]
    assert (time.ours, time.agrees) == ("1 times", False)
    assert findings["NODE18-ACA is more accurate than ResNet18, mean of all runs"].agrees
    figures = view.draw(result)
    assert set(figures) == {"a-b", "c"}
    assert len(figures["a-b"].axes) == 2


@pytest.mark.parametrize("name", VIEWS)
def test_failed_trainings_are_rows_that_say_so_and_findings_that_disagree(name):
    view, result = gathered(name, failed=("node18-aca long seed 0", "node18-aca repeated seed 1"))
    if name != "table6":
        notes = [row["note"] for row in result.rows]
        assert any("SolveError: no" in text for text in notes)
        (complete,) = [each for each in result.findings if each.paper == "every training ends"]
        assert not complete.agrees
    assert len({tuple(row) for row in result.rows}) == 1
    view.draw(result)


@pytest.mark.parametrize("name", VIEWS)
def test_a_study_of_failures_alone_still_has_all_its_rows(name):
    whole, failed = gathered(name)[1], gathered(name, failed={cell.name for cell in planned(name)[2]})[1]
    assert [list(row) for row in failed.rows] == [list(row) for row in whole.rows]
    assert not any(finding.agrees for finding in failed.findings)
    find_experiment(name).draw(failed)


def test_a_solver_that_failed_in_one_test_is_noted_in_its_row():
    view, config, cells = planned("table7", long_epochs=1)
    outcome = scripted(cells[0], error=5.0)
    outcome.result["tests"]["RK45, 0.001"] = {"failure": "too many steps"}
    rows = {row["solver"]: row for row in view.aggregate(config, {cells[0].name: outcome}).rows}
    assert rows["RK45, 0.001"]["increase (points)"] is None
    assert rows["RK45, 0.001"]["note"] == "failed: too many steps"
    assert rows["RK45, 0.01"]["note"] == ""


def test_every_model_has_a_name_of_its_own():
    assert len({model.label for model in MODELS.values()}) == len(MODELS)
