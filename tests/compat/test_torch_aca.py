"""odesolve with torch_ACA's options, against SciPy."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import physode
from physode.compat.torch_aca import odesolve, odesolve_adjoint, odesolve_endtime

pytestmark = pytest.mark.usefixtures("float64")

METHODS = ["Euler", "RK2", "RK4", "RK12", "RK23", "RK45", "Dopri5", "dopri5"]


class Pendulum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.g = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, t, z):
        return torch.stack([z[1], -self.g * torch.sin(z[0])])


def reference(times):
    found = solve_ivp(
        lambda t, z: [z[1], -2.0 * np.sin(z[0])], (0.0, 2.0), [1.0, 0.2], t_eval=times, method="DOP853", rtol=1e-12,
        atol=1e-12,
    )  # fmt: skip
    return torch.from_numpy(found.y.T.copy())


Z0 = torch.tensor([1.0, 0.2], dtype=torch.float64)
OPTIONS = {"h": None, "t0": 0.0, "t1": 2.0, "rtol": 1e-6, "atol": 1e-8, "print_neval": False, "neval_max": 500000}


def test_odesolve_stands_at_the_top_level():
    assert physode.odesolve is odesolve
    assert physode.odesolve_adjoint is odesolve_adjoint


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("interface", [odesolve, odesolve_endtime, odesolve_adjoint])
def test_every_method_reaches_the_end(method, interface):
    fixed = method in ("Euler", "RK2", "RK4")
    found = interface(Pendulum(), Z0, {**OPTIONS, "method": method, "h": 0.005 if fixed else None})
    tolerance = 3e-2 if method == "Euler" else 1e-3
    torch.testing.assert_close(found, reference([2.0])[0], rtol=tolerance, atol=tolerance)


def test_several_output_times_are_stacked():
    times = [0.3, 1.1, 2.0]
    found = odesolve(Pendulum(), Z0, {**OPTIONS, "method": "Dopri5", "t_eval": times})
    torch.testing.assert_close(found, reference(times), rtol=1e-5, atol=1e-5)


def test_output_times_may_start_with_the_initial_time():
    found = odesolve(Pendulum(), Z0, {**OPTIONS, "method": "Dopri5", "t_eval": [0.0, 1.0]})
    torch.testing.assert_close(found[0], Z0)
    torch.testing.assert_close(found[1], reference([1.0])[0], rtol=1e-5, atol=1e-5)


def test_time_runs_backward_too():
    end = reference([2.0])[0]
    found = odesolve(Pendulum(), end, {**OPTIONS, "method": "RK45", "t0": 2.0, "t1": 0.0, "t_eval": [1.0, 0.0]})
    torch.testing.assert_close(found[-1], Z0, rtol=1e-5, atol=1e-5)


def test_tuple_states_have_tolerances_of_their_own():
    found = odesolve(
        lambda t, z: (-z[0], z[0] * z[1]), (torch.ones(2), torch.ones(2, 3, 2)),
        {"method": "dopri5", "t_eval": [0.5, 1.0], "rtol": [1e-6, 1e-7], "atol": [1e-8, 1e-9]},
    )  # fmt: skip
    assert [part.shape for part in found] == [(2, 2), (2, 2, 3, 2)]
    torch.testing.assert_close(found[1][1], torch.full((2, 3, 2), math.exp(1 - math.exp(-1.0))), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("interface", [odesolve, odesolve_endtime, odesolve_adjoint])
def test_gradients_reach_the_state_and_parameters(interface):
    def end(z0, g):
        f = Pendulum()
        f.g = torch.nn.Parameter(g.detach())
        z = interface(f, z0, {**OPTIONS, "method": "Dopri5", "rtol": 1e-9, "atol": 1e-11})
        return z, f

    z0 = Z0.clone().requires_grad_()
    z, f = end(z0, torch.tensor(2.0))
    state, parameter = torch.autograd.grad(z[0], [z0, f.g])
    step = 1e-5
    with torch.no_grad():
        slope = (end(Z0, torch.tensor(2.0 + step))[0] - end(Z0, torch.tensor(2.0 - step))[0])[0] / (2 * step)
    torch.testing.assert_close(parameter, slope, rtol=1e-5, atol=1e-7)
    assert torch.isfinite(state).all()


def test_odesolve_can_be_differentiated_twice():
    def end(z0):
        return odesolve(lambda t, z: -(z**2), z0, {"method": "RK4", "h": 0.1, "t1": 1.0})

    assert torch.autograd.gradgradcheck(end, (torch.tensor([0.8, 0.5], requires_grad=True),))


def test_gradients_reach_times_given_as_tensors():
    t1 = torch.tensor(1.0, requires_grad=True)
    end = odesolve(
        lambda t, z: -z, torch.ones(1), {"method": "Dopri5", "t0": 0.0, "t1": t1, "rtol": 1e-8, "atol": 1e-10}
    )
    (slope,) = torch.autograd.grad(end.sum(), t1)
    torch.testing.assert_close(slope, torch.tensor(-math.exp(-1.0)), rtol=1e-6, atol=0.0)


def test_the_solver_is_a_function_of_time_afterwards():
    solver = odesolve(Pendulum(), Z0, {**OPTIONS, "method": "Dopri5", "dense_output": True}, return_solver=True)
    _, steps = solver.integrate(Z0, return_steps=True)
    assert float(steps[-1]) == 2.0
    torch.testing.assert_close(solver.evaluate_dense_mode([0.7, 1.3]), reference([0.7, 1.3]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(solver(0.7), reference([0.7])[0], rtol=1e-5, atol=1e-5)


def test_evaluations_are_logged_not_printed(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="physode"):
        odesolve(Pendulum(), Z0, {**OPTIONS, "method": "RK12", "print_neval": True})
    assert "evaluations" in caplog.text
    assert capsys.readouterr().out == ""


def test_the_options_of_both_packages_are_accepted():
    more = {
        "step_dif_ratio": 1e-3, "safety": 0.8, "delete_graph": True, "regenerate_graph": True, "print_direction": False,
        "interpolation_method": "cubic", "end_point_mode": False, "print_time": False,
    }  # fmt: skip
    odesolve(Pendulum(), Z0, {**OPTIONS, **more, "method": "RK23"})


def test_unknown_options_warn_and_unknown_methods_raise():
    with pytest.warns(UserWarning, match="tolerance"):
        odesolve(Pendulum(), Z0, {**OPTIONS, "method": "RK23", "tolerance": 1e-3})
    with pytest.raises(ValueError, match="Dopri5"):
        odesolve(Pendulum(), Z0, {**OPTIONS, "method": "ode23s"})
