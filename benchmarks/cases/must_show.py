"""The ratios of medians that physode must show, measured in one run on one CPU thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.cases import compile_time, conv, fit_process, lorenz, mlp, stiff_spread, three_body, vdp_spread
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.peers import (
    Peer,
    checkpoints,
    on_threads,
    physode,
    torch_diff_eq_pack_aca,
    torchdiffeq,
    torchode,
)
from benchmarks.race import Heat, Settings
from benchmarks.replay_peer import RECORDED, gradsolve
from benchmarks.report import Claim, Limit, Report, claims_table, heat_section, limits_table

__all__ = ["run"]

_NAIVE, _ADJOINT, _TORCHODE, _DIFFRAX = "torchdiffeq naive", "torchdiffeq adjoint", "torchode", "diffrax"
_EAGER, _COMPILED, _CHECKPOINTS = "physode aca", "physode aca, compiled", "physode aca, checkpoints"
_OWN = "physode aca, per-sample, compiled"
_COMPILING, _SPREAD = "compile time", "van der Pol spread to mu = 100, end state"
_WASTE = "time of an attempt over that in a batch of equal samples"

_NOTES = """Ratios are the other's median over ours, of the tables below; errors are those of the outputs and of the
worst gradient, relative to solutions at tight tolerances. There is no ratio where ours are more than three times the
other's, and "at least" one where the other's are more than three times ours. Where errors differ at the same
tolerances, one of the two runs at a multiple of the task's, which its name says: torchdiffeq judges a batch by the mean
of its errors, gradsolve's Tsit5 has smaller errors than dopri5, torchode's gradients of three bodies are nearer than
all others', and diffrax's Kvaerno5 keeps far below its tolerances. For batches, each is held against physode with the
same control of steps. gradsolve's time in ratios is that of a replay of steps recorded before; the tables have that of
both, too."""


@dataclass(frozen=True)
class _Part:
    """A heat with what is claimed of it."""

    title: str
    hold: Callable[[], Heat]
    claims: Sequence[tuple[str, str, float] | tuple[str, str, float, str]]


def run(settings: Settings) -> Report:
    """Run the heats that the claims are about, and set the ratios side by side."""
    heats: list[Heat] = []
    found: list[tuple[Claim, Heat]] = []
    for part in _parts(settings):
        if settings.only not in part.title:
            continue
        heat = part.hold()
        heats.append(heat)
        found += [(Claim(part.title, *claim), heat) for claim in part.claims]
    limits, tables = _limits(settings)
    notes = f"{(__doc__ or '').strip()} {_NOTES}".replace("\n", " ")
    sections = [notes, claims_table(found), limits_table(limits), *map(heat_section, heats), *tables]
    return Report("\n\n".join(sections), lambda: bars(heats))


def _limits(settings: Settings) -> tuple[list[Limit], list[str]]:
    """Measure what is to be at most so much; and the tables that it is read from."""
    limits, tables = [], []
    if settings.only in _SPREAD:
        spread, equals = vdp_spread.heats_of_end_states(settings, _many(settings), [_own()])
        limits.append(Limit(_SPREAD, _WASTE, 1.3, _waste(spread, equals)))
        tables += [heat_section(spread), heat_section(equals)]
    if settings.only in _COMPILING:
        one = compile_time.measure(settings, "three bodies")
        limits += [
            Limit(_COMPILING, "three bodies with gradients, empty cache", 3.0, one.cold.compiling, "s"),
            Limit(_COMPILING, "the same in the next process", 0.1, one.warm.compiling, "s"),
        ]
        tables += [f"### {_COMPILING}", compile_time.table([one])]
    return limits, tables


def _waste(spread: Heat, equals: Heat) -> float | str:
    """Return the time of an attempt that is of use in a batch of very different samples, over one in a batch of equals.

    This is how many rows are evaluated over those of use, whatever way a solver has of filling its batch.
    """
    times = []
    for heat in (spread, equals):
        placing = heat.find(_OWN)
        if placing is None or placing.work.accepted is None or placing.work.rejected is None:
            return f"{_OWN}: did not run"
        times.append(placing.median / (placing.work.accepted + placing.work.rejected))
    return times[0] / times[1]


def _many(settings: Settings) -> int:
    return 20 if settings.quick else 1000


def _parts(settings: Settings) -> list[_Part]:
    many = _many(settings)
    small = conv.SMALL if settings.quick else {}
    bodies = partial(three_body.heat, settings, many, torch.float32)
    batch = f"three bodies, B = {many}"
    lorenzes = (100,) if settings.quick else (1000, 100_000)
    reactions = stiff_spread.KINETICS[: 1 if settings.quick else None]
    networks = ((2, 0.1), (64, 0.3))[: 1 if settings.quick else None]
    return [
        _Part(
            "three bodies, B = 1, gradient",
            lambda: three_body.heat(settings, 1, torch.float32, peers=_single()),
            [
                (_COMPILED, _DIFFRAX, 6),
                (_COMPILED, f"{RECORDED}, tolerance x 3", 4),
                (_COMPILED, _NAIVE, 600),
                (f"{_COMPILED}, tolerance x 0.3", _TORCHODE, 600),
                (_COMPILED, _EAGER, 80),
            ],
        ),
        _Part(
            f"{batch}, per sample, end state and gradient",
            lambda: bodies(end_only=True, peers=_end_states()),
            [(_OWN, _DIFFRAX, 40), (f"{_OWN}, 2 threads", _OWN, 1.8)],
        ),
        _Part(
            f"{batch}, per sample, 1000 outputs, gradient",
            lambda: bodies(peers=_outputs()),
            [(_OWN, _DIFFRAX, 10), (f"{_OWN}, tolerance x 0.3", _TORCHODE, 15)],
        ),
        _Part(
            f"{batch}, shared steps, 1000 outputs, gradient",
            lambda: bodies(peers=[physode(compiled=True), torchdiffeq().held_to(0.1)]),
            [(_COMPILED, f"{_NAIVE}, tolerance x 0.1", 60)],
        ),
        *(
            _Part(
                f"Lorenz, {samples:,} samples, gradient",
                partial(lorenz.heat, settings, samples, _lorenz()),
                [(_OWN, RECORDED, 8), (_OWN, _DIFFRAX, 12)],
            )
            for samples in lorenzes
        ),
        _Part(
            f"van der Pol spread to mu = 100, B = {many}",
            lambda: vdp_spread.heat(settings, many, gradient=False, peers=_spread()),
            [(_OWN, _DIFFRAX, 15), (_OWN, f"{_NAIVE}, tolerance x 0.03", 100)],
        ),
        *(
            _Part(
                f"{kinetics.name}, {many} spread samples, rodas5p, gradient",
                partial(stiff_spread.heat, settings, kinetics, many, _stiff(kinetics)),
                [(_OWN, f"{_DIFFRAX}, tolerance x {kinetics.diffrax:g}", 5), (_OWN, RECORDED, 3)],
            )
            for kinetics in reactions
        ),
        *(
            _Part(
                f"MLP, D = {dimension}, B = 256, gradient",
                partial(mlp.heat, settings, dimension, peers=_network(factor)),
                [
                    (_COMPILED, f"{_NAIVE}, tolerance x {factor:g}", 3),
                    (_COMPILED, f"diffrax, shared steps, tolerance x {factor:g}", 1),
                    (_OWN, _DIFFRAX, 1),
                ],
            )
            for dimension, factor in networks
        ),
        _Part(
            "fit of three bodies, whole process",
            lambda: fit_process.heat(settings),
            [(fit_process.WARM, fit_process.NEVER, 2), (fit_process.COLD, fit_process.NEVER, 2)],
        ),
        _Part(
            "convolutional block, gradient",
            lambda: conv.heat(settings, **small, peers=_block()),
            [
                (_EAGER, _ADJOINT, 2),
                (_EAGER, "TorchDiffEqPack ACA", 1.2),
                (_EAGER, _NAIVE, 1, "memory"),
                (_EAGER, conv.FLOOR_KEPT, 1 / 1.1),
                (_CHECKPOINTS, _NAIVE, 1, "memory"),
                (_CHECKPOINTS, conv.FLOOR_CHECKPOINTED, 1 / 1.1),
            ],
        ),
        _Part(
            "convolutional block by dopri5, gradient",
            lambda: conv.heat_of_one_method(settings, **small),
            [(_EAGER, _ADJOINT, 2), (_EAGER, "TorchDiffEqPack ACA", 1.2), (_EAGER, _NAIVE, 1, "memory")],
        ),
    ]


def _own() -> Peer:
    return physode(compiled=True, step_control="per-sample")


def _single() -> list[Peer]:
    ours = [physode(compiled=True), physode(compiled=True).held_to(0.3), physode()]
    replays = [gradsolve().held_to(3), gradsolve(recording=True).held_to(3)]
    return [*ours, torchdiffeq(), torchode(), diffrax(), *replays]


def _end_states() -> list[Peer]:
    return [_own(), on_threads(_own(), 2), diffrax(), gradsolve().held_to(3), gradsolve(recording=True).held_to(3)]


def _outputs() -> list[Peer]:
    return [_own(), _own().held_to(0.3), diffrax(), torchode()]


def _lorenz() -> list[Peer]:
    return [_own(), gradsolve(), gradsolve(recording=True), diffrax()]


def _spread() -> list[Peer]:
    return [_own(), diffrax(), torchdiffeq().held_to(0.03)]


def _stiff(kinetics: Any) -> list[Peer]:
    return [_own(), gradsolve(), gradsolve(recording=True), diffrax().held_to(kinetics.diffrax)]


def _network(factor: float) -> list[Peer]:
    others = [torchdiffeq().held_to(factor), diffrax(), diffrax(shared=True).held_to(factor)]
    return [physode(compiled=True), _own(), *others]


def _block() -> list[Peer]:
    return [physode(), checkpoints(), torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]
