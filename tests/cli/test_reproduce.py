"""``physode reproduce``."""

from __future__ import annotations

import functools
import json

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.experiments import EXPERIMENTS, find_experiment

SMALL = {
    "fig4": {"spans": (5.0,), "points": 51},
    "fig5": {"size": 12, "span": 2.0, "spans": (1.0, 2.0)},
    "fig6": {"spans": (1.0, 2.0), "peers": False},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, values in SMALL.items():
        module = find_experiment(name)
        monkeypatch.setattr(module, "Config", functools.partial(module.Config, **values))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["reproduce", *arguments])


def test_one_figure_is_shown_beside_the_paper_and_written(run, tmp_path):
    result = run("fig6")
    assert result.exit_code == 0
    assert "the paper" in result.stdout
    assert "ACA's error is below the adjoint method's" in result.stdout
    assert sorted(path.name for path in (tmp_path / "reproduce").iterdir()) == ["fig6.json", "fig6.md", "fig6.png"]


def test_all_makes_every_figure(run, tmp_path):
    result = run("all", "--out", "figures", "--json")
    assert result.exit_code == 0
    assert [each["name"] for each in json.loads(result.stdout)] == list(EXPERIMENTS)
    assert len(list((tmp_path / "figures").iterdir())) == 3 * len(EXPERIMENTS)


def test_json_holds_the_rows_the_findings_and_the_files(run, tmp_path):
    (found,) = json.loads(run("fig4", "--json", "--seed", "7").stdout)
    assert found["config"]["seed"] == 7
    assert found["rows"][0]["T"] == 5.0
    assert {"paper", "ours", "agrees"} == set(found["findings"][0])
    assert (tmp_path / found["files"]["figure"]).exists()


def test_the_seed_reaches_the_experiment(run):
    (one,), (other,) = (json.loads(run("fig5", "--json", "--force", "--seed", seed).stdout) for seed in "01")
    assert one["rows"] != other["rows"]


def test_what_exists_is_refused_before_any_work_and_replaced_with_force(run, tmp_path, monkeypatch):
    (tmp_path / "reproduce").mkdir()
    (tmp_path / "reproduce" / "fig6.png").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(find_experiment("fig4"), "run", lambda *_, **__: pytest.fail("worked before the check"))
        refused = run("fig4", "fig6")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: reproduce/fig6.png exist already")
    assert run("fig6", "--force").exit_code == 0
    assert (tmp_path / "reproduce" / "fig6.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [(), ("fig7",), ("fig4", "--seed", "-1")])
def test_wrong_usage_exits_with_2(run, arguments):
    assert run(*arguments).exit_code == 2


def test_a_folder_that_cannot_be_made_is_one_line_before_any_work(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(find_experiment("fig6"), "run", lambda *_, **__: pytest.fail("worked before the check"))
    result = run("fig6", "--out", "file/inside")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
