"""Parts of a solve that compose: each pair against the same solve by another way."""

from __future__ import annotations

import itertools
import pickle

import pytest
import torch

import physode as po

T = torch.linspace(0, 3, 13, dtype=torch.float64)
STARTS = torch.tensor([[1.0, 0.3], [2.0, 0.0], [0.5, 1.0]], dtype=torch.float64)
TIGHT = {"rtol": 1e-8, "atol": 1e-10}


def falling(t, y, k):
    return torch.stack([y[..., 1], -k * torch.ones_like(y[..., 0]) - 0.1 * y[..., 1]], -1)


def bounce(t, y, k):
    return torch.stack([0 * y[..., 0], -0.9 * y[..., 1]], -1)


def bounces():
    """A ball that jumps where it meets the ground, and is noted at its highest places."""
    return [
        po.Event(lambda t, y, k: y[..., 0], direction=-1, jump=bounce, name="bounce"),
        po.Event(lambda t, y, k: y[..., 1], name="top"),
    ]


def start(control):
    y0 = STARTS if control == "per-sample" else STARTS[0]
    return torch.tensor(9.81, dtype=torch.float64, requires_grad=True), y0.clone().requires_grad_()


def weighed(y):
    return (y * torch.linspace(0.3, 1.3, y.numel(), dtype=y.dtype).reshape(y.shape)).sum()


def solved(gradient, control, *, events=True, **options):
    k, y0 = start(control)
    options = {**TIGHT, **options}
    sol = po.solve(
        falling, y0, T, args=(k,), events=bounces() if events else (), gradient=gradient, step_control=control,
        **options,
    )  # fmt: skip
    loss = weighed(sol.y)
    if events:
        loss = loss + sol.events["bounce"].t.sum() + weighed(sol.events["top"].y)
    return sol, loss, torch.autograd.grad(loss, [k, y0], retain_graph=True)


def assert_same(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).detach().abs().max()) <= tolerance * max(1.0, float(b.detach().abs().max()))


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize(
    "options", [{}, {"step_size": 0.03}, {"method": "radau5", "rtol": 1e-5}], ids=["dopri5", "grid", "radau5"]
)
@pytest.mark.parametrize("checkpoints", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_events_with_bounded_checkpoints(control, options, checkpoints):
    sol, loss, gradients = solved(po.ACA(checkpoints=checkpoints), control, **options)
    expected, right, by_naive = solved("naive", control, **options)
    torch.testing.assert_close(sol.y, expected.y, rtol=0, atol=0)
    assert_same([loss, *gradients], [right, *by_naive], 1e-10)


def test_rounds_share_the_states_that_may_be_kept(monkeypatch):
    kept = []
    from physode.gradients import checkpointing

    def counted(traces, most):
        thin(traces, most)
        kept.append(sum(len(trace.kept) - 1 for trace in traces))

    thin = checkpointing.thin_together
    monkeypatch.setattr(checkpointing, "thin_together", counted)
    solved(po.ACA(checkpoints=6), "shared", step_size=0.03)
    assert len(kept) > 2
    assert max(kept) <= 6


@pytest.mark.parametrize(("control", "events"), [*itertools.product(["shared", "per-sample"], [False, True])])
def test_a_dense_solution_with_bounded_checkpoints(control, events):
    times = torch.linspace(0.01, 2.99, 17, dtype=torch.float64)

    def read(gradient):
        k, y0 = start(control)
        sol = po.solve(
            falling, y0, [0.0, 3.0], args=(k,), events=bounces() if events else (), gradient=gradient, dense=True,
            step_control=control, **TIGHT,
        )  # fmt: skip
        y = sol(times)
        copy = pickle.loads(pickle.dumps(sol))(times)
        return y, copy, torch.autograd.grad(weighed(y) + sol.y.sum(), [k, y0])

    y, copy, gradients = read(po.ACA(checkpoints=3))
    expected, _, by_naive = read("naive")
    assert_same([y, copy, *gradients], [expected, expected, *by_naive], 1e-10)


def observed(k, gradient="aca", events=bounces):
    sol = po.solve(
        falling, STARTS[0], [0.0, 1.4], args=(k,), events=events(), gradient=gradient, rtol=1e-10, atol=1e-12
    )
    return sol.y[-1, 0] + 2 * sol.events["bounce"].t.sum() + weighed(sol.events["top"].y)


def test_second_derivatives_through_events_by_the_graph():
    def first(value):
        k = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(observed(k), k)[0]

    k = torch.tensor(9.81, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(observed(k, po.ACA(memory="graph")), k, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, k)
    difference = (first(9.81 + 1e-4) - first(9.81 - 1e-4)) / 2e-4
    assert_same([slope, curvature], [first(9.81), difference], 1e-8)


@pytest.mark.parametrize("transform", ["grad", "jacrev", "jacfwd"])
def test_events_under_torch_func(transform):
    k = torch.tensor(9.81, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(observed(k, "naive"), k)
    found = getattr(torch.func, transform)(observed)(k.detach())
    assert_same([found], [expected], 1e-10)


def test_a_hessian_through_events_under_torch_func():
    k = torch.tensor(9.81, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(observed(k, po.ACA(memory="graph")), k, create_graph=True)
    (expected,) = torch.autograd.grad(slope, k)
    assert_same([torch.func.hessian(observed)(k.detach())], [expected], 1e-8)


def ball(y0, k):
    events = [po.Event(lambda t, y, k: y[0], direction=-1, jump=bounce, name="bounce")]
    sol = po.solve(falling, y0, [0.0, 0.8], args=(k,), events=events, **TIGHT)
    return sol.y, sol.events["bounce"].t


def test_mapped_solves_with_as_many_events_each():
    y0 = torch.tensor([[1.0, 0.3], [1.1, 0.0], [0.9, 0.1]], dtype=torch.float64)
    k = torch.tensor([9.81, 9.0, 8.0], dtype=torch.float64)
    y, times = torch.func.vmap(ball)(y0, k)
    for i in range(3):
        assert_same([y[i], times[i]], ball(y0[i], k[i]), 1e-12)

    def total(k):
        y, times = torch.func.vmap(ball)(y0, k)
        return weighed(y) + times.sum()

    leaf = k.clone().requires_grad_()
    y, times = zip(*(ball(y0[i], leaf[i]) for i in range(3)), strict=True)
    (expected,) = torch.autograd.grad(weighed(torch.stack(y)) + torch.stack(times).sum(), leaf)
    assert_same([torch.func.grad(total)(k)], [expected], 1e-10)


def test_what_cannot_be_mapped_says_so():
    y0 = torch.tensor([[1.0, 0.3], [20.0, 0.0], [20.0, 0.0]], dtype=torch.float64)
    k = torch.tensor([9.81, 9.0, 8.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="same number of events in every solve"):
        torch.func.vmap(ball)(y0, k)
    with pytest.raises(ValueError, match=r"grad\(vmap\(\.\.\.\)\) in place of vmap\(grad"):
        torch.func.vmap(lambda y, k: torch.func.jacfwd(lambda k: ball(y, k)[1])(k))(y0, k)
    other = k.clone()
    with pytest.raises(ValueError, match="hand it to `args`"):
        torch.func.vmap(lambda y, k: po.solve(lambda t, y: -k * y, y, [0.0, 1.0], jump_t=[0.5]).y)(y0, other)


ENDS = torch.stack([torch.linspace(0, end, 5, dtype=torch.float64) for end in (1.0, 2.0, 3.0)], 1)


class Counted:
    """A right-hand side that counts the samples it is evaluated for."""

    def __init__(self):
        self.rows = 0

    def __call__(self, t, y, g=9.81, drag=0.1):
        self.rows += len(y)
        return torch.stack([y[..., 1], -g * torch.ones_like(y[..., 0]) - drag * y[..., 1]], -1)


@pytest.mark.parametrize("gradient", [po.ACA(parallel=False), "naive", "adjoint"], ids=["aca", "naive", "adjoint"])
@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("dopri5", "events"),
        ("dopri5", "args"),
        ("rodas5p", "args"),
        ("radau5", "plain"),
        pytest.param("kencarp5", "events", marks=pytest.mark.slow),
    ],
)
def test_finished_samples_are_left_out(method, gradient, what):
    g = torch.tensor([9.81, 9.0, 8.0], dtype=torch.float64, requires_grad=True)
    drag = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    jumps = [po.Event(lambda t, y, *_: y[..., 0], direction=-1, jump=lambda t, y, *_: bounce(t, y, None))]

    def found(skip):
        f, y0 = Counted(), STARTS.clone().requires_grad_()
        args = (g, drag) if what == "args" else ()
        sol = po.solve(
            f, y0, ENDS, args=args, method=method, gradient=gradient, step_control="per-sample", skip_finished=skip,
            sample_args=(True, False)[: len(args)], events=jumps if what == "events" else (), **TIGHT,
        )  # fmt: skip
        inputs = [y0, *args]
        return f.rows, [sol.y, *torch.autograd.grad(weighed(sol.y), inputs)]

    (rows, skipped), (all_rows, whole) = found(True), found(False)
    assert_same(skipped, whole, 1e-10)
    assert rows < all_rows


def test_args_that_are_not_declared_are_refused_where_samples_are_left_out():
    y0, g = STARTS, torch.ones(3, dtype=torch.float64)
    options = {"step_control": "per-sample", "skip_finished": True}
    with pytest.raises(ValueError, match="give `sample_args`"):
        po.solve(Counted(), y0, ENDS, args=(g,), **options)
    with pytest.raises(ValueError, match=r"args\[0\] has one row for each of 3 samples, got shape \(2,\)"):
        po.solve(Counted(), y0, ENDS, args=(g[:2],), sample_args=True, **options)
    with pytest.raises(ValueError, match="`sample_args` must be True, False"):
        po.solve(Counted(), y0, ENDS, args=(g,), sample_args=(True, False), **options)


@pytest.mark.parametrize("options", [
    {"gradient": po.ACA(checkpoints=2)},
    {"gradient": po.ACA(memory="graph")},
    {"step_control": "per-sample", "skip_finished": True, "sample_args": False},
    {"dense": True, "gradient": po.ACA(checkpoints=2)},
], ids=["checkpoints", "graph", "skip_finished", "dense"])  # fmt: skip
@pytest.mark.parametrize("events", [False, True])
def test_record_and_monitor_go_with_all(options, events):
    y0 = STARTS if "step_control" in options else STARTS[0]
    k = torch.tensor(9.81, dtype=torch.float64, requires_grad=True)

    def watched(**more):
        moments = []
        sol = po.solve(
            falling, y0, T, args=(k,), events=bounces() if events else (), monitor=moments.append,
            record={"energy": lambda t, y: 9.81 * y[..., 0] + y[..., 1] ** 2 / 2}, **more, **TIGHT,
        )  # fmt: skip
        return sol, moments

    sol, moments = watched(**options)
    expected, others = watched(gradient="naive", step_control=options.get("step_control", "shared"))
    torch.testing.assert_close(sol.recorded["energy"].values, expected.recorded["energy"].values)
    assert [moment.t for moment in moments] == pytest.approx([moment.t for moment in others])
    assert moments[-1].fraction == 1.0


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_a_sink_that_keeps_outputs_keeps_their_gradients(tmp_path, control, events, dense):
    kept = po.Sink(tmp_path / "kept.h5", keep=True)
    sol, _, gradients = solved("aca", control, events=events, sink=kept, dense=dense)
    expected, _, right = solved("aca", control, events=events)
    torch.testing.assert_close(sol.y, expected.y, rtol=0, atol=0)
    assert_same(gradients, right, 1e-12)
    written = po.datasets.read_trajectories(tmp_path / "kept.h5").y
    rows = expected.y.detach() if control == "per-sample" else expected.y.detach()[:, None]
    assert (written == rows.transpose(0, 1).numpy()).all()


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("events", [False, True])
def test_a_dense_solution_beside_a_sink(tmp_path, control, events):
    y0, times = STARTS if control == "per-sample" else STARTS[0], torch.linspace(0.1, 2.9, 7, dtype=torch.float64)
    options = {"events": bounces() if events else (), "step_control": control, "dense": True, **TIGHT}
    sol = po.solve(falling, y0, T, args=(9.81,), sink=tmp_path / "dense.h5", **options)
    expected = po.solve(falling, y0, T, args=(9.81,), **options)
    assert sol.y is None
    torch.testing.assert_close(sol(times), expected(times), rtol=0, atol=0)
    rows = expected.y if control == "per-sample" else expected.y[:, None]
    assert (po.datasets.read_trajectories(tmp_path / "dense.h5").y == rows.transpose(0, 1).numpy()).all()


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_sink_takes_complex_states_as_pairs(tmp_path, control):
    y0 = torch.tensor([[1.0 + 0.5j, 0.2j], [0.3 + 0j, 1.0 - 1.0j]], dtype=torch.complex128)
    turn = {"step_control": control, **TIGHT}
    po.solve(lambda t, y: 1j * y, y0, T, sink=tmp_path / "turns.h5", **turn)
    expected = po.solve(lambda t, y: 1j * y, y0, T, **turn).y.transpose(0, 1)
    found = po.datasets.read_trajectories(tmp_path / "turns.h5")
    assert found.columns == ("y1_re", "y1_im", "y2_re", "y2_im")
    assert (found.y == torch.view_as_real(expected).flatten(2).numpy()).all()
