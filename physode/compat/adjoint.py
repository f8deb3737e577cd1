"""``odeint_adjoint``: the engine's continuous adjoint, gone back with any of torchdiffeq's methods and options."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from physode.compat.arguments import Fitted, asked_of, mixed_norm, packed_norm
from physode.compat.methods import Callbacks, Line, adjoint_callbacks
from physode.compat.solving import solved, solved_until
from physode.compat.stepping import Choice, InvalidArgument, Stepping, refusals
from physode.gradients import Adjoint
from physode.gradients.outputs import Outcome
from physode.problem.dynamics import Dynamics
from physode.problem.evaluation import Leaves
from physode.problem.packing import Packing
from physode.problem.problem import Problem
from physode.rhs_state import Statistics
from physode.solvers.driver import Plan

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
        ``(t, y, adj_y, *params)``, or is ``"seminorm"``, which leaves the parameters out. Both solves end steps at the
        ``step_t`` and ``jump_t`` of either.
    adjoint_params
        The tensors beside ``y0`` and ``t`` that gradients reach; by default the parameters of the module ``func``.

    Returns
    -------
    Tensor or tuple of tensors
        As of ``odeint``.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise InvalidArgument(
            "`func` must be an nn.Module, whose parameters get gradients, or `adjoint_params` must name the tensors "
            "that do; adjoint_params=() if there are none"
        )
    if adjoint_method is not None and adjoint_method != method and options is not None and adjoint_options is None:
        raise InvalidArgument("`options` are those of `method`: pass `adjoint_options` for another `adjoint_method`")
    with refusals():
        choice = Choice.of(method, options, rtol, atol)
    asked = asked_of(func, y0, t, choice, event=event_fn is not None, shifted=True)
    with refusals():
        backward = _backward_choice(choice, adjoint_method, adjoint_options, adjoint_rtol, adjoint_atol)
    params = tuple(_parameters(func) if adjoint_params is None else adjoint_params)
    for param in params:
        if not isinstance(param, Tensor):
            raise InvalidArgument(f"`adjoint_params` must be tensors, got {type(param).__name__}")
    wanted = tuple(param for param in params if param.requires_grad)
    own_norm = (adjoint_options or {}).get("norm")
    if len(wanted) < len(params) and callable(own_norm):
        warnings.warn(
            "An adjoint parameter does not require gradients: it is left out, and the adjoint norm does not get it.",
            stacklevel=2,
        )
    gradient = _Backward(
        choice=backward,
        adjoint_options={**backward.options, "norm": _adjoint_norm(own_norm, asked.packing)},
        callbacks=adjoint_callbacks(func),
    )
    with refusals():
        stops = _joined(asked.stops, gradient.checked(asked.problem))
    shift = () if asked.shift is None else (asked.shift,)
    asked = replace(asked, problem=_Named(**{**vars(asked.problem), "params": (*shift, *wanted)}), stops=stops)
    if event_fn is None:
        return solved(asked, gradient)
    event_time, states = solved_until(asked, gradient, event_fn)
    return event_time.to(t), states


def _joined(stops: Tensor, others: Tensor) -> Tensor:
    """Return some times and those of others that are not among them."""
    new = ~torch.isin(others, stops.detach())
    return torch.cat([stops, others[new]])


def _backward_choice(choice: Choice, method: Any, options: Any, rtol: Any, atol: Any) -> Choice:
    """Return the backward solve's method, options and tolerances.

    Raises
    ------
    ValueError
        If its method does not know an option that is given for it.
    """
    name = choice.method.name if method is None else method
    rtol, atol = (_least(other) if own is None else own for own, other in ((rtol, choice.rtol), (atol, choice.atol)))
    if options is None:
        inherited = {key: value for key, value in choice.options.items() if key != "norm"}
        choice = Choice.of(name, inherited, rtol, atol)
    else:
        choice = Choice.of(name, options, rtol, atol, which="adjoint_options")
        unknown = sorted(set(options) - choice.method.options)
        if unknown:
            raise InvalidArgument(
                f"`adjoint_options` {unknown} are none of method {name!r}, which knows "
                f"{', '.join(sorted(choice.method.options))}"
            )
    known = {key: value for key, value in choice.options.items() if key in choice.method.options and key != "norm"}
    return replace(choice, options=known)


@dataclass(frozen=True)
class _Named(Problem):
    """A problem whose caller names what gradients reach, beside its state and times."""

    params: tuple[Tensor, ...] = ()

    def started(self, *, keep_graph: bool = False) -> Problem:
        """Evaluate the right-hand side once; see :class:`~physode.problem.problem.Problem`."""
        return replace(super().started(keep_graph=keep_graph), leaves=Leaves(self.params, True))


@dataclass(frozen=True, kw_only=True)
class _Backward(Adjoint):
    """The engine's adjoint method with torchdiffeq's choices for the backward solve.

    ``adjoint_options`` are these choices' options and the norm; they are an attribute of the node of the outputs'
    graph, as scripts may expect, and may be changed there.
    """

    choice: Choice
    adjoint_options: dict[str, Any]
    callbacks: Mapping[str, Callable[..., Any]]

    _second_order = "derivatives of odeint_adjoint's gradients need odeint"
    _every_leaf = False

    def checked(self, problem: Problem) -> Tensor:
        """Check the options as far as they can be before a backward solve; return where steps must end."""
        y0, ends = problem.y0.detach(), problem.t.detach()[[-1, 0]]
        options = {name: value for name, value in self.choice.options.items() if name != "grid_constructor"}
        return Stepping.of(replace(self.choice, options=options), y0, ends, None, lambda x: x.abs().amax()).stops

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, its outputs differentiable."""
        outcome = super().solve(problem, plan)
        if outcome.outputs.grad_fn is not None:
            outcome.outputs.grad_fn.adjoint_options = self.adjoint_options  # type: ignore[attr-defined]
        return outcome

    def posed_backward(
        self,
        problem: Problem,
        f: Callable[..., Any],
        state: tuple[Tensor, ...],
        start: Tensor,
        end: Tensor,
        first_step: float | None,
    ) -> tuple[Problem, Plan]:
        """Pose the augmented problem over 0 to 1, and say how it is walked."""
        line = Line(float(start), float(end - start))
        packing = Packing.of(state, per_sample=False)
        y0 = packing.pack(state)
        t = torch.tensor([0.0, 1.0], dtype=torch.float64, device=y0.device)

        shifted = isinstance(problem.dynamics.f, Fitted) and problem.dynamics.f.shift is not None

        def parts(packed: Tensor) -> tuple[Tensor, ...]:
            y, adjoint, *others = packing.components(packed)
            clock = others.pop(0) if shifted else torch.zeros((), dtype=packed.real.dtype, device=packed.device)
            return (clock, y, adjoint, *others)

        given_norm = self.adjoint_options["norm"]
        options = dict(self.choice.options)
        if first_step is not None and "first_step" in self.choice.method.options:
            options["first_step"] = first_step
        dynamics = Dynamics(f, (), packing, t[0], t[1], y0.real.dtype, y0.device, opaque=True)
        stepping = Stepping.of(
            replace(self.choice, options=options), y0, t, dynamics,
            lambda x: torch.abs(torch.as_tensor(given_norm(parts(x)), device=x.device)), line=line,
        )  # fmt: skip
        inner = Problem(dynamics, stepping.tableau, y0, t, stepping.steps, stepping.grid, statistics=Statistics())
        recorder = Callbacks(self.callbacks, parts, line) if self.callbacks else None
        return inner, Plan(nodes=False, recorder=recorder)


def _adjoint_norm(norm: Any, packing: Packing) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return the backward solve's norm of ``(t, y, adj_y, *params)``, the states packed as ``y0`` is."""
    if norm is None or norm == "seminorm":
        own = packed_norm(None, packing)

        def default(parts: tuple[Tensor, ...]) -> Tensor:
            t, y, adjoint, *params = parts
            sizes = [t.abs(), own(y), own(adjoint)]
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


def _least(tolerance: Any) -> Any:
    """Return the backward tolerance: the smallest where the forward one is one a component."""
    if isinstance(tolerance, (tuple, list)):
        return min(float(torch.as_tensor(part).min()) for part in tolerance)
    return float(tolerance.detach().min()) if isinstance(tolerance, Tensor) else tolerance


def _parameters(module: Callable[..., Any]) -> list[Tensor]:
    assert isinstance(module, nn.Module)
    if getattr(module, "_is_replica", False):  # DataParallel's copies hold plain tensors
        attributes = (value for part in module.modules() for value in vars(part).values())
        return [value for value in attributes if isinstance(value, Tensor) and value.requires_grad]
    return list(module.parameters())
