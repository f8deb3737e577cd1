"""Other packages' interfaces on this engine: existing scripts run with one changed import.

``from physode.compat.torchdiffeq import odeint, odeint_adjoint`` for torchdiffeq 0.2.5,
``from physode.compat.torch_aca import odesolve`` for torch_ACA and TorchDiffEqPack.
"""

from __future__ import annotations

from physode.compat.torch_aca import odesolve, odesolve_adjoint
from physode.compat.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event", "odesolve", "odesolve_adjoint"]
