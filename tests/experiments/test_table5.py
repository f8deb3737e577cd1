"""Table 5: its cells by hand, its table from outcomes whatever they are, and its figures."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.experiments.table5 import fits
from physode.experiments.table5.aggregate import aggregate
from physode.experiments.table5.config import MODELS, OURS, RECIPES, Config, cells, data_of
from physode.experiments.table5.deviations import DEVIATIONS
from physode.experiments.table5.figures import draw
from physode.experiments.table5.fits import constant_error, fit_equation, fit_lstm, shown_times, true_positions
from physode.rhs import ThreeBody
from physode.sweeps.cells import Outcome, outcome_of, perform
from physode.sweeps.schedulers import run_cells

KEYS = ("lstm", "node-aca", "ode-aca")
SHORT = {"t_end": 0.5, "train_until": 0.25}
SMALL = Config(
    models=KEYS, points=40, epochs=1, lstm_epochs=3, repeats=2, more=1, example=("ode-aca",), sequence=5, given=3,
    kernels=False, shown=12, **SHORT,
)  # fmt: skip
DATA = {"preset": "aca", "t_end": 0.5, "points": 40}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_cells(cells(SMALL), folder=tmp_path_factory.mktemp("table5"))


def newton(masses, t):
    """The positions of the preset's bodies with other masses, by SciPy."""
    preset = ThreeBody.find_preset("aca")
    G, scale = preset.config["G"], preset.config["velocity_scale"]

    def f(_, y):
        r, v = y[:9].reshape(3, 3), y[9:]
        a = np.zeros((3, 3))
        for i in range(3):
            for j in {0, 1, 2} - {i}:
                d = r[j] - r[i]
                a[i] += G * masses[j] * d / np.linalg.norm(d) ** 3
        return np.concatenate([scale * v, a.ravel()])

    return solve_ivp(f, (t[0], t[-1]), preset.y0, t_eval=t, method="DOP853", rtol=1e-11, atol=1e-12).y.T[:, :9]


def test_every_column_of_the_paper_has_every_recipe_on_the_example_with_three_seeds():
    kinds = {model.kind for model in MODELS.values() if model.paper is not None}
    assert len(kinds) == 8
    names = {cell.name for cell in cells(Config())}
    for recipe in RECIPES:
        keys = {model.kind: key for key, model in MODELS.items() if model.recipe == recipe}
        assert kinds <= set(keys)
        assert {f"{keys[kind]} example seed {seed}" for kind in kinds for seed in range(3)} <= names


def test_systems_of_our_own_have_every_column_by_ours_and_the_adjoint_by_nothing_else():
    own = {MODELS[key].kind for key in Config().models if MODELS[key].recipe == OURS}
    assert own == {model.kind for model in MODELS.values() if model.paper is not None}
    assert {key for key in Config().models if "adjoint" in key} == {"node-adjoint-ours", "ode-adjoint-ours"}


def test_what_is_a_matter_of_chance_has_ten_seeds_on_the_example():
    names = [cell.name for cell in cells(Config())]
    assert sum(name.startswith("node-aca-script example") for name in names) == 10
    assert len(set(names)) == len(names)


def test_each_seed_has_a_system_of_its_own_and_the_example_is_the_preset():
    data = {cell.name: cell.arguments["data"] for cell in cells(Config())}
    assert [data[f"ode-aca seed {seed}"]["seed"] for seed in range(3)] == [0, 1, 2]
    assert data["lstm seed 1"] == data["node-adjoint-ours seed 1"] == data["ode-aca-ours seed 1"]
    assert data["ode-aca example seed 0"] == data["ode-aca example seed 2"] == {**DATA, "t_end": 2.0, "points": 2000}
    assert data["ode-aca seed 0"]["masses"] == [1.1, 1.1, 0.9]


def test_the_recipe_is_table_8_s():
    found = {cell.name: cell.arguments for cell in cells(Config())}
    recipe = {"optimizer": "adam", "lr": 0.1, "lr_decay": 0.99, "epochs": 100, "method": "dopri5", "rtol": 1e-5}
    for gradient in ("aca", "naive", "adjoint"):
        node, ode = (found[f"{kind}-{gradient} example seed 1"]["settings"] for kind in ("node", "ode"))
        assert recipe.items() <= node.items()
        assert recipe.items() <= ode.items()
        way = "naive-steps" if gradient == "naive" else gradient  # the paper's differentiates step sizes
        assert (node["rhs"], ode["rhs"], node["gradient"], node["seed"]) == ("augmented", "physical", way, 1)
        assert not {"betas", "time_weight", "pairs", "gravity_units"} & {*node, *ode}
    lstm = {"epochs": 5000, "lr": 0.01, "lr_decay": 0.999, "sequence": 20, "given": 10, "augmented": True}
    assert (lstm | {"predicts": "position"}).items() <= found["lstm-aug seed 0"].items()


def test_the_published_script_s_settings_are_its_own():
    found = {cell.name: cell.arguments for cell in cells(Config())}
    node, ode = (found[f"{kind}-aca-script example seed 2"]["settings"] for kind in ("node", "ode"))
    for settings in (node, ode):
        assert (settings["betas"], settings["time_weight"], settings["lr"], settings["epochs"]) == (
            [0.5, 0.5],
            0.01,
            0.1,
            100,
        )
    assert (ode["lr_decay"], ode["rtol"], ode["atol"]) == (0.95, 1e-7, 1e-7)
    assert (node["lr_decay"], node["rtol"], node["pairs"], node["gravity_units"]) == (0.99, 1e-5, "unordered", True)
    assert found["lstm-script example seed 0"]["betas"] == [0.5, 0.5]


def test_seeds_draw_the_masses_guesses_within_the_spread_alike_for_every_gradient():
    found = {cell.name: cell.arguments.get("settings", {}).get("init") for cell in cells(Config(spread=0.05))}
    guesses = [found[f"ode-aca seed {seed}"]["masses"] for seed in range(3)]
    assert found["ode-adjoint example seed 1"]["masses"] == found["ode-aca-script seed 1"]["masses"] == guesses[1]
    ours = np.array(found["ode-aca-ours seed 1"]["masses"])
    assert 0.05 < np.abs(ours - 1.0).max() <= 0.5
    assert len({tuple(guess) for guess in guesses}) == 3
    assert np.abs(np.array(guesses) - 1.0).max() <= 0.05
    assert "node-aca seed 0" in found
    assert found["node-aca seed 0"] is None


def test_a_study_from_another_seed_shares_the_cells_that_both_have():
    first = {cell.name: cell.fingerprint for cell in cells(Config())}
    second = {cell.name: cell.fingerprint for cell in cells(Config(seed=1))}
    assert first["node-aca seed 2"] == second["node-aca seed 2"]
    assert "node-aca seed 3" in second


def test_quick_is_labelled_and_has_fewer_cells_epochs_and_points():
    quick = Config.quick(seed=4)
    assert (quick.name, Config().name) == ("table5-quick", "table5")
    assert (quick.seed, quick.repeats) == (4, 1)
    assert len(cells(quick)) < len(cells(Config())) / 4
    failed = aggregate(quick, dict.fromkeys((cell.name for cell in cells(quick)), Outcome(failure="no")))
    assert "quick" in failed.title
    assert [finding.paper for finding in failed.findings] == ["every run predicts the whole span"]


def test_the_errors_of_an_ode_are_those_of_newton_s_law_with_the_fitted_masses():
    (cell,) = [cell for cell in cells(SMALL) if cell.name == "ode-aca example seed 1"]
    found = fit_equation(**cell.arguments)
    t = np.linspace(0.0, 0.5, SMALL.points)
    true, fitted = newton((1.1, 1.1, 0.9), t), newton(found["masses"], t)
    expected = np.square(fitted - true)[1:].mean()
    assert expected > 1e-6
    assert found["mse"] == pytest.approx(expected, rel=1e-4)
    assert found["recipe_mse"] == pytest.approx(expected, rel=0.3)
    assert found["recipe_mse"] != found["mse"]
    rows = np.linspace(0, SMALL.points - 1, SMALL.shown).round().astype(int)
    np.testing.assert_allclose(found["positions"], fitted[rows], atol=2e-5)
    np.testing.assert_allclose(shown_times(DATA, SMALL.shown), t[rows])
    np.testing.assert_allclose(true_positions(DATA, SMALL.shown), true[rows], atol=1e-8)


@pytest.mark.slow
def test_every_model_can_be_computed(tmp_path):
    config = dataclasses.replace(SMALL, models=tuple(MODELS), repeats=1, example=())
    outcomes = run_cells(cells(config), folder=tmp_path)
    assert {name: each.failure for name, each in outcomes.items() if each.failure} == {}
    assert len(aggregate(config, outcomes).findings) == 1 + 2 * (3 + 8)


@pytest.mark.slow
def test_our_fit_of_the_ode_finds_the_masses():
    cell = cells(dataclasses.replace(SMALL, models=("ode-aca-ours",), seed=1, repeats=1, example=()))[0]
    found = fit_equation(**cell.arguments)
    np.testing.assert_allclose(found["masses"], (1.1, 1.1, 0.9), rtol=1e-5)
    assert found["mse"] < 1e-9


@pytest.mark.slow
def test_our_fit_of_the_layer_predicts_beyond_its_data_with_every_gradient_method():
    keys = tuple(f"node-{gradient}-ours" for gradient in ("aca", "naive", "adjoint"))
    made = cells(dataclasses.replace(SMALL, models=keys, seed=1, repeats=1, example=(), points=80))
    found = [fit_equation(**cell.arguments) for cell in made]
    assert len(found) == 3
    own = constant_error(made[0].arguments["data"])
    assert all(each["mse"] < 1e-3 * own for each in found)


def test_the_constant_beside_which_models_stand_predicts_the_mean_position():
    true = true_positions(data_of(SMALL), SMALL.points)[1:]
    errors = [np.square(true - true.mean(0) - shift).mean() for shift in (0.0, 0.01, -0.01)]
    assert constant_error(data_of(SMALL)) == pytest.approx(errors[0])
    assert errors[0] < min(errors[1:])
    assert constant_error(data_of(Config())) == pytest.approx(0.037, rel=0.01)


def test_a_prediction_that_ends_early_has_no_error_but_the_time_it_failed_at(monkeypatch):
    (cell,) = [cell for cell in cells(SMALL) if cell.name == "ode-aca seed 0"]
    whole = fits.solve

    def broken(*arguments, **options):
        solution = whole(*arguments, **options)
        solution.y[10:] = math.nan
        return solution

    monkeypatch.setattr(fits, "solve", broken)
    outcome = outcome_of(perform(*cell.call))
    assert outcome.failure is None
    assert outcome.result["mse"] is None
    assert outcome.result["failed_at"] == pytest.approx(0.5 * 10 / 39)
    assert outcome.result["recipe_mse"] is not None
    assert outcome.result["positions"][-1] == [None] * 9


def test_an_lstm_is_given_its_first_points_and_depends_on_its_seed_alone():
    (cell,) = [cell for cell in cells(SMALL) if cell.name == "lstm seed 1"]
    torch.manual_seed(5)
    one = fit_lstm(**{**cell.arguments, "shown": SMALL.points})
    torch.manual_seed(6)
    again = fit_lstm(**{**cell.arguments, "shown": SMALL.points})
    other = fit_lstm(**{**cell.arguments, "seed": 2, "shown": SMALL.points})
    assert one == again
    assert one["mse"] != other["mse"]
    true = true_positions(cell.arguments["data"], SMALL.points)
    np.testing.assert_allclose(one["positions"][: SMALL.given], true[: SMALL.given], atol=1e-6)
    assert one["mse"] == pytest.approx(np.square(one["positions"] - true)[1:].mean(), rel=1e-3)


def test_every_model_has_a_row_with_all_its_seeds_beside_the_paper_and_a_constant(outcomes):
    result = aggregate(SMALL, outcomes)
    assert [(row["model"], row["data"]) for row in result.rows] == [
        ("constant: the mean position", "published example"),
        ("ODE, ACA", "published example"),
        ("constant: the mean position", "own systems"),
        ("LSTM", "own systems"),
        ("NODE, ACA", "own systems"),
        ("ODE, ACA", "own systems"),
    ]
    assert len({tuple(row) for row in result.rows}) == 1
    row = result.rows[-1]
    seeds = [outcomes[f"ode-aca seed {seed}"] for seed in (0, 1)]
    values = [each.result["mse"] for each in seeds]
    assert [row["seed 0"], row["seed 1"]] == values
    assert row["MSE, mean of coordinates"] == pytest.approx(sum(values) / 2)
    assert row["MSE, sum of coordinates"] == pytest.approx(9 * sum(values) / 2)
    assert row["standard deviation"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert (row["paper"], row["paper's standard deviation"]) == (0.0007, 0.0005)
    assert row["seconds"] == pytest.approx(sum(each.seconds for each in seeds) / 2)
    assert row["rhs evaluations"] > 0
    constants = [constant_error(data_of(SMALL, seed)) for seed in (0, 1)]
    assert [result.rows[2][f"seed {seed}"] for seed in (0, 1)] == pytest.approx(constants)
    better = sum(value < own for value, own in zip(values, constants, strict=True))
    assert row["better than a constant"].startswith(f"{better} of 2")


def test_what_is_worse_than_a_constant_has_learnt_nothing_and_that_is_said(outcomes):
    lost = {
        name: Outcome(result={**each.result, "mse": 10.0}) if name.startswith("lstm") else each
        for name, each in outcomes.items()
    }
    rows = {row["model"]: row for row in aggregate(SMALL, lost).rows if row["data"] == "own systems"}
    assert rows["LSTM"]["better than a constant"] == "0 of 2: learnt nothing"


def test_failures_stand_in_the_table_and_leave_no_mean(outcomes):
    early = Outcome(result={**outcomes["node-aca seed 0"].result, "mse": None, "failed_at": 0.734})
    broken = {**outcomes, "node-aca seed 0": early, "ode-aca seed 1": Outcome(failure="SolveError: too stiff")}
    result = aggregate(SMALL, broken)
    rows = {row["model"]: row for row in result.rows if row["data"] == "own systems"}
    assert rows["NODE, ACA"]["seed 0"] == "failed at t=0.734"
    assert isinstance(rows["NODE, ACA"]["seed 1"], float)
    assert rows["ODE, ACA"]["seed 1"] == "failed"
    assert rows["ODE, ACA"]["note"] == "seed 1: SolveError: too stiff"
    assert rows["NODE, ACA"]["MSE, mean of coordinates"] is rows["ODE, ACA"]["MSE, sum of coordinates"] is None
    assert rows["ODE, ACA"]["paper's or less, mean"] == "no"
    findings = {finding.paper: finding for finding in result.findings}
    complete = findings["every run predicts the whole span"]
    assert (complete.agrees, complete.ours) == (
        False,
        f"{len(broken) - 2} of {len(broken)} do; not node-aca seed 0, ode-aca seed 1",
    )
    failed = {**outcomes, "ode-aca example seed 1": Outcome(failure="SolveError: too stiff")}
    findings = {finding.paper: finding for finding in aggregate(SMALL, failed).findings}
    assert findings["ODE, ACA, Table 8: MSE 0.0007 ± 0.0005, or less"].ours == "a run failed"
    assert not any(each.agrees for text, each in findings.items() if "ODE, ACA" in text)


def test_findings_compare_means_with_the_paper_and_among_each_other():
    keys = ("ode-aca", "ode-naive", "ode-adjoint")
    config = Config(models=(), repeats=1, more=1, example=keys, points=20, **SHORT)

    def made(*values):
        keys = ("aca", "naive", "adjoint")
        results = [
            {"mse": value, "masses": None, "positions": [[0.0] * 9], "rhs_evaluations": None} for value in values
        ]
        found = {f"ode-{key} example seed 0": Outcome(result=each) for key, each in zip(keys, results, strict=True)}
        return {finding.paper: finding for finding in aggregate(config, found).findings}

    good, bad = made(1e-6, 2e-6, 2e-6), made(5e-4, 2e-6, 5e-6)
    order = "ODE, ACA <= ODE, naive <= ODE, adjoint, Table 8"
    assert (good[order].agrees, bad[order].agrees) == (True, False)
    assert good[order].ours == "1e-06; 2e-06; 2e-06"
    ours = "ODE, ACA, Table 8: MSE 0.0007 ± 0.0005, or less"
    assert (good[ours].agrees, bad[ours].agrees) == (True, False)  # 5e-4 is less, its sum 4.5e-3 is not
    assert good[ours].ours == "1e-06, the mean of nine coordinates; 9e-06, their sum"


def test_more_seeds_of_what_is_chance_are_judged_by_their_median():
    config = Config(models=(), repeats=1, more=3, example=("node-aca-script",), points=20, **SHORT)

    def judged(*values):
        made = {
            f"node-aca-script example seed {seed}": Outcome(
                result={"mse": value, "masses": None, "positions": [[0.0] * 9], "rhs_evaluations": None}
            )
            for seed, value in enumerate(values)
        }
        return aggregate(config, made).findings[-1]

    few = judged(0.01, 0.015, 0.09)
    assert few.paper == "NODE, ACA, published script, 3 seeds: MSE 0.16 ± 0.06, or less"
    measures = "means of coordinates; 0.135, the median's sum"
    assert few.ours == f"median 0.015, mean 0.0383, from 0.01 to 0.09: {measures}"
    assert (few.agrees, judged(0.01, 0.02, 0.09).agrees) == (True, False)  # 0.02 is less, its sum 0.18 is not


def test_every_deviation_says_what_why_and_is_told_once():
    assert all(all(vars(each).values()) for each in DEVIATIONS)
    assert len({each.item for each in DEVIATIONS}) == len(DEVIATIONS)


def test_figures_show_every_model_and_system_with_data_in_each_panel(outcomes):
    figures = draw(aggregate(SMALL, outcomes))
    assert list(figures) == ["errors", "overview", "lstm", "node-aca", "overview-example", "ode-aca", "ode-aca-seed-1"]
    panels = {name: len(figure.axes) for name, figure in figures.items()}
    assert panels == dict.fromkeys(figures, 3) | {"errors": 2, "overview-example": 1}
    for name, figure in figures.items():
        for axes in figure.axes if name != "errors" else ():
            true, predicted, _ = axes.lines
            assert (true.get_linestyle(), predicted.get_linestyle()) == ("-", "--")
            assert len(true.get_data_3d()[0]) == SMALL.shown
        texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert not any("fitted" in text for text in texts)
        assert any("trained on [0, 0.25], predicted to 0.5" in text for text in texts) == (name != "errors")


def test_a_method_has_its_own_colour_in_every_figure(outcomes):
    figures = draw(aggregate(SMALL, outcomes))
    colours = {name: figures[name].axes[0].lines[1].get_color() for name in ("lstm", "node-aca", "ode-aca")}
    assert colours["node-aca"] == colours["ode-aca"] != colours["lstm"]


def test_a_model_without_a_prediction_has_no_panel():
    config = Config(models=("ode-aca",), repeats=1, more=1, example=("ode-aca",), points=20, **SHORT)
    failed = Outcome(failure="no")
    assert draw(aggregate(config, {"ode-aca seed 0": failed, "ode-aca example seed 0": failed})) == {}
