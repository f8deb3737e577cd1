"""A progress bar for solves, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from physode.solvers.watch import Moment, Monitor

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(description: str = "solving") -> Iterator[Monitor]:
    """Show a bar while the block runs, and give the ``monitor`` of :func:`physode.solve` that moves it.

    It shows the finished fraction, the time left, and where the solve is: time, step size, steps and rejected attempts.
    Where stderr is neither a terminal nor a notebook nothing is shown.

    Parameters
    ----------
    description
        What stands before the bar.

    Examples
    --------
    >>> import torch, physode as po
    >>> with po.progress_bar("decay") as monitor:
    ...     sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], monitor=monitor)
    >>> sol.success
    True
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[where]}"),
    )
    shown = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(description, total=1.0, where="")

        def monitor(moment: Moment) -> None:
            bar.update(task, completed=moment.fraction, where=_where(moment))

        yield monitor


def _where(moment: Moment) -> str:
    return f"t {moment.t:.6g}, step {moment.step:.3g}, {moment.accepted} steps, {moment.rejected} rejected"
