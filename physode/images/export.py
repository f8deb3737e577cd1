"""Trained classifiers as programs that need no physode: ``torch.export``'s, and ONNX.

A program is a fixed list of operations, so that blocks can take only steps that are known beforehand: of a fixed size,
by an explicit method. They are unrolled into it (:mod:`physode.compiled.unrolled`).
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from physode import json_values
from physode.datasets.atomic_write import fill_bytes, replacing
from physode.datasets.provenance import provenance
from physode.errors import ConfigError, DataError
from physode.images.evaluation import changed_solver, trained_model
from physode.images.run import TrainRun
from physode.models import Solver, build_classifier, ode_blocks, set_solver
from physode.models.solver import change_solver, solver_label
from physode.optional_imports import needs
from physode.problem.checks import checked_method
from physode.solvers.method import StepMethod

__all__ = ["FORMATS", "PIXELS", "Exported", "check_export", "classifier_program", "export_classifier"]

FORMATS = {".pt2": "torch.export", ".onnx": "ONNX"}
"""By the ending of the file's name."""

PIXELS = ("bytes", "floats")
"""What a program takes: bytes from 0 to 255, or floats from 0 to 1."""

_INPUT, _OUTPUT, _ABOUT = "images", "probabilities", "physode.json"
_ROWS = 2  # images that a program is made with: one would be a batch of its own kind


@dataclass(frozen=True)
class Exported:
    """A classifier's program in a file, and what its users have to know.

    Attributes
    ----------
    path, format
        The file, and one of the values of :data:`FORMATS`.
    model
        The network's name.
    epoch
        Of the weights.
    classes
        Names of the columns of the output, (B, classes).
    pixels
        One of :data:`PIXELS`.
    shape
        Of the input, behind the batch: channels red, green and blue, rows, columns.
    centre
        Which square of a picture's middle was scaled to this shape in training, a share of the shorter side; None for
        whole pictures.
    solver
        Of the ODE blocks, in words; None where the model has none.
    temperature
        What probabilities are calibrated by; None for the network's own.
    """

    path: str
    format: str
    model: str
    epoch: int
    classes: tuple[str, ...]
    pixels: str
    shape: tuple[int, int, int]
    centre: float | None
    solver: str | None
    temperature: float | None


class _Probable(nn.Module):
    """A classifier with the last steps of its users: probabilities, at a temperature."""

    def __init__(self, model: nn.Module, temperature: float | None) -> None:
        super().__init__()
        self.model = model
        self.temperature = 1.0 if temperature is None else temperature

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, classes) of (B, 3, H, W)."""
        scores: Tensor = self.model(images)
        return (scores / self.temperature).softmax(1)


def check_export(
    run: TrainRun,
    path: str | os.PathLike[str],
    *,
    solver: Mapping[str, Any] | None = None,
    shape: tuple[int, int] | None = None,
) -> str:
    """Return the format that a file's name asks for, if a run can be exported to it; weights are not looked at.

    Raises
    ------
    ConfigError
        As of :func:`export_classifier`.
    """
    suffix = Path(path).suffix.casefold()
    if suffix not in FORMATS:
        raise ConfigError(f"{path} ends in none of {', '.join(FORMATS)}, which say what to export to")
    if suffix == ".onnx":
        for package in ("onnx", "onnxscript"):
            needs(package, extra="export", purpose="an ONNX file")
    _shape(run, shape)
    with torch.device("meta"):
        blocks = ode_blocks(build_classifier(run.config.model, len(run.classes), **run.config.model_options()))
    if solver and not blocks:
        raise ConfigError("the model has no ODE blocks, whose solver could be another one")
    for block in blocks:
        _check_solver(change_solver(block.solver, solver or {}), run)
    return FORMATS[suffix]


def classifier_program(
    model: nn.Module, shape: tuple[int, int, int], *, pixels: str = PIXELS[0], temperature: float | None = None
) -> ExportedProgram:
    r"""Return a classifier in evaluation mode as a program of plain operations.

    Parameters
    ----------
    model
        From images (B, 3, H, W), bytes or from 0 to 1, to scores (B, classes): normalisation and network.
    shape
        Of an image, (3, H, W).
    pixels
        One of :data:`PIXELS`.
    temperature
        T of the probabilities :math:`\operatorname{softmax}(s / T)`; None is 1.

    Returns
    -------
    torch.export.ExportedProgram
        Of one input, ``images``, (B, 3, H, W) with any B; and one output, (B, classes).

    Raises
    ------
    ConfigError
        If the blocks' steps are not known beforehand.
    """
    for block in ode_blocks(model):
        _check_solver(block.solver)
    dtype = torch.uint8 if pixels == "bytes" else torch.get_default_dtype()
    example = torch.zeros(_ROWS, *shape, dtype=dtype)
    probable = _Probable(model, temperature).eval()
    with torch.no_grad(), _quietly():
        return torch.export.export(probable, (example,), dynamic_shapes=({0: Dim("batch")},), strict=False)


def export_classifier(
    run: TrainRun,
    path: str | os.PathLike[str],
    *,
    which: str = "last",
    solver: Mapping[str, Any] | None = None,
    pixels: str = PIXELS[0],
    shape: tuple[int, int] | None = None,
    temperature: float | None = None,
    overwrite: bool = False,
    progress: Callable[[float], object] | None = None,
) -> Exported:
    """Write a run's classifier as a program, on the CPU and in the precision of its weights.

    ``torch.export.load(path).module()(images)`` calls a ``.pt2``, ``onnxruntime.InferenceSession(path)`` loads an
    ``.onnx``. What :class:`Exported` tells is in the file, too, as JSON: ``physode.json`` of the extra files, or
    of the model's metadata.

    Parameters
    ----------
    run
        The training.
    path
        Ends in ``.pt2`` or ``.onnx``.
    which
        The weights, ``"last"`` or ``"best"``.
    solver
        What is to be another than in training, as of :func:`physode.images.evaluate`: ``method``, ``step``.
    pixels
        One of :data:`PIXELS`.
    shape
        Rows and columns of images, of a run of oblong ones; others know theirs.
    temperature
        Of :func:`physode.images.prediction.temperature_of`; None leaves the network's own probabilities.
    overwrite
        Whether to replace a file that exists.
    progress
        Told the finished share.

    Raises
    ------
    ConfigError
        If the name's ending says no format, a package is missing, the blocks' steps are not known beforehand, the
        solver cannot be, or the shape is not known.
    DataError
        If the checkpoint is missing or damaged, or the file exists.
    """
    kind = check_export(run, path, solver=solver, shape=shape)
    if pixels not in PIXELS:
        raise ConfigError(f"`pixels` must be one of {', '.join(PIXELS)}, got {pixels!r}")
    rows, columns = _shape(run, shape)
    tell = progress or (lambda _: None)
    with replacing(path, overwrite=overwrite) as part:
        model, epoch = trained_model(run, which=which, device="cpu")
        if solver:
            set_solver(model, changed_solver(model, solver))
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        blocks = ode_blocks(model)
        about = Exported(
            path=str(path),
            format=kind,
            model=run.config.model,
            epoch=epoch,
            classes=run.classes,
            pixels=pixels,
            shape=(3, rows, columns),
            centre=run.centre,
            solver=solver_label(blocks[0].solver) if blocks else None,
            temperature=temperature,
        )
        tell(0.1)
        program = classifier_program(model, about.shape, pixels=pixels, temperature=temperature)
        tell(0.4)
        content = {**asdict(about), "made": provenance()}
        del content["path"]
        fill_bytes(part, (_onnx if kind == "ONNX" else _archive)(program, json_values.dumps(content)))
        tell(1.0)
    return about


def _check_solver(solver: Solver, run: TrainRun | None = None) -> None:
    """Refuse what no list of operations can do."""
    if solver.adaptive:
        why = f"adapt their steps to each image ({solver_label(solver)})"
    elif isinstance(checked_method(solver.method), StepMethod):
        why = f"solve equations in each step ({solver.method})"
    else:
        return
    name = "RUN" if run is None else run.path
    raise ConfigError(
        f"the ODE blocks {why}, which no exported program can; with fixed steps it can: "
        f"physode export {name} --method rk4 --step 0.25"
    )


def _shape(run: TrainRun, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return rows and columns of a run's images."""
    if run.size is None and shape is None:
        raise ConfigError(f"{run.path} was trained on oblong images; give their shape: --shape ROWS COLUMNS")
    own = (run.size, run.size) if run.size is not None else shape
    assert own is not None
    if shape is not None and tuple(shape) != own:
        raise ConfigError(f"{run.path} was trained on images of {own[0]}x{own[1]} pixels; leave out --shape")
    return own


def _archive(program: ExportedProgram, about: str) -> bytes:
    """Return a program in PyTorch's own format."""
    file = io.BytesIO()
    with _quietly():
        torch.export.save(program, file, extra_files={_ABOUT: about})
    return file.getvalue()


def _onnx(program: ExportedProgram, about: str) -> bytes:
    """Return a program in ONNX."""
    with _quietly():
        names: dict[str, Any] = {"input_names": [_INPUT], "output_names": [_OUTPUT]}
        found = torch.onnx.export(program, dynamo=True, verbose=False, dynamic_shapes=({0: "batch"},), **names)
    if found is None:
        raise DataError("torch.onnx gave no program; update torch")
    found.model.metadata_props[_ABOUT] = about
    content: bytes = found.model_proto.SerializeToString()
    return content


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep from users what torch's exporter says of its own modules, and of packages that are not needed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
