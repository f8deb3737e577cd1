"""Table 4: its cells, a cell by hand, and its table and figures from outcomes whatever they are."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from physode.datasets.series import IrregularSeries
from physode.experiments.comparison_plot import colour_of
from physode.experiments.table4 import MODELS, Config, aggregate, cell_name, cells, draw, train_and_test
from physode.series import SeriesConfig, create_series_run, open_series_run, score, train
from physode.series.run import SeriesRun
from physode.simulators import simulate_hopper
from physode.sweeps.cells import Outcome
from physode.sweeps.schedulers import run_cells

pytest.importorskip("mujoco")

SMALL = Config(
    models=("rnn", "aca"),
    shares=(0.1, 0.5),
    repeats=(2, 1),
    sequences=10,
    epochs=2,
    batch=4,
    hidden=5,
    recognition=4,
    encoder_units=(6,),
    latent=3,
    units=(6,),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_cells(cells(SMALL), folder=tmp_path_factory.mktemp("table4"))


def made(errors, seconds=1.0):
    """Outcomes of trainings with the errors given by share and model, the same for each seed."""

    def outcome(error):
        if error is None:
            return Outcome(failure="the loss is nan")
        history = [
            {
                "epoch": epoch,
                "test_mse_by_range": error * scale,
                "seconds": seconds,
                "rhs_forward": 3,
                "rhs_backward": 4,
            }
            for epoch, scale in ((1, 4.0), (2, 1.0))
        ]
        return Outcome({"history": history, "parameters": 7, "mse_by_range": error, "means_by_range": 0.015})

    return lambda config: {
        cell_name(key, share, seed): outcome(errors[share, key])
        for share in config.shares
        for key in config.models
        for seed in config.seeds(share)
    }


def test_the_cells_are_six_models_three_shares_and_three_seeds():
    found = cells(Config())
    assert len(found) == 6 * 3 * 3
    assert "adjoint" in found[0].name
    assert [cell.arguments["settings"]["epochs"] for cell in found] == [300] * 54
    assert {cell.arguments["data"]["n"] for cell in found} == {10_000}


def test_quick_has_three_seeds_at_a_tenth_only_and_another_name():
    quick = Config.quick(seed=5)
    assert quick.name == "table4-quick"
    assert len(cells(quick)) == 6 * (3 + 1 + 1)
    assert [list(quick.seeds(share)) for share in quick.shares] == [[5, 6, 7], [5], [5]]


def test_the_full_version_has_the_settings_of_the_published_command_and_program():
    (cell,) = [each for each in cells(Config()) if each.name == "aca 10 percent seed 0"]
    config = SeriesConfig.from_dict(cell.arguments["settings"])
    assert (config.latent, config.hidden, config.units, config.encoder_units) == (15, 30, (300,) * 4, (300,) * 4)
    assert (config.optimiser, config.lr, config.lr_decay, config.batch) == ("adamax", 0.01, 0.999, 50)
    assert (config.scaling, config.sigma, config.samples) == ("range", 1e-3, 3)
    assert (config.kl_delay, config.kl_decay, config.kl_weight) == (10, 0.99, pytest.approx(1400 / 15))
    assert (config.method, config.rtol, config.atol) == ("dopri5", 1e-3, 1e-4)


def test_all_models_have_the_same_data_budget_and_order():
    by_name = {cell.name: cell.arguments for cell in cells(Config())}
    shared = ("epochs", "batch", "optimiser", "lr", "lr_decay", "sigma", "scaling", "observed", "seed")
    for share in Config().shares:
        mine = [by_name[cell_name(key, share, 1)] for key in MODELS]
        assert len({json.dumps([each["data"], *(each["settings"][name] for name in shared)]) for each in mine}) == 1


def test_settings_of_every_cell_can_be_used():
    for cell in cells(Config()):
        assert SeriesConfig.from_dict(cell.arguments["settings"]).observed in (0.1, 0.2, 0.5)


def test_a_cell_says_what_training_and_testing_by_hand_say():
    (cell,) = [each for each in cells(SMALL) if each.name == "aca 50 percent seed 0"]
    found = train_and_test(**cell.arguments)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    config = SeriesConfig.from_dict(cell.arguments["settings"])
    trainer = train(IrregularSeries.of(simulate_hopper(**cell.arguments["data"])), config)
    assert found["mse_by_range"] == score(trainer.model, *trainer.test, batch=config.batch).mse_by_range
    assert found["history"][-1]["test_mse_by_range"] == pytest.approx(found["mse_by_range"])
    assert found["rmse"][0] > 0.0


def test_a_cell_has_the_same_log_likelihood_wherever_torch_s_generator_stands():
    cell = next(cell for cell in cells(SMALL) if cell.name == cell_name("aca", 0.5, 0))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(train_and_test(**cell.arguments)["log_likelihood"])
    assert found[0] == found[1]


def test_a_cell_that_was_killed_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    (cell,) = [each for each in cells(SMALL) if each.name == "aca 50 percent seed 0"]
    arguments = dict(cell.arguments)
    whole, save = train_and_test(**arguments), SeriesRun.save

    def killed(self, epoch, state):
        save(self, epoch, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(SeriesRun, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_and_test(**arguments, run=str(tmp_path / "run"))
    assert len(open_series_run(tmp_path / "run").history()) == 1
    monkeypatch.setattr(SeriesRun, "save", save)
    found = train_and_test(**arguments, run=str(tmp_path / "run"))
    assert found["mse_by_range"] == whole["mse_by_range"]
    assert [line["loss"] for line in found["history"]] == [line["loss"] for line in whole["history"]]
    assert [line["epoch"] for line in open_series_run(tmp_path / "run").history()] == [1, 2]
    monkeypatch.setattr(SeriesRun, "save", lambda *_: pytest.fail("an epoch was trained again"))
    assert train_and_test(**arguments, run=str(tmp_path / "run"))["history"] == found["history"]


def test_another_training_in_the_folder_is_no_beginning_of_this_one(tmp_path):
    (cell,) = [each for each in cells(SMALL) if each.name == "rnn 50 percent seed 0"]
    other = SeriesConfig.from_dict({**cell.arguments["settings"], "seed": 9})
    about = {"data": tmp_path, "channels": ["a"], "units": [""], "time_unit": "", "digest": "x"}
    create_series_run(tmp_path / "run", other, **about)
    found = train_and_test(**cell.arguments, run=str(tmp_path / "run"))
    assert len(found["history"]) == 2


def test_the_table_has_a_row_a_share_and_model_beside_the_paper_s(outcomes):
    result = aggregate(SMALL, outcomes)
    assert [(row["points told"], row["model"], row["paper"]) for row in result.rows] == [
        ("10%", "RNN", 2.45),
        ("10%", "Latent-ODE, ACA", 0.31),
        ("50%", "RNN", 0.79),
        ("50%", "Latent-ODE, ACA", 0.26),
    ]
    errors = [100 * outcomes[f"rnn 10 percent seed {seed}"].result["mse_by_range"] for seed in (0, 1)]
    shown = f"{np.mean(errors):.3f} ± {np.std(errors, ddof=1):.3f}"
    assert result.rows[0]["MSE x 100 ± standard deviation of runs"] == shown
    assert result.rows[1]["rhs evaluations a batch"] > 0
    assert result.rows[0]["rhs evaluations a batch"] is None


def test_errors_are_held_against_the_figures_of_the_paper():
    config = dataclasses.replace(SMALL, models=("gru-d", "aca"), shares=(0.1,), repeats=(1,))
    agrees = {
        each.paper: each.agrees
        for each in aggregate(config, made({(0.1, "gru-d"): 0.02, (0.1, "aca"): 0.003})(config)).findings
    }
    assert agrees["10%, Latent-ODE, ACA: 0.31, or less"]
    assert not agrees["10%, RNN-GRU (GRU-D): 1.97, or less"]


def shifted(outcomes, key, by):
    """The errors of a model moved by an amount for each seed."""
    moved = dict(outcomes)
    for seed, each in enumerate(by):
        name = cell_name(key, 0.1, seed)
        result = outcomes[name].result
        moved[name] = Outcome({**result, "mse_by_range": result["mse_by_range"] + each})
    return moved


def test_models_are_compared_seed_by_seed():
    """Errors that differ more between seeds than between methods, whose difference is the same with each seed."""
    config = dataclasses.replace(SMALL, models=("naive", "aca"), shares=(0.1,), repeats=(3,))
    equal = made({(0.1, "naive"): 0.003, (0.1, "aca"): 0.003})(config)
    spread = shifted(equal, "naive", (0.0, 0.001, 0.002))
    statement = "10%: Latent-ODE, ACA < Latent-ODE, naive"
    for ahead, agrees in (((-1e-5, 0.00098, 0.001985), True), ((-1e-5, 0.00101, 0.002001), False)):
        findings = aggregate(config, shifted(spread, "aca", ahead)).findings
        (finding,) = [each for each in findings if each.paper == statement]
        assert finding.agrees is agrees
        difference = 100 * np.subtract(ahead, (0.0, 0.001, 0.002))
        error = difference.std(ddof=1) / np.sqrt(3)
        assert finding.ours == f"difference {difference.mean():+.4f} ± {error:.4f} (standard error, 3 seeds)"


def test_no_order_is_read_from_one_seed_or_from_the_quick_version():
    config = dataclasses.replace(SMALL, models=("naive", "aca"), shares=(0.1,), repeats=(1,))
    outcomes = made({(0.1, "naive"): 0.004, (0.1, "aca"): 0.003})(config)
    (finding,) = [each for each in aggregate(config, outcomes).findings if "<" in each.paper]
    assert (finding.ours, finding.agrees) == ("-0.1000 with one seed, of which no order is read", False)
    quick = dataclasses.replace(config, preset="quick")
    assert [each.paper for each in aggregate(quick, outcomes).findings] == ["every training ends"]


def test_a_training_that_failed_is_a_row_that_says_so():
    config = dataclasses.replace(SMALL, shares=(0.1,), repeats=(1,))
    result = aggregate(config, made({(0.1, "rnn"): None, (0.1, "aca"): 0.003})(config))
    assert result.rows[0]["note"] == "failed: seed 0: the loss is nan"
    assert result.rows[0]["MSE x 100 ± standard deviation of runs"] is None
    agrees = {each.paper: each.agrees for each in result.findings}
    assert not agrees["10%: Latent-ODE, ACA < RNN"]
    assert not agrees["every training ends"]
    assert list(draw(result)) == ["fig10"]


def test_slower_models_are_also_judged_when_aca_is_done():
    config = dataclasses.replace(SMALL, models=("adjoint", "aca"), shares=(0.1,), repeats=(1,))
    fast = made({(0.1, "aca"): 0.003, (0.1, "adjoint"): 0.003})(config)
    slow = made({(0.1, "aca"): 0.003, (0.1, "adjoint"): 0.003}, seconds=1.5)(config)
    name = cell_name("adjoint", 0.1, 0)
    rows = aggregate(config, {**fast, name: slow[name]}).rows
    assert [row["MSE x 100 when ACA is done"] for row in rows] == ["1.200", "0.300"]


def test_the_figures_are_called_after_the_paper_s_and_have_one_colour_a_method(outcomes):
    figures = draw(aggregate(SMALL, outcomes))
    assert list(figures) == ["fig10", "fig12"]
    for figure in figures.values():
        for axes in figure.axes:
            colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
            assert colours == {label: colour_of(label) for label in ("RNN", "Latent-ODE, ACA")}
    (legend,) = figures["fig10"].legends  # of two seeds each; at 50 % there is one, and no interval
    assert [each.get_text() for each in legend.get_texts()][-1] == "± standard deviation of runs"
