"""The recovery study: its systems, its fits by hand, batches against separate fits, counts, table and figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from physode.experiments.recovery import fits as recovery_fits
from physode.experiments.recovery.aggregate import (
    Share,
    aggregate,
    coverage,
    largest_errors,
    misfits,
    pulls,
    recovered,
)
from physode.experiments.recovery.config import METHODS, PRESET, Config, blocks, cells
from physode.experiments.recovery.figures import draw
from physode.experiments.recovery.fits import Batch, descend, fit_preset, fit_systems, fit_together, gradients
from physode.experiments.recovery.systems import several, simulated
from physode.fitting import FitConfig, fit
from physode.simulators import simulate_three_body
from physode.sweeps.cells import Outcome

SHORT = {"t_end": 0.3, "points": 12, "spread": 0.2}
DATA = {"seed": 24, "count": 2, "noise": 0.0, **SHORT}
RECIPE = {"epochs": 3, "lr": 0.1, "lr_decay": 0.99, "method": "dopri5", "rtol": 1e-5, "atol": 1e-5}


def options(gradient, max_steps=1000):
    return {"gradient": gradient, "method": "dopri5", "rtol": 1e-5, "atol": 1e-5, "max_steps": max_steps}


def made(masses=(1.0, 1.0, 1.0), fitted=(1.0, 1.0, 1.0), **more):
    """A system's entry, as cells return it."""
    known = {"system": "0/0", "min_distance": 0.5, "start": [1.2, 0.9, 1.0], "loss": 0.0, "evaluations": 4}
    found = {"masses": list(masses), "fitted": list(fitted), "errors": None, "intervals": None, "seconds": 2.0}
    return {**known, **found, "failure": None, **more}


def test_systems_are_the_simulator_s_with_positions_alone_observed():
    found = simulated(**{**DATA, "noise": 1e-3})
    truth = simulate_three_body(n=2, seed=24, t_end=0.3, points=12, noise=1e-3)
    np.testing.assert_array_equal(found.data.y[..., :9], truth.y[..., :9])
    assert np.isnan(found.data.y[..., 9:]).all()
    np.testing.assert_array_equal(found.states, truth.y_clean[:, 0])
    np.testing.assert_array_equal(found.masses, truth.params["masses"])
    np.testing.assert_array_equal(found.distances, truth.params["min_distance"])
    assert found.labels == ("24/0", "24/1")


def test_systems_and_starts_are_the_same_at_every_noise_and_in_any_number():
    few, more = simulated(**DATA), simulated(**{**DATA, "count": 4, "noise": 1e-2})
    np.testing.assert_array_equal(few.states, more.states[:2])
    np.testing.assert_array_equal(few.starts, more.starts[:2])
    errors = more.starts / more.masses - 1
    assert 0.05 < np.abs(errors).max() <= 0.2
    assert len(np.unique(errors)) == errors.size


@pytest.mark.slow
def test_without_noise_the_default_fit_finds_the_masses_from_wrong_ones():
    (found,) = fit_systems(data={**DATA, "count": 1}, schedule="growing", sigma_known=False)
    np.testing.assert_allclose(found["fitted"], found["masses"], rtol=1e-6)
    assert found["failure"] is None
    assert found["evaluations"] > 3
    assert np.abs(np.array(found["start"]) / found["masses"] - 1).max() > 0.02


@pytest.mark.slow
def test_with_noise_initial_states_are_fitted_too_and_every_mass_has_an_interval():
    data = {**DATA, "noise": 1e-4, "count": 1, "points": 30}
    (free,) = fit_systems(data=data, schedule="growing", sigma_known=False)
    (known,) = fit_systems(data=data, schedule="growing", sigma_known=True)
    np.testing.assert_allclose(free["fitted"], known["fitted"], rtol=1e-4)
    half = [(high - low) / 2 for low, high in known["intervals"]]
    np.testing.assert_allclose(half, 1.959964 * np.array(known["errors"]), rtol=1e-6)
    size = math.sqrt(free["loss"] * 270 / (270 - 21)) / 1e-4
    np.testing.assert_allclose(np.array(free["errors"]) / known["errors"], size, rtol=1e-3)
    assert np.abs(pulls([free])).max() < 4


@pytest.mark.slow
def test_a_fit_that_fails_is_named_and_the_next_system_is_fitted(monkeypatch):
    whole, calls = recovery_fits.fit, []

    def broken(data, config):
        calls.append(config.trajectories)
        if config.trajectories == (0,):
            raise FloatingPointError("lost")
        return whole(data, config)

    monkeypatch.setattr(recovery_fits, "fit", broken)
    first, second = fit_systems(data=DATA, schedule="growing", sigma_known=False)
    assert calls == [(0,), (1,)]
    assert (first["system"], first["failure"]) == ("24/0", "FloatingPointError: lost")
    assert second["failure"] is None


@pytest.mark.slow
def test_a_batch_takes_the_steps_of_separate_fits_by_adam():
    for gradient, close in (("aca", 1e-9), ("naive", 1e-9), ("adjoint", 1e-3)):
        systems = simulated(**DATA)
        arguments = {"data": {"seeds": [24], "counts": [2], **SHORT}, "noises": [0.0], "max_steps": 1000, **RECIPE}
        (together,) = fit_together(**arguments, gradient=gradient)["fits"]
        for index, found in enumerate(together):
            init = {"masses": tuple(systems.starts[index].tolist())}
            settings = {
                "optimizer": "adam",
                "gradient": gradient,
                "train_until": 0.3,
                "initial_state": "known",
                **RECIPE,
            }
            alone = fit(systems.data, FitConfig(trajectories=(index,), init=init, **settings))
            np.testing.assert_allclose(found["fitted"], alone.rhs.constants["masses"].detach(), rtol=close)
            assert found["loss"] == pytest.approx(alone.report.loss, rel=100 * close)
            assert found["taken_back"] == 0


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
def test_a_system_whose_solve_fails_leaves_the_others_as_they_are(gradient):
    batch = Batch.of(several([24], [3], **SHORT, noise=0.0))
    batch.states[1, 9:] = math.nan
    losses, slopes = gradients(batch.starts, batch, options(gradient))
    good = torch.tensor([0, 2])
    alone = gradients(batch.starts[good], batch.some(good), options(gradient))
    assert torch.isfinite(losses).tolist() == [True, False, True]
    torch.testing.assert_close(losses[good], alone[0], rtol=0, atol=0)
    torch.testing.assert_close(slopes[good], alone[1], rtol=0, atol=0)


def test_an_adjoint_solve_that_fails_backwards_is_found_by_halves(monkeypatch):
    batch = Batch.of(several([24], [4], **SHORT, noise=0.0))
    whole, sizes = recovery_fits._gradients, []

    def broken(masses, part, way):
        sizes.append(len(masses))
        if (part.starts == batch.starts[2]).all(-1).any():
            raise recovery_fits.SolveError("backwards")
        return whole(masses, part, way)

    monkeypatch.setattr(recovery_fits, "_gradients", broken)
    losses, slopes = gradients(batch.starts, batch, options("aca"))
    assert torch.isfinite(losses).tolist() == [True, True, False, True]
    assert torch.isfinite(slopes).all(-1).tolist() == [True, True, False, True]
    assert sizes == [4, 2, 2, 1, 1]


def test_masses_without_a_solution_go_half_way_back_and_the_best_epoch_is_kept(monkeypatch):
    batch = Batch.of(several([24], [1], **SHORT, noise=0.0))
    seen = []

    def scripted(masses, *_):
        seen.append(masses.clone())
        loss = [4.0, math.nan, math.nan, 1.0, 2.0][len(seen) - 1]
        return torch.tensor([loss], dtype=torch.float64), torch.ones_like(masses)

    monkeypatch.setattr(recovery_fits, "gradients", scripted)
    found = descend(batch, epochs=4, lr=0.1, lr_decay=1.0, options={})
    torch.testing.assert_close(seen[1], batch.starts - 0.1)
    torch.testing.assert_close(seen[2], batch.starts - 0.05)
    torch.testing.assert_close(seen[3], batch.starts - 0.025)
    torch.testing.assert_close(found.masses, seen[3])
    assert (float(found.losses), int(found.failures)) == (1.0, 2)


def test_masses_below_zero_on_the_way_are_no_error():
    batch = Batch.of(several([24], [1], **SHORT, noise=0.0))
    losses, _ = gradients(torch.tensor([[1.0, -0.1, 1.0]], dtype=torch.float64), batch, options("aca"))
    assert torch.isfinite(losses).all()


@pytest.mark.slow
def test_the_preset_s_wrong_minimum_traps_plain_least_squares_and_not_the_growing_span():
    found = fit_preset(start=(1.3, 0.8, 1.2), t_end=2.0, points=400, train_until=1.0)
    np.testing.assert_allclose(found["growing"]["masses"], found["true"], rtol=1e-6)
    assert np.abs(np.array(found["full"]["masses"]) / found["true"] - 1).max() > 0.1


def test_shares_have_binomial_errors():
    share = Share(150, 200)
    assert (share.value, share.error) == (0.75, pytest.approx(0.0306186, rel=1e-5))
    assert str(share) == "150 of 200, 75.0 +- 3.1 %"
    assert math.isnan(Share(0, 0).value)


def test_a_system_is_recovered_if_its_worst_mass_is_within_one_percent():
    fits = [made(fitted=(1.009, 1.0, 0.991)), made(fitted=(1.0, 1.0, 1.011)), made(failure="lost")]
    np.testing.assert_allclose(largest_errors(fits), [0.009, 0.011, np.inf], rtol=1e-9)
    assert recovered(fits) == Share(1, 3)


def test_coverage_counts_masses_without_an_interval_as_not_covered():
    sure = {"errors": [0.1, 0.1, 0.1], "intervals": [(0.9, 1.1), (1.01, 1.2), (0.8, 1.0)]}
    fits = [made(**sure, min_distance=0.01), made(), made(failure="lost")]
    assert coverage(fits) == Share(2, 9)
    assert coverage(fits, lambda distance: distance < 0.1) == Share(2, 3)
    np.testing.assert_allclose(pulls([made(fitted=(1.1, 0.8, 1.0), **sure), *fits[1:]]), [1.0, -2.0, 0.0], atol=1e-12)


def test_a_fit_misses_the_data_where_residuals_are_larger_than_the_noise():
    fits = [made(system="a", loss=(1.1e-2) ** 2), made(system="b", loss=(1.6e-2) ** 2), made(system="c", failure="x")]
    assert misfits(fits, 1e-2) == ["b"]
    assert misfits([made(system="d", loss=1e-18), made(system="e", loss=1e-6)], 0.0) == ["e"]


def test_cells_are_blocks_of_systems_for_least_squares_and_one_a_gradient_for_adam():
    names = [cell.name for cell in cells(Config(systems=25, compared=12))]
    assert {name for name in names if name.startswith("growing noise 0 ")} == {
        f"growing noise 0 block {block}" for block in range(3)
    }
    assert {name for name in names if name.startswith(("plain", "sigma"))} == {
        *(f"plain noise 0 block {block}" for block in range(2)),
        *(f"sigma noise {noise} block {block}" for noise in ("0.0001", "0.01") for block in range(2)),
    }
    assert {PRESET, "aca", "naive", "adjoint"} < set(names)
    assert blocks(Config(), 25) == [(0, 10), (1, 10), (2, 5)]
    assert not {seed for seed, _ in blocks(Config(), 200)} & {seed for seed, _ in blocks(Config(seed=1), 200)}


def test_adam_has_table_8_s_recipe_and_the_same_systems_and_starts_as_the_default_fit():
    found = {cell.name: cell.arguments for cell in cells(Config())}
    recipe = {"epochs": 100, "lr": 0.1, "lr_decay": 0.99, "method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
    for gradient in ("aca", "naive", "adjoint"):
        assert recipe.items() <= found[gradient].items()
        assert found[gradient]["gradient"] == ("naive-steps" if gradient == "naive" else gradient)
        assert found[gradient]["data"]["seeds"] == [0, 1, 2, 3]
        assert found[gradient]["data"]["spread"] == found["growing noise 0 block 3"]["data"]["spread"] == 0.5


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`compared` must be between 1 and `systems` 4, got 5"):
        Config(systems=4, compared=5)
    with pytest.raises(ValueError, match="`block` must be at least 1"):
        Config(block=0)


SMALL = Config(systems=3, compared=2, block=2, noises=(0.0, 1e-2))


def scripted_outcomes():
    """What cells return, made up: the growing span right but for one fit, Adam wrong."""

    def entry(cell, index, noise):
        system = f"{cell.arguments['data']['seed']}/{index}"
        sure = {"errors": [0.01] * 3, "intervals": [(0.99, 1.01)] * 3} if noise else {}
        wrong = {"fitted": (1.3, 1.0, 1.0), "loss": 0.1} if cell.arguments["schedule"] == "full" else {}
        return made(system=system, min_distance=0.02 if index else 0.3, **sure, **wrong)

    found = {}
    for cell in cells(SMALL):
        if cell.function.endswith("fit_systems"):
            data = cell.arguments["data"]
            result = [entry(cell, index, data["noise"]) for index in range(data["count"])]
        elif cell.name == PRESET:
            found_masses = {"growing": {"masses": [1.1, 1.1, 0.9]}, "full": {"masses": [1.5, 0.9, 0.9]}}
            result = {"true": [1.1, 1.1, 0.9], **found_masses}
        else:
            seven = made(system="0/1", fitted=(0.8, 1.0, 1.0), loss=0.02)
            result = {"fits": [[made(system="0/0"), seven] for _ in SMALL.noises]}
        found[cell.name] = Outcome(result=result, seconds=1.0)
    return found


def test_every_method_and_noise_has_a_row_with_its_shares():
    result = aggregate(SMALL, scripted_outcomes())
    rows = {(row["method"], row["noise (AU)"]): row for row in result.rows}
    assert len({tuple(row) for row in result.rows}) == 1
    assert len(rows) == 2 + 1 + 1 + 3 * 2
    ours = rows["LM, growing span", 1e-2]
    assert (ours["systems"], ours["recovered to 1 % (+- standard error)"]) == (3, "3 of 3, 100.0 +- 0.0 %")
    assert ours["coverage (+- standard error)"] == "9 of 9, 100.0 +- 0.0 %"
    assert ours["coverage, nearest < 0.1 AU (+- standard error)"] == "3 of 3, 100.0 +- 0.0 %"
    assert (ours["seconds"], ours["evaluations"]) == (2.0, 4.0)
    assert rows["LM, growing span", 0.0]["coverage (+- standard error)"] is None
    plain = rows["LM, full span at once", 0.0]
    assert (plain["data not met"], plain["note"]) == (2, "data not met: 0/0, 0/1")
    assert rows["Adam, ACA", 1e-2]["recovered to 1 % (+- standard error)"] == "1 of 2, 50.0 +- 35.4 %"


def test_findings_say_what_was_found_whether_or_not_it_is_as_hoped():
    findings = {finding.paper: finding for finding in aggregate(SMALL, scripted_outcomes()).findings}
    plain = findings["noise 0: the default fit recovers at least as many systems as LM, full span at once"]
    assert (plain.ours, plain.agrees) == ("2 and 0 of 2", True)
    assert not any("intervals cover" in text for text in findings)  # nine intervals tell nothing of it
    (preset,) = [finding for text, finding in findings.items() if text.startswith("preset aca")]
    assert preset.agrees
    assert findings["every fit gives masses"].agrees


def test_no_failure_is_dropped():
    outcomes = scripted_outcomes()
    outcomes["growing noise 0.01 block 0"] = Outcome(failure="its process died")
    outcomes["adjoint"] = Outcome(failure="SolveError: lost")
    outcomes[PRESET] = Outcome(failure="SolveError: no")
    result = aggregate(SMALL, outcomes)
    rows = {(row["method"], row["noise (AU)"]): row for row in result.rows}
    ours = rows["LM, growing span", 1e-2]
    assert (ours["recovered to 1 % (+- standard error)"], ours["failed"]) == ("1 of 3, 33.3 +- 27.2 %", 2)
    assert ours["note"] == "0/0: its process died; 0/1: its process died"
    assert ours["coverage (+- standard error)"].startswith("3 of 9")
    lost = rows["Adam, adjoint", 0.0]
    assert lost["recovered to 1 % (+- standard error)"] == "0 of 2, 0.0 +- 0.0 %"
    assert (lost["failed"], lost["seconds"]) == (2, None)
    complete = next(each for each in result.findings if each.paper == "every fit gives masses")
    assert not complete.agrees
    assert complete.ours.startswith("16 of 22 do; not LM, growing span at 0.01: 0/0, ")
    assert not next(each for each in result.findings if each.paper.startswith("preset aca")).agrees


def test_figures_show_every_method_with_the_counts_of_the_table():
    figures = draw(aggregate(SMALL, scripted_outcomes()))
    assert set(figures) == {"shares", "pulls", "distance", "time"}
    (axes,) = figures["shares"].axes
    heights = {each.get_label(): each.lines[0].get_ydata().tolist() for each in axes.containers}
    assert heights["LM, growing span"] == [100.0, 100.0]
    assert heights["LM, full span at once"] == [0.0]
    assert heights["Adam, ACA"] == [50.0, 50.0]
    assert len(figures["distance"].axes) == 2
    assert len(figures["time"].axes[0].get_yticks()) == 2 + 1 + 1 + 3 * 2
    assert "9 masses, 0 beyond 5" in figures["pulls"].axes[0].get_title(loc="left")


def test_figures_of_failures_alone_are_drawn_empty():
    failed = {cell.name: Outcome(failure="no") for cell in cells(SMALL)}
    figures = draw(aggregate(SMALL, failed))
    assert figures["shares"].axes[0].containers[0].lines[0].get_ydata().tolist() == [0.0, 0.0]
    assert len(figures["time"].axes[0].lines) == 0


def test_quick_is_labelled_and_has_all_methods():
    quick = Config.quick(seed=4)
    assert (quick.name, Config().name, quick.seed) == ("recovery-quick", "recovery", 4)
    assert len(cells(quick)) < len(cells(Config())) / 4
    assert {cell.name.split()[0] for cell in cells(quick)} == {*METHODS, "preset"}
    failed = {cell.name: Outcome(failure="no") for cell in cells(quick)}
    assert "quick" in aggregate(quick, failed).title
