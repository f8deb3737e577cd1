"""What commands write: refused before the work, never over what is not theirs, and by one process at a time.

Everything here stays within the test's own folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import read_trajectories, write_trajectories
from physode.datasets.images import write_images
from physode.datasets.locks import claimed_folder
from physode.datasets.series import IrregularSeries, write_series
from physode.simulators import simulate_periodic, simulate_van_der_pol
from tests.conftest import make_images, unread
from tests.disks import another_process

GALAXIES = ("simulate", "galaxies", "--count", "10", "--size", "8")
PREPARE = ("prepare", "bars.h5", "--size", "8")
FIT = ("fit", "vdp.h5", "--epochs", "2", "--method", "rk4")
SIMULATE = ("simulate", "threebody", "--t-end", "0.01", "--points", "3")


@pytest.fixture(autouse=True)
def _work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images("bars.h5", make_images(24))
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", t_end=2.0, points=20))


def run(*words: object):
    return CliRunner().invoke(cli, list(map(str, words)))


def names(folder="."):
    return sorted(each.name for each in Path(folder).iterdir())


def refused(result, message, *, code=1):
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.fixture
def no_work(monkeypatch):
    """Nothing is simulated or read for these."""
    for place in (
        "physode.simulators.simulate_three_body",
        "physode.simulators.galaxies.simulate_galaxies_with_parameters",
        "physode.datasets.images.read_images",
        "physode.datasets.read_data",
        "physode.datasets.series.read_series",
        "physode.fitting.fit",
    ):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("worked"))


@pytest.mark.parametrize("command", [GALAXIES, PREPARE], ids=["galaxies", "prepare"])
@pytest.mark.parametrize(
    ("figure", "force", "message"),
    [
        ("theirs.png", False, "theirs.png exists already; overwrite it (--force)"),
        ("sheet.docx", True, "the figure sheet.docx must end with .png, .pdf, .svg"),
        ("nowhere/sheet.png", True, "the folder nowhere does not exist"),
        ("pipe", True, "cannot write pipe: it is a pipe"),
        ("dangling.png", True, "it is a link to nothing"),
        ("sheet.h5", True, "the figure sheet.h5 must end with"),
        ("out.png", True, "--out and --figure are one file, out.png"),
        (".", True, "it is a folder"),
        ("x" * 252 + ".png", True, "too long"),
    ],
)
def test_a_figure_that_cannot_be_written_is_refused_before_the_work(no_work, command, figure, force, message):
    Path("theirs.png").write_text("precious")
    Path("dangling.png").symlink_to("nothing")
    os.mkfifo("pipe")
    before = names()
    out = "out.png" if figure == "out.png" else "out.h5"
    refused(run(*command, "--out", out, "--figure", figure, *(["--force"] if force else [])), message)
    assert names() == before
    assert Path("theirs.png").read_text() == "precious"


@pytest.mark.parametrize("command", [GALAXIES, PREPARE], ids=["galaxies", "prepare"])
@pytest.mark.parametrize("figure", ["sheet.png", "sheet.PDF", "sheet"])
def test_a_figure_is_written_beside_the_images_and_replaced_by_force(command, figure):
    assert run(*command, "--out", "out.h5", "--figure", figure).exit_code == 0
    start = Path(figure).read_bytes()[:5]
    assert start == (b"%PDF-" if figure.endswith("PDF") else b"\x89PNG\r")
    Path(figure).write_text("old")
    assert run(*command, "--out", "out.h5", "--figure", figure, "--force").exit_code == 0
    assert Path(figure).read_bytes()[:5] == start


@pytest.mark.parametrize(
    "words",
    [
        (*SIMULATE, "--out"),
        ("simulate", "periodic", "--n", "3", "--out"),
        (*GALAXIES, "--out"),
        (*PREPARE, "--out"),
    ],
    ids=["threebody", "periodic", "galaxies", "prepare"],
)
@pytest.mark.parametrize("kind", ["pipe", "dangling", "loop", "folder"])
def test_what_is_no_file_is_not_replaced_even_by_force(no_work, words, kind):
    make = {
        "pipe": lambda: os.mkfifo("out"),
        "dangling": lambda: Path("out").symlink_to("nothing"),
        "loop": lambda: Path("out").symlink_to("out"),
        "folder": lambda: Path("out").mkdir(),
    }
    make[kind]()
    before = unread(Path("out"))
    for force in ((), ("--force",)):
        refused(run(*words, "out", *force), "cannot write out: it is a")
    assert unread(Path("out")) == before


def test_a_name_of_255_letters_is_written():
    name = "n" * 252 + ".h5"
    assert run(*SIMULATE, "--out", name).exit_code == 0
    assert len(read_trajectories(name)) == 1
    refused(run(*SIMULATE, "--out", "n" + name), "too long")


def test_a_file_made_while_a_simulation_runs_is_kept(monkeypatch):
    import physode.simulators

    simulate = physode.simulators.simulate_three_body

    def slow(**options):
        Path("out.h5").write_text("theirs")
        return simulate(**options)

    monkeypatch.setattr("physode.simulators.simulate_three_body", slow)
    result = run(*SIMULATE, "--out", "out.h5")
    refused(result, "out.h5 exists already")
    assert Path("out.h5").read_text() == "theirs"


@pytest.mark.parametrize(
    "words",
    [FIT, ("train", "bars.h5"), ("train", "timeseries", "waves.h5")],
    ids=["fit", "train", "timeseries"],
)
def test_a_run_that_cannot_be_made_is_refused_before_the_work(no_work, words):
    for name in ("file", "waves.h5"):
        Path(name).write_text("")
    refused(run(*words, "--out", "file"), "file is not a folder")
    refused(run(*words, "--name", "x" * 256), "bytes, of at most 255" if words == FIT else "")
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/notes.txt").write_text("precious")
    refused(run(*words, "--name", "mine"), "runs/mine exists already")
    refused(run(*words, "--name", "mine", "--force"), "runs/mine exists and is not a run")
    assert names("runs/mine") == ["notes.txt"]


def test_a_run_in_use_is_neither_resumed_nor_replaced_until_the_other_has_died():
    assert run(*FIT, "--name", "run").exit_code == 0
    before = {each: each.read_bytes() for each in Path("runs/run").rglob("*") if each.is_file()}
    with another_process(lambda: claimed_folder("runs/run")) as pid:
        for words in (
            ("fit", "--resume", "runs/run", "--epochs", "3"),
            (*FIT, "--name", "run", "--force"),
            ("train", "bars.h5", "--name", "run", "--force", "--epochs", "1", "--batch", "6"),
        ):
            refused(run(*words), f"runs/run is in use by process {pid} on {os.uname().nodename}; wait for it")
        assert {each: each.read_bytes() for each in before} == before
    assert run("fit", "--resume", "runs/run", "--epochs", "3").exit_code == 0
    assert names("runs") == ["run"]


def test_trainings_in_use_are_not_resumed():
    write_series("waves.h5", IrregularSeries.of(simulate_periodic(n=12, points=10)))
    size = ("--epochs", "1", "--batch", "6")
    small = {
        "bars": ("bars.h5", "--model", "galaxy-node", "--width", "4"),
        "waves": ("timeseries", "waves.h5", "--model", "gru", "--hidden", "4"),
    }
    for name, words in small.items():
        assert run("train", *words, *size, "--name", name).exit_code == 0
        resume = ("train", *(["timeseries"] if name == "waves" else []), "--resume", f"runs/{name}", "--epochs", "2")
        with another_process(lambda name=name: claimed_folder(f"runs/{name}")) as pid:
            refused(run(*resume), f"runs/{name} is in use by process {pid}")
        assert run(*resume).exit_code == 0


def test_a_reproduction_in_use_is_left_alone():
    Path("figures").mkdir()
    with another_process(lambda: claimed_folder("figures")) as pid:
        refused(run("reproduce", "fig6", "--out", "figures"), f"figures is in use by process {pid}")
        refused(
            run("reproduce", "table5", "--quick", "--out", "figures", "--force"), f"figures is in use by process {pid}"
        )
    assert not names("figures")


def test_figures_of_a_run_come_by_force_only_and_never_over_what_is_no_file():
    assert run(*FIT, "--name", "run").exit_code == 0
    assert run("plot", "runs/run", "--only", "loss").exit_code == 0
    refused(run("plot", "runs/run", "--only", "loss"), "loss.png exists already; overwrite it (--force)")
    picture = Path("runs/run/figures/loss.png")
    picture.unlink()
    os.mkfifo(picture)
    refused(run("plot", "runs/run", "--only", "loss", "--force"), "it is a pipe")
    figure = Path("runs/run/figures/profile_mu.png")
    figure.symlink_to("nothing")
    refused(run("profile", "runs/run", "mu", "--points", "5", "--force"), "it is a link to nothing")


def test_an_interrupted_history_is_gone_on_with():
    """What a full disk or a kill has left of a last line makes way for the next."""
    run(*FIT, "--name", "run", "--rhs", "neural", "--optimizer", "adam")  # too few epochs to explain: exits with 1
    history = Path("runs/run/metrics.jsonl")
    whole = history.read_text()
    history.write_text(whole + '{"epoch": 3, "lo')
    assert run("plot", "runs/run", "--only", "loss").exit_code == 0
    run("fit", "--resume", "runs/run", "--epochs", "4")
    lines = history.read_text().splitlines(keepends=True)
    assert "".join(lines[: whole.count("\n")]) == whole
    assert all(line.endswith("}\n") for line in lines)
