"""The Latent-ODE on torchdiffeq is the same model as physode's wherever their times are the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks.agreement import errors_of
from benchmarks.cases import latent_ode
from benchmarks.latent_ode import (
    Update,
    UpdateRunner,
    answer_of,
    physode_update,
    rows_alone,
    torchdiffeq_update,
)
from physode.models import LatentODE

pytest.importorskip("torchdiffeq")

PEERS = [*map(physode_update, ("aca", "naive", "adjoint")), torchdiffeq_update(), torchdiffeq_update(adjoint=True)]


def update(*, own: bool, same: bool, tol: float = 1e-7, batch: int = 3) -> Update:
    target = latent_ode.series(6, batch, own=own)
    places = torch.arange(6) % 2 == 0 if same else torch.arange(6) == torch.arange(batch)[:, None]
    torch.manual_seed(0)
    model = LatentODE(14, latent=4, units=(8,), hidden=5, encoder_units=(6,)).double()
    for weight in model.flow.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return Update(model, target.where(places.expand(batch, -1)), target, rtol=tol, atol=0.1 * tol)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_on_common_times_all_have_the_same_loss_and_gradients(peer):
    right = answer_of(update(own=False, same=True, tol=1e-10))
    errors = errors_of(peer.prepare(update(own=False, same=True), True).run(), right)
    assert errors.outputs < 1e-6
    assert errors.gradients < 1e-4


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_series_alone_has_the_same_loss_whatever_its_times(peer):
    """There is no union then but its own times."""
    alone = update(own=True, same=True).rows(torch.tensor([1]))
    right = answer_of(update(own=True, same=True, tol=1e-10).rows(torch.tensor([1])))
    errors = errors_of(peer.prepare(alone, True).run(), right)
    assert errors.outputs < 1e-6
    assert errors.gradients < 1e-4


def test_series_have_times_of_their_own_from_a_common_start_and_smooth_values():
    own, common = (latent_ode.series(50, 5, own=each) for each in (True, False))
    assert bool((own.t[:, 0] == 0).all())
    assert len(own.t.unique()) == 5 * 49 + 1
    assert bool((own.t.diff(dim=1) > 0).all())
    assert len(common.t.unique()) == 50
    assert bool(own.mask.all())
    assert float(common.x.diff(dim=1).abs().max()) < 1.0


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_rows_are_the_series_of_each_call_and_are_counted_once(peer):
    runner = peer.prepare(update(own=True, same=False), True)
    assert isinstance(runner, UpdateRunner)
    first = runner.run()
    work = runner.work()
    whole = 3 * (work.calls + work.backward_calls)
    assert work.rows == whole if peer.package == "torchdiffeq" else whole / 3 < work.rows <= whole
    assert torch.equal(runner.run().outputs, first.outputs)
    assert runner.work() == work


def test_rows_alone_are_those_of_each_series_in_a_batch_of_one():
    task = update(own=True, same=False, tol=1e-4)
    one = task.rows(torch.tensor([0]))
    work = physode_update("aca").prepare(one, True).work()
    total = rows_alone(task, "physode aca")
    assert total > work.rows > 0
    assert rows_alone(one, "physode aca") == work.rows
    assert rows_alone(task, "torchdiffeq naive") is None
