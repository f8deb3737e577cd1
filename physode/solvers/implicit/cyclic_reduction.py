r"""Banded systems by orthogonal cyclic reduction: a number of batched operations that grows as the logarithm of D.

With :math:`w = l + u`, rows :math:`[kw, kw + w)` of a banded matrix join two groups of w unknowns,
:math:`E_k z_k + F_k z_{k+1} = r_k`. Of two such nodes that are neighbours, Householder reflections of
:math:`(F_1; E_2)` take their common group out; what is left is a node again (S. J. Wright, SIAM J. Sci. Stat.
Comput. 13 (1992) 742-764). It is as stable as a QR factorisation, and needs no pivots: this is how accelerators solve.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["reduced", "solved"]


def reduced(rows: Tensor, lower: int, upper: int) -> Tensor:
    """Return the reduction of banded matrices, ``(blocks, nodes, 2 w, 4 w)``: of each node Q^T beside (T; R 0).

    ``rows`` ``(blocks, D, w + 1)`` has of row i the columns :math:`i - l` to :math:`i + u`.

    The nodes of the lowest level come first, the root last, with unknowns of its own in place of the second node's.
    """
    width, levels = lower + upper, []
    nodes = _leaves(rows, lower)
    while nodes.shape[1] > 1:
        first, second = nodes[:, 0::2], nodes[:, 1::2]
        common = torch.cat([first[..., width:], second[..., :width]], -2)
        ends = torch.cat([pad(first[..., :width], (0, width)), pad(second[..., width:], (width, 0))], -2)
        level, nodes = _eliminated(common, ends)
        levels.append(level)
    (root,) = nodes.unbind(1)
    square = torch.cat([root[..., lower:width], root[..., width : width + lower]], -1)
    level, _ = _eliminated(pad(square, (0, 0, 0, width))[:, None], root.new_zeros(len(root), 1, 2 * width, 2 * width))
    return torch.cat([*levels, level], 1)


def solved(reduction: Tensor, b: Tensor, lower: int, upper: int, *, adjoint: bool) -> Tensor:
    """Return x for right-hand sides ``(blocks, D)``, with the transposed matrices where ``adjoint`` is set."""
    width, size = lower + upper, b.shape[1]
    count = reduction.shape[1]  # of nodes, and of leaves: a power of two
    counts = [count >> level for level in range(1, count.bit_length())] + [1]
    levels = [_Level(part, width) for part in torch.split(reduction, counts, 1)]
    if adjoint:
        return _solved_transposed(levels, b, lower, upper)
    blocks = len(b)
    right, tops = pad(b, (0, count * width - size)).reshape(blocks, count, width), []
    for level in levels[:-1]:
        turned = level.turned(right.reshape(blocks, -1, 2 * width))
        top, right = turned[..., :width], turned[..., width:]
        tops.append(top)
    top = levels[-1].turned(pad(right, (0, width)))[..., :width]
    ends = levels[-1].back(top)[:, 0]
    groups = torch.stack([pad(_part(ends, 0, upper), (lower, 0)), pad(_part(ends, upper, width), (0, upper))], 1)
    for level, top in zip(reversed(levels[:-1]), reversed(tops), strict=True):
        sides = torch.cat([groups[:, :-1], groups[:, 1:]], -1)
        middle = level.back(top - level.coupling(sides))
        between = torch.stack([groups[:, :-1], middle], 2).reshape(blocks, -1, width)
        groups = torch.cat([between, groups[:, -1:]], 1)
    return _part(groups.reshape(blocks, -1), lower, lower + size)


def _solved_transposed(levels: list[_Level], b: Tensor, lower: int, upper: int) -> Tensor:
    """Take the steps of :func:`solved` backwards, each transposed."""
    (blocks, size), width, count = b.shape, lower + upper, 2 ** (len(levels) - 1)
    groups, tops = pad(b, (lower, (count + 1) * width - lower - size)).reshape(blocks, count + 1, width), []
    for level in levels[:-1]:
        top = level.back_transposed(groups[:, 1::2])
        sides = level.coupling_transposed(top)
        groups = groups[:, 0::2] - pad(sides[..., :width], (0, 0, 0, 1)) - pad(sides[..., width:], (0, 0, 1, 0))
        tops.append(top)
    ends = torch.cat([_part(groups[:, 0], lower, width), _part(groups[:, 1], 0, lower)], -1)
    top = levels[-1].back_transposed(ends[:, None])
    right = levels[-1].turned_transposed(pad(top, (0, width)))[..., :width]
    for level, top in zip(reversed(levels[:-1]), reversed(tops), strict=True):
        right = level.turned_transposed(torch.cat([top, right], -1)).reshape(blocks, -1, width)
    return _part(right.reshape(blocks, -1), 0, size)


class _Level:
    """The nodes of one level, as maps of vectors."""

    def __init__(self, nodes: Tensor, width: int) -> None:
        self._turn, rest = torch.split(nodes, 2 * width, -1)
        self._coupling, self._triangle = rest[..., :width, :], rest[..., width:, :width]

    def turned(self, x: Tensor) -> Tensor:
        return _times(self._turn, x)

    def turned_transposed(self, x: Tensor) -> Tensor:
        return _times(self._turn.mT, x)

    def coupling(self, x: Tensor) -> Tensor:
        return _times(self._coupling, x)

    def coupling_transposed(self, x: Tensor) -> Tensor:
        return _times(self._coupling.mT, x)

    def back(self, x: Tensor) -> Tensor:
        solution: Tensor = torch.linalg.solve_triangular(self._triangle, x.unsqueeze(-1), upper=True).squeeze(-1)
        return solution

    def back_transposed(self, x: Tensor) -> Tensor:
        solution: Tensor = torch.linalg.solve_triangular(self._triangle.mT, x.unsqueeze(-1), upper=False).squeeze(-1)
        return solution


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Return products whose sums do not depend on the number of matrices."""
    return (matrix * x.unsqueeze(-2)).sum(-1)


def _part(x: Tensor, start: int, end: int) -> Tensor:
    """Return a slice of the last axis, also of all of it where batched gradients have no view."""
    return x.index_select(-1, torch.arange(start, end, device=x.device))


def _leaves(rows: Tensor, lower: int) -> Tensor:
    """Return the rows of the matrices, ``(blocks, leaves, w, 2 w)``; those added say that unknowns added are 0."""
    width, size = rows.shape[2] - 1, rows.shape[1]
    count = 1 << (-(-size // width) - 1).bit_length()
    rows = pad(rows, (0, 0, 0, count * width - size))
    device = rows.device
    added = (torch.arange(count * width, device=device) >= size)[:, None]
    rows = torch.where(added & (torch.arange(width + 1, device=device) == lower), 1.0, rows)
    offset = torch.arange(2 * width, device=device) - torch.arange(width, device=device)[:, None]
    leaves = rows.reshape(len(rows), count, width, width + 1)
    entries = leaves.gather(3, offset.clamp(0, width).expand(*leaves.shape[:2], -1, -1))
    return torch.where((offset >= 0) & (offset <= width), entries, 0.0)


def _eliminated(common: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Take the unknowns of ``common``, ``(..., 2 w, w)``, out; return the level's nodes, and those that are left."""
    width = common.shape[-1]
    unit = torch.eye(2 * width, dtype=ends.dtype, device=ends.device).expand_as(ends)
    matrix = torch.cat([common, ends, unit], -1)
    for j in range(width):
        column = matrix[..., j:, j]
        largest = column.abs().amax(-1, keepdim=True)
        scaled = column / torch.where(largest > 0, largest, 1.0)
        length = scaled.square().sum(-1, keepdim=True).sqrt()
        head = scaled[..., :1]
        reflector = torch.cat([head + torch.where(head < 0, -length, length), scaled[..., 1:]], -1)
        norm = reflector.square().sum(-1, keepdim=True)
        weight = torch.where(norm > 0, 2.0 / torch.where(norm > 0, norm, 1.0), 0.0)
        below = matrix[..., j:, :]
        along = (reflector.unsqueeze(-1) * below).sum(-2, keepdim=True)
        matrix = torch.cat([matrix[..., :j, :], below - (weight * reflector).unsqueeze(-1) * along], -2)
    upper, lower = torch.split(matrix, width, -2)
    top = torch.cat([upper[..., width : 3 * width], pad(upper[..., :width].triu(), (0, width))], -2)
    return torch.cat([matrix[..., 3 * width :], top], -1), lower[..., width : 3 * width]
