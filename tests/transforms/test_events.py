"""Events under torch.func's transforms and in forward mode, against gradients by autograd."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad

import physode as po

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's forward mode scripts its own formulas
]

WEIGHT = torch.tensor(8.0, dtype=torch.float64)
METHODS = {
    "dopri5": {"method": "dopri5"},
    "dopri8": {"method": "dopri8"},
    "rk4": {"method": "rk4", "step_size": 0.05},
    "rodas5p": {"method": "rodas5p"},
}


def falling(t, y, k):
    return torch.stack([y[..., 1], -k * torch.ones_like(y[..., 0])], -1)


def landed(k, options, control="shared", height=0.01, event=None):
    y0 = torch.tensor([[1.0, 0.3]] if control == "per-sample" else [1.0, 0.3])
    event = {"terminal": True} if event is None else event
    reached = po.Event(lambda t, y, k: y[..., 0] - height * k - 0.08, **event)
    return po.solve(falling, y0, [0.0, 0.9], args=(k,), step_control=control, events=reached, **options)


def slope(function, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(function(at).sum(), at)[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("height", [0.0, 0.01])
def test_times_of_events_have_their_derivatives_in_forward_mode(name, control, height):
    def time(k):
        return landed(k, METHODS[name], control, height).events[0].t.sum()

    expected = slope(time, WEIGHT)
    torch.testing.assert_close(torch.func.jacfwd(time)(WEIGHT), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(torch.func.grad(time)(WEIGHT), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_states_behind_jumps_have_first_and_second_derivatives_in_forward_mode(control):
    def bounced(t, y, k):
        return torch.stack([y[..., 0], -0.8 * y[..., 1]], -1)

    def state(k):
        return landed(k, METHODS["dopri5"], control, event={"jump": bounced}).y[-1].sum()

    graph = WEIGHT.clone().requires_grad_()
    sol = landed(graph, {**METHODS["dopri5"], "gradient": "naive"}, control, event={"jump": bounced})
    (first,) = torch.autograd.grad(sol.y[-1].sum(), graph, create_graph=True)
    (second,) = torch.autograd.grad(first, graph)
    torch.testing.assert_close(torch.func.jacfwd(state)(WEIGHT), first.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(torch.func.hessian(state)(WEIGHT), second, rtol=1e-7, atol=0)


def test_a_right_hand_side_held_on_its_side_has_its_derivatives_in_forward_mode():
    def growing(t, y, k):
        return torch.where(y < 0.1 * k, k + y, k - y * y)

    def end(k):
        event = po.Event(lambda t, y, k: y[..., 0] - 0.1 * k)
        y0 = torch.tensor([[0.0], [0.3]])
        return po.solve(growing, y0, [0.0, 0.5], args=(k,), step_control="per-sample", events=event).y[-1].sum()

    torch.testing.assert_close(torch.func.jacfwd(end)(WEIGHT), slope(end, WEIGHT), rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", ["dopri5", "rk4"])
def test_mapped_times_of_events_have_their_derivatives_in_forward_mode(name):
    def time(k, y0):
        reached = po.Event(lambda t, y, k: y[..., 0] - 0.01 * k, terminal=True)
        return po.solve(falling, y0, [0.0, 0.9], args=(k,), events=reached, **METHODS[name]).events[0].t.sum()

    weights, starts = torch.tensor([8.0, 9.0]), torch.tensor([[1.0, 0.3], [1.0, 0.2]])
    found = torch.func.jacfwd(lambda k: torch.func.vmap(time)(k, starts))(weights)
    expected = torch.stack([slope(lambda k, y0=y0: time(k, y0), k) for k, y0 in zip(weights, starts, strict=True)])
    torch.testing.assert_close(found, torch.diag(expected), rtol=1e-6, atol=1e-12)


STARTS = torch.tensor([[1.0, 0.3], [0.5, 0.2], [2.0, 0.0]], dtype=torch.float64)


def mapped(**options):
    def found(y0):
        sol = po.solve(falling, y0, [0.0, 0.9], args=(WEIGHT,), events=REACHED, **options)
        return sol.events[0].t, sol.y[-1], sol.stats.accepted, sol.stats.rejected, sol.stats.attempts

    return torch.func.vmap(found)(STARTS)


REACHED = po.Event(lambda t, y, k: y[..., 0] - 0.3, jump=lambda t, y, k: -y, direction=-1, max_count=1)


def test_mapped_solves_tell_of_their_own_steps():
    _, _, accepted, rejected, attempts = mapped(rtol=1e-8)
    alone = [po.solve(falling, y0, [0.0, 0.9], args=(WEIGHT,), events=REACHED, rtol=1e-8).stats for y0 in STARTS]
    assert accepted.tolist() == [int(stats.accepted) for stats in alone]
    assert rejected.tolist() == [int(stats.rejected) for stats in alone]
    assert torch.equal(attempts, accepted + rejected)


def test_jacobians_and_norms_of_mapped_solves_are_mapped():
    def jac(t, y, k):
        assert y.shape == (2,)
        return torch.stack([torch.stack([0 * y[0], 1 + 0 * y[0]]), 0 * y])

    def norm(y):
        assert y.shape == (2,)
        return y.abs().amax()

    own = mapped(method="rodas5p", jac=jac, norm=norm)
    for i, y0 in enumerate(STARTS):
        options = {"method": "rodas5p", "jac": jac, "norm": norm}
        alone = po.solve(falling, y0, [0.0, 0.9], args=(WEIGHT,), events=REACHED, **options)
        torch.testing.assert_close(own[0][i], alone.events[0].t, rtol=1e-12, atol=0)
        torch.testing.assert_close(own[1][i], alone.y[-1], rtol=1e-10, atol=0, equal_nan=True)


@pytest.mark.parametrize("options", [{"skip_finished": True}, {"sample_args": True}, {"sink": "nowhere.h5"}], ids=str)
def test_what_mapped_solves_with_events_cannot_do_with_is_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"vmap maps solves with events and shared steps, without `{name}`"):
        mapped(**options)


def test_mapped_solves_with_events_are_not_compiled():
    with pytest.warns(RuntimeWarning, match=r"without compilation: the solve itself is being transformed"):
        mapped(compile=True)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_events_have_their_derivatives_in_plain_forward_mode(method, control):
    def swinging(t, y, k):
        return torch.stack(
            [y[..., 1], -k * torch.sin(y[..., 0]) + 0.1 * torch.cos(t).reshape(y.shape[:-1]) * y[..., 1]], -1
        )

    def found(k):
        y0 = torch.tensor([1.0, 0.3] if control == "shared" else [[1.0, 0.3]])
        event = po.Event(lambda t, y, k: y[..., 0] - 0.01 * k, jump=lambda t, y, k: 0.9 * y)
        sol = po.solve(swinging, y0, [0.0, 1.5], args=(k,), events=event, step_control=control, **METHODS[method])
        return torch.stack([sol.events[0].t.sum(), sol.y[-1].sum()])

    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(found(forward_ad.make_dual(WEIGHT, torch.ones(())))).tangent
    expected = torch.stack([slope(lambda k: found(k)[0], WEIGHT), slope(lambda k: found(k)[1], WEIGHT)])
    torch.testing.assert_close(tangent, expected, rtol=1e-8, atol=0)


def test_gradients_in_plain_forward_mode_have_mixed_derivatives():
    def time(k, height):
        event = po.Event(lambda t, y, k, height: y[0] - height, terminal=True)
        fall = lambda t, y, k, height: falling(t, y, k) - 0.1 * k * y  # noqa: E731
        return po.solve(fall, torch.tensor([1.0, 0.3]), [0.0, 0.9], args=(k, height), events=event).events[0].t.sum()

    height = torch.tensor(0.08)
    with forward_ad.dual_level():
        graph = height.clone().requires_grad_()
        dual = forward_ad.make_dual(WEIGHT, torch.ones(()))
        (gradient,) = torch.autograd.grad(time(dual, graph), graph)
        mixed = forward_ad.unpack_dual(gradient).tangent
    expected = torch.func.jacfwd(torch.func.grad(time, argnums=1))(WEIGHT, height)
    torch.testing.assert_close(mixed, expected, rtol=1e-7, atol=0)
