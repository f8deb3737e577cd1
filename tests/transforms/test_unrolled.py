"""Fixed-step solves inside of torch.compile(fullgraph=True), against the same solves outside."""

from __future__ import annotations

import pytest
import torch

import physode as po

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]


class Flow(torch.nn.Module):
    """A small network that depends on time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, t, y):
        return torch.tanh(self.linear(y)) + 0.1 * torch.sin(t)


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(solved, backend="aot_eager"):
    return torch.compile(solved, fullgraph=True, backend=backend)


def agree(solved, *inputs, leaves):
    """Check values and gradients of a solve inside of torch.compile against those outside."""
    values, gradients = [], []
    for function in (solved, compiled(solved)):
        y = function(*inputs)
        values.append(y)
        gradients.append(torch.autograd.grad(y.square().sum(), leaves))
    torch.testing.assert_close(*values, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-13)


T = torch.linspace(0, 1, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "heun", "step_size": 0.3},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"method": "rk4"},
                {"method": "dopri5", "step_size": 0.4, "step_control": "per-sample"},
                {"method": "midpoint", "grid": torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64), "gradient": "naive"},
            )
        ),
    ],
    ids=lambda options: "-".join(map(str, list(options)[1:])) or "to outputs",
)
def test_outputs_and_gradients_are_those_outside_of_torch_compile(options):
    flow, y0, t = Flow(), torch.randn(3, 2, requires_grad=True), T.clone().requires_grad_()
    leaves = [y0, *flow.parameters()] + ([] if "step_control" in options else [t])
    agree(lambda y0, t: po.solve(flow, y0, t, **options).y, y0, t, leaves=leaves)


@pytest.mark.slow
def test_symplectic_steps_backwards_in_time():
    bodies, y = po.rhs.NBody([1.0, 2.0], G=1.0), torch.randn(12, requires_grad=True)
    agree(lambda y: po.solve(bodies, y, T.flip(0), method="yoshida4", step_size=0.5).y, y, leaves=[y])


@pytest.mark.slow
def test_structures_arguments_and_times_as_numbers():
    rate, y0 = torch.tensor(2.0, requires_grad=True), torch.randn(3, requires_grad=True)

    def solved(y0, rate):
        start = {"q": y0, "p": torch.zeros_like(y0)}
        sol = po.solve(
            lambda t, y, k: {"q": y["p"], "p": -k * y["q"]}, start, [0.0, 0.4, 1.0], args=(rate,), method="rk4",
            step_size=0.5,
        )  # fmt: skip
        return torch.cat([sol.y["q"], sol.y["p"]])

    agree(solved, y0, rate, leaves=[y0, rate])


@pytest.mark.slow
def test_the_whole_solution_comes_back():
    flow, y0 = Flow(), torch.ones(2)
    sol = compiled(lambda y0: po.solve(flow, y0, T, method="rk4", step_size=0.3))(y0)
    torch.testing.assert_close(sol.y, po.solve(flow, y0, T, method="rk4", step_size=0.3).y, rtol=1e-14, atol=1e-15)
    assert sol.success
    assert (int(sol.stats.accepted), len(sol.step_times), len(sol.events)) == (4, 5, 0)


def test_other_times_are_solved_by_the_same_program_and_another_number_of_steps_raises():
    flow, y0 = Flow(), torch.ones(2)

    def solved(y0, t):
        return po.solve(flow, y0, t, method="midpoint", step_size=0.5).y

    program = compiled(solved)
    for t in (T, 3.0 + 0.96 * T):
        torch.testing.assert_close(program(y0, t), solved(y0, t), rtol=1e-13, atol=1e-14)
    with pytest.raises(RuntimeError, match="another number of steps"):
        program(y0, 2 * T)


def test_a_state_that_is_not_finite_raises_unless_told_otherwise():
    with pytest.raises(RuntimeError, match="not finite"):
        compiled(lambda y0: po.solve(lambda t, y: y * y, y0, [0.0, 3.0], method="euler", step_size=0.5).y)(
            torch.full((1,), 1e30)
        )
    quiet = compiled(lambda y0: po.solve(lambda t, y: y / 0, y0, [0.0, 1.0], method="euler", throw=False).y)
    assert not torch.isfinite(quiet(torch.ones(1))[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `step_size` or `grid`"),
        ({"method": "gl4"}, "'gl4' cannot be used inside of torch.compile"),
        ({"method": "rk4", "dense": True}, "`dense` cannot be used inside of torch.compile"),
        ({"method": "rk4", "gradient": "adjoint"}, "gradient='adjoint' cannot be used"),
        ({"method": "rk4", "gradient": "mali"}, "gradient='mali' cannot be used"),
        ({"method": "leapfrog"}, "must know positions from velocities"),
    ],
)
def test_what_cannot_be_traced_says_so(options, message):
    with pytest.raises(torch._dynamo.exc.Unsupported, match=message):
        compiled(lambda y0: po.solve(lambda t, y: -y, y0, T, **options).y)(torch.ones(2))


def test_dropout_is_refused():
    flow = Flow()
    flow.drop = torch.nn.Dropout(0.5)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"use f.eval\(\)"):
        compiled(lambda y0: po.solve(flow, y0, T, method="rk4").y)(torch.ones(2))


@pytest.mark.slow
def test_inductor_trains_through_a_solve():
    flow, y0 = Flow(), torch.randn(16, 2)
    solved = compiled(lambda y0: po.solve(flow, y0, T, method="rk4").y[-1], backend="inductor")
    optimiser = torch.optim.Adam(flow.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (solved(y0) - 0.5 * y0).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_times_out_of_order_raise_when_the_program_runs():
    program = compiled(lambda y0, t: po.solve(lambda t, y: -y, y0, t, method="euler").y)
    assert torch.isfinite(program(torch.ones(1), torch.tensor([2.0, 1.0, 0.0]))).all()
    with pytest.raises(RuntimeError, match="`t` must be strictly increasing or decreasing"):
        program(torch.ones(1), torch.tensor([0.0, 2.0, 1.0]))


# Inside of torch.export, without torch's compiler.


class Solving(torch.nn.Module):
    """A layer that solves, as people write their own."""

    def __init__(self, t, **options):
        super().__init__()
        self.flow, self.t, self.options = Flow(), t, options

    def forward(self, y):
        return po.solve(self.flow, y, self.t, **self.options).y


@pytest.mark.parametrize(
    ("t", "options"),
    [
        ((0.0, 1.0), {"method": "rk4", "step_size": 0.3}),
        ((0.0, 0.5, 2.0), {"method": "midpoint"}),
        pytest.param(
            (1.0, 0.4, 0.0),
            {"method": "dopri5", "step_size": 0.25, "step_control": "per-sample"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_exported_solve_gives_its_own_states_for_any_number_of_samples(t, options):
    layer = Solving(t, **options)
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (torch.ones(2, 2),), dynamic_shapes=batch, strict=False).module()
    for count in (1, 2, 5):
        y = torch.randn(count, 2)
        torch.testing.assert_close(program(y), layer(y), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("t", "options", "message"),
    [
        ((0.0, 1.0), {}, "steps must be known"),
        (torch.tensor([0.0, 1.0]), {"method": "rk4", "step_size": 0.3}, "needs `t` as numbers"),
        ((0.0, 1.0, 0.5), {"method": "rk4"}, "strictly increasing"),
    ],
)
def test_an_export_needs_steps_that_are_known(t, options, message):
    with pytest.raises(ValueError, match=message):
        torch.export.export(Solving(t, **options), (torch.ones(2, 2),), strict=False)
