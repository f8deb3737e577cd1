"""Latent paths in the plane in which they differ most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import INK, finish, label, new_figure, plain, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_latent", "principal"]

Array = np.ndarray[Any, Any]


def principal(states: Array) -> tuple[Array, Array, Array]:
    r"""Return mean, first two principal directions, and their shares of the variance, of states (M, D).

    With the singular values :math:`s` of the states less their mean, the shares are :math:`s_i^2 / \sum_j s_j^2`.

    Returns
    -------
    tuple
        (D,), (2, D) and (2,); of a single component, the second direction and its share are 0.
    """
    mean = states.mean(axis=0)
    _, sizes, directions = np.linalg.svd(states - mean, full_matrices=False)
    total = np.square(sizes).sum()
    shares = np.square(sizes) / (total if total > 0 else 1.0)
    missing = max(0, 2 - len(shares))
    return mean, np.pad(directions[:2], ((0, missing), (0, 0))), np.pad(shares[:2], (0, missing))


def plot_latent(
    times: Sequence[Array],
    paths: Sequence[Array],
    *,
    time_unit: str = "",
    title: str = "Latent paths",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw latent paths in the plane of their first two principal components, coloured by time, starts marked.

    Parameters
    ----------
    times
        Of each path, (Q,).
    paths
        Each (Q, D).
    time_unit
        Of the times.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there is no path.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    if not paths:
        raise ValueError("`paths` must hold at least one path, got none")
    mean, directions, shares = principal(np.concatenate(list(paths)))
    with styled():
        figure = new_figure(7.0, 5.6)
        axes = figure.subplots()
        since = [each - each[0] for each in times]
        scale = Normalize(0.0, max(float(each[-1]) for each in since) or 1.0)
        for index, (t, states) in enumerate(zip(since, paths, strict=True)):
            plane = (states - mean) @ directions.T
            ends = np.stack([plane[:-1], plane[1:]], axis=1)
            lines = LineCollection(list(ends), cmap="viridis", norm=scale, lw=1.6, capstyle="round")
            lines.set_array(0.5 * (t[:-1] + t[1:]))
            axes.add_collection(lines)
            name = "start" if index == 0 else None
            axes.plot(plane[:1, 0], plane[:1, 1], "o", ms=6, color="white", mec=INK, mew=1.2, zorder=3, label=name)
        axes.autoscale_view()
        axes.set_xlabel(f"first principal component, {100 * shares[0]:.0f} % of the variance")
        axes.set_ylabel(f"second principal component, {100 * shares[1]:.0f} %")
        axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
        bar = figure.colorbar(lines, ax=axes, pad=0.02)
        bar.set_label(label("time since the start", time_unit))
        bar.outline.set_visible(False)
        figure.suptitle(plain(title), x=0.01, ha="left", weight="bold")
        return finish(figure, path)
