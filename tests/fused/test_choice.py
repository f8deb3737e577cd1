"""When solves are fused: never at once, at the latest when it is repaid, and never what must not be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import physode as po
from physode.fused import choice, solving

COARSE = {"method": "heun_euler", "rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def fused(monkeypatch):
    """One entry for every solve by a kernel; the environment's word against kernels is taken back."""
    monkeypatch.delenv("PHYSODE_COMPILE")
    solves = []
    solve = solving.solve_prepared

    def noted(problem, plan, prepared):
        solves.append(prepared.entry)
        return solve(problem, plan, prepared)

    monkeypatch.setattr(choice, "solve_prepared", noted)
    return solves


def falling(t, y):
    return -0.3 * y


def solve(f=falling, y0=None, end=1.0, **options):
    return po.solve(f, torch.ones(2) if y0 is None else y0, [0.0, end], **COARSE | options)


def test_a_lone_short_solve_never_waits(fused):
    solve()
    assert fused == []


def test_solves_are_fused_once_that_is_repaid(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    first = solve(compile=False)
    second = solve()
    assert fused == ["walk"]
    torch.testing.assert_close(second.y, first.y, rtol=1e-5, atol=1e-6)
    solve(y0=torch.ones(5, 2))
    assert fused == ["walk", "walk_shared"]


def test_a_solve_that_takes_long_is_begun_anew_by_a_kernel(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.01)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.02)
    told = []
    sol = solve(end=100.0, rtol=1e-7, atol=1e-9, progress=told.append)
    assert fused == ["walk"]
    assert told[-1] == 1.0
    assert sol.stats.rhs_forward == 3 + 2 * int(sol.stats.attempts)  # recorded, at the start, for the first size


def test_what_is_begun_anew_may_have_buffers_that_never_change(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.01)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.02)

    class Falling(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rate", torch.tensor(0.3))

        def forward(self, t, y):
            return -self.rate * y

    solve(Falling(), end=100.0, rtol=1e-7, atol=1e-9)
    assert fused == ["walk"]


def test_the_environment_can_forbid_kernels(fused, monkeypatch):
    monkeypatch.setenv("PHYSODE_COMPILE", "never")
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    solve(end=5.0)
    assert fused == []


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return -y


def test_what_counts_its_calls_goes_on_counting_them(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    f = Counted()
    for _ in range(5):
        before = f.calls
        sol = solve(f)
        assert f.calls - before in (sol.stats.rhs_forward, sol.stats.rhs_forward + 1)  # once to find out
    assert f.calls - before == sol.stats.rhs_forward
    assert fused == []


def test_statistics_move_as_without_kernels(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    torch.manual_seed(0)
    f, y0 = nn.BatchNorm1d(3), torch.randn(8, 3)
    twin = nn.BatchNorm1d(3)
    flows = [lambda t, y, net=net: -net(y) for net in (f, twin)]
    po.solve(flows[0], y0, [0.0, 0.5], **COARSE)
    po.solve(flows[1], y0, [0.0, 0.5], compile=False, **COARSE)
    assert torch.equal(f.running_mean, twin.running_mean)
    assert int(f.num_batches_tracked) == int(twin.num_batches_tracked)
    assert fused == []


def test_an_attribute_that_is_changed_between_solves_is_seen(fused):
    class Driven(nn.Module):
        rate, steep = 0.3, False

        def forward(self, t, y):
            return -self.rate * y**3 if self.steep else -self.rate * y

    f, y0 = Driven(), torch.tensor([1.0, 2.0], dtype=torch.float64)
    for rate, steep in ((0.3, False), (0.7, False), (0.7, True), (0.25, True)):
        f.rate, f.steep = rate, steep
        found, expected = (solve(f, y0, compile=way).y for way in (True, False))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert len(fused) == 4


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda t, y: y * (1.0 if float(y.sum()) > 0 else 2.0), "control flow on values"),
        (lambda t, y: torch.sort(y, -1).values, "sort"),
        (lambda t, y: y - y.mean(0), "mixes samples"),
        (lambda t, y: y + torch.randn_like(y), "random"),
        (lambda t, y: torch.from_numpy(2.0 * y.detach().numpy()), "not a function of time and state|stops gradients"),
    ],
)
def test_what_cannot_be_fused_is_refused_by_name(f, reason):
    y0 = torch.linspace(0.5, 1.5, 600, dtype=torch.float64).reshape(30, 20)
    from physode.gradients import ACA
    from physode.problem.checks import pose
    from physode.solvers.driver import Plan

    with pytest.raises(choice.Unsupported, match=reason):
        solving.prepare(pose(f, y0, [0.0, 1.0], step_control="per-sample"), Plan(), ACA())


def test_what_cannot_be_fused_is_solved_all_the_same_and_told_of_once():
    y0 = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)

    def sorted_flow(t, y):
        return -torch.sort(y).values

    with pytest.warns(RuntimeWarning, match="solving without compilation: .*sort") as told:
        found = [po.solve(sorted_flow, y0, [0.0, 1.0], compile=True, **COARSE).y for _ in range(3)]
    assert len(told) == 1
    assert all(torch.equal(y, po.solve(sorted_flow, y0, [0.0, 1.0], compile=False, **COARSE).y) for y in found)


def test_a_batch_of_products_with_large_matrices_is_left_to_pytorch(fused, monkeypatch):
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    weight = torch.randn(200, 200, dtype=torch.float64) / 200

    def flow(t, y):
        return -y @ weight

    po.solve(flow, torch.ones(20, 200, dtype=torch.float64), [0.0, 1.0], **COARSE)
    assert fused == []


def test_the_solution_says_who_took_its_steps(fused, monkeypatch):
    assert not solve(compile=False).stats.fused
    assert solve(compile=True).stats.fused
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    for _ in range(5):
        stats = solve(lambda t, y: -torch.sort(y).values).stats
        assert not stats.fused
        assert "sort" in stats.unfused
