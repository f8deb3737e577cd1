"""What is missing is named, with the command that installs it."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.errors import ConfigError
from physode.optional_imports import check_installed, needs


def test_a_module_that_is_there_is_imported():
    assert needs("json.decoder", extra="images").__name__ == "json.decoder"


def test_a_missing_package_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.metrics", raising=False)
    with pytest.raises(ConfigError) as caught:
        needs("sklearn.metrics", extra="images", purpose="`physode evaluate`")
    message = "`physode evaluate` needs scikit-learn; install it with: pip install 'physode[images]'"
    assert str(caught.value) == message


def test_a_package_that_is_there_and_broken_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "half_a_package.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        needs("half_a_package", extra="images")


def test_a_package_is_asked_for_without_being_imported(tmp_path, monkeypatch):
    (tmp_path / "not_run.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    check_installed("not_run", extra="images", purpose="this")
    with pytest.raises(ConfigError, match=r"this needs nowhere; install it with: pip install 'physode\[images\]'"):
        check_installed("nowhere", extra="images", purpose="this")


@pytest.mark.parametrize(
    ("line", "module", "message"),
    [
        ("evaluate run", "sklearn", "evaluating classifiers needs scikit-learn"),
        ("train images photographs --tensorboard", "tensorboard", "--tensorboard needs TensorBoard"),
        ("fit data.csv --model swing.toml --jobs 2", "distributed", "--jobs or --scheduler of a fit needs Dask"),
        ("reproduce table5 --scheduler tcp://127.0.0.1:1", "distributed", "--scheduler needs Dask"),
        ("reproduce galaxy-table4 --quick", "sklearn", "classification metrics needs scikit-learn"),
    ],
)
def test_what_a_command_will_need_is_asked_for_before_its_work(tmp_path, monkeypatch, line, module, message):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "photographs"):
        (tmp_path / name).mkdir()
    for name in ("data.csv", "swing.toml"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 1
    assert f"Error: {message}; install it with: pip install 'physode[" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "photographs", "run", "swing.toml"]
