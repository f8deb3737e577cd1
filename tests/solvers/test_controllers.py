"""Step-size controllers."""

from __future__ import annotations

import pytest
import torch

from physode.solvers.step_control import PI, PID, Controller, I, Predictive

pytestmark = pytest.mark.usefixtures("float64")


def after(controller, error, *, accepted=True, size=1.0, control=None):
    size = torch.tensor(size)
    control = controller.start(size) if control is None else control
    return controller.next(control, torch.tensor(error), size, torch.tensor(accepted), 4)


def test_the_integral_controller_aims_at_the_tolerance():
    assert float(after(I(), 0.5).size) == pytest.approx(0.9 * 0.5 ** (-1 / 5))


def test_a_step_changes_within_bounds():
    assert float(after(I(), 1e-30).size) == 10.0
    assert float(after(I(), 0.0).size) == 10.0
    assert float(after(I(), 1e30, accepted=False).size) == 0.2


def test_nan_and_infinite_errors_are_rejected_and_shrink_the_step():
    for error in (float("nan"), float("inf")):
        assert not bool(I().accepts(torch.tensor(error), torch.tensor(1.0)))
        assert float(after(I(), error, accepted=False).size) == 0.2


def test_a_step_accepted_after_a_rejection_does_not_grow():
    rejected = after(I(), 5.0, accepted=False)
    assert bool(rejected.rejected)
    accepted = after(I(), 1e-8, size=float(rejected.size), control=rejected)
    assert float(accepted.size) == float(rejected.size)
    assert float(after(I(), 1e-8, size=1.0, control=accepted).size) == 10.0


def test_a_rejected_step_shrinks_even_if_its_error_is_barely_too_large():
    assert float(after(I(), 1.0 + 1e-12, accepted=False).size) <= 0.9


@pytest.mark.parametrize("controller", [PI(), PID(), Controller(0.2, 0.3, 0.1)])
def test_constant_errors_at_the_tolerance_keep_the_step_near_the_safety_factor(controller):
    control = after(controller, 1.0)
    assert float(after(controller, 1.0, control=control).size) == pytest.approx(0.9)


def test_memory_moves_with_accepted_steps_only():
    control = after(PID(), 0.5)
    control = after(PID(), 0.25, control=control)
    assert (float(control.error_1), float(control.error_2)) == (0.25, 0.5)
    control = after(PID(), 7.0, accepted=False, control=control)
    assert (float(control.error_1), float(control.error_2)) == (0.25, 0.5)


@pytest.mark.parametrize("options", [{"safety": 0.0}, {"min_factor": 1.5}, {"max_factor": 0.5}])
def test_bounds_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="must lie in"):
        Controller(**options)


def test_an_error_larger_than_expected_is_expected_to_grow_as_much_once_more():
    controller = Predictive()
    control = after(controller, 0.5)
    assert float(control.error_1) == pytest.approx(0.9**5)  # of the step proposed
    control = after(controller, 0.8, size=float(control.size), control=control)
    size, growth = 0.9 * 0.5 ** (-1 / 5), (0.9**5 / 0.8) ** (1 / 5)
    assert float(control.size) == pytest.approx(size * 0.9 * 0.8 ** (-1 / 5) * growth)


def test_an_error_smaller_than_expected_leaves_the_integral_rule():
    control = after(Predictive(), 0.5)
    found = after(Predictive(), 0.3, control=control)
    assert float(found.size) == pytest.approx(float(after(I(), 0.3).size))


def test_what_is_expected_survives_rejections():
    control = after(Predictive(), 0.5)
    rejected = after(Predictive(), 2.0, accepted=False, control=control)
    shrunk = float(rejected.size)
    assert float(rejected.error_1) == pytest.approx(0.9**5 * shrunk**5)


@pytest.mark.parametrize("controller", [I(), Predictive(), PI(), PID()])
def test_floats_and_tensors_follow_one_rule(controller):
    errors = [0.5, 0.9, 3.0, float("nan"), 0.2, 0.0, float("inf"), 1e-3, 0.7]
    number, tensor = controller.start(0.1), controller.start(torch.tensor(0.1))
    for error in errors:
        accepted = controller.accepts(error, number.size)
        assert accepted == bool(controller.accepts(torch.tensor(error), tensor.size))
        number = controller.next(number, error, number.size, accepted, 4)
        tensor = controller.next(tensor, torch.tensor(error), tensor.size, torch.tensor(accepted), 4)
        assert [float(value) for value in number] == pytest.approx([float(value) for value in tensor], rel=1e-12)


def test_prediction_goes_with_the_integral_rule_only():
    with pytest.raises(ValueError, match="`predictive`"):
        Controller(proportional=0.4, integral=0.3, predictive=True)
