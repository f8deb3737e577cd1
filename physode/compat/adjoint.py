"""``odeint_adjoint``: the continuous adjoint, solved backwards with any of torchdiffeq's methods and options."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from physode.compat.errors import InvalidArgument
from physode.compat.events import solve_until_event
from physode.compat.observers import ADJOINT_CALLBACKS
from physode.compat.setup import Setup, mixed_norm, read_arguments
from physode.compat.solving import solve
from physode.gradients.first_order import first_order_only, one_by_one
from physode.problem.packing import Packing

__all__ = ["odeint_adjoint"]


def odeint_adjoint(
    func: Callable[..., Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[..., Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> Any:
    """Solve as :func:`~physode.compat.torchdiffeq.odeint` does; gradients come from the adjoint equations.

    No step is kept between the passes but the outputs; gradients carry truncation errors of their own, which those of
    ``physode.solve(..., gradient="aca")`` do not.

    Parameters
    ----------
    func, y0, t, rtol, atol, method, options, event_fn
        As of ``odeint``.
    adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options
        The backward solve's; by default the forward solve's, but for ``norm``. The backward ``norm`` is called with
        ``(t, y, adj_y, *params)``, or is ``"seminorm"``, which leaves the parameters out.
    adjoint_params
        The tensors beside ``y0`` and ``t`` that gradients reach; by default the parameters of the module ``func``.

    Returns
    -------
    Tensor or tuple of tensors
        As of ``odeint``.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(
            "`func` must be an nn.Module, whose parameters get gradients, or `adjoint_params` must name the tensors "
            "that do; adjoint_params=() if there are none"
        )
    if adjoint_method is not None and adjoint_method != method and options is not None and adjoint_options is None:
        raise ValueError("`options` are those of `method`: pass `adjoint_options` for another `adjoint_method`")
    params = tuple(_parameters(func) if adjoint_params is None else adjoint_params)
    wanted = tuple(param for param in params if param.requires_grad)
    backward_options = dict(_without_norm(options) if adjoint_options is None else adjoint_options)
    if len(wanted) < len(params) and callable(backward_options.get("norm")):
        warnings.warn(
            "An adjoint parameter does not require gradients: it is left out, and the adjoint norm does not get it.",
            stacklevel=2,
        )
    setup = read_arguments(func, y0, t, rtol=rtol, atol=atol, method=method, options=options, event_fn=event_fn)
    backward_options["norm"] = _adjoint_norm(backward_options.get("norm"), setup)
    plan = _Plan(
        setup,
        _inherited(rtol) if adjoint_rtol is None else adjoint_rtol,
        _inherited(atol) if adjoint_atol is None else adjoint_atol,
        method if adjoint_method is None else adjoint_method,
        _callbacks(func),
    )
    outputs: Any = _Adjoint.apply(plan, backward_options, setup.y0, setup.t, *wanted)  # type: ignore[no-untyped-call]
    if event_fn is None:
        return setup.unpack(outputs)
    return outputs[0].to(t), setup.unpack(outputs[1])


@dataclass(frozen=True)
class _Plan:
    """The forward solve, and the backward solves' tolerances, method and callbacks."""

    setup: Setup
    rtol: Any
    atol: Any
    method: str | None
    callbacks: dict[str, Callable[..., Any]]


class _Adjoint(torch.autograd.Function):
    """From the initial state, the times and the parameters to the outputs, or an event's time and outputs.

    The backward solves' options are the attribute ``adjoint_options`` of the graph's node, as scripts may expect.
    """

    @staticmethod
    def forward(ctx: Any, plan: _Plan, options: dict[str, Any], y0: Tensor, t: Tensor, *params: Tensor) -> Any:
        del y0
        ctx.plan, ctx.adjoint_options = plan, options
        if plan.setup.event is None:
            outputs, event_time = solve(plan.setup), None
            _mark_end(plan.setup, t[-1], outputs[-1])
            ctx.save_for_backward(t, outputs, *params)
            return outputs
        event_time, outputs = solve_until_event(plan.setup)
        _mark_end(plan.setup, event_time, outputs[-1])
        ctx.save_for_backward(torch.stack([t[0], event_time]), outputs, *params)
        return event_time, outputs

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        times, outputs, *params = ctx.saved_tensors
        with torch.no_grad(), ctx.plan.setup.as_solved(params):
            state, clock, parameters = _back_through_outputs(
                ctx.plan, ctx.adjoint_options, times, outputs, cotangents[-1], params, clock_too=ctx.needs_input_grad[3]
            )
        if clock is not None and ctx.plan.setup.event is not None:
            clock[1:] = 0.0  # the second time told a direction only
        gradients = [state, clock, *parameters]
        sources = [*ctx.saved_tensors, *cotangents]
        return (
            None,
            None,
            *first_order_only(gradients, sources, "derivatives of odeint_adjoint's gradients need odeint"),
        )


def _mark_end(setup: Setup, t: Tensor, y: Tensor) -> None:
    """Keep an evaluation at the end, for the pass back to be held against."""
    if setup.flow.conduct.marks:
        with setup.statistics.preserved():
            setup.flow.mark(t, y, setup.flow(t, y))


def _back_through_outputs(
    plan: _Plan,
    options: dict[str, Any],
    times: Tensor,
    outputs: Tensor,
    cotangents: Tensor,
    params: list[Tensor],
    *,
    clock_too: bool,
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """Return dL/dy0, dL/dt and dL/dparams: from the last output to the first, one augmented solve between each two."""
    flow = plan.setup.flow
    augmented = _Augmented(plan, params, clock_too=clock_too)
    by_time, adjoint = torch.zeros((), dtype=flow.dtype, device=outputs.device), cotangents[-1]
    by_params = [torch.zeros_like(param) for param in params]
    clock = torch.zeros_like(times) if clock_too else None
    for i in range(len(times) - 1, 0, -1):
        if clock is not None:
            clock[i] = _dot(cotangents[i], flow(times[i], outputs[i]))
            by_time = by_time - clock[i].to(by_time)
        backward = read_arguments(
            augmented,
            (by_time, outputs[i], adjoint, *by_params),
            times[i - 1 : i + 1].flip(0),
            rtol=plan.rtol,
            atol=plan.atol,
            method=plan.method,
            options=options,
            inner=True,
        )
        by_time, _, adjoint, *by_params = (part[-1] for part in backward.unpack(solve(backward)))
        by_time = by_time.real if by_time.is_complex() else by_time
        adjoint = adjoint + cotangents[i - 1]
    if clock is not None:
        clock[0] = by_time
    return adjoint.to(outputs.dtype), clock, by_params


class _Augmented:
    """The equations of ``(dL/dt, y, dL/dy, *dL/dparams)``, with the callbacks of the backward solve as attributes."""

    def __init__(self, plan: _Plan, params: list[Tensor], *, clock_too: bool) -> None:
        self._flow, self._dtype, self._params, self._clock_too = (
            plan.setup.flow, plan.setup.y0.dtype, params, clock_too
        )  # fmt: skip
        for name, callback in plan.callbacks.items():
            setattr(self, name, callback)

    def __call__(self, t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            time = t.detach().double().requires_grad_(self._clock_too)
            y = state[1].detach().to(self._dtype).requires_grad_()
            value = self._flow(time, y)
            inputs = [time, y, *self._params] if self._clock_too else [y, *self._params]
            pulled: tuple[Tensor | None, ...] = (None,) * len(inputs)
            if value.requires_grad:
                pulled = torch.autograd.grad(
                    value, inputs, -state[2].to(value.dtype), allow_unused=True, retain_graph=True
                )
        parts = [torch.zeros_like(x) if part is None else part for part, x in zip(pulled, inputs, strict=True)]
        by_time = parts.pop(0) if self._clock_too else torch.zeros_like(time)
        return by_time, value.detach(), *parts


def _adjoint_norm(norm: Any, setup: Setup) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return the backward solve's norm of ``(t, y, adj_y, *params)``, the states packed as ``y0`` is."""
    packing: Packing = setup.packing
    if norm is None or norm == "seminorm":

        def default(parts: tuple[Tensor, ...]) -> Tensor:
            t, y, adjoint, *params = parts
            sizes = [t.abs(), setup.norm(y), setup.norm(adjoint)]
            if norm is None and params:
                sizes.append(mixed_norm(tuple(params)))
            return torch.stack([size.to(sizes[0]) for size in sizes]).amax()

        return default
    if not callable(norm):
        raise InvalidArgument(f"adjoint_options['norm'] must be a callable or 'seminorm', got {norm!r}")
    if packing.keys is None:
        return norm  # type: ignore[no-any-return]

    def custom(parts: tuple[Tensor, ...]) -> Tensor:
        t, y, adjoint, *params = parts
        return norm((t, *packing.components(y), *packing.components(adjoint), *params))  # type: ignore[no-any-return]

    return custom


def _without_norm(options: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if name != "norm"}


def _inherited(tolerance: Any) -> Any:
    """Return the backward tolerance; the smallest where the forward one is one a component."""
    if isinstance(tolerance, (tuple, list)):
        return min(float(torch.as_tensor(part).min()) for part in tolerance)
    return float(tolerance.min()) if isinstance(tolerance, Tensor) else tolerance


def _callbacks(func: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {plain: getattr(func, name) for name, plain in ADJOINT_CALLBACKS.items() if hasattr(func, name)}


def _parameters(module: Callable[..., Any]) -> list[Tensor]:
    assert isinstance(module, nn.Module)
    if getattr(module, "_is_replica", False):  # DataParallel's copies hold plain tensors
        attributes = (value for part in module.modules() for value in vars(part).values())
        return [value for value in attributes if isinstance(value, Tensor) and value.requires_grad]
    return list(module.parameters())


def _dot(a: Tensor, b: Tensor) -> Tensor:
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.sum().double()
