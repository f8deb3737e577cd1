"""The views of the study of galaxies: their cells by the paper's recipe, and their tables from scripted outcomes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from physode.experiments import find_experiment
from physode.experiments.comparison_plot import colour_of
from physode.experiments.galaxy.config import ALL
from physode.experiments.galaxy.examples import gather
from physode.experiments.galaxy.passes import BLOCKS
from physode.experiments.galaxy.tables import CONFUSION, MERITS
from physode.simulators.galaxies import CLASSES, simulate_galaxies
from physode.sweeps.cells import Outcome

VIEWS = tuple(
    f"galaxy-{name}" for name in ("table1", "table2", "table3", "table4", "fig2", "fig3", "fig4", "fig5", "passes")
)
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
    key = cell.name.split(" ")[0]
    passes = {"resnet": 6.0, "node": 16.0}.get(key, 8.0)
    history = [{"seconds": passes, "rhs_forward": passes, "rhs_backward": 1.0, "test_rhs": passes + 1}]
    tests = {each["label"]: {"error": 12.5, "rhs": 2 / each["rtol"] ** 0.5} for each in cell.arguments.get("tests", ())}
    told = {"truth": truth.tolist(), "logarithms": logarithms.tolist(), "error": 12.5, "parameters": 100}
    return Outcome(result={"history": history, "tests": tests, **told})


def gathered(name, *, failed=(), **changes):
    view, config, cells = planned(name, **{"splits": 3, **changes})
    outcomes = {cell.name: Outcome(failure="SolveError: no") if cell.name in failed else scripted(cell)
                for cell in cells}  # fmt: skip
    return view, view.aggregate(config, outcomes), outcomes


def test_the_cells_have_the_paper_s_recipe_on_ten_splits():
    cells = {cell.name: cell.arguments["settings"] for name in VIEWS for cell in planned(name)[2]}
    assert len(cells) == 70
    for name, settings in cells.items():
        key, _, seed = name.split(" ")
        assert settings["split"] == settings["seed"] == int(seed)
        assert (settings["batch"], settings["lr"], settings["weight_decay"]) == (256, 0.1, 1e-4)
        assert (settings["dropout"], settings["test_fraction"], settings["crop"]) == (0.2, 0.1, 0)
        updates = 25_911 // 256 * settings["epochs"]
        assert [share * updates for share in settings["milestones"]] == pytest.approx([3e4, 6e4], rel=1e-3)
        gradients = {"node-aca": "aca", "node-aca-identity": "aca"}
        assert settings.get("gradient") == (None if "resnet" in key else gradients.get(key, "adjoint"))
        ours = key.endswith("identity")
        assert settings["start"] == ("identity" if ours else "he")
        assert settings.get("timed", False) == ("node" in key and not ours)


def test_euler_takes_as_many_steps_as_resnet_has_blocks():
    cells = {cell.name: cell.arguments["settings"] for cell in planned("galaxy-passes")[2]}
    assert cells["node-euler split 0"]["method"] == "euler"
    assert 1 / cells["node-euler split 0"]["step"] == pytest.approx(BLOCKS)
    assert cells["node-rk4 split 0"]["method"] == "rk4"


def test_no_order_of_networks_is_read_from_quick_versions():
    for name in VIEWS:
        view = find_experiment(name)
        quick = view.Config.quick()
        result = view.aggregate(quick, {cell.name: scripted(cell) for cell in view.cells(quick)})
        assert not any(
            word in finding.paper for finding in result.findings for word in ("comparable to", "close", "right")
        )
        assert "tell no order" in result.title


def test_every_study_says_where_it_departs_from_the_paper():
    for name in (*VIEWS, "galaxy-fig1", "galaxy-params"):
        items = {deviation.item for deviation in find_experiment(name).deviations}
        assert {"Sect. 2, images", "Sect. 5.3, dropout 0.8", "Sect. 5.1, sizes of the networks"} <= items


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
        assert "quick: narrow networks" in failed.title
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


def test_roc_figures_have_the_standard_errors_of_their_tables():
    view, result, _ = gathered("galaxy-fig4")
    figure = view.draw(result)["roc"]
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "AUC ± standard error"
    for row, text in zip(result.rows[:5], [each.get_text() for each in legend.get_texts()][1:], strict=False):
        assert text.split("  ")[0] == row["NODE_ACA"]


def test_a_network_has_one_colour_in_all_figures():
    expected = {name: colour_of(name) for name in ("NODE", "NODE_ACA", "ResNet")}
    view, result, _ = gathered("galaxy-fig5")
    (axes, *_) = view.draw(result)["precision-recall"].axes
    lines = {line.get_label().split("  ")[-1]: line.get_color() for line in axes.lines}
    assert {name: lines[name] for name in expected} == expected
    view, result, _ = gathered("galaxy-table4")
    (axes,) = view.draw(result)["f1"].axes
    marks = {line.get_label(): line.get_markerfacecolor() for line in axes.lines}
    assert {name: marks[name] for name in expected} == expected
    assert len({colour_of(model.label) for key, model in ALL.items() if not key.endswith("identity")}) == 5


def test_passes_are_counted_by_network_epoch_and_tolerance():
    view, result, outcomes = gathered("galaxy-passes")
    rows = {(row["network"], row["trained"], row["solver"]): row for row in result.rows}
    assert len(rows) == 7 + 4
    node = rows["NODE", True, "dopri5, 0.001, adjoint"]
    assert (node["passes, first epoch"], node["passes, last epoch"], node["test passes"]) == (16.0, 16.0, 17.0)
    tight = rows["NODE_ACA", False, "tested at 1e-4"]
    assert (tight["test passes"], tight["accuracy (%)"]) == (pytest.approx(2 / 1e-4**0.5), 87.5)
    runs = [each.result for name, each in outcomes.items() if name.startswith("node split")]
    balanced = [100 * metrics.balanced_accuracy_score(each["truth"], np.argmax(each["logarithms"], 1)) for each in runs]
    assert node["balanced accuracy (%)"] == pytest.approx(np.mean(balanced))
    assert node["balanced accuracy, standard error"] == pytest.approx(np.std(balanced, ddof=1) / np.sqrt(3))
    findings = {finding.paper: finding for finding in result.findings}
    assert findings["forward passes of NODE_ACA are roughly half of NODE's"].agrees
    assert findings["and much more at a low one"].agrees
    assert findings["NODE takes about twice NODE_ACA's time"].ours == "2 times"
    view.draw(result)


def test_fig_1_has_the_first_images_of_each_class_and_the_same_galaxies_larger():
    view = find_experiment("galaxy-fig1")
    config = view.Config.quick(images=120)
    (cell,) = view.cells(config)
    told = json.loads(json.dumps(gather(**{**cell.arguments, "each": 2})))
    result = view.aggregate(config, {cell.name: Outcome(result=told)})
    images = simulate_galaxies(120, seed=0)
    assert [row["images"] for row in result.rows] == np.bincount(images.y, minlength=5).tolist()
    small, large, labels = (result.series[name] for name in ("images", "large", "labels"))
    for label in range(5):
        np.testing.assert_array_equal(small[labels == label], images.x[images.y == label][:2])
    means = large.reshape(len(large), 3, 32, 4, 32, 4).astype(float).mean((3, 5))
    # Not equal: the noise is another one, and bytes are not linear in light.
    together = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(means, small, strict=True)]
    assert np.median(together) > 0.9
    assert set(view.draw(result)) == {"images", "large"}
    failed = view.aggregate(config, {cell.name: Outcome(failure="DataError: gone")})
    assert failed.rows[0]["note"] == "DataError: gone"
    assert view.draw(failed) == {}


@pytest.mark.parametrize("name", VIEWS)
def test_failed_trainings_are_noted_and_a_study_of_failures_keeps_its_rows(name):
    one = planned(name, splits=3)[2][0].name
    whole, some = gathered(name)[1], gathered(name, failed=(one,))
    assert any("failed: seed 0: SolveError: no" in row["note"] for row in some[1].rows)
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
    timed = 2 * 64 * 9  # of the channel that is t, in two convolutions
    downsampling = (3 * 9 + 1) * 64 + 2 * (64 * 16 + 1) * 64 + 2 * 2 * 64
    change = 2 * (64 * 64 * 9 + 2 * 64)
    last = 2 * 64 + (64 + 1) * 5
    assert counts["NODE"] == counts["NODE_ACA"] == downsampling + change + timed + last
    assert counts["ResNet"] == downsampling + 6 * change + last
    assert all(finding.agrees for finding in result.findings)
    assert told == [1.0]
    params.draw(result)
