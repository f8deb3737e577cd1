"""A report's page: what came from files is data, JSON in it is safe, runs stand side by side."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from physode.errors import DataError
from physode.reports.blocks import Cell, Chart, Gallery, Matrix, Picture, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import MOST_POINTS, band, by_epoch, line, numbers, points, spans, text, thinned
from physode.reports.page import page, write_report

EVIL = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """What a browser finds: tags with attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._within = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within == "script":
            self.scripts[-1] += data
        else:
            self.text += data


def read(content: str) -> Reader:
    reader = Reader()
    reader.feed(content)
    return reader


def view(name: str = "a run", word: str = "plain", **more) -> RunView:
    """A run of which every text is `word`."""
    blocks = (
        Table.of(word, ["name", word], [[word, "1.5"], [word, None]], note=word),
        Chart(word, (line([0, 1, 2], [1, 2, 3], word),), spans(0, 1, 2, after=word), note=word),
        Matrix(word, (word,), (word,), ((Cell(word, 0.5, word),),), corner=word, note=word),
        Gallery(word, (Picture("data:image/png;base64,AA==", word, word),), anchor=word, note=word),
        Text(word, (word,), code=True),
        Text(word, (word,)),
    )
    verdict = Verdict.of(failed=False, status=word, sentence=word, doubts=[word])
    parts = {
        "verdict": verdict, "facts": {word: word}, "tabs": (Tab(word, blocks),), "settings": {word: word},
        "values": {word: word}, "curve": (word, (0, 1), (2.0, None)),
    }  # fmt: skip
    return RunView(name, word, **{**parts, **more})


@pytest.mark.parametrize(
    "word", [EVIL, "<img src=x onerror=alert(1)>", "\"'><b onload=x>", "&lt;", "<!--", "{{ 7 * 7 }}"]
)
def test_names_are_data_wherever_they_stand(word):
    content = page([view(word, word), view(word, word)])
    found, plain = read(content), read(page([view("a", "b"), view("a", "b")]))
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    allowed = {name for _, attributes in plain.tags for name in attributes}
    assert {name for _, attributes in found.tags for name in attributes} <= allowed
    assert word in found.text
    assert len(found.scripts) == 3


def test_embedded_numbers_come_back_and_no_text_ends_the_script():
    chart = Chart("c", ({"name": EVIL, "y": [1.0, float("nan"), 2.5], "z": "\u2028"},))
    found = read(page([view(tabs=(Tab("t", (chart,)),))]))
    (traces,) = json.loads(found.scripts[0])
    assert traces["traces"] == [{"name": EVIL, "y": [1.0, None, 2.5], "z": "\u2028"}]
    assert not re.search("[<>&\u2028]", found.scripts[0])


def test_a_page_asks_for_nothing_from_anywhere():
    found = read(page([view()]))
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    addresses = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not any(tag == "link" for tag, _ in found.tags)


def test_the_verdict_comes_before_everything_else():
    verdict = Verdict.of(
        failed=True, status="explains nothing", sentence="explains nothing: too far", doubts=["a doubt"]
    )
    content = page([view(verdict=verdict)])
    assert (verdict.level, verdict.sentence) == ("untrusted", "Too far")
    assert 'class="verdict untrusted"' in content
    body = content[content.index("<main>") :]
    assert body.index("explains nothing") < body.index("a doubt") < body.index('role="tablist"')


def test_several_runs_stand_side_by_side():
    runs = [view("one", settings={"lr": "1", "same": "x"}), view("two", settings={"lr": "2", "same": "x"}), view("one")]
    content = page(runs)
    table = content[content.index("Settings that differ") :]
    table = table[: table.index("</table>")]
    assert "lr" in table
    assert re.findall(r'scope="col"[^>]*>([^<]*)<', table) == ["setting", "one (1)", "two", "one (3)"]
    assert "Plain by epoch" in content
    assert content.count('role="tabpanel" aria-labelledby="run-tab-') == 3
    assert "Side by side" not in page(runs[:1])
    identifiers = [
        attributes["id"] for _, attributes in read(content).tags if attributes.get("id") not in (None, "plain")
    ]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("count", [0, 13])
def test_a_page_has_some_runs_and_not_too_many(count):
    with pytest.raises(ValueError, match=f"`runs` must be 1 to 12, got {count}"):
        page([view()] * count)


def test_a_report_is_written_whole_and_nothing_is_replaced_unasked(tmp_path):
    path = tmp_path / "report.html"
    size = write_report(path, [view()])
    assert path.stat().st_size == size < 2.5e6
    with pytest.raises(DataError, match="exists"):
        write_report(path, [view()])
    write_report(path, [view("another")], overwrite=True)
    assert "<title>another" in path.read_text()


def test_empty_columns_are_left_out_and_numbers_stand_to_the_right():
    table = Table.of("t", ["name", "unit", "value"], [["a", None, "1.5e-3"], ["b", "", None]])
    assert table.heads == ("name", "value")
    assert table.rows == (("a", "1.5e-3"), ("b", "-"))
    assert table.numbers == {1}
    long = Table.of("t", ["name"], [["x"]] * 100, note="A note.")
    assert (len(long.rows), long.note) == (60, "The first 60 of 100. A note.")


def test_curves_are_thinned_with_both_ends_and_six_digits():
    x = np.linspace(0.0, 1.0, 100_001)
    trace = line(x, np.pi * x, "y")
    assert len(trace["x"]) == MOST_POINTS
    assert (trace["x"][0], trace["x"][-1], trace["y"][-1]) == (0.0, 1.0, 3.14159)
    assert thinned(3).tolist() == [0, 1, 2]
    assert thinned(0).tolist() == []
    assert numbers([np.nan, np.inf, 1 / 3]) == [None, None, 0.333333]


def test_points_that_are_missing_are_left_out_and_bands_are_closed():
    trace = points([0, 1, 2], [1.0, np.nan, 3.0], "y")
    assert (trace["x"], trace["y"]) == ([0.0, 2.0], [1.0, 3.0])
    area = band([0, 1, 2], [0, 0, np.nan], [1, 2, 3], "y")
    assert area["x"] == [0.0, 1.0, 1.0, 0.0]
    assert area["y"] == [0.0, 0.0, 2.0, 1.0]
    assert points([], [], "none")["x"] == []


def test_the_training_span_is_shaded_and_what_lies_beyond_named():
    layout = spans(0.0, 2.0, 5.0)
    assert (layout["shapes"][0]["x0"], layout["shapes"][0]["x1"]) == (0.0, 2.0)
    assert [word["text"] for word in layout["annotations"]] == ["training", "beyond"]
    assert [word["text"] for word in spans(0.0, 5.0, 5.0)["annotations"]] == ["training"]


def test_stages_have_curves_of_their_own():
    history = [{"epoch": i, "loss": 10.0 / (i + 1), "stage": 1 + i // 3} for i in range(6)]
    chart = by_epoch(history, "loss", "Loss", "loss")
    assert [trace["name"] for trace in chart.traces] == ["stage 1", "stage 2"]
    assert [trace["x"] for trace in chart.traces] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert chart.layout["yaxis"]["type"] == "log"
    below = by_epoch([{"epoch": 0, "loss": -1.0}], "loss", "Loss", "loss")
    assert "type" not in below.layout["yaxis"]


def test_plotly_s_own_tags_are_shown_letter_by_letter():
    assert text("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert line([0], [0], "<i>")["name"] == "&lt;i&gt;"
