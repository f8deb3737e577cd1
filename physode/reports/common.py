"""What every run's report has: digits, settings, where it came from, the command to copy, what to cite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physode.errors import DataError
from physode.json_values import read_json
from physode.reports.blocks import Block, Tab, Table, Text
from physode.training.folder import MADE, RunFolder

_LONG = 300  # letters of a setting

_PAPERS = {
    "aca": "J. Zhuang, N. Dvornek, X. Li, S. Tatikonda, X. Papademetris, J. Duncan (2020), Adaptive Checkpoint Adjoint "
    "Method for Gradient Estimation in Neural ODE, ICML.",
    "adjoint": "R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud (2018), Neural Ordinary Differential "
    "Equations, NeurIPS.",
    "mali": "J. Zhuang, N. C. Dvornek, S. Tatikonda, J. S. Duncan (2021), MALI: A memory efficient and reverse "
    "accurate integrator for Neural ODEs, ICLR.",
    "galaxy": "R. Gupta, P. K. Srijith, S. Desai (2022), Galaxy morphology classification using neural ordinary "
    "differential equations, Astronomy and Computing 38, 100543.",
    "latent-ode": "Y. Rubanova, R. T. Q. Chen, D. Duvenaud (2019), Latent ODEs for Irregularly-Sampled Time Series, "
    "NeurIPS.",
    "calibration": "C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks, "
    "ICML.",
    "resnet": "K. He, X. Zhang, S. Ren, J. Sun (2016), Deep Residual Learning for Image Recognition, CVPR.",
    "lm": "M. A. Branch, T. F. Coleman, Y. Li (1999), A subspace, interior, and conjugate gradient method for "
    "large-scale bound-constrained minimization problems, SIAM J. Sci. Comput. 21, 1-23.",
    "scoring": "K. Madsen, H. B. Nielsen, O. Tingleff (2004), Methods for Non-Linear Least Squares Problems, Technical "
    "University of Denmark.",
    "adam": "D. P. Kingma, J. Ba (2015), Adam: A Method for Stochastic Optimization, ICLR.",
}


def short(value: float | None, digits: int = 6) -> str:
    """Return a number with some digits; nothing for none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def told(value: Any) -> str:
    """Return a setting as text."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case Mapping():
            found = ", ".join(f"{name} {told(item)}" for name, item in value.items())
        case list() | tuple():
            found = ", ".join(map(told, value))
        case _:
            found = str(value)
    return found if len(found) <= _LONG else f"{found[:_LONG]}… ({len(found)} letters)"


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return settings that say anything, as texts."""
    return {name: text for name, value in config.items() if (text := told(value))}


def made(run: RunFolder) -> dict[str, Any]:
    """Return when, how and with which versions a run was made; empty where it does not say."""
    try:
        content = read_json(run.path / MADE, largest=1 << 20)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}


def origin_tab(
    run: RunFolder, settings: Mapping[str, str], data: Sequence[Path], digest: str, cited: Sequence[str]
) -> Tab:
    """Return the tab of settings, provenance, the command to copy and citations.

    Parameters
    ----------
    run
        The run.
    settings
        As texts.
    data
        Files that it was made of.
    digest
        Fingerprint of their numbers.
    cited
        Citations, see :func:`citations`.
    """
    origin = made(run)
    rows = [
        ["run", str(run.path.resolve())],
        *(["data", str(path)] for path in data),
        ["fingerprint of the data", digest],
        ["made", told(origin.get("created"))],
        ["revision of physode", told(origin.get("git_revision"))],
        *([name, told(version)] for name, version in _mapping(origin.get("versions")).items()),
    ]
    command = told(origin.get("command"))
    blocks: list[Block] = [Text("The command that made it", (command,), code=True)] if command else []
    blocks += [
        Table.of("Settings", ["setting", "value"], [[name, value] for name, value in settings.items()]),
        Table.of("Where it came from", ["", "value"], rows),
        Text("To cite", tuple(cited)),
    ]
    return Tab("Settings and origin", tuple(blocks))


def citations(*names: str | None, method: str | None = None) -> list[str]:
    """Return what to cite: papers by short names, those unknown left out, and the solver's."""
    found = [_PAPERS[name] for name in names if name in _PAPERS]
    if method is not None:
        from physode.solvers.methods import METHODS

        reference = getattr(METHODS.get(method), "reference", "")
        found += [f"{method}: {reference}."] if reference else []
    return [*dict.fromkeys(found)]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
