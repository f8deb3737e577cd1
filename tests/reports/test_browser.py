"""A report in headless Chromium: it opens without a complaint, tabs and links work, narrow, wide and on paper."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest

from physode.reports.blocks import Cell, Chart, Gallery, Matrix, Picture, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import band, histogram, line, points, spans, titled
from physode.reports.page import page

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")]

# Looks at the page as a reader would: from inside, at whatever width its frame has.
VISIT = """<script>
const faults = [];
addEventListener("error", event => faults.push(event.message));
addEventListener("securitypolicyviolation", event => faults.push(event.violatedDirective));
const fault = console.error;
console.error = (...words) => { faults.push(words.join(" ")); fault(...words); };
</script>"""
TELL = """<script>
const shown = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";
function look() {
  const plots = [...document.querySelectorAll(".plot")], found = { faults: faults };
  found.width = innerWidth;
  found.overflow = document.documentElement.scrollWidth - innerWidth;
  found.drawn = plots.filter(plot => plot.querySelector("svg.main-svg")).length;
  found.plots = plots.length;
  const widthOf = plot => plot.querySelector("svg").getBoundingClientRect().width;
  found.wider = plots.filter(plot => widthOf(plot) > plot.clientWidth + 1).length;
  found.tabs = [];
  for (const tab of document.querySelectorAll(".tabs:not(.runs) [role=tab]")) {
    const run = document.querySelector(`[aria-controls=${tab.closest("article").id}]`);
    if (run) run.click();
    tab.click();
    const panels = [...document.querySelectorAll("section.panel")].filter(shown).map(panel => panel.id);
    found.tabs.push([tab.getAttribute("aria-controls"), tab.getAttribute("aria-selected"), panels]);
  }
  location.hash = document.querySelector(".matrix a").getAttribute("href");
  setTimeout(() => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    found.followed = shown(target) && target.classList.contains("target");
    document.getElementById("theme").click();
    found.dark = getComputedStyle(document.body).backgroundColor;
    parent.postMessage(JSON.stringify(found), "*");
  }, 300);
}
const waiting = setInterval(() => {
  if (document.documentElement.dataset.drawn === "all") { clearInterval(waiting); look(); }
}, 50);
</script>"""


def view(name):
    t = np.linspace(0.0, 10.0, 200)
    layout = {**spans(0.0, 6.0, 10.0), **titled("time (s)", "x (m)")}
    chart = Chart("x", (band(t, np.sin(t) - 1, np.sin(t) + 1, "band"), line(t, np.sin(t), "fit"),
                        points(t, np.sin(t) + 0.1, "data")), layout)  # fmt: skip
    wide = Table.of("A wide table", [f"column {i}" for i in range(20)], [["a long name", *["1.234567"] * 19]])
    cells = ((Cell("5", 1.0), Cell("2", -0.4, f"{name} a-b")), (Cell(""), Cell("3", 1.0)))
    matrix = Matrix("Confusion", ("a", "b"), ("a", "b"), cells)
    tabs = (
        Tab("Overview", (wide, chart, chart, chart)),
        Tab("Images", (matrix, Gallery("a taken for b", (Picture(PIXEL, "x" * 40),), f"{name} a-b"))),
        Tab("Residuals", (histogram(np.sin(t), "Residuals", "x", density=[1.0]), Text("", ("some words",)))),
        Tab("Origin", (Text("The command", ("physode fit " + "--option value " * 20,), code=True),)),
    )
    verdict = Verdict.of(failed=False, status="converged", sentence="all is well", doubts=["but for one thing " * 20])
    return RunView(name, "a fit", verdict, {"loss": "1.0", "epochs": "5"}, tabs, {"lr": name}, {"k": "1"},
                   ("loss", (0, 1, 2), (3.0, 2.0, 1.0)))  # fmt: skip


def chromium(folder, *arguments, address):
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=30000", *arguments, address.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def visit(folder, runs, width):
    content = page(runs)
    content = content.replace("<meta charset", f"{VISIT}<meta charset", 1).replace("</body>", f"{TELL}</body>")
    (folder / "report.html").write_text(content)
    frame = folder / "frame.html"
    frame.write_text(
        f"<body><iframe src=report.html style='border:0;width:{width}px;height:900px'></iframe><pre></pre><script>"
        "addEventListener('message', event => { document.querySelector('pre').textContent = event.data; });</script>"
    )
    done = chromium(folder, f"--window-size={max(width, 500)},1000", "--dump-dom", address=frame)
    assert not re.search("CONSOLE.*(rror|efused|iolat)", done.stderr), done.stderr
    return json.loads(unescape(re.search("<pre>(.*?)</pre>", done.stdout, re.DOTALL)[1]))


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("names", [["one"], ["one", "<two>", "three"]], ids=["one run", "three runs"])
def test_a_report_opens_draws_and_turns_its_pages(tmp_path, width, names):
    found = visit(tmp_path, [view(name) for name in names], width)
    assert (found["faults"], found["width"]) == ([], width)
    assert found["drawn"] == found["plots"] >= 4 * len(names)
    assert found["wider"] == 0
    assert found["overflow"] <= 0
    assert len(found["tabs"]) == 4 * len(names)
    assert all(chosen == "true" and panels == [panel] for panel, chosen, panels in found["tabs"])
    assert found["followed"]
    assert found["dark"] == "rgb(20, 24, 27)"


def test_paper_has_every_tab_once(tmp_path):
    path, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    path.write_text(page([view("one")]))
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", address=path)
    assert paper.read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext"):
        words = subprocess.run(["pdftotext", paper, "-"], capture_output=True, text=True, check=True).stdout
        assert all(word in words for word in ("Overview", "Images", "Residuals", "Origin", "some words", "time (s)"))
        assert "Copy" not in words
