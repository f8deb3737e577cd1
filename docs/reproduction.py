"""``python docs/reproduction.py [RESULTS...]``: docs/reproduction.md, made of results.

RESULTS are what ``physode reproduce`` and ``benchmarks/gpu.sh`` write: JSON files, or folders with them. Of each
experiment the best one is kept in docs/results/, with what is there already: a full preset before a quick one, real
images before simulated ones, else the new one. Then the document is made of docs/results/ and docs/reproduction.toml,
which lists the items of the papers. Without RESULTS only this is done; ``--check`` compares and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from physode.experiments import EXPERIMENTS, ON_IMAGES, find_experiment
from physode.experiments.report import Deviation, cell, markdown_table
from physode.experiments.study import configuration
from physode.json_values import plain

DOCS = Path(__file__).resolve().parent
DOCUMENT, RESULTS, ITEMS = DOCS / "reproduction.md", DOCS / "results", DOCS / "reproduction.toml"

GPU = "gpu-"
"""What names of results from benchmarks/gpu.sh begin with."""

_FEW = 4  # statements, or deviations, that are shown whole in the table of items
_IMAGES = ("data", "digest", "classes")  # what a configuration says of images, beside its settings
_HUNDRED = 100  # classes of CIFAR-100

_HEAD = """# What of the papers is reproduced, and what is not

This page is made of results by `docs/reproduction.py`; no number of a result was written by hand. Numbers in deviations
are the papers', those of published scripts, or were measured once, with the settings that stand beside them.
`make reproduction` runs all experiments in their quick presets and makes the page again; `python docs/reproduction.py
RESULTS...` takes in results of `physode reproduce` from anywhere, a full preset before a quick one.

"The paper" is Zhuang et al. 2020, *Adaptive Checkpoint Adjoint Method for Gradient Estimation in Neural ODE* ("ACA"),
or Gupta, Srijith and Desai 2022, *Galaxy morphology classification using neural ordinary differential equations*
("galaxies").

**Quick presets** are shortened until two cores do them in minutes. They show that everything runs, and what costs how
much; they tell nothing about the order of accuracies, which differs from machine to machine and seed to seed. Their
"agrees" says only how these small numbers lie.

Studies go cell by cell: each outcome is a file in `OUT/STUDY/cells`, trainings keep every epoch in `OUT/STUDY/runs`,
and the same command goes on where it was interrupted. `--jobs N` computes N cells at a time; `--scheduler ADDRESS`
sends them to a Dask cluster (`pip install 'physode[cluster]'`) whose workers have physode of the same version. Images
are named by `--data` and enter by their fingerprint, not by their path; `--device cuda` trains on a GPU. What failed is
a row that says so; the exit code is then 3, or 1 where every cell of a study failed."""


@dataclass(frozen=True)
class Made:
    """One result as it is kept."""

    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The experiment's name."""
        name = str(self.data["name"])
        return name.removesuffix(f"-{self.config['preset']}") if self.quick else name

    @property
    def key(self) -> str:
        """The name of its file."""
        return f"{self.name}{'-100' if self._hundred else ''}"

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration."""
        config: Mapping[str, Any] = self.data["config"]
        return config

    @property
    def quick(self) -> bool:
        """Whether it is of a shortened preset."""
        return self.config.get("preset", "full") != "full"

    @property
    def rank(self) -> tuple[bool, bool]:
        """What is kept before what: full presets, then real images."""
        return not self.quick, bool(self.config.get("digest"))

    @property
    def command(self) -> str:
        """The line that makes it."""
        if self.name.startswith(GPU):
            return f"benchmarks/gpu.sh --pieces {self.name.removeprefix(GPU)}"
        seed = f" --seed {self.config['seed']}" if self.config.get("seed") else ""
        images = " --data IMAGES" if self.config.get("digest") else ""
        return f"physode reproduce {self.name}{' --quick' if self.quick else ''}{images}{seed}"

    @property
    def changed(self) -> list[str]:
        """The settings that are others in today's preset of that name."""
        if self.name not in EXPERIMENTS:
            return []
        today = plain(asdict(configuration(self.name, seed=self.config.get("seed", 0), quick=self.quick)))
        names = {*today, *self.config} - set(_IMAGES)
        return sorted(name for name in names if today.get(name) != self.config.get(name))

    @property
    def _hundred(self) -> bool:
        return len(self.config.get("classes", ())) == _HUNDRED


def kept(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a result what does not depend on where it was made."""
    made = data.get("made", {})
    about = {name: made[name] for name in ("versions", "git_revision", "created", "device") if name in made}
    names = ("name", "title", "claims", "config", "rows", "findings")
    return {name: data[name] for name in names if name in data} | {"made": about}


def read_results(paths: Sequence[Path]) -> Iterator[Made]:
    """Yield the results in files and folders; other JSON files in folders are passed over."""
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            try:
                data = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                data = None
            if isinstance(data, dict) and {"name", "config", "rows", "findings"} <= data.keys():
                yield Made(kept(data))
            elif not path.is_dir():
                raise SystemExit(f"Error: {file} is no result of `physode reproduce` or benchmarks/gpu.sh")


def take_in(paths: Sequence[Path], folder: Path = RESULTS) -> list[str]:
    """Keep in a folder the best of what is there and of new results; return the files that are new."""
    folder.mkdir(exist_ok=True)
    taken = []
    for new in read_results(paths):
        if new.config.get("preset") == "tiny" or (new.name.startswith(GPU) and new.config.get("device") == "cpu"):
            continue  # a try of benchmarks/gpu.sh
        file = folder / f"{new.key}.json"
        if not file.exists() or new.rank >= Made(json.loads(file.read_text(encoding="utf-8"))).rank:
            file.write_text(json.dumps(new.data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            taken.append(file.name)
    return taken


def document(results: Sequence[Made], items: Mapping[str, Any]) -> str:
    """Return the document."""
    by = {made.key: made for made in sorted(results, key=lambda made: made.key)}
    listed = [entry["name"] for entry in items["experiment"]]
    entries = items["experiment"] + [{"name": name} for name in EXPERIMENTS if name not in listed]
    parts = [_HEAD, _overview(by, items["item"]), "## Every item of the papers", _items_table(by, items["item"])]
    parts += ["## The experiments"]
    for entry in entries:
        parts += _section(by, entry)
    parts += ["## On a GPU", *_gpu(by)]
    return "\n\n".join(parts) + "\n"


def _overview(by: Mapping[str, Made], items: Sequence[Mapping[str, Any]]) -> str:
    """Return how many items are shown by what."""
    kinds = {"a full preset": 0, "a quick preset": 0, "tests": 0, "nothing yet": 0}
    for item in items:
        made = by.get(item.get("experiment", ""))
        shown = "tests" if "experiment" not in item or (made is None and "tests" in item) else "nothing yet"
        if made is not None:
            shown = "a quick preset" if made.quick else "a full preset"
        kinds[shown] += 1
    return f"Of {len(items)} items, shown by: " + ", ".join(f"{kind} {count}" for kind, count in kinds.items()) + "."


def _items_table(by: Mapping[str, Made], items: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for item in items:
        deviations = list(_deviations(item))
        rows.append(
            [
                f"{item['paper']}: {item['name']}",
                item["says"],
                "<br>".join(_here(by, item)),
                "<br>".join(each.here for each in deviations) or "none",
                "<br>".join(each.reason for each in deviations),
            ]
        )
    return markdown_table(["item", "paper", "here", "deviation", "reason"], rows)


def _here(by: Mapping[str, Made], item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands beside an item: findings, or that they are owed, and tests."""
    name = item.get("experiment")
    if name is not None:
        made = by.get(name)
        if made is None:
            owed = f" ({item['owed']})" if "owed" in item else ""
            yield f"owed: `physode reproduce {name}`{owed}"
        else:
            yield from _verdicts(made, item)
            owed = f"; the full one is owed: {item['owed']}" if made.quick and "owed" in item else ""
            yield f"[{'quick' if made.quick else 'full'} preset](#{anchor(name)}){owed}"
    for test in item.get("tests", ()):
        file, _, function = test.partition("::")
        sentence = re.sub(r"_s(?=_|$)", "'s", function.removeprefix("test_")).replace("_", " ")
        yield f"test: [{sentence}](../{file})"
    if "here" in item:
        yield item["here"]


def _verdicts(made: Made, item: Mapping[str, Any]) -> Iterator[str]:
    """Yield some statements' outcomes, or how many of them agree, and those that do not where they are few."""
    beginnings = item.get("findings")
    findings = made.data["findings"]
    if beginnings is not None:
        findings = [finding for finding in findings if finding["paper"].startswith(tuple(beginnings))]
    if len(findings) > _FEW:
        agreeing = sum(finding["agrees"] for finding in findings)
        yield f"{agreeing} of {len(findings)} statements agree"
        findings = [finding for finding in findings if not finding["agrees"]]
    if len(findings) > _FEW:
        return
    for finding in findings:
        yield f"{'agrees' if finding['agrees'] else '**does not agree**'}: {finding['paper']}: {finding['ours']}"


def _deviations(item: Mapping[str, Any]) -> Iterator[Deviation]:
    """Yield an item's deviations: its own, and those of its experiment that concern it, or that there are many."""
    if "deviation" in item:
        yield Deviation(item["name"], item["says"], item["deviation"], item["reason"])
    if "experiment" not in item:
        return
    found = [each for each in _declared(item["experiment"]) if _concerns(each, item)]
    if len(found) > _FEW:
        yield Deviation(item["name"], "", f"{len(found)}, [below](#{anchor(item['experiment'])})", "there")
    else:
        yield from found


def _declared(name: str) -> Sequence[Deviation]:
    return find_experiment(name).deviations if name in EXPERIMENTS else ()


def _concerns(deviation: Deviation, item: Mapping[str, Any]) -> bool:
    beginnings = item.get("deviations")
    return beginnings is None or deviation.item.startswith(tuple(beginnings))


def _section(by: Mapping[str, Made], entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of what is told of an experiment."""
    name = entry["name"]
    yield f"### {EXPERIMENTS.get(name, name)}"
    if "text" in entry:
        yield entry["text"].strip()
    shown = [made for key, made in by.items() if key in (name, f"{name}-100")]
    if not shown:
        yield f"Owed: `physode reproduce {name}`."
    for made in shown:
        yield from _result(made, entry)
    deviations = _declared(name)
    if deviations:
        rows = [[each.item, each.paper, each.here, each.reason] for each in deviations]
        yield "Deviations:"
        yield markdown_table(["item", "the paper", "here", "reason"], rows)


def _result(made: Made, entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a result is from, its findings and its table."""
    about = made.data["made"]
    versions = about.get("versions", {})
    origin = [
        f"physode {versions.get('physode', '?')}",
        about.get("git_revision", "")[:12],
        about.get("created", "")[:10],
    ]
    images = f" Images: {made.config['data']}." if made.name in ON_IMAGES and "data" in made.config else ""
    device = f" On {about['device']}." if "device" in about else ""
    yield f"`{made.command}` ({', '.join(filter(None, origin))}): {made.data['title']}.{images}{device}"
    if made.changed:
        yield f"**Made with other settings than today's**: {', '.join(made.changed)}."
    if made.quick:
        yield "*Quick preset: no order of accuracies can be read from it.*"
    findings = [[each["paper"], each["ours"], "yes" if each["agrees"] else "no"] for each in made.data["findings"]]
    if findings:
        yield markdown_table([made.data.get("claims", "the paper"), "here", "agrees"], findings)
    rows = [
        row for row in made.data["rows"] if all(row.get(key) in some for key, some in entry.get("rows", {}).items())
    ]
    if rows:
        hidden = entry.get("hide", ())
        columns = [column for column in entry.get("columns", rows[0]) if column in rows[0] and column not in hidden]
        yield markdown_table(columns, [[cell(row[column]) for column in columns] for row in rows])


def _gpu(by: Mapping[str, Made]) -> Iterator[str]:
    """Yield what benchmarks/gpu.sh has measured."""
    found = [made for made in by.values() if made.name.startswith(GPU)]
    if not found:
        yield (
            "Owed: `benchmarks/gpu.sh` runs, on a machine with a GPU, the CUDA tests, ensembles beside torchdiffeq and "
            "diffrax, NODE18 and ResNet18 on images, the hopper's full preset and galaxies; no such run is kept yet."
        )
    for made in found:
        yield f"### {made.data['title']}"
        yield from _result(made, {})


def committed() -> tuple[list[Made], dict[str, Any]]:
    """Return the results that are kept, and the items."""
    return list(read_results([RESULTS])), tomllib.loads(ITEMS.read_text(encoding="utf-8"))


def covered(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an item covers, one by one: ``Figs. 2-3`` is ``Fig. 2`` and ``Fig. 3``."""
    for text in item["covers"]:
        several = re.fullmatch(r"(\w+)s(\.?) (\d+\.)?(\d+)-(?:\d+\.)?(\d+)", text)
        if several is None:
            yield text
            continue
        kind, dot, chapter, first, last = several.groups()
        yield from (f"{kind}{dot} {chapter or ''}{number}" for number in range(int(first), int(last) + 1))


def anchor(name: str) -> str:
    """Return the anchor that GitHub and MyST give an experiment's heading."""
    heading = EXPERIMENTS.get(name, name).lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def main() -> None:
    """Take in results, and make the document."""
    parser = argparse.ArgumentParser(prog="python docs/reproduction.py", description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="JSON files, or folders with them")
    parser.add_argument("--check", action="store_true", help="only say whether the document is what results make")
    chosen = parser.parse_args()
    missing = [str(path) for path in chosen.results if not path.exists()]
    if missing:
        parser.error(f"{', '.join(missing)} do not exist")
    if chosen.results and not chosen.check:
        print("taken in:", ", ".join(take_in(chosen.results)) or "nothing")
    text = document(*committed())
    if chosen.check:
        same = DOCUMENT.read_text(encoding="utf-8") == text
        sys.exit(None if same else "docs/reproduction.md is not what docs/results make: run docs/reproduction.py")
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
