r"""Exact discrete Jacobians of a solution, and what statistics makes of them.

From the accepted steps :math:`y_{i+1} = \psi(t_i, y_i, h_i; \theta)` of one solve, with
:math:`J_i = \partial\psi_i/\partial y_i` and :math:`B_i = \partial\psi_i/\partial\theta` of all steps computed in one
batched evaluation, the sensitivities :math:`S_i = dy_i/d\theta` follow the forward recurrence

.. math:: S_{i+1} = J_i S_i + B_i .

They are derivatives of the numerical solution itself on its accepted steps, not of a further approximation, so that
Gauss-Newton methods converge to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from physode.gradients.forward_recurrence import Binding, differentiated
from physode.problem.checks import pose
from physode.problem.problem import Problem
from physode.solution import raise_failures
from physode.solvers.driver import Plan, forward
from physode.solvers.symplectic.alf import Paired
from physode.typing import Progress

if TYPE_CHECKING:
    from physode.fused.tangents import Moved

__all__ = ["Sensitivities", "correlation", "covariance", "sensitivities"]


@dataclass(frozen=True)
class Sensitivities:
    """A solution and its derivatives.

    Attributes
    ----------
    y
        The solution, ``(time, *y0.shape)``.
    jacobian
        dy/dtheta, ``(time, *y0.shape, P)``: the parameters' elements in the order given, then (``initial_state``) those
        of ``y0``; with per-sample steps those of each sample's own initial state.
    accepted
        How many steps were accepted: a number, or one a sample.
    """

    y: Tensor
    jacobian: Tensor
    accepted: Tensor


def sensitivities(
    f: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float],
    parameters: Sequence[Tensor],
    *,
    args: Sequence[Any] = (),
    sample_args: bool | Sequence[bool] | None = None,
    initial_state: bool = False,
    throw: bool = True,
    progress: Progress | None = None,
    compile: bool | Literal["auto"] = "auto",  # noqa: A002 - torch.compile's word
    **options: Any,
) -> Sensitivities:
    """Solve and differentiate the solution with respect to parameters, forwards.

    Parameters
    ----------
    f, y0, t, args, sample_args, progress, options
        As for :func:`physode.solve`; ``y0`` is one real tensor. With ``step_control="per-sample"`` all samples share
        the parameters, but those that ``sample_args`` says to have one row a sample.
    parameters
        Tensors that ``f`` depends on: registered parameters of the module ``f``, or members of ``args``. Where these
        have one row a sample, dy/dtheta is with respect to each sample's own, and all parameters must be such.
    initial_state
        Whether to differentiate with respect to ``y0`` too.
    throw
        Raise where the solve or a sample fails; else what it did not reach is NaN.
    compile
        Whether a compiled kernel carries the derivatives along: True, at once, with a warning where that is impossible;
        ``"auto"``, where it is at hand or such solves have taken as long as compiling does.

    Raises
    ------
    SolveError
        If the solve fails, and `throw` is set.
    TypeError, ValueError
        If a parameter is neither registered in ``f`` nor in ``args``, some parameters are shared and others not, or the
        state is not one real tensor.
    """
    if not isinstance(y0, Tensor) or y0.is_complex():
        raise TypeError("`y0` must be one real tensor for sensitivities")
    args = tuple(args)
    with torch.no_grad():
        problem = pose(f, y0.detach(), t, args=args, sample_args=sample_args, **options)
        binding = Binding.of(f, args, problem.dynamics.sample_args, parameters)
        if isinstance(problem.dynamics.packing, Paired):
            raise ValueError(f"`method` must not be {problem.tableau.name!r} for sensitivities; use 'dopri5'")
        asked = Asked(problem, binding, tuple(parameters), initial_state=initial_state, throw=throw)
        return asked.answer(Plan(progress=progress), compile)


@dataclass(frozen=True)
class Asked:
    """Sensitivities that are asked for."""

    problem: Problem
    binding: Binding
    parameters: tuple[Tensor, ...]
    initial_state: bool
    throw: bool

    def answer(self, plan: Plan, when: bool | Literal["auto"]) -> Sensitivities:
        """Solve and differentiate, by kernels or without."""
        if when is False or not self.problem.y0.numel():
            return self.step_by_step(plan)
        from physode.fused import choice  # the engine takes a while to import
        from physode.fused.solving import check_repeatable
        from physode.fused.tangents import prepare_tangents, solve_with_tangents

        leaves, problem = self._tracked()
        job = choice.Job(
            self.problem, plan, ("sensitivities", choice.kind_of(self.problem), self.initial_state, self.binding.names),
            check=lambda: check_repeatable(problem, plan, None),
            prepare=lambda: prepare_tangents(
                problem, plan, leaves, own=self.binding.own, initial_state=self.initial_state
            ),
            by_kernel=lambda given: self._carried(solve_with_tangents(problem, plan, given)),
            uncompiled=self.step_by_step,
            at_once=True,
        )  # fmt: skip
        try:
            return choice.run(job, when)
        except choice.Unsupported as error:
            if choice.is_news(problem, str(error)):
                warnings.warn(f"sensitivities without compilation: {error}", RuntimeWarning, stacklevel=3)
        return self.step_by_step(plan)

    def _tracked(self) -> tuple[list[Tensor], Problem]:
        """Return parameters that require gradients, and the problem of a right-hand side that leads back to them."""
        leaves = [part if part.requires_grad else part.detach().requires_grad_() for part in self.parameters]
        f, args = self.binding.placed(leaves)
        return leaves, replace(self.problem, dynamics=replace(self.problem.dynamics, f=f, args=args))

    def _carried(self, moved: Moved) -> Sensitivities:
        """Return what a kernel found, as it is without one."""
        shape, problem = self.problem.y0.shape, self.problem
        if self.throw:
            raise_failures(moved.steps)
        y = moved.outputs.reshape(len(moved.outputs), *shape)
        jacobian = moved.tangents
        outputs, samples, dimension, columns = jacobian.shape
        if self.initial_state and not problem.per_sample and samples > 1:
            known = columns - dimension
            # 0 by other samples' states; NaN where the solve had failed
            whole = (0.0 * moved.outputs).unsqueeze(-1).repeat(1, 1, 1, known + samples * dimension)
            whole[..., :known] = jacobian[..., :known]
            own = whole[..., known:].view(outputs, samples, dimension, samples, dimension).diagonal(dim1=1, dim2=3)
            own.copy_(jacobian[..., known:].permute(0, 2, 3, 1))
            jacobian = whole
        return Sensitivities(y, jacobian.reshape(*y.shape, jacobian.shape[-1]), moved.steps.accepted)

    def step_by_step(self, plan: Plan) -> Sensitivities:
        """Solve and differentiate without kernels."""
        problem = self.problem.started()
        record = forward(problem, plan)
        if self.throw:
            raise_failures(record)
        y, jacobian = differentiated(problem, plan, record, self.binding, initial_state=self.initial_state)
        if not self.throw:
            jacobian = torch.where(torch.isfinite(y).unsqueeze(-1), jacobian, torch.nan)
        return Sensitivities(y, jacobian, record.accepted)


def covariance(jacobian: Tensor, *, sigma: Tensor | float | None = None, residuals: Tensor | None = None) -> Tensor:
    r"""Return the parameters' covariance :math:`\sigma^2 (J^\top J)^{-1}`, the inverse of the Fisher information.

    Parameters
    ----------
    jacobian
        ``(..., P)``: the derivatives of every observed value.
    sigma
        Standard deviation of the observations, a number or one a value (broadcast against ``jacobian[..., 0]``).
    residuals
        Where ``sigma`` is unknown: observed minus fitted values, from which
        :math:`\hat\sigma^2 = \sum r^2 / (n - P)` is estimated.

    Raises
    ------
    ValueError
        If neither is given, there are too few values, or the data do not determine some parameter.
    """
    parameters = jacobian.shape[-1]
    rows = jacobian.reshape(-1, parameters).double()
    if len(rows) < parameters:
        raise ValueError(f"{len(rows)} values do not determine {parameters} parameters")
    if sigma is not None:
        weights = torch.as_tensor(sigma, dtype=torch.float64, device=rows.device)
        rows = rows / weights.expand(jacobian.shape[:-1]).reshape(-1, 1)
        variance = 1.0
    elif residuals is not None:
        if len(rows) <= parameters:
            raise ValueError(f"{len(rows)} values cannot give a variance for {parameters} parameters; give `sigma`")
        variance = float(residuals.double().square().sum()) / (len(rows) - parameters)
    else:
        raise ValueError("give `sigma`, or `residuals` to estimate it from")
    scale = rows.norm(dim=0)
    triangle = torch.linalg.qr(rows / torch.where(scale > 0, scale, 1.0), mode="r")[1]
    singular = torch.linalg.svdvals(triangle)
    if bool((scale == 0).any()) or float(singular[-1]) < 1e-13 * float(singular[0]):
        raise ValueError("the data do not determine every parameter: some combination of them leaves no trace")
    inverse: Tensor = torch.linalg.inv(triangle) / scale[:, None]
    return variance * (inverse @ inverse.T)


def correlation(covariance: Tensor) -> Tensor:
    """Return the correlation matrix of a covariance matrix."""
    deviation = covariance.diagonal().sqrt()
    return covariance / (deviation[:, None] * deviation)
