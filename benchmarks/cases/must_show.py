"""The ratios of medians that physode must show, measured in one run on one CPU thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.cases import conv, mlp, three_body, vdp_spread
from benchmarks.figures import bars
from benchmarks.jax_peer import diffrax
from benchmarks.peers import (
    Peer,
    checkpoints,
    physode,
    torch_diff_eq_pack,
    torch_diff_eq_pack_aca,
    torchdiffeq,
    torchode,
)
from benchmarks.race import Heat, Settings
from benchmarks.report import Claim, Report, claims_table, heat_section

__all__ = ["run"]

_PER_SAMPLE: dict[str, Any] = {"step_control": "per-sample"}
_NAIVE, _ADJOINT, _PACK = "torchdiffeq naive", "torchdiffeq adjoint", "TorchDiffEqPack, graph of accepted steps"
_ACA, _COMPILED, _CHECKPOINTS = "physode aca", "physode aca, compiled", "physode aca, checkpoints"
_OWN, _OWN_COMPILED = "physode aca, per-sample", "physode aca, per-sample, compiled"


def run(settings: Settings) -> Report:
    """Run the heats that the claims are about, and set the ratios side by side."""
    heats: list[Heat] = []
    found: list[tuple[Claim, Heat]] = []
    for title, hold, claims in _parts(settings):
        if settings.only not in title:
            continue
        heat = hold()
        heats.append(heat)
        found += [(claim, heat) for claim in claims]
    text = (
        f"{(__doc__ or '').strip()} Ratios are the other's median over ours, of the tables below; `rows` are those "
        "that the right-hand side was called with. TorchDiffEqPack's ACA gives the end state only, so that for outputs "
        "on the way its graph of accepted steps runs. For the batch, torchdiffeq has one step size, torchode and "
        "diffrax have one a sample: each is held against physode with the same control."
    )
    return Report("\n\n".join([text, claims_table(found), *map(heat_section, heats)]), lambda: bars(heats))


def _parts(settings: Settings) -> list[tuple[str, Callable[[], Heat], Sequence[Claim]]]:
    single = "three bodies, B = 1, float32, gradient"
    alone = "three bodies, B = 1, float32, forward"
    many = 100 if settings.quick else 1000
    batch = f"three bodies, B = {many}, float32, gradient"
    network = "MLP, D = 64, B = 256, gradient"
    spread = "stiffness spread, per-sample, forward"
    block = "convolutional block, gradient"
    same = "convolutional block by dopri5, gradient"
    return [
        (
            single,
            lambda: three_body.heat(settings, 1, torch.float32, peers=_single()),
            [
                Claim(single, _COMPILED, _NAIVE, 25),
                Claim(single, _COMPILED, _PACK, 25),
                Claim(single, _COMPILED, "torchode", 25),
                Claim(single, _COMPILED, "diffrax", 1),
                Claim(single, _ACA, _NAIVE, 8),
            ],
        ),
        (
            alone,
            lambda: three_body.heat(settings, 1, torch.float32, gradient=False, peers=_alone()),
            [Claim(alone, _COMPILED, _NAIVE, 10)],
        ),
        (
            batch,
            lambda: three_body.heat(settings, many, torch.float32, peers=_batch()),
            [
                Claim(batch, _COMPILED, _NAIVE, 100),
                Claim(batch, _OWN_COMPILED, "torchode", 25),
                Claim(batch, _OWN_COMPILED, "diffrax", 8),
                Claim(batch, _COMPILED, "diffrax, shared steps", 8),
            ],
        ),
        (
            network,
            lambda: mlp.heat(settings, 64, peers=_network()),
            [
                Claim(network, name, other, asked)
                for name in (_ACA, _COMPILED)
                for other, asked in ((_ADJOINT, 3), (_NAIVE, 1.5))
            ],
        ),
        (
            spread,
            lambda: vdp_spread.heat(settings, many, gradient=False, peers=_spread()),
            [
                Claim(spread, _OWN, _NAIVE, 10, "rows"),
                Claim(spread, _OWN, _NAIVE, 5),
                Claim(spread, _OWN_COMPILED, _NAIVE, 10, "rows"),
                Claim(spread, _OWN_COMPILED, _NAIVE, 5),
            ],
        ),
        (
            block,
            lambda: conv.heat(settings, **(conv.SMALL if settings.quick else {}), peers=_block()),
            [
                Claim(block, _ACA, _ADJOINT, 2),
                Claim(block, _ACA, "TorchDiffEqPack ACA", 1.2),
                Claim(block, _ACA, _NAIVE, 1, "memory"),
                Claim(block, _ACA, conv.FLOOR_KEPT, 1 / 1.1),
                Claim(block, _CHECKPOINTS, _NAIVE, 1, "memory"),
                Claim(block, _CHECKPOINTS, conv.FLOOR_CHECKPOINTED, 1 / 1.1),
            ],
        ),
        (
            same,
            lambda: conv.heat_of_one_method(settings, **(conv.SMALL if settings.quick else {})),
            [
                Claim(same, _ACA, _ADJOINT, 2),
                Claim(same, _ACA, "TorchDiffEqPack ACA", 1.2),
                Claim(same, _ACA, _NAIVE, 1, "memory"),
            ],
        ),
    ]


def _single() -> list[Peer]:
    return [physode(), physode(compiled=True), torchdiffeq(), torch_diff_eq_pack(), torchode(), diffrax()]


def _alone() -> list[Peer]:
    return [physode(), physode(compiled=True), torchdiffeq()]


def _batch() -> list[Peer]:
    ours = [physode(), physode(compiled=True), physode(**_PER_SAMPLE), physode(compiled=True, **_PER_SAMPLE)]
    return [*ours, torchdiffeq(), torchode(), diffrax(), diffrax(shared=True)]


def _network() -> list[Peer]:
    return [physode(), physode(compiled=True), torchdiffeq(), torchdiffeq(adjoint=True)]


def _spread() -> list[Peer]:
    return [physode(**_PER_SAMPLE), physode(compiled=True, **_PER_SAMPLE), torchdiffeq()]


def _block() -> list[Peer]:
    return [physode(), checkpoints(), torchdiffeq(), torchdiffeq(adjoint=True), torch_diff_eq_pack_aca()]
