"""docs/reproduction.md: made of results, with every experiment and every item of the papers."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from physode.experiments import EXPERIMENTS, find_experiment
from physode.experiments.report import Deviation, Finding, Result, as_dict
from physode.experiments.study import configuration

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("reproduction_document", ROOT / "docs" / "reproduction.py")
made = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = made  # where dataclasses look it up
_SPEC.loader.exec_module(made)

RESULTS, ITEMS = made.committed()


def items_of(paper):
    return [item for item in ITEMS["item"] if item["paper"] == paper]


def result(name="table5", *, seed=0, **changes):
    config = dataclasses.asdict(configuration(name, seed=seed, quick=changes.pop("quick", False))) | changes
    suffix = "" if config["preset"] == "full" else "-quick"
    data = Result(
        name + suffix, "A title", config, [{"model": "one", "MSE": 0.25}], [Finding("it is small", "0.25", True)]
    )
    versions = {"physode": "9.9"}
    made_by = {"versions": versions, "created": "2026-01-02T03:04:05+00:00", "command": "physode --out /home/somebody"}
    return json.loads(json.dumps(as_dict(data))) | {"made": made_by}


@pytest.fixture
def kept(tmp_path):
    """Take results in, in turn, and return what is kept."""

    def take(*several):
        for number, each in enumerate(several):
            file = tmp_path / f"{number}.json"
            file.write_text(json.dumps(each))
            made.take_in([file], tmp_path / "kept")
        return list(made.read_results([tmp_path / "kept"]))

    return take


def test_the_document_is_what_the_kept_results_make():
    assert (ROOT / "docs" / "reproduction.md").read_text() == made.document(RESULTS, ITEMS)


def test_every_experiment_has_a_section_and_is_an_item():
    text = made.document([], ITEMS)
    assert [name for name, title in EXPERIMENTS.items() if f"\n### {title}\n" not in text] == []
    assert set(EXPERIMENTS) - {item.get("experiment") for item in ITEMS["item"]} == set()


def test_links_lead_to_headings_as_github_and_the_site_name_them():
    assert made.anchor("fig6") == "aca-paper-fig-6-errors-of-the-three-gradient-methods-on-dzdt--k-z"


def test_every_item_stands_in_the_document():
    text = made.document(RESULTS, ITEMS)
    assert [item["name"] for item in ITEMS["item"] if f"| {item['paper']}: {item['name']} |" not in text] == []


def test_the_aca_paper_is_covered_from_its_first_algorithm_to_its_last_figure():
    covered = {part for item in items_of("ACA") for part in made.covered(item)}
    wanted = {
        f"{kind} {number}" for kind, last in (("Fig.", 23), ("Table", 8), ("Eq.", 83)) for number in range(1, last + 1)
    }
    wanted |= {"Algorithm 1", "Algorithm 2", "Theorem 2.1", "Theorem 3.1", "Theorem 3.2"}
    wanted |= {f"Lemma 7.{number}" for number in (1, 2, 3)} | {f"Appendix {letter}" for letter in "ABCD"}
    assert wanted - covered == set()


def test_the_galaxy_paper_is_covered_from_its_first_algorithm_to_its_last_figure():
    covered = {part for item in items_of("galaxies") for part in made.covered(item)}
    wanted = {
        f"{kind} {number}" for kind, last in (("Fig.", 5), ("Table", 4), ("Eq.", 4)) for number in range(1, last + 1)
    }
    assert wanted | {"Algorithm 1", "Algorithm 2", "Appendix A", "Appendix B"} <= covered


def test_every_item_has_something_beside_it():
    assert [item["name"] for item in ITEMS["item"] if not {"experiment", "tests", "here"} & item.keys()] == []


def test_the_tests_that_are_named_exist():
    for item in ITEMS["item"]:
        for test in item.get("tests", ()):
            file, function = test.split("::")
            assert f"def {function}(" in (ROOT / file).read_text(), test


def test_statements_that_are_chosen_are_made():
    by = {each.key: each for each in RESULTS}
    for item in ITEMS["item"]:
        for beginning in item.get("findings", ()):
            if item["experiment"] in by:
                statements = [finding["paper"] for finding in by[item["experiment"]].data["findings"]]
                assert any(statement.startswith(beginning) for statement in statements), beginning


def test_deviations_that_are_chosen_are_declared():
    for item in ITEMS["item"]:
        for beginning in item.get("deviations", ()):
            declared = [deviation.item for deviation in find_experiment(item["experiment"]).deviations]
            assert any(name.startswith(beginning) for name in declared), (item["name"], beginning)


def test_what_is_kept_names_no_place_of_a_machine():
    for file in (ROOT / "docs" / "results").glob("*.json"):
        text = file.read_text()
        assert not any(place in text for place in ("/home", "/tmp", "/root", "/work", "/Users")), file
        assert len(text) < 2**18, file


def test_a_full_preset_is_kept_before_a_quick_one_whatever_comes_first(kept):
    quick, full = result(quick=True), result()
    assert [each.quick for each in kept(quick, full)] == [False]
    assert [each.quick for each in kept(full, quick)] == [False]


def test_of_two_alike_the_new_one_is_kept_without_the_place_it_was_made_at(kept):
    (new,) = kept(result(), result(seed=3))
    assert new.config["seed"] == 3
    assert new.command == "physode reproduce table5 --seed 3"
    assert "somebody" not in json.dumps(new.data)


def test_a_try_of_the_gpu_s_script_on_a_cpu_is_no_result(kept):
    pieces = [result() | {"name": "gpu-images", "config": {"device": device}} for device in ("cpu", "cuda")]
    assert [each.config["device"] for each in kept(result(), *pieces) if each.name == "gpu-images"] == ["cuda"]


def test_a_file_that_is_no_result_is_a_line(tmp_path):
    file = tmp_path / "notes.txt"
    for text in ("no JSON", '{"name": "fig4"}'):
        file.write_text(text)
        with pytest.raises(SystemExit, match=f"Error: {file} is no result of `physode reproduce`"):
            list(made.read_results([file]))


def test_an_item_says_what_was_found_and_what_is_owed():
    items = {
        "item": [
            {"paper": "ACA", "name": "Table 5", "covers": [], "says": "-", "experiment": "table5", "owed": "a day"}
        ]
    }
    items["experiment"] = []
    owed = made.document([], items)
    assert "owed: `physode reproduce table5` (a day)" in owed
    shown = made.document([made.Made(made.kept(result(quick=True)))], items)
    assert "agrees: it is small: 0.25" in shown
    assert f"[quick preset](#{made.anchor('table5')}); the full one is owed: a day" in shown
    assert "| one | 0.25 |" in shown
    assert "no order of accuracies can be read from it" in shown


def test_results_of_other_settings_than_today_s_are_said_to_be():
    old = made.Made(made.kept(result(epochs=7)))
    assert old.changed == ["epochs"]
    assert "**Made with other settings than today's**: epochs." in made.document([old], {"item": [], "experiment": []})
    assert made.Made(made.kept(result())).changed == []


def test_deviations_stand_beside_the_items_that_they_concern(monkeypatch):
    several = [Deviation(f"Table 5, {name}", "theirs", f"ours: {name}", f"why {name}") for name in ("NODE", "ODE")]
    monkeypatch.setattr(made, "_declared", lambda name: several)
    item = {"paper": "ACA", "name": "Table 5", "covers": [], "says": "-", "experiment": "table5"}
    whole = made.document([], {"item": [item], "experiment": []})
    assert "| ours: NODE<br>ours: ODE | why NODE<br>why ODE |" in whole
    part = made.document([], {"item": [item | {"deviations": ["Table 5, NODE"]}], "experiment": []})
    assert "| ours: NODE | why NODE |" in part


def test_ranges_are_counted_out():
    covered = list(made.covered({"covers": ["Figs. 2-4", "Lemmas 7.1-7.2", "Table 5"]}))
    assert covered == ["Fig. 2", "Fig. 3", "Fig. 4", "Lemma 7.1", "Lemma 7.2", "Table 5"]
