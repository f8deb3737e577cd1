r"""Which of several rough searches have ended at the same minimum.

Two ends :math:`z_1, z_2` with informations :math:`I_1, I_2` are at one minimum where

.. math:: \max_k \, (z_1 - z_2)^\top I_k (z_1 - z_2) < F ,

F being the number of unknowns: they differ by less than a standard error of each, by the information of either, for a
minimum where the data say nothing of an unknown is another one than where they do. Losses tell less: at loose
tolerances they are uncertain by more than what separates such ends.
"""

from __future__ import annotations

import torch
from torch import Tensor


def representatives(z: Tensor, loss: Tensor, information: Tensor) -> Tensor:
    """Return for each of S ends the one that stands for its minimum, (S,): the least of those that have met there.

    Parameters
    ----------
    z
        Where searches ended, (S, F).
    loss
        (S,).
    information
        Of z, (S, F, F).
    """
    apart = z[:, None] - z
    distance = torch.einsum("ijf,ifg,ijg->ij", apart, information, apart)
    near = torch.maximum(distance, distance.T) < z.shape[1]
    stands = torch.arange(len(z))
    free = torch.ones(len(z), dtype=torch.bool)
    for i in loss.argsort(stable=True).tolist():
        if free[i]:
            stands[near[i] & free] = i
            stands[i] = i
            free &= ~near[i]
            free[i] = False
    return stands
