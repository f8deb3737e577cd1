"""Faults that users of such tools report, each with its right value: over gradient methods, step controls, methods."""

from __future__ import annotations

import collections
import functools
import gc
import io
import math
import pickle
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import physode as po
from physode.compat.torchdiffeq import odeint, odeint_adjoint, odeint_event
from physode.errors import SolveError
from physode.problem.references import Referred
from physode.rhs_state import Surroundings

pytestmark = pytest.mark.usefixtures("float64")

WAYS = {
    "aca": {},
    "aca parallel": {"gradient": po.ACA(parallel=True)},
    "aca one by one": {"gradient": po.ACA(memory="checkpoint", parallel=False)},
    "aca kept": {"gradient": po.ACA(parallel=False)},
    "aca no room": {"gradient": po.ACA(parallel=False, budget=0)},
    "aca graph": {"gradient": po.ACA(memory="graph")},
    "aca checkpoints": {"gradient": po.ACA(checkpoints=3)},
    "adjoint": {"gradient": "adjoint"},
    "naive": {"gradient": "naive"},
    "per sample": {"step_control": "per-sample"},
    "per sample adjoint": {"step_control": "per-sample", "gradient": "adjoint"},
    "rodas5p": {"method": "rodas5p"},
    "radau5": {"method": "radau5"},
    "rk4": {"method": "rk4", "step_size": 0.02},
    "mali": {"method": "alf", "gradient": "mali", "rtol": 1e-5},
}
PEERS = {"odeint": odeint, "odeint_adjoint": odeint_adjoint}
EVERY = [*WAYS, *PEERS]


def end(f, y0, t1, way, *, jump_t=None):
    """Return the end state of a solve from 0, ``(batch, *state)`` in and out."""
    t = torch.tensor([0.0, t1])
    if way in PEERS:
        module = f if isinstance(f, nn.Module) else None
        keywords = {} if way == "odeint" or module is not None else {"adjoint_params": tuple(_parameters(f))}
        options = {} if jump_t is None else {"options": {"jump_t": torch.tensor(jump_t)}}
        return PEERS[way](f, y0, t, rtol=1e-8, atol=1e-10, **options, **keywords)[-1]
    options = {"rtol": 1e-8, "atol": 1e-10, **WAYS[way]}
    return po.solve(f, y0, t, jump_t=jump_t, **options).y[-1]


def _parameters(f):
    return getattr(f, "inputs", ())


# 1. State of the right-hand side that changes between the solve and the pass back.


class Scaled(nn.Module):
    """dy/dt = w u y, with u kept in one of several ways."""

    class_u = None

    def __init__(self, how):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))
        self.how, self.u, self.box, self.table = how, None, [None], {}
        self.helper = Helper()
        self.register_buffer("held", torch.zeros(()))
        self.array, self.queue = np.zeros(1), collections.deque([0.0])

    def put(self, u):
        match self.how:
            case "attribute":
                self.u = u
            case "tensor attribute":
                self.u = torch.tensor(u)
            case "buffer in place":
                self.held.fill_(u)
            case "buffer anew":
                self.held = torch.tensor(u)
            case "list":
                self.box[0] = u
            case "dict":
                self.table["u"] = u
            case "deque":
                self.queue[0] = u
            case "helper":
                self.helper.u = u
            case "class":
                type(self).class_u = u
            case "array":
                self.array[0] = u

    @property
    def value(self):
        match self.how:
            case "attribute" | "tensor attribute":
                return self.u
            case "buffer in place" | "buffer anew":
                return self.held
            case "list":
                return self.box[0]
            case "dict":
                return self.table["u"]
            case "deque":
                return self.queue[0]
            case "helper":
                return self.helper.u
            case "class":
                return self.class_u
            case "array":
                return float(self.array[0])
        raise AssertionError

    def forward(self, t, y):
        return self.w * self.value * y


class Helper:
    u = None


@pytest.mark.parametrize(
    "how",
    [
        "attribute",
        "tensor attribute",
        "buffer in place",
        "buffer anew",
        "list",
        "dict",
        "helper",
        "class",
        "array",
        "deque",
    ],
)
@pytest.mark.parametrize("way", ["aca", "aca one by one", "aca checkpoints", "adjoint", "rodas5p", "odeint_adjoint"])
def test_what_changes_between_the_solve_and_backward_is_what_it_was_in_the_solve(way, how):
    f = Scaled(how)
    loss = 0.0
    for u in (0.5, 1.0):
        f.put(u)
        loss = loss + end(f, torch.ones(1, 1), 1.0, way).sum()
    loss.backward()
    assert f.w.grad.item() == pytest.approx(0.5 * math.exp(0.5) + math.exp(1.0), rel=1e-5)
    assert float(f.value) == 1.0  # and is then what the user made of it


@pytest.mark.parametrize("way", EVERY)
def test_an_attribute_or_a_closures_constant_may_change_before_backward(way):
    f = Scaled("attribute")
    f.put(0.5)
    first = end(f, torch.ones(1, 1), 1.0, way).sum()
    f.put(7.0)
    first.backward()
    near = 1e-4 if way == "mali" else 1e-6
    assert f.w.grad.item() == pytest.approx(0.5 * math.exp(0.5), rel=near)

    w, loss = torch.tensor(1.0, requires_grad=True), 0.0
    for u in (0.5, 1.0):

        def g(t, y):
            return w * u * y  # noqa: B023

        g.inputs = (w,)
        loss = loss + end(g, torch.ones(1, 1), 1.0, way).sum()
    (found,) = torch.autograd.grad(loss, w)
    assert found.item() == pytest.approx(0.5 * math.exp(0.5) + math.exp(1.0), rel=near)


def test_a_module_switched_to_evaluation_before_backward_is_in_training_for_it():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    found = []
    for switch in (False, True):
        torch.manual_seed(1)
        net.train()
        y = po.solve(lambda t, y: net(y), torch.ones(3, 2), [0.0, 1.0]).y[-1].sum()
        if switch:
            net.eval()
        found.append(torch.autograd.grad(y, list(net.parameters())))
    assert not net.training
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    "way", ["aca", "aca no room", "aca checkpoints", "adjoint", "mali", "rodas5p", "odeint_adjoint"]
)
def test_a_change_that_cannot_be_undone_raises_and_names_the_remedy(way):
    hidden = Helper()
    hidden.u = torch.tensor(0.5)
    seen = weakref.ref(hidden)
    w = torch.tensor(1.0, requires_grad=True)
    f = lambda t, y: w * seen().u * y  # noqa: E731
    f.inputs = (w,)
    y = end(f, torch.ones(1, 1), 1.0, way).sum()
    hidden.u = torch.tensor(1.0)
    with pytest.raises(RuntimeError, match=r"changed between the solve and its pass back.* `args`"):
        y.backward()


@pytest.mark.parametrize("way", ["aca checkpoints", "adjoint", "odeint_adjoint", "aca no room"])
def test_a_hidden_change_that_acts_late_is_noticed(way):
    hidden = Helper()
    hidden.u = torch.tensor(1.0)
    seen, w = weakref.ref(hidden), torch.tensor(1.0, requires_grad=True)
    f = lambda t, y: w * (seen().u if float(t.detach()) > 0.9 else 1.0) * y  # noqa: E731
    f.inputs = (w,)
    y = end(f, torch.ones(1, 1), 1.0, way).sum()
    hidden.u = torch.tensor(1.02)
    with pytest.raises(RuntimeError, match="changed between the solve and its pass back"):
        y.backward()


def test_large_collections_among_what_is_referred_to_cost_little():
    table = [float(i) for i in range(200_000)]
    tensors = [torch.zeros(8000) for _ in range(300)]
    f = lambda t, y: -y * table[1] + tensors[0][0]  # noqa: E731
    referred = Referred(f)
    assert len(referred.places) <= 2**14
    state = Surroundings(referred)
    assert sum(content.copy.nbytes for content in state._contents) <= 2**22


def test_a_counter_of_evaluations_counts_on_through_the_pass_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.calls = nn.Parameter(torch.tensor(1.0)), 0

        def forward(self, t, y):
            self.calls += 1
            return -self.w * y

    f = Counting()
    sols = [po.solve(f, torch.ones(1), [0.0, 1.0], gradient=po.ACA(parallel=False, budget=0)) for _ in range(2)]
    forward = f.calls
    assert forward == sum(sol.stats.rhs_forward for sol in sols)
    sum(sol.y[-1].sum() for sol in sols).backward()
    assert f.calls == forward + sum(sol.stats.rhs_backward for sol in sols)


# 2. A right-hand side that returns the same memory at every call.


def turning(how):
    array, memory, kept = np.zeros((1, 2)), torch.zeros(1, 2), {}

    def in_numpy(t, y):
        array[:, 0], array[:, 1] = y[:, 1].detach(), -y[:, 0].detach()
        return torch.from_numpy(array)

    def in_place(t, y):
        with torch.no_grad():
            memory[:, 0], memory[:, 1] = y[:, 1], -y[:, 0]
        return memory

    def made_once(t, y):
        if "memory" not in kept:
            kept["memory"] = torch.empty(1, 2)
        with torch.no_grad():
            kept["memory"][:] = torch.stack([y[:, 1], -y[:, 0]], 1)
        return kept["memory"]

    def as_view(t, y):
        return made_once(t, y)[:]

    def with_out(t, y):
        with torch.no_grad():
            return torch.stack([y[:, 1], -y[:, 0]], 1, out=memory)

    return {"numpy": in_numpy, "in place": in_place, "made once": made_once, "view": as_view, "out": with_out}[how]


@pytest.mark.parametrize("how", ["numpy", "in place", "made once", "view", "out"])
@pytest.mark.parametrize("way", ["aca", "adjoint", "per sample", "rk4", "odeint", "odeint_adjoint"])
def test_a_right_hand_side_may_return_the_same_memory_at_every_call(way, how):
    found = end(turning(how), torch.tensor([[1.0, 0.0]]), 3.0, way)
    assert found.flatten().tolist() == pytest.approx([math.cos(3.0), -math.sin(3.0)], abs=2e-6)


# 3. Hooks.


class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(1.0))

    def forward(self, t, y):
        return -self.p * y


@pytest.mark.parametrize("way", EVERY)
def test_a_hook_on_a_parameter_fires_once_on_the_sum(way):
    f, seen = Decay(), []
    f.p.register_hook(lambda g: seen.append(float(g)) or 2 * g)
    end(f, torch.ones(1, 1), 1.0, way).sum().backward()
    assert seen == pytest.approx([-math.exp(-1.0)], rel=1e-5)
    assert f.p.grad.item() == pytest.approx(-2 * math.exp(-1.0), rel=1e-5)


@pytest.mark.parametrize(
    "way", ["aca", "aca parallel", "aca one by one", "aca kept", "aca checkpoints", "adjoint", "odeint_adjoint"]
)
def test_a_modules_backward_hook_fires_once(way):
    f, seen = Decay(), []
    f.register_full_backward_hook(lambda module, inward, outward: seen.append("hook"))
    f.register_full_backward_pre_hook(lambda module, outward: seen.append("before"))
    end(f, torch.ones(1, 1, requires_grad=True), 1.0, way).sum().backward()
    assert sorted(seen) == ["before", "hook"]
    assert f.p.grad.item() == pytest.approx(-math.exp(-1.0), rel=1e-5)


def test_a_hook_on_what_was_made_before_the_solve_fires_once_and_its_graph_is_walked_once():
    raw, seen = torch.tensor(0.5, requires_grad=True), []
    w = 2 * raw
    w.register_hook(lambda g: seen.append(float(g)))
    for gradient in ("aca", po.ACA(parallel=False, budget=0), po.ACA(parallel=False), "adjoint"):
        seen.clear()
        y = po.solve(lambda t, y: -w * y, torch.ones(1), [0.0, 1.0], gradient=gradient, rtol=1e-8).y[-1].sum()
        (found,) = torch.autograd.grad(y, raw, retain_graph=True)
        assert seen == pytest.approx([-math.exp(-1.0)], rel=1e-6)
        assert found.item() == pytest.approx(-2 * math.exp(-1.0), rel=1e-6)


# 4. Second derivatives.

TWICE = ["aca", "aca parallel", "aca one by one", "aca kept", "aca graph", "naive", "per sample", "rk4", "odeint"]
ONCE = ["aca checkpoints", "adjoint", "per sample adjoint", "mali", "odeint_adjoint"]


def grown(way):
    def of(a):
        f = lambda t, y: a * y  # noqa: E731
        f.inputs = (a,)
        return end(f, torch.ones(1, 1), 1.0, way).sum()

    return of


@pytest.mark.parametrize("way", TWICE)
def test_second_derivatives_are_right_whoever_asks_for_them(way):
    of, a, e = grown(way), torch.tensor(1.0, requires_grad=True), math.exp(1.0)
    assert torch.autograd.functional.hessian(of, a).item() == pytest.approx(e, rel=1e-6)
    assert torch.autograd.functional.hvp(of, a, torch.tensor(2.0))[1].item() == pytest.approx(2 * e, rel=1e-6)
    (first,) = torch.autograd.grad(of(a), a, create_graph=True)
    (first**2).backward(inputs=[a])
    assert a.grad.item() == pytest.approx(2 * e * e, rel=1e-6)


@pytest.mark.parametrize("way", ONCE)
def test_second_derivatives_that_are_not_there_raise_whoever_asks_for_them(way):
    of, a = grown(way), torch.tensor(1.0, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"derivatives of .* gradients need"):
        torch.autograd.functional.hessian(of, a)
    with pytest.raises(RuntimeError, match=r"derivatives of .* gradients need"):
        torch.autograd.functional.hvp(of, a, torch.tensor(2.0))
    for ask in (lambda x: torch.autograd.grad(x, a), lambda x: x.backward(inputs=[a])):
        (first,) = torch.autograd.grad(of(a), a, create_graph=True)
        with pytest.raises(RuntimeError, match=r"derivatives of .* gradients need"):
            ask((first**2).sum())


# 5 and 6. Events backwards in time, for more methods and forwards in events/test_backwards.py; where f itself jumps,
# in events/test_saltation.py.


def falling(t, y):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -9.81)], -1)


@pytest.mark.parametrize(
    "way", ["aca one by one", "aca kept", "aca graph", "adjoint", "naive", "per sample adjoint", "radau5"]
)
def test_a_condition_that_is_zero_at_the_start_fires_when_it_is_met_again(way):
    v = torch.tensor(-5.0, requires_grad=True)
    y0 = torch.stack([torch.zeros(()), v])[None]
    floor = po.Event(lambda t, y: y[..., 0] if WAYS[way].get("step_control") else y[0, 0], terminal=True)
    sol = po.solve(falling, y0, [0.0, -3.0], events=floor, **{"rtol": 1e-8, "atol": 1e-10, **WAYS[way]})
    (slope,) = torch.autograd.grad(sol.events[0].t.sum(), v)
    assert sol.events[0].t.tolist() == pytest.approx([2 * v.item() / 9.81], rel=1e-7)
    assert slope.item() == pytest.approx(2 / 9.81, rel=1e-7)


@pytest.mark.parametrize("peer", list(PEERS))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_odeints_event_that_is_zero_at_the_start_is_met_again(peer, sign):
    v = torch.tensor(5.0 * sign, requires_grad=True)
    y0 = torch.stack([torch.zeros(()), v])
    f = lambda t, y: falling(t, y)  # noqa: E731
    interface = PEERS[peer] if peer == "odeint" else functools.partial(odeint_adjoint, adjoint_params=())
    found, _ = odeint_event(
        f, y0, torch.tensor(0.0), event_fn=lambda t, y: y[0], reverse_time=sign < 0, odeint_interface=interface
    )
    assert found.item() == pytest.approx(2 * v.item() / 9.81, rel=1e-6)
    assert torch.autograd.grad(found, v)[0].item() == pytest.approx(2 / 9.81, rel=1e-6)


# 7 and 8. State and random numbers, found by what an evaluation changes and draws.


def behind(net):
    class Registry:
        nets = {"f": [net]}  # noqa: RUF012

    def helper(y):
        return Registry.nets["f"][0](y)

    class Plain:
        def __init__(self):
            self.parts = {"net": (net,)}

        def __call__(self, t, y):
            return self.parts["net"][0](y)

    seen = weakref.ref(net)
    return {
        "helper": lambda t, y: helper(y),
        "object": Plain(),
        "nested": lambda t, y: (lambda z: helper(z))(y),
        "weak reference": lambda t, y: seen()(y),
    }


@pytest.mark.parametrize("how", ["helper", "object", "nested", "weak reference"])
@pytest.mark.parametrize("gradient", ["aca", po.ACA(memory="checkpoint", parallel=False), "adjoint"])
def test_statistics_of_a_module_behind_something_else_stand_still_in_the_pass_back(how, gradient):
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    sol = po.solve(behind(net)[how], torch.randn(16, 3), [0.0, 1.0], gradient=gradient, rtol=1e-3, atol=1e-3)
    moved, mean = int(net[1].num_batches_tracked), net[1].running_mean.clone()
    sol.y[-1].square().sum().backward()
    assert int(net[1].num_batches_tracked) == moved
    assert torch.equal(net[1].running_mean, mean)


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.3)

    def forward(self, y):
        return self.attention(y[:, None], y[:, None], y[:, None], need_weights=False)[0][:, 0]


class Drawing(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.layer, self.draw = nn.Linear(4, 4), draw

    def forward(self, y):
        return self.draw(self.layer(y))


OWN = torch.Generator()


def drawing(how):
    return {
        "functional": lambda: Drawing(lambda x: F.dropout(x, 0.3)),
        "attention": Attending,
        "rrelu": lambda: Drawing(nn.RReLU()),
        "rand": lambda: Drawing(lambda x: x * torch.rand(4)),
        "randint": lambda: Drawing(lambda x: x * torch.randint(1, 3, (4,))),
        "own generator": lambda: Drawing(lambda x: x * torch.rand(4, generator=OWN)),
    }[how]()


@pytest.mark.parametrize("how", ["functional", "attention", "rrelu", "rand", "randint", "own generator"])
def test_random_numbers_are_the_same_in_every_evaluation_of_a_solve(how):
    net, y0 = drawing(how), torch.randn(6, 4)
    torch.manual_seed(3)
    sol = po.solve(lambda t, y: net(y), y0, [0.0, 1.0], rtol=1e-6, atol=1e-8)
    assert int(sol.stats.accepted) < 60  # numbers that change from stage to stage are noise to the error estimate
    torch.manual_seed(3)
    again = po.solve(lambda t, y: net(y), y0, [0.0, 1.0], rtol=1e-6, atol=1e-8)
    assert torch.equal(sol.y, again.y) or how == "own generator"
    parameters = list(net.parameters())
    found = torch.autograd.grad(sol.y[-1].sum(), parameters)
    torch.manual_seed(3)
    graph = po.solve(lambda t, y: net(y), y0, [0.0, 1.0], rtol=1e-6, atol=1e-8, gradient=po.ACA(memory="graph"))
    if how != "own generator":
        for a, b in zip(found, torch.autograd.grad(graph.y[-1].sum(), parameters), strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_random_numbers_stand_still_in_a_solve_under_transforms_too():
    layer = nn.Linear(3, 3)
    f = lambda t, y: F.dropout(layer(y), 0.5)  # noqa: E731
    solved = lambda y: po.solve(f, y, [0.0, 1.0], rtol=1e-8, atol=1e-10, max_steps=500).y[-1]  # noqa: E731
    assert torch.func.vmap(solved, randomness="same")(torch.randn(4, 3)).shape == (4, 3)
    assert torch.func.grad(lambda y: solved(y).sum())(torch.randn(3)).isfinite().all()


def test_dropout_in_threads_leaves_every_thread_its_own_numbers():
    block = Drawing(nn.Dropout(0.5))
    y0 = torch.randn(4, 4)
    masks: dict[int, list[torch.Tensor]] = {}
    drawn: list[float] = []
    over = threading.Event()

    def bystand():
        while not over.is_set():
            drawn.append(float(torch.rand(())))

    def work(i):
        masks[i] = []

        def f(t, y):
            value = block(y)
            masks[i].append(value == 0)
            return value

        po.solve(f, y0 + i, [0.0, 1.0], grid=torch.linspace(0, 1, 30)).y[-1].sum().backward()

    bystander = threading.Thread(target=bystand)
    bystander.start()
    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    over.set()
    bystander.join()
    for seen in masks.values():
        assert all(torch.equal(mask, seen[0]) for mask in seen if mask.shape == seen[0].shape)
    assert len(set(drawn)) > 0.999 * len(drawn)


# 9. Leaves first used later, and step sizes that are constants.


@pytest.mark.parametrize("way", ["aca", "aca parallel", "aca one by one", "adjoint", "naive"])
def test_a_leaf_that_is_first_used_later_has_its_gradient(way):
    late = torch.tensor(1.0, requires_grad=True)

    def f(t, y):
        return -y * (late if float(t.detach()) >= 0.5 else 0.0)

    y = end(f, torch.ones(1), 1.0, way, jump_t=[0.5]).sum()
    (found,) = torch.autograd.grad(y, late)
    assert found.item() == pytest.approx(-0.5 * math.exp(-0.5), rel=1e-6)


def test_the_adjoint_method_names_a_hidden_leaf_that_is_first_used_later():
    late = torch.tensor(1.0, requires_grad=True)
    hidden = weakref.ref(late)
    f = lambda t, y: -y * (hidden() if float(t) >= 0.5 else torch.zeros(()))  # noqa: E731
    y = po.solve(f, torch.ones(1, requires_grad=True), [0.0, 1.0], gradient="adjoint").y[-1].sum()
    with pytest.raises(RuntimeError, match=r"evaluation at the start did not use: register it"):
        y.backward()


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_naive_gradients_of_a_kinked_input_are_those_of_the_accepted_steps(step_control):
    def gradient_of(way):
        a = torch.tensor(1.0, requires_grad=True)
        f = lambda t, y: -a * y + 5 * (torch.sin(9 * t) > 0)  # noqa: E731
        y = po.solve(f, torch.ones(1, 1), [0.0, 5.0], rtol=1e-7, gradient=way, step_control=step_control).y[-1].sum()
        return torch.autograd.grad(y, a)[0].item()

    assert gradient_of("naive") == pytest.approx(gradient_of("aca"), rel=1e-9)


# 10. What every evaluation must keep to.


@pytest.mark.parametrize("way", ["aca", "naive", "rk4", "rodas5p", "per sample"])
def test_a_result_of_another_shape_is_refused_at_any_evaluation(way):
    with pytest.raises(ValueError, match="must have the state's shape"):
        end(lambda t, y: -y if float(t.detach().min()) < 0.5 else -y.sum(), torch.ones(3, 2), 1.0, way)


@pytest.mark.parametrize("way", ["aca", "naive", "rk4", "rodas5p", "odeint", "odeint_adjoint"])
def test_a_change_of_the_state_in_place_is_refused_at_any_evaluation(way):
    def f(t, y):
        if float(t.detach()) > 0.5:
            with torch.no_grad():
                y.mul_(0.99)
        return -y

    with pytest.raises(ValueError, match="changes its state `y` in place"):
        end(f, torch.ones(3, 2), 1.0, way)


@pytest.mark.parametrize("peer", list(PEERS))
def test_odeint_refuses_a_result_that_would_have_to_be_broadcast(peer):
    with pytest.raises(ValueError, match=r"`func` must return what has the shape of `y0`, \(3, 2\), got \(2,\)"):
        end(lambda t, y: -y.sum(0), torch.ones(3, 2), 1.0, peer)


# 11. Solutions go to files and other processes.


def test_a_solution_and_an_error_can_be_pickled_and_saved():
    y0 = torch.ones(2, 1, requires_grad=True)
    event = po.Event(lambda t, y: y[:, 0] - 0.5, name="half")
    for options in ({"dense": True}, {"events": event, "step_control": "per-sample"}, {"method": "auto"}):
        sol = po.solve(lambda t, y: -y, y0, [0.0, 1.0], **options)
        again = pickle.loads(pickle.dumps(sol))
        assert torch.equal(again.y, sol.y)
        assert not again.y.requires_grad
        assert again.stats.rhs_forward == sol.stats.rhs_forward
        if "dense" in options:
            assert torch.equal(again(0.3), sol(0.3))
        if "events" in options:
            assert torch.equal(again.events["half"].t, sol.events["half"].t)
        file = io.BytesIO()
        torch.save(sol, file)
    with pytest.raises(SolveError) as caught:
        po.solve(lambda t, y: y * y, torch.ones(1), [0.0, 2.0])
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert torch.equal(error.solution.status, caught.value.solution.status)
    assert "lambda" not in repr(sol.stats)


# 14. Memory.


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.p, self.kept = nn.Parameter(torch.tensor(1.0)), None

    def forward(self, t, y):
        return -self.p * y


@pytest.mark.parametrize(
    ("way", "structure"),
    [
        *((way, "tensor") for way in ("aca", "aca kept", "aca checkpoints", "adjoint", "aca graph", "naive")),
        ("aca", "tuple"),
    ],
)
def test_a_module_that_keeps_its_own_solution_is_freed(way, structure):
    states = {"tensor": torch.ones(3, 1), "tuple": (torch.ones(3, 1), torch.ones(2))}
    seen = []
    for backward in (False, True):
        f = Remembering()
        rhs = f.forward if structure == "tensor" else (lambda t, y, f=f: tuple(f(t, part) for part in y))
        f.kept = po.solve(rhs, states[structure], [0.0, 0.5, 1.0], **WAYS[way])
        if backward:
            (f.kept.y if structure == "tensor" else f.kept.y[0])[-1].sum().backward()
        seen.append(weakref.ref(f))
        del f, rhs
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


@pytest.mark.parametrize(
    ("way", "keep"),
    [
        *(("aca", keep) for keep in ("tensor", "list", "dict", "solution", "object")),
        ("aca kept", "solution"),
        ("adjoint", "tensor"),
        ("odeint_adjoint", "tensor"),
    ],
)
def test_a_module_that_keeps_its_last_solution_keeps_no_more_than_that(way, keep):
    f, seen = Remembering(), []
    for _ in range(4):
        if way == "odeint_adjoint":
            sol = odeint_adjoint(f, torch.ones(3, 1), torch.tensor([0.0, 1.0]))
            y = sol
        else:
            sol = po.solve(f, torch.ones(3, 1), [0.0, 1.0], **WAYS[way])
            y = sol.y
        holder = Helper()
        holder.y = y
        f.kept = {"tensor": y, "list": [y], "dict": {"last": {"y": y}}, "solution": sol, "object": holder}[keep]
        seen.append(weakref.ref(y))
        del sol, y, holder
    gc.collect()
    assert [ref() is None for ref in seen] == [True, True, True, False]


def test_a_solution_may_be_changed_in_place_and_outlive_its_right_hand_side():
    f = Decay()
    p = f.p
    y = po.solve(f, torch.ones(1), [0.0, 0.5, 1.0], rtol=1e-8).y
    del f
    gc.collect()
    y[0] = 0.0
    y.sum().backward()
    assert p.grad.item() == pytest.approx(-0.5 * math.exp(-0.5) - math.exp(-1.0), rel=1e-6)


# 15. Batches of cotangents.


@pytest.mark.parametrize("way", EVERY)
def test_gradients_of_a_batch_of_cotangents_are_those_one_by_one(way):
    f, y0 = Decay(), torch.tensor([[1.0, 2.0]], requires_grad=True)
    y = end(f, y0, 1.0, way)
    cotangents = torch.randn(3, *y.shape)
    batched = torch.autograd.grad(y, [f.p, y0], cotangents, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(cotangents):
        alone = torch.autograd.grad(y, [f.p, y0], cotangent, retain_graph=True)
        for a, b in zip(batched, alone, strict=True):
            assert torch.allclose(a[i], b, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("way", ["aca", "adjoint", "naive"])
def test_a_vectorised_jacobian_is_right(way):
    of = lambda y0: end(lambda t, y: -y * y, y0, 1.0, way)  # noqa: E731
    found = torch.autograd.functional.jacobian(of, torch.tensor([[1.0, 3.0]]), vectorize=True)
    assert torch.allclose(found.reshape(2, 2), torch.diag(torch.tensor([1 / 4, 1 / 16])), atol=1e-6)


# 18. What is said.


def test_single_precision_times_that_are_too_coarse_are_warned_of():
    y0 = torch.ones(1, dtype=torch.float32)
    with pytest.warns(RuntimeWarning, match=r"near t = 1e\+08 these are 12 apart; let the clock"):
        po.solve(lambda t, y: torch.sin(t) * y, y0, [1e8, 1e8 + 3])
    po.solve(lambda t, y: torch.sin(t) * y, y0, [1e3, 1e3 + 3])
    po.solve(lambda t, y: -y, y0, [1e8, 1e8 + 3])
    po.solve(lambda t, y: torch.sin(t) * y, y0.double(), [1e8, 1e8 + 3])


def test_odeints_event_function_must_be_a_real_one_that_can_be_differentiated():
    f, y0 = Decay(), torch.ones(1)
    with pytest.raises(ValueError, match=r"must return a real tensor .* got torch.bool; write y\[0\] - level"):
        odeint_event(f, y0, torch.tensor(0.0), event_fn=lambda t, y: y < 0.5)
    with pytest.raises(ValueError, match="its value has no graph"):
        odeint_event(f, y0, torch.tensor(0.0), event_fn=lambda t, y: torch.tensor(y.item() - 0.5))
