"""Records: equal for equal work, different for different work, refused where no record tells what is done."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from physode.fused.checking import check
from physode.fused.lowering import lower
from physode.fused.recording import Recorded, record
from physode.fused.tape import Lifted
from physode.fused.unsupported import Unsupported
from tests.fused.holding import dynamics_of, lowered

FLOAT = torch.float64


def recorded(f: Callable[..., Any], y: Any, args: tuple[Any, ...] = ()) -> Recorded:
    dynamics = dynamics_of(f, y, args)
    return record(dynamics, torch.tensor(0.5, dtype=FLOAT), dynamics.packing.pack(y))


def test_equal_work_has_equal_records_whatever_the_values() -> None:
    class Springs(nn.Module):
        def __init__(self, stiffness: float) -> None:
            super().__init__()
            self.k = nn.Parameter(torch.tensor([stiffness, 2.0], dtype=FLOAT))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.k * y + 0.1234 * torch.cos(t)

    first, second = (recorded(Springs(k), torch.rand(5, 2, dtype=FLOAT)) for k in (1.0, 3.0))
    assert first.tape == second.tape
    assert hash(first.tape) == hash(second.tape)
    assert first.numbers == second.numbers == (0.1234,)
    assert [float(x.detach()[0]) for x in (*first.inputs, *second.inputs)] == [1.0, 3.0]


def test_branches_make_different_records() -> None:
    def f(t: Tensor, y: Tensor, rising: bool) -> Tensor:
        return y.sin() if rising else y.cos()

    y = torch.rand(2, dtype=FLOAT)
    assert recorded(f, y, (True,)).tape != recorded(f, y, (False,)).tape


def test_numbers_are_inputs_but_for_small_whole_ones_and_halves() -> None:
    made = recorded(lambda t, y: 0.3 * y + 2.0 * y - 1.5 * y + 17.0 * y + y**2.5 - 1e-3, torch.rand(2, dtype=FLOAT))
    assert made.numbers == (0.3, 17.0, 1e-3)
    lifted = [x for call in made.tape.calls for x in call.args if isinstance(x, Lifted)]
    assert lifted == [Lifted(0), Lifted(1), Lifted(2)]


def test_the_value_is_the_right_hand_sides() -> None:
    y = torch.rand(3, 2, dtype=FLOAT)
    assert torch.equal(recorded(lambda t, y: y.sin() * t, y).value, y.sin() * 0.5)


def test_a_parameter_and_its_parts_are_one_input() -> None:
    p = torch.rand(2, dtype=FLOAT, requires_grad=True)

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = p.unbind()
        return a * y + b * y.sin() + p[0] * y.cos() + p * y

    made = recorded(f, torch.rand(3, 2, dtype=FLOAT))
    assert len(made.inputs) == 1
    assert made.inputs[0] is p


def test_inputs_made_from_parameters_carry_their_graphs() -> None:
    p = torch.rand(2, dtype=FLOAT, requires_grad=True)
    made = recorded(lambda t, y: p.exp() * y, torch.rand(3, 2, dtype=FLOAT))
    [gradient] = torch.autograd.grad(made.inputs[0].sum(), p)
    torch.testing.assert_close(gradient, p.detach().exp())


def test_a_detached_parameter_has_no_graph_beside_itself() -> None:
    p = torch.rand(2, dtype=FLOAT, requires_grad=True)
    made = recorded(lambda t, y: p * y + p.detach() * y.sin(), torch.rand(3, 2, dtype=FLOAT))
    assert [x.requires_grad for x in made.inputs] == [True, False]


def test_matrices_that_say_what_acts_on_what_are_part_of_the_record() -> None:
    """Whole numbers, most of them 0: a product with such a matrix has as many terms as there are others."""
    network = torch.tensor([[-1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=FLOAT)
    made = recorded(lambda t, y: y.sin() @ network.T, torch.rand(5, 3, dtype=FLOAT))
    assert made.inputs == ()
    program = lower(made.tape, batch=True).program
    assert [node.op for node in program.nodes].count("mul") == 1
    changed = recorded(lambda t, y: y.sin() @ (2.0 * network).T, torch.rand(5, 3, dtype=FLOAT))
    assert changed.tape != made.tape


@pytest.mark.parametrize("kind", ["parameter", "argument", "row a sample", "other numbers", "mostly not 0"])
def test_matrices_that_may_be_of_other_values_are_inputs(kind: str) -> None:
    network = torch.zeros(3, 3, dtype=FLOAT)
    if kind == "parameter":
        network.requires_grad_()
    elif kind == "row a sample":
        network = torch.zeros(5, 3, dtype=FLOAT)
    elif kind == "other numbers":
        network[0, 0] = 0.3
    elif kind == "mostly not 0":
        network += 1.0
    if kind == "argument":
        made = recorded(lambda t, y, p: y @ p, torch.rand(5, 3, dtype=FLOAT), (network,))
    else:
        made = recorded(lambda t, y: y @ network if len(network) == 3 else y * network, torch.rand(5, 3, dtype=FLOAT))
    assert len(made.inputs) == 1


@pytest.mark.slow
def test_memory_of_results_that_are_done_with_is_let_go() -> None:
    alive: list[int] = []

    def f(t: Tensor, y: Tensor) -> Tensor:
        for _ in range(20):
            y = y.sin()
            alive.append(sum(type(x) is Tensor and x.shape == y.shape for x in gc.get_objects()))
        return y

    with torch.no_grad():
        recorded(f, torch.rand(7, 11, 13, dtype=FLOAT))
    assert alive[-1] <= alive[0] + 2


def test_addresses_that_are_used_again_are_not_mistaken() -> None:
    """A tensor made outside of PyTorch's operations may lie where a result of the evaluation lay."""
    import numpy as np

    def f(t: Tensor, y: Tensor) -> Tensor:
        for k in range(50):
            y = y.sin() + 0.0
            y = y + torch.from_numpy(np.full(3, float(k)))
        return y

    made = recorded(f, torch.rand(3, dtype=FLOAT))
    assert len(made.inputs) == 50
    lower(made.tape, batch=False)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "item": (lambda t, y: y * y[0, 0].item(), "control flow on values"),
    "branch": (lambda t, y: y if y[0, 0] > 0 else -y, "control flow on values"),
    "mask": (lambda t, y: y + y[y > 0].sum(), "control flow on values"),
    "nonzero": (lambda t, y: y + y.nonzero().sum(), "control flow on values|is not supported"),
    "dropout": (lambda t, y: torch.nn.functional.dropout(y), "draws random numbers"),
    "noise": (lambda t, y: y + torch.randn(2, dtype=FLOAT), "draws random numbers"),
    "detach": (lambda t, y: y.detach() * y, r"stops gradients by detach\(\)"),
    "complex": (
        lambda t, y: torch.view_as_real(torch.view_as_complex(y) * 1j),
        "aten.view_as_complex.default is not supported",
    ),
    "sort": (lambda t, y: y.sort(-1).values, "aten.sort is not supported"),
    "float32": (lambda t, y: (y.float() * 2).double(), "uses values in torch.float32"),
    "argmax": (lambda t, y: y * y.argmax(-1, keepdim=True), "is not supported|torch.int64"),
    "unwritten": (lambda t, y: torch.empty_like(y) + y, "memory that it has not written"),
    "solve": (lambda t, y: y * torch.linalg.det(torch.eye(4, dtype=FLOAT) * t), "of 4 equations is not supported"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_is_in_the_way(name: str) -> None:
    f, reason = REFUSED[name]
    with pytest.raises(Unsupported, match=reason):
        lower(recorded(f, 0.1 + torch.rand(3, 2, dtype=FLOAT)).tape, batch=True)


def test_what_is_no_derivative_of_the_state_is_an_error() -> None:
    with pytest.raises(ValueError, match="must have the state's shape"):
        recorded(lambda t, y: y.sum(-1), torch.rand(3, 2, dtype=FLOAT))


def test_no_grad_inside_is_refused_where_gradients_are_asked_for() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            size = y.norm(dim=-1, keepdim=True)
        return y * size

    y = torch.rand(3, 2, dtype=FLOAT)
    with pytest.raises(Unsupported, match=r"no_grad\(\)"):
        recorded(f, y)
    with torch.no_grad():
        lower(recorded(f, y).tape, batch=True)


def test_detached_states_are_no_hindrance_where_gradients_are_not_asked_for() -> None:
    with torch.no_grad():
        recorded(lambda t, y: y.detach() * y, torch.rand(3, 2, dtype=FLOAT))


def test_writing_into_a_tensor_from_outside_is_refused() -> None:
    kept = torch.zeros(3, 2, dtype=FLOAT)

    def f(t: Tensor, y: Tensor) -> Tensor:
        kept[:, 0] = y[:, 1]
        return kept.clone()

    with pytest.raises(Unsupported, match="changes tensors in place"):
        recorded(f, torch.rand(3, 2, dtype=FLOAT))


def test_counting_in_a_buffer_is_refused() -> None:
    count = torch.zeros((), dtype=FLOAT)

    def f(t: Tensor, y: Tensor) -> Tensor:
        count.add_(1.0)
        return y * count

    with pytest.raises(Unsupported, match="changes tensors in place"):
        recorded(f, torch.rand(3, 2, dtype=FLOAT))


def test_writing_into_the_state_is_refused() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        y += 1.0
        return y

    y = torch.rand(3, 2, dtype=FLOAT)
    before = y.clone()
    with pytest.raises(Unsupported, match="changes tensors in place"):
        recorded(f, y)
    assert torch.equal(y, before)


def test_states_that_are_not_floating_are_refused() -> None:
    with pytest.raises(Unsupported, match="float16"):
        recorded(lambda t, y: -y, torch.rand(3, dtype=torch.float16))


def held_against_itself(f: Callable[..., Any], y: Tensor) -> None:
    dynamics = dynamics_of(f, y)
    t = torch.tensor(0.5, dtype=FLOAT)
    made = record(dynamics, t, y)
    check(lower(made.tape, batch=True), made, dynamics, t, y, batch=True)


def test_values_that_leave_pytorch_are_noticed() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(y.numpy() ** 2) + y

    with pytest.raises(Unsupported, match="not a function of time and state alone"):
        held_against_itself(f, torch.rand(3, 2, dtype=FLOAT))


def test_times_that_leave_pytorch_are_noticed() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return y * torch.tensor(float(t.numpy()), dtype=FLOAT)

    with pytest.raises(Unsupported, match="not a function of time and state alone"):
        held_against_itself(f, torch.rand(3, 2, dtype=FLOAT))


def test_hidden_counters_are_noticed() -> None:
    calls = [0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return y * (0.37 * calls[0])

    with pytest.raises(Unsupported, match="not a function of time and state alone"):
        held_against_itself(f, torch.rand(3, 2, dtype=FLOAT))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_of_time_and_state_pass_the_check(dtype: torch.dtype) -> None:
    p = torch.rand(3, 1, dtype=dtype)
    held_against_itself(lambda t, y: p * y.sin() * t + y.sqrt(), torch.rand(3, 2, dtype=dtype))


def test_refused_by_name_where_samples_are_mixed() -> None:
    y = torch.rand(3, 2, dtype=FLOAT)
    mixing: dict[str, Callable[[Tensor], Tensor]] = {
        "aten.mean": lambda y: y - y.mean(0),
        "aten.sum": lambda y: y - y.sum(),
        "aten._softmax": lambda y: y.softmax(0),
        "aten.cumsum": lambda y: y.cumsum(0),
        "aten.flip": lambda y: y.flip(0),
        "aten.cat": lambda y: torch.cat((y, y))[:3],
        "aten.mm": lambda y: y @ (y.T @ y),
        "aten.native_batch_norm": lambda y: torch.nn.functional.batch_norm(y, None, None, training=True),
        "aten.add": lambda y: (y[:, :1] + y[:, 0])[:, :2],
        "aten.index": lambda y: y[torch.tensor([1, 0, 2])],
        "aten.sub": lambda y: y - y[0],
        "aten.mul": lambda y: y * y[1:2],
        "aten.div": lambda y: y.T.reshape(3, 2) / 1.5,
    }
    for name, function in mixing.items():
        with pytest.raises(Unsupported, match=f"{name}.* mixes samples"):
            lowered(lambda t, y, function=function: function(y), y)


class Reversed(torch.autograd.Function):
    """A view whose derivative is not a view's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -2.0 * gradient


def test_views_that_stop_or_change_gradients_are_refused() -> None:
    def stopping(t: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            first = y[:, :1]
        return y * first

    y0 = torch.rand(3, 2, dtype=FLOAT)
    for f in (stopping, lambda t, y: Reversed.apply(y) * y):
        with pytest.raises(Unsupported, match=r"stops gradients by detach\(\) or no_grad\(\)"):
            recorded(f, y0)
        with torch.no_grad():
            recorded(f, y0)


def test_inputs_are_the_tensors_that_gradients_are_asked_of() -> None:
    w = torch.rand(4, 3, dtype=FLOAT, requires_grad=True)
    row, turned, wide = w[0], Reversed.apply(w[1]), w[2, :1].expand(3)
    y0 = torch.rand(5, 3, dtype=FLOAT)
    made = recorded(lambda t, y: row * y + turned.view(3) + y * wide + w[3] * y.sin() + w[0], y0)
    assert {id(x) for x in made.inputs} == {id(x) for x in (row, turned, wide, w)}
