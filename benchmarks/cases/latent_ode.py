"""Training updates of a Latent-ODE: 50 series of 14 channels and 100 points, told 10 % or 50 % of them.

On a grid that all share, as the hopper's, and at times of each series' own. Beside physode: the same networks on
torchdiffeq, on the union of all times. Gradients in all weights, of the negative evidence lower bound by one draw.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Generator, Tensor

from benchmarks.agreement import Bounds
from benchmarks.figures import bars
from benchmarks.latent_ode import Update, answer_of, physode_update, rows_alone, torchdiffeq_update
from benchmarks.race import Check, Heat, Settings, race
from benchmarks.report import Claim, Report, claims_table, heat_section, markdown_table
from physode.models import LatentODE
from physode.models.observations import Points
from physode.series.data import divide

__all__ = ["check", "problem", "run", "series"]

_ANY = Bounds(1.0, float("inf"))  # other Euler steps are another encoder: see the notes
_NOTES = (
    "torchdiffeq: all times of the batch are one axis; its recognition network takes an Euler step between any two of "
    "them, physode's one in each series' own gaps. Where not all series are told of the same times these are different "
    "encoders, and `error` is their distance from physode's aca. On series that share all times, losses agree to 1e-5 "
    "and gradients to 1e-4 before anything is timed. Weights are those after a short training. `rows` are rows of "
    "states given to both right-hand sides, forward and backward; `alone` is their sum over the series one by one. In "
    "single precision a sample may take another number of steps in another batch."
)


def run(settings: Settings) -> Report:
    """Race training updates."""
    points = 20 if settings.quick else 100
    titles = {
        (own, share): f"B = 50, {points} {'own times' if own else 'common times'}, {share:.0%} told"
        for own in (False, True)
        for share in (0.1, 0.5)
    }
    chosen = {key: title for key, title in titles.items() if settings.only in title}
    found = {key: _heat(title, settings, points, *key) for key, title in chosen.items()}
    sections = [_NOTES, claims_table(_claims(found))]
    for key, heat in found.items():
        sections += [_throughput(heat, _task(points, *key)), heat_section(heat)]
    return Report("\n\n".join(sections), lambda: bars(list(found.values())))


def _heat(title: str, settings: Settings, points: int, own: bool, share: float) -> Heat:
    ours = [physode_update(gradient) for gradient in ("aca", "naive", "adjoint")]
    peers = [*ours, torchdiffeq_update(), torchdiffeq_update(adjoint=True)]
    return race(title, _task(points, own, share), peers, settings, check=check(), bounds=_ANY)  # type: ignore[arg-type]


@functools.cache
def check() -> Check:
    """Return an update of series that are told of the same times, on which all have to agree."""
    tight, tighter = (
        problem(20, own=False, share=0.5, same=True, dtype=torch.float64, tol=tol) for tol in (1e-7, 1e-9)
    )
    return Check(tight, answer_of(tighter), Bounds(1e-5, 1e-4))  # type: ignore[arg-type]


def _task(points: int, own: bool, share: float) -> Update:
    return problem(points, own=own, share=share)


@functools.cache
def problem(
    points: int,
    *,
    own: bool,
    share: float,
    batch: int = 50,
    same: bool = False,
    dtype: torch.dtype = torch.float32,
    tol: float = 1e-3,
) -> Update:
    """Return an update; with `same`, all series are told of the same times."""
    target = series(points, batch, own=own)
    if same:
        told = target.where((torch.arange(points) % round(1 / share) == 0).expand(batch, -1))
    else:
        told = divide(target, share=share, generator=Generator().manual_seed(2))
    model = copy.deepcopy(_trained()).to(dtype)
    told, target = (Points(each.t, each.x.to(dtype), each.mask) for each in (told, target))
    return Update(model, told, target, rtol=tol, atol=0.1 * tol)


def series(points: int, batch: int, *, own: bool) -> Points:
    """Return 14 mixtures of three oscillations of any phase, from time 0 on, at most 1."""
    generator = Generator().manual_seed(1)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    t = torch.linspace(0.0, 1.0, points, dtype=torch.float64).repeat(batch, 1)
    if own:
        t = torch.cat([t[:, :1], uniform(batch, points - 1).sort(1).values], 1)
    mixture = torch.randn(6, 14, generator=generator, dtype=torch.float64) / 6**0.5
    angle = 2 * torch.pi * (t[..., None] * torch.tensor([0.5, 1.0, 2.0]) + uniform(batch, 1, 3))
    x = torch.cat([angle.sin(), angle.cos()], -1) @ mixture
    return Points(t, x, torch.ones_like(x, dtype=torch.bool))


@functools.cache
def _trained(updates: int = 100) -> LatentODE:
    """Return a model of the default sizes after a few updates: its path bends, unlike that of first weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LatentODE(14)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        target = series(100, 50, own=False)
        target = Points(target.t, target.x.float(), target.mask)
        for number in range(updates):
            told = divide(target, share=0.5, generator=Generator().manual_seed(number))
            optimizer.zero_grad()
            model.loss(told, target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def _throughput(heat: Heat, task: Update) -> str:
    """Return a table of series a second, and of rows beside those of the series one by one."""
    rows = []
    for place in heat.placings:
        alone = rows_alone(task, place.name)
        rate = len(task.target.t) / place.median
        rows.append([place.name, f"{rate:.3g}", f"{place.work.rows}", "-" if alone is None else f"{alone}"])
    return markdown_table([heat.title, "series a second", "rows", "alone"], rows)


def _claims(found: dict[tuple[bool, float], Heat]) -> list[tuple[Claim, Heat]]:
    pairs = [("physode aca", "torchdiffeq naive"), ("physode aca", "torchdiffeq adjoint")]
    pairs += [(f"physode {each}", f"torchdiffeq {each}") for each in ("naive", "adjoint")]
    return [
        (Claim(heat.title, ours, theirs, 3.0, measure), heat)
        for heat in found.values()
        for measure in ("time", "rows")
        for ours, theirs in pairs
    ]
