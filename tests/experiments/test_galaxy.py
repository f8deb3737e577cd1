"""The views of the study of galaxies: their cells by the paper's recipe, and their tables from scripted outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from physode.experiments import find_experiment
from physode.experiments.galaxy.tables import CONFUSION, MERITS
from physode.simulators.galaxies import CLASSES
from physode.sweeps.cells import Outcome

VIEWS = tuple(f"galaxy-{name}" for name in ("table1", "table2", "table3", "table4", "fig2", "fig3", "fig4", "fig5"))
IMAGES = 60


def planned(name, **changes):
    view = find_experiment(name)
    config = view.Config(**changes)
    return view, config, view.cells(config)


def scripted(cell, *, sharp=4.0):
    """What a training returns, made up: noisy scores that favour the right class."""
    rng = np.random.default_rng([*cell.name.encode()])
    truth = rng.permutation(np.arange(IMAGES) % 5)
    scores = rng.normal(size=(IMAGES, 5)) + sharp * np.eye(5)[truth]
    logarithms = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    seconds = {"resnet": 1.0, "node": 4.0, "node-aca": 2.0}[cell.name.split(" ")[0]]
    history = [{"test_accuracy": 0.9, "seconds": seconds, "rhs_forward": 3.0, "rhs_backward": 1.0}]
    return Outcome(result={"history": history, "truth": truth.tolist(), "logarithms": logarithms.tolist()})


def gathered(name, *, failed=(), **changes):
    view, config, cells = planned(name, **{"splits": 3, **changes})
    outcomes = {cell.name: Outcome(failure="SolveError: no") if cell.name in failed else scripted(cell)
                for cell in cells}  # fmt: skip
    return view, view.aggregate(config, outcomes), outcomes


def test_the_cells_have_the_paper_s_recipe_on_ten_splits():
    cells = {cell.name: cell.arguments["settings"] for name in VIEWS for cell in planned(name)[2]}
    assert len(cells) == 30
    for name, settings in cells.items():
        key, _, seed = name.split(" ")
        assert settings["split"] == settings["seed"] == int(seed)
        assert (settings["batch"], settings["lr"], settings["weight_decay"]) == (256, 0.1, 1e-4)
        assert (settings["dropout"], settings["test_fraction"], settings["crop"]) == (0.2, 0.1, 0)
        updates = 25_911 // 256 * settings["epochs"]
        assert [share * updates for share in settings["milestones"]] == pytest.approx([3e4, 6e4], rel=1e-3)
        assert settings.get("gradient") == {"resnet": None, "node": "adjoint", "node-aca": "aca"}[key]


def test_views_share_their_cells_and_the_folder_of_these():
    seen = {}
    for name in VIEWS:
        _, config, cells = planned(name)
        assert (config.name, config.folder) == (name, "galaxy-on-simulated-galaxies")
        for cell in cells:
            assert seen.setdefault(cell.name, cell.fingerprint) == cell.fingerprint


def test_quick_versions_are_labelled_smaller_and_have_the_same_models():
    for name in VIEWS:
        view = find_experiment(name)
        quick = view.Config.quick(seed=4)
        assert (quick.name, list(quick.seeds)) == (f"{name}-quick", [4, 5, 6])
        failed = view.aggregate(quick, {cell.name: Outcome(failure="no") for cell in view.cells(quick)})
        assert "quick: a narrow network" in failed.title
        assert "simulated galaxies" in failed.title


def test_the_paper_s_confusion_has_the_paper_s_completeness_and_precision():
    for key, matrix in CONFUSION.items():
        counts = np.array(matrix)
        right = np.diag(counts)
        theirs = {name: [value for value, _ in MERITS[name][key]] for name in MERITS}
        # Class 2 has some 50 images a split: a mean of ratios is not the ratio of rounded means.
        np.testing.assert_allclose(right / counts.sum(1), theirs["completeness"], atol=0.015)
        np.testing.assert_allclose((right / counts.sum(0))[[0, 1, 3, 4]], np.array(theirs["precision"])[[0, 1, 3, 4]],
                                   atol=0.01)  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [("table1", "resnet"), ("table2", "node"), ("table3", "node-aca")])
def test_confusion_is_the_mean_over_splits_with_its_standard_error(name, key):
    view, result, outcomes = gathered(f"galaxy-{name}")
    matrices = np.array(
        [
            metrics.confusion_matrix(each.result["truth"], np.argmax(each.result["logarithms"], 1))
            for each in outcomes.values()
        ]
    )
    assert len(matrices) == 3
    mean, error = matrices.mean(0), matrices.std(0, ddof=1) / np.sqrt(3)
    for row, name in enumerate(CLASSES):
        assert result.rows[row]["true class"] == name
        assert result.rows[row]["the paper"] == CONFUSION[key][row]
        for column, other in enumerate(CLASSES):
            assert result.rows[row][other] == f"{mean[row, column]:.1f} ± {error[row, column]:.1f}"
    np.testing.assert_allclose(result.series["confusion"], mean)
    share = np.trace(mean) / mean.sum()
    (overall,) = [each for each in result.findings if each.paper.endswith("of all images are right")]
    assert overall.ours == f"{100 * share:.1f} %"
    view.draw(result)


def test_table_4_has_scikit_learn_s_figures_of_merit_beside_the_paper_s():
    view, result, outcomes = gathered("galaxy-table4")
    rows = {(row["figure of merit"], row["class"]): row for row in result.rows}
    assert len(rows) == 15
    found = [each.result for name, each in outcomes.items() if name.startswith("node-aca")]
    values = np.array(
        [metrics.precision_recall_fscore_support(each["truth"], np.argmax(each["logarithms"], 1))[:3] for each in found]
    )
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
    for place, merit in enumerate(("precision", "completeness (accuracy of the class)", "F1")):
        for number, name in enumerate(CLASSES):
            expected = f"{mean[place, number]:.3f} ± {error[place, number]:.4f}"
            assert rows[merit, name]["NODE_ACA"] == expected
    assert rows["F1", CLASSES[2]]["NODE_ACA, the paper"] == "0.524 ± 0.0092"
    findings = {finding.paper: finding for finding in result.findings}
    assert findings["NODE takes about twice NODE_ACA's time"].ours == "2 times"
    assert set(view.draw(result)) == {"precision", "completeness", "f1"}


@pytest.mark.parametrize(("name", "key"), [("fig2", "resnet"), ("fig3", "node"), ("fig4", "node-aca")])
def test_roc_areas_are_means_of_scikit_learn_s(name, key):
    view, result, outcomes = gathered(f"galaxy-{name}")
    label = {"resnet": "ResNet", "node": "NODE", "node-aca": "NODE_ACA"}[key]
    found = [each.result for cell, each in outcomes.items() if cell.startswith(f"{key} ")]
    for number, row in enumerate(result.rows[:5]):
        areas = [metrics.roc_auc_score(np.array(each["truth"]) == number, np.array(each["logarithms"])[:, number])
                 for each in found]  # fmt: skip
        assert row[label].split(" ± ")[0] == f"{np.mean(areas):.4f}"
        assert result.series[f"class {number} area"][0] == pytest.approx(np.mean(areas))
    assert [row["class"] for row in result.rows[5:]] == ["(micro mean)", "(macro mean)"]
    (figure,) = view.draw(result).values()
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any(text.startswith(f"{np.mean(areas):.4f} ± ") and text.endswith(CLASSES[4]) for text in texts)


def test_fig_5_compares_the_three_networks_average_precision():
    view, result, outcomes = gathered("galaxy-fig5")
    found = [each.result for cell, each in outcomes.items() if cell.startswith("resnet")]
    areas = [metrics.average_precision_score(np.eye(5)[each["truth"]], np.exp(each["logarithms"])) for each in found]
    assert result.rows[-1]["ResNet"].split(" ± ")[0] == f"{np.mean(areas):.4f}"
    (figure,) = view.draw(result).values()
    assert len(figure.axes[0].get_legend().get_texts()) == 3


@pytest.mark.parametrize("name", VIEWS)
def test_failed_trainings_are_noted_and_a_study_of_failures_keeps_its_rows(name):
    one = planned(name, splits=3)[2][0].name
    whole, some = gathered(name)[1], gathered(name, failed=(one,))
    assert "failed: seed 0: SolveError: no" in some[1].rows[0]["note"]
    some[0].draw(some[1])
    view, failed, _ = gathered(name, failed={cell.name for cell in planned(name)[2]})
    assert [list(row) for row in failed.rows] == [list(row) for row in whole.rows]
    assert not any(finding.agrees for finding in failed.findings)
    view.draw(failed)


def test_one_split_has_no_errors():
    _, result, _ = gathered("galaxy-table1", splits=1)
    assert "±" not in result.rows[0][CLASSES[0]]
    _, result, _ = gathered("galaxy-fig5", splits=1)
    assert "±" not in result.rows[0]["NODE"]


def test_images_of_other_classes_have_no_figures_of_the_paper_beside_them():
    classes = ("a", "b", "c", "d", "e", "f")
    about = {"data": "mine", "digest": "ab" * 32, "classes": classes, "splits": 2}
    for name in ("galaxy-table1", "galaxy-table4"):
        view, config, cells = planned(name, **about)
        outcomes = {cell.name: wide(cell) for cell in cells}
        result = view.aggregate(config, outcomes)
        assert all(value is None for row in result.rows for key, value in row.items() if "the paper" in key)
        view.draw(result)


def wide(cell):
    """As `scripted`, with a sixth class."""
    found = dict(scripted(cell).result)
    logarithms = np.array(found["logarithms"])
    found["logarithms"] = np.column_stack([logarithms, np.full(IMAGES, -20.0)]).tolist()
    return Outcome(result=found)


def test_the_numbers_of_parameters_are_the_paper_s_and_depend_on_nothing_trained():
    params = find_experiment("galaxy-params")
    told = []
    result = params.run(params.Config(), progress=told.append)
    counts = {row["model"]: row["parameters"] for row in result.rows}
    downsampling = (3 * 9 + 1) * 64 + 2 * (64 * 16 + 1) * 64 + 2 * 2 * 64
    change = 2 * (64 * 64 * 9 + 2 * 64)
    last = 2 * 64 + (64 + 1) * 5
    assert counts["NODE"] == counts["NODE_ACA"] == downsampling + change + last
    assert counts["ResNet"] == downsampling + 6 * change + last
    assert all(finding.agrees for finding in result.findings)
    assert told == [1.0]
    params.draw(result)
