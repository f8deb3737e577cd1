"""One package from several folders, and quick to import."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import physode

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
HEAVY = ("torch", "numpy", "scipy", "h5py", "matplotlib", "rich")


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


def test_the_links_for_the_type_checker_lead_to_the_mapped_folders():
    for name in ("cli", "datasets"):
        assert (ROOT / "typings" / "physode" / name).resolve() == ROOT / name


def test_the_installed_version_is_the_source_s():
    assert metadata.version("physode") == physode.__version__


@pytest.mark.parametrize("code", ["import physode; dir(physode); physode.errors", "import physode.cli.main"])
def test_importing_loads_nothing_heavy(code):
    assert loaded_after(code) == set()


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
