"""Experiments as files, and what every experiment has in common."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from physode.errors import DataError
from physode.experiments import EXPERIMENTS, find_experiment, report
from physode.experiments.comparison_plot import colour_of
from physode.experiments.report import Finding, Result
from physode.plotting.style import new_figure

SMALL = {
    "table1": {"cases": ((2, 1e-3, 1.0), (2, 1e-3, 4.0)), "span": 1.0, "width": 4, "batch": 2},
    "theorem32": {"methods": ("euler", "midpoint"), "steps": (4, 8)},
    "fig4": {"spans": (5.0,), "points": 51},
    "fig5": {"size": 12, "span": 2.0, "spans": (1.0, 2.0)},
    "fig6": {"spans": (1.0, 2.0), "peers": False},
}


@pytest.fixture(scope="module", params=SMALL)
def made(request):
    module = find_experiment(request.param)
    told = []
    result = module.run(module.Config(**SMALL[request.param]), progress=told.append)
    return module, result, told


def test_the_figure_has_something_in_every_panel(made):
    module, result, _ = made
    figure = module.draw(result)
    assert all(axes.has_data() for axes in figure.axes)


def test_the_files_are_a_picture_a_table_and_data(made, tmp_path):
    module, result, _ = made
    files = report.write(result, module.draw(result), tmp_path / "new" / "folder")
    assert files["figure"].read_bytes().startswith(b"\x89PNG")
    table = files["table"].read_text()
    assert table.startswith(f"# {result.title}\n\n![{result.title}]({result.name}.png)")
    data = json.loads(files["data"].read_text())
    assert len(data["rows"]) == len(result.rows)
    assert data["config"]["seed"] == 0
    assert data["made"]["versions"]["physode"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(
        f.name for f in files.values()
    )


def test_rows_have_the_same_columns_and_progress_only_rises(made):
    _, result, told = made
    assert len({tuple(row) for row in result.rows}) == 1
    assert told == sorted(told)
    assert 0 < told[-1] <= 1


def test_the_same_configuration_gives_the_same_rows(made):
    module, result, _ = made
    again = module.run(module.Config(**SMALL[result.name]))
    assert again.rows == result.rows


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_configurations_are_frozen(name):
    config = find_experiment(name).Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_an_unknown_experiment_is_named_beside_the_known():
    with pytest.raises(ValueError, match=r"fig4, fig5, fig6, table4, table5, recovery, .*; got 'fig8'"):
        find_experiment("fig8")


def test_what_exists_is_not_overwritten_unasked(made, tmp_path):
    module, result, _ = made
    figure = module.draw(result)
    (tmp_path / f"{result.name}.md").write_text("mine")
    with pytest.raises(DataError, match=r"exist already.*--force"):
        report.write(result, figure, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{result.name}.md"]
    report.write(result, figure, tmp_path, overwrite=True)
    assert (tmp_path / f"{result.name}.md").read_text() != "mine"


def test_several_figures_go_into_the_result_s_own_folder_and_are_named_in_the_table(tmp_path):
    result = Result("x", "X", {"seed": 0}, [{"a": 1.0}], [])
    figures = {"one": new_figure(1.0, 1.0), "two": new_figure(1.0, 1.0)}
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "one.png").write_text("from an interrupted call")
    files = report.write(result, figures, tmp_path)
    assert files["one"] == tmp_path / "x" / "one.png"
    assert all(files[name].read_bytes().startswith(b"\x89PNG") for name in figures)
    assert "![one](x/one.png)\n\n![two](x/two.png)" in files["table"].read_text()
    with pytest.raises(DataError, match=r"exist already.*--force"):
        report.write(result, figures, tmp_path)
    assert report.write(result, figures, tmp_path, overwrite=True) == files


def test_files_are_known_again_by_their_configuration(tmp_path):
    result = Result("x", "X", {"rates": (1.0, 2.0), "worst": math.inf}, [{"a": 1.0}], [])
    assert not report.holds("x", tmp_path, result.config)
    files = report.write(result, new_figure(1.0, 1.0), tmp_path)
    assert report.holds("x", tmp_path, result.config)
    assert not report.holds("x", tmp_path, {**result.config, "rates": (1.0, 3.0)})
    files["data"].write_text("[]")
    assert not report.holds("x", tmp_path, result.config)


def test_tables_and_json_hold_what_is_not_a_plain_number():
    rows = [{"a": float("inf"), "b": "x|y", "c": None, "d": 0.123456, "e": (1, 2.5)}]
    result = Result("x", "X", {"rates": (1.0, 2.0)}, rows, [Finding("p", "o", False)])
    assert "| inf | x\\|y | - | 0.1235 | 1, 2.5 |" in report.markdown(result)
    assert "| p | o | no |" in report.markdown(result)
    assert report.as_dict(result)["rows"] == [{"a": None, "b": "x|y", "c": None, "d": 0.123456, "e": [1, 2.5]}]


def test_a_method_has_one_colour_whatever_it_is_called():
    assert len({colour_of(name) for name in ("aca", "ACA, graphs kept", "NODE18-ACA", "ODE, ACA: K1")}) == 1
    several = ("aca", "adjoint", "naive", "resnet", "lstm", "rnn", "gru-d")
    assert len(set(map(colour_of, several))) == len(several)
    assert colour_of("anything else") == colour_of("forward")
