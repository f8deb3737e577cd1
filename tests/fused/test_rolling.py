"""Straight lines made loops again: whatever the order, each number after those that it needs."""

from __future__ import annotations

import torch

import physode as po
from physode.fused.graph import Graph, needed
from physode.fused.rolling import Array, Element, rolled


def test_a_layer_is_a_loop_an_operation():
    graph = Graph()
    outputs = [
        graph.apply("tanh", graph.apply("add", graph.leaf("state", i), graph.leaf("shared", 40 + i))) for i in range(20)
    ]
    order, homes = rolled(graph.nodes, needed(graph.nodes, outputs))
    assert [len(unit.nodes) for unit in order if isinstance(unit, Array)] == [20, 20]
    assert len(order) == 2
    assert homes[outputs[7]] == Element(outputs[0], 7)


def test_few_numbers_and_those_out_of_step_stay_scalars():
    graph = Graph()
    outputs = [graph.apply("mul", graph.leaf("state", i), graph.leaf("state", (7 * i) % 20)) for i in range(20)]
    outputs += [graph.apply("sin", graph.leaf("state", i)) for i in range(5)]
    order, _ = rolled(graph.nodes, needed(graph.nodes, outputs))
    assert all(isinstance(unit, int) for unit in order)


def test_loops_that_would_wait_for_one_another_are_taken_apart():
    graph = Graph()
    state = [graph.leaf("state", i) for i in range(24)]
    first = [graph.apply("sin", state[i]) for i in range(12)]
    total = graph.total(first[:6])
    second = [graph.apply("add", first[i], total) for i in range(12)]
    third = [graph.apply("sin", second[i]) for i in range(12)]
    order, _ = rolled(graph.nodes, needed(graph.nodes, third))
    done = set()
    for unit in order:
        numbers = unit.nodes if isinstance(unit, Array) else (unit,)
        for number in numbers:
            for operand in graph.nodes[number].operands:
                assert operand in done or graph.nodes[operand].op == "state"
        done |= set(numbers)
    assert all(node in done for node in third)


def test_a_network_with_loops_has_the_gradients_of_the_eager_engine():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 24), torch.nn.SiLU(), torch.nn.Linear(24, 24), torch.nn.Tanh())
    net = net.append(torch.nn.Linear(24, 3)).double()
    y0 = torch.randn(37, 3, dtype=torch.float64).requires_grad_()
    leaves = [y0, *net.parameters()]

    def gradients(**options):
        y = po.solve(lambda t, y: net(y), y0, torch.linspace(0, 1, 5), step_control="per-sample", **options).y
        return y, torch.autograd.grad(y.square().sum(), leaves)

    (found, pulled), (expected, wanted) = gradients(compile=True), gradients(compile=False)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for one, other in zip(pulled, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
