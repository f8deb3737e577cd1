"""Studies of many cells: here, in processes, and on a real Dask cluster of two worker processes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
import torch

import physode
from physode.errors import ConfigError
from physode.sweeps import schedulers
from physode.sweeps.cells import Cell, Outcome
from physode.sweeps.schedulers import run_cells
from tests.training.killing import killed_at

FUNCTIONS = """
import math, os, pathlib, time

def square(x):
    return {"square": x * x}

def counted(folder, x):
    with pathlib.Path(folder, "calls").open("a") as file:
        file.write(f"{x}\\n")
    return x

def fail(text):
    raise ValueError(text)

def unsayable():
    return math.nan

def threads():
    import torch
    return [os.getpid(), torch.get_num_threads()]

def die():
    os._exit(3)

def train(calls, run):
    folder = pathlib.Path(run)
    if not (folder / "done").exists():
        with pathlib.Path(calls, "calls").open("a") as file:
            file.write("trained\\n")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history").write_text("1 2 3")
        (folder / "done").touch()
    return (folder / "history").read_text()

def train_slowly(calls, run):
    pathlib.Path(calls, "begun").touch()
    while not pathlib.Path(calls, "go").exists():
        time.sleep(0.01)
    return train(calls, run)

def begin(path):
    pathlib.Path(path).touch()
    return "begun"

def until_there(path):
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return "there"
"""


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Make a cell of one of the functions above, in a module that other processes can import, too."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "study_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield lambda name, function, **arguments: Cell(name, f"study_functions:{function}", arguments)
    sys.modules.pop("study_functions", None)


@pytest.fixture
def calls(tmp_path):
    return lambda: (tmp_path / "calls").read_text().split() if (tmp_path / "calls").exists() else []


def test_outcomes_come_in_the_order_of_the_cells_and_are_kept_as_data(cell, tmp_path):
    found = run_cells([cell("b 2", "square", x=2), cell("a 1", "square", x=1)], folder=tmp_path / "study")
    assert [(name, each.result, each.failure) for name, each in found.items()] == [
        ("b 2", {"square": 4}, None),
        ("a 1", {"square": 1}, None),
    ]
    record = json.loads((tmp_path / "study" / "cells" / "b-2.json").read_text())
    assert record["result"] == {"square": 4}
    assert record["arguments"] == {"x": 2}
    assert record["made"]["versions"]["physode"] == physode.__version__


def test_an_interrupted_study_goes_on_with_what_is_missing(cell, calls, tmp_path):
    study = [cell(f"cell {x}", "counted", folder=str(tmp_path), x=x) for x in range(3)]

    def interrupt(done, of, name):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(study, folder=tmp_path, progress=interrupt)
    told = []
    found = run_cells(study, folder=tmp_path, progress=lambda *each: told.append(each))
    assert calls() == ["0", "1", "2"]
    assert [each.result for each in found.values()] == [0, 1, 2]
    assert told == [(2, 3, ""), (3, 3, "cell 2")]


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_no_training_that_has_ended(cell, calls, tmp_path):
    study_folder = tmp_path / "study"
    run = study_folder / "runs" / "one"
    study = [dataclasses.replace(cell("one", "train", calls=str(tmp_path)), also={"run": str(run)})]
    kills = 0
    while killed_at(kills, study_folder, lambda: run_cells(study, folder=study_folder)):
        kills += 1
        ended = (run / "done").exists() or (study_folder / "cells" / "one.json").exists()
        before = len(calls())
        assert run_cells(study, folder=study_folder)["one"].result == "1 2 3"
        assert len(calls()) == before + (0 if ended else 1)
        assert not any((study_folder / "runs").iterdir())
        shutil.rmtree(study_folder)
        assert kills < 60
    assert kills >= 10
    assert not run.exists()


def test_what_a_failed_cell_has_kept_stays(cell, tmp_path):
    (tmp_path / "run").mkdir()
    bad = dataclasses.replace(cell("bad", "fail", text="no"), also={"run": str(tmp_path / "run")})
    run_cells([bad], folder=tmp_path)
    assert (tmp_path / "run").exists()


def test_other_arguments_another_version_and_force_compute_a_cell_again(cell, calls, tmp_path, monkeypatch):
    def study(x):
        return [cell("one", "counted", folder=str(tmp_path), x=x)]

    for x in (1, 1, 2):
        run_cells(study(x), folder=tmp_path)
    assert calls() == ["1", "2"]
    run_cells(study(2), folder=tmp_path, force=True)
    assert calls() == ["1", "2", "2"]
    monkeypatch.setattr(physode, "__version__", "99")
    run_cells(study(2), folder=tmp_path)
    assert calls() == ["1", "2", "2", "2"]


def test_force_forgets_cells_even_if_it_is_interrupted(cell, calls, tmp_path):
    study = [cell(f"cell {x}", "counted", folder=str(tmp_path), x=x) for x in range(2)]
    run_cells(study, folder=tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(study, folder=tmp_path, force=True, progress=interrupt)
    run_cells(study, folder=tmp_path)
    assert calls() == ["0", "1", "0", "1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": 1}', "[" * 100_000, "\udcff"])
def test_a_damaged_file_is_computed_again(cell, text, tmp_path):
    study = [cell("one", "square", x=3)]
    run_cells(study, folder=tmp_path)
    (tmp_path / "cells" / "one.json").write_bytes(text.encode(errors="surrogateescape"))
    assert run_cells(study, folder=tmp_path)["one"].result == {"square": 9}
    assert json.loads((tmp_path / "cells" / "one.json").read_text())["result"] == {"square": 9}


def test_a_file_beyond_all_measure_is_not_read(cell, calls, tmp_path, monkeypatch):
    study = [cell("one", "counted", folder=str(tmp_path), x=3)]
    run_cells(study, folder=tmp_path)
    monkeypatch.setattr(schedulers, "_LARGEST", 10)
    run_cells(study, folder=tmp_path)
    assert calls() == ["3", "3"]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failed_cell_is_recorded_the_others_go_on_and_it_is_tried_again(cell, jobs, tmp_path):
    study = [cell("bad", "fail", text="two\nlines"), cell("nan", "unsayable"), cell("good", "square", x=3)]
    told = []
    found = run_cells(study, folder=tmp_path, jobs=jobs, progress=lambda *each: told.append(each))
    assert found["bad"].failure == "ValueError: two lines"
    assert found["bad"].result is None
    assert found["nan"].failure.startswith("ValueError: Out of range float values are not JSON compliant")
    assert found["good"].result == {"square": 9}
    assert "bad failed" in {name for _, _, name in told}
    assert json.loads((tmp_path / "cells" / "bad.json").read_text())["failure"] == "ValueError: two lines"
    (tmp_path / "module" / "study_functions.py").write_text(FUNCTIONS.replace("raise ValueError(text)", "return 7"))
    sys.modules.pop("study_functions", None)
    shutil.rmtree(tmp_path / "module" / "__pycache__", ignore_errors=True)
    assert run_cells(study, folder=tmp_path)["bad"].result == 7


def test_a_function_that_is_not_there_fails_its_cell(tmp_path):
    found = run_cells([Cell("one", "no_such_module:f")], folder=tmp_path)
    assert found["one"].failure == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.slow
def test_cells_have_one_thread_and_the_caller_keeps_his(cell, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = run_cells([cell("here", "threads")], folder=tmp_path)["here"].result
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    study = [cell("a", "threads"), cell("b", "threads")]
    there = [each.result for each in run_cells(study, folder=tmp_path, jobs=2).values()]
    assert [here[1], *(threads for _, threads in there)] == [1, 1, 1]
    assert here[0] == os.getpid()
    assert os.getpid() not in {process for process, _ in there}


@pytest.mark.slow
def test_a_process_that_dies_fails_its_own_cell_only(cell, tmp_path):
    started = tmp_path / "started"
    study = [
        cell("slow", "until_there", path=str(started)),
        cell("dead", "die"),
        cell("next", "begin", path=str(started)),
    ]
    found = run_cells(study, folder=tmp_path, jobs=2)
    assert found["dead"].failure.startswith("its process died")
    assert [found["slow"].result, found["next"].result] == ["there", "begun"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_processes_at_once_and_keeps_finished_cells(cell, tmp_path):
    script = tmp_path / "study.py"
    script.write_text(
        textwrap.dedent(f"""
        from pathlib import Path
        from physode.sweeps.cells import Cell
        from physode.sweeps.schedulers import run_cells
        if __name__ == "__main__":
            study = [Cell("quick", "study_functions:threads")]
            endless = "study_functions:until_there", {{"path": "/no/such/file"}}
            study += [Cell("endless 1", *endless), Cell("endless 2", *endless)]
            run_cells(study, folder=Path({str(tmp_path)!r}), jobs=2, progress=lambda *each: print(*each, flush=True))
        """)
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "0 3 \n"
        assert process.stdout.readline() == "1 3 quick\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    kept = json.loads((tmp_path / "cells" / "quick.json").read_text())
    assert [file.name for file in (tmp_path / "cells").iterdir()] == ["quick.json"]
    worker = kept["result"][0]
    for _ in range(500):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the worker lives on")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\n", "ü"])
def test_names_are_those_of_plain_files(name):
    with pytest.raises(ValueError, match="`name` must be letters"):
        Cell(name, "math:sqrt")


@pytest.mark.parametrize("function", ["", "math", ":sqrt", "math:"])
def test_functions_are_named_with_their_module(function):
    with pytest.raises(ValueError, match="`function` must be of the form 'module:callable'"):
        Cell("one", function)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_arguments_are_what_json_can_say(value):
    with pytest.raises(ValueError, match="`arguments` of 'one' must be what JSON can say"):
        Cell("one", "math:sqrt", {"x": value})


def test_a_study_has_no_two_cells_of_one_file(tmp_path):
    with pytest.raises(ValueError, match=r"different names; a-b.json would be the file of two"):
        run_cells([Cell("a b", "math:sqrt"), Cell("a-b", "math:sqrt")], folder=tmp_path)


def test_jobs_are_at_least_one_and_not_beside_a_scheduler(tmp_path):
    with pytest.raises(ValueError, match="`jobs` must be at least 1, got 0"):
        run_cells([], folder=tmp_path, jobs=0)
    with pytest.raises(ConfigError, match="`jobs` 2 has no part beside `scheduler`"):
        run_cells([], folder=tmp_path, jobs=2, scheduler="tcp://127.0.0.1:1")


def test_a_scheduler_without_dask_is_one_line(cell, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"`scheduler` needs Dask; .*pip install 'physode\[cluster\]'"):
        run_cells([cell("one", "square", x=1)], folder=tmp_path, scheduler="tcp://127.0.0.1:1")


needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs physode[cluster]")


@needs_dask
@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:{port}",
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("nonsense://here", "127.0.0.1:port")),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_line(cell, address, tmp_path, monkeypatch):
    monkeypatch.setattr(schedulers, "_CONNECT", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
    with pytest.raises(
        ConfigError, match=r"`scheduler` '.*' does not answer .*; start one with: dask scheduler"
    ) as caught:
        run_cells([cell("one", "square", x=1)], folder=tmp_path, scheduler=address)
    assert "\n" not in str(caught.value)


@pytest.fixture
def cluster(cell):
    """A scheduler, and a way to give it worker processes; after `cell`, whose module the workers can import."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=True, dashboard_address=":0", protocol="tcp"
    ) as cluster:
        yield cluster


@pytest.mark.slow
@needs_dask
def test_a_cluster_of_two_worker_processes_computes_the_cells(cell, cluster, tmp_path):
    cluster.scale(2)
    cluster.wait_for_workers(2)
    study = [*(cell(f"process {i}", "threads") for i in range(6)), cell("bad", "fail", text="no")]
    found = run_cells(study, folder=tmp_path, scheduler=cluster.scheduler_address)
    assert found.pop("bad").failure == "ValueError: no"
    assert {each.result[1] for each in found.values()} == {1}
    assert os.getpid() not in {each.result[0] for each in found.values()}
    assert len(list((tmp_path / "cells").iterdir())) == 7
    here = run_cells([cell("same", "square", x=0.1)], folder=tmp_path)["same"]
    there = run_cells([cell("same", "square", x=0.1)], folder=tmp_path / "there", scheduler=cluster.scheduler_address)[
        "same"
    ]
    assert there.result == here.result


@needs_dask
@pytest.mark.slow
def test_a_cell_whose_workers_die_fails_and_the_others_do_not(cell, cluster, tmp_path):
    cluster.scale(2)
    study = [cell("dead", "die"), *(cell(f"cell {x}", "square", x=x) for x in range(3))]
    found = run_cells(study, folder=tmp_path, scheduler=cluster.scheduler_address)
    assert found.pop("dead").failure.startswith("its worker died")
    assert [each.result["square"] for each in found.values()] == [0, 1, 4]


@needs_dask
@pytest.mark.slow
def test_a_scheduler_that_goes_away_fails_what_remains(cell, cluster, tmp_path):
    cluster.scale(1)
    study = [cell("one", "square", x=2), cell("endless", "until_there", path=str(tmp_path / "never"))]

    def close(done, of, name):
        if done == 1:
            cluster.close()

    found = run_cells(study, folder=tmp_path, scheduler=cluster.scheduler_address, progress=close)
    assert found["one"].result == {"square": 4}
    assert found["endless"].failure.startswith(("the scheduler at tcp://", "FutureCancelledError"))


@needs_dask
def test_a_cluster_that_stays_without_workers_fails_what_remains(cell, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(schedulers, "_PATIENCE", 0.3)
    monkeypatch.setattr(schedulers, "_LOOK", 0.1)
    found = run_cells([cell("one", "square", x=1)], folder=tmp_path, scheduler=cluster.scheduler_address)
    assert found == {
        "one": Outcome(failure=f"the cluster at {cluster.scheduler_address} has had no worker for 0.3 s", lost=True)
    }


@needs_dask
@pytest.mark.slow
def test_a_client_that_is_killed_loses_no_training(cell, calls, cluster, tmp_path):
    cluster.scale(1)
    run = tmp_path / "runs" / "one"
    script = f"""
from pathlib import Path
from physode.sweeps.cells import Cell
from physode.sweeps.schedulers import run_cells
cell = Cell("one", "study_functions:train_slowly", {{"calls": {str(tmp_path)!r}}}, {{"run": {str(run)!r}}})
run_cells([cell], folder=Path({str(tmp_path)!r}), scheduler={cluster.scheduler_address!r})
"""
    client = subprocess.Popen([sys.executable, "-c", script])
    try:
        until((tmp_path / "begun").exists)
    finally:
        client.kill()
        client.wait()
    (tmp_path / "go").touch()
    until((run / "done").exists)
    again = dataclasses.replace(cell("one", "train_slowly", calls=str(tmp_path)), also={"run": str(run)})
    found = run_cells([again], folder=tmp_path, scheduler=cluster.scheduler_address)
    assert found["one"].result == "1 2 3"
    assert calls() == ["trained"]
    assert not run.exists()


def until(there):
    for _ in range(6000):
        if there():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to this")
