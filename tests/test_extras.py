"""What is missing is named, with the command that installs it."""

from __future__ import annotations

import sys

import pytest

from physode.errors import ConfigError
from physode.optional_imports import needs


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
