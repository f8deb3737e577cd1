"""PEtab's own linter, asked before a problem is used."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from physode.errors import ConfigError, DataError
from physode.optional_imports import needs
from physode.petab.files import ProblemFiles

_PURPOSE = "reading PEtab"


def check_by_petab(files: ProblemFiles) -> None:
    """Raise where the linter of the package petab refuses a problem.

    Raises
    ------
    ConfigError
        If that package is missing.
    DataError
        With the first of what it says.
    """
    with _complaints() as complaints:
        try:
            refusals = _of_version_1(files) if files.version == 1 else _of_version_2(files)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - it has no error of its own, and looks at what others wrote
            refusals = [str(error) or type(error).__name__]
    if refusals or complaints:
        first = " ".join((complaints or refusals)[0].split())
        raise DataError(f"{files.path}: PEtab's linter refuses it: {first[:400]}")


def _of_version_1(files: ProblemFiles) -> list[str]:
    petab = needs("petab.v1", extra="petab", purpose=_PURPOSE)
    lint = needs("petab.v1.lint", extra="petab", purpose=_PURPOSE)
    problem = petab.Problem.from_files(
        sbml_file=files.model,
        condition_file=_names(files.conditions),
        measurement_file=_names(files.measurements),
        parameter_file=_names(files.parameters),
        observable_files=_names(files.observables),
    )
    return ["it does not say why"] if lint.lint_problem(problem) else []


def _of_version_2(files: ProblemFiles) -> list[str]:
    petab = needs("petab.v2", extra="petab", purpose=_PURPOSE)
    severity = needs("petab.v2.lint", extra="petab", purpose=_PURPOSE).ValidationIssueSeverity
    issues = petab.Problem.from_yaml(files.path).validate()
    return [issue.message for issue in issues if issue.level >= severity.ERROR]


def _names(paths: tuple[Path, ...]) -> list[str] | None:
    return [str(path) for path in paths] or None


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what petab logs as errors, in place of its being printed."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("petab")
    collector = Collector(logging.ERROR)
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of petab's own use of pandas
            yield messages
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagated
