"""One package from several folders, and quick to import."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import physode

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, SETTINGS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
HEAVY = ("torch", "numpy", "scipy", "h5py", "matplotlib", "rich", "pandas", "sympy", "torch._dynamo", "torch._inductor")


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after running `code`."""
    script = f"import sys\n{code}\nprint('loaded', *sys.modules.keys() & set({HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_declared_packages_are_the_folders_on_disk():
    found = set()
    for package, folder in SETTINGS["package-dir"].items():
        for file in (ROOT / folder).rglob("*.py"):
            found.add(".".join([package, *file.parent.relative_to(ROOT / folder).parts]))
    assert set(SETTINGS["packages"]) == found


@pytest.mark.parametrize("package", SETTINGS["packages"])
def test_every_package_resolves_inside_this_checkout(package):
    origin = importlib.util.find_spec(package).origin
    assert Path(origin).resolve().is_relative_to(ROOT)
    assert Path(origin).name == "__init__.py"


@pytest.mark.skipif(not (ROOT / "typings").exists(), reason="a source archive has no links")
def test_the_links_for_the_type_checker_lead_to_the_mapped_folders():
    for name in ("cli", "datasets"):
        assert (ROOT / "typings" / "physode" / name).resolve() == ROOT / name


def test_the_installed_version_is_the_source_s():
    assert metadata.version("physode") == physode.__version__


@pytest.mark.parametrize("code", ["import physode; dir(physode); physode.errors", "import physode.cli.main"])
def test_importing_loads_nothing_heavy(code):
    assert loaded_after(code) == set()


SOLVE = """
import torch, physode as po
y0 = torch.tensor([0.5, 0.0], requires_grad=True)
y = po.solve(lambda t, y: torch.stack([y[1], -torch.sin(y[0])]), {start}, torch.linspace(0, 10, 101)).y
"""


def test_a_plain_solve_loads_torch_and_numpy_alone_and_none_of_their_compilers():
    assert loaded_after(SOLVE.format(start="y0.detach()")) == {"torch", "numpy"}


def test_its_gradient_loads_no_more_but_what_torch_itself_does():
    # torch.autograd.grad(y, x, v) imports sympy, to compare shapes
    assert loaded_after(SOLVE.format(start="y0") + "y[-1, 0].backward()") <= {"torch", "numpy", "sympy"}


MISSING = """
fit none.csv
fit none.csv --model none.toml
fit data.csv --model none.toml
fit data.csv --rhs none.py:f
fit --resume none
fit
plot none
animate none
profile none masses[1]
evaluate none
train none
train images none
train timeseries none
train cifar10 --data none
train --resume none
inspect none.csv
prepare none
model check none.toml
model new none.csv
model show none.toml
gradcheck none.py:f
simulate none.yaml
report none
reproduce table2 --data none
"""


def test_commands_say_that_a_file_is_not_there_before_they_import_anything_heavy(tmp_path):
    (tmp_path / "data.csv").touch()
    script = f"""
import os
from click.testing import CliRunner
from physode.cli.main import cli
os.chdir({str(tmp_path)!r})
for line in {MISSING.strip().splitlines()!r}:
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 1, (line, done.output)
    there = ("does not exist", "there is no file none.py", "there is no threebody.h5", "none is not a folder")
    assert any(words in done.output for words in there), (line, done.output)
    assert "torch" not in sys.modules, line
"""
    assert loaded_after(script) <= {"rich", "numpy"}


def test_every_extra_that_an_error_names_is_one():
    sources = [text.read_text() for folder in ("physode", "cli", "datasets") for text in (ROOT / folder).rglob("*.py")]
    named = {extra for text in sources for extra in re.findall(r"""extra="([a-z]+)"|physode\[([a-z]+)\]""", text)}
    assert {part for pair in named for part in pair if part} <= set(PROJECT["optional-dependencies"])
    assert named


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared():
    tested = dict(line.split("==") for line in lines_of("constraints-lowest.txt"))
    declared = dict(need.split(">=") for need in PROJECT["dependencies"])
    assert tested.keys() >= declared.keys()
    for name in declared.keys() - {"torch"}:
        assert tested[name].split(".")[:2] == declared[name].split(".")[:2], name


def lines_of(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]


def test_the_citation_is_of_this_version():
    assert f"version: {physode.__version__}" in (ROOT / "CITATION.cff").read_text().splitlines()


@pytest.mark.slow
def test_a_source_archive_carries_docs_examples_and_tests_and_makes_a_wheel_that_works(tmp_path):
    def built(kind: str, folder: Path) -> Path:
        script = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
        return tmp_path / done.stdout.splitlines()[-1]

    source = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "typings", "runs")
    shutil.copytree(ROOT, source, ignore=ignored)
    with tarfile.open(built("sdist", source)) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"physode-{physode.__version__}"
    for name in (
        "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "constraints.txt",
        "docs/figures/three_bodies.png",
        "examples/own_equations/orbits.csv", "examples/own_equations/swing.toml", "tests/conftest.py",
    ):  # fmt: skip
        assert (unpacked / name).is_file(), name
    for folder in ("docs", "examples", "tests", "physode", "cli", "datasets"):
        shipped = {path.relative_to(unpacked) for path in (unpacked / folder).rglob("*") if path.suffix != ".h5"}
        assert shipped == {path.relative_to(source) for path in (source / folder).rglob("*")}, folder
    with zipfile.ZipFile(built("wheel", unpacked)) as wheel:
        wheel.extractall(tmp_path / "installed")
    script = "import physode, physode.cli.commands.fit, physode.datasets.files as files; print(files.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
         f"sys.meta_path = [each for each in sys.meta_path if 'editable' not in str(each)]\n{script}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "installed")
    headers = {path.name for path in (ROOT / "physode" / "fused" / "sources").iterdir() if path.suffix == ".h"}
    assert {path.name for path in (tmp_path / "installed" / "physode" / "fused" / "sources").iterdir()} == headers
    assert (tmp_path / "installed" / "physode" / "py.typed").is_file()


@pytest.mark.parametrize("name", physode.__all__)
def test_every_public_name_is_there(name):
    assert getattr(physode, name) is not None
    assert name in dir(physode)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'sove'; it has .*solve"):
        physode.sove  # noqa: B018


IMPORTS = """
import physode as po
import physode.solve; import physode as po
from physode.solve import solve; import physode as po
import physode as po; po.solve; import physode.solve
import importlib, physode as po; importlib.import_module('physode.solve')
from physode import solve; import physode.solve as module; import physode as po
"""


def test_solve_is_the_function_however_its_module_was_imported_and_no_compiler_is_loaded():
    """In one process that forgets physode in between: torch takes long to load."""
    script = f"""
import sys
for code in {IMPORTS.split(chr(10))[1:-1]!r}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "physode"]:
        del sys.modules[name]
    names = {{}}
    exec(code, names)
    from physode.solve import solve as wanted
    assert names["po"].solve is wanted, code
assert {{name for name in sys.modules if name.startswith("physode.compiled.")}} <= {{"physode.compiled.unrolled"}}
assert "torch._inductor.compile_fx" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_solve_can_be_pickled():
    assert pickle.loads(pickle.dumps(physode.solve)) is physode.solve


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "physode", "--version"], capture_output=True, text=True, check=True, cwd=ROOT / "docs"
    )
    assert done.stdout == f"physode, version {physode.__version__}\n"
