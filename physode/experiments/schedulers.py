"""Where the cells of a study are computed: here one after the other, in processes of this machine, or on a cluster.

Each function here yields every cell with its outcome, in the order in which they finish. To stop, close the generator:
what is not finished is dropped.
"""

from __future__ import annotations

import gc
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from physode.errors import ConfigError
from physode.experiments.cell import Cell, Outcome, one_line, outcome_of, perform
from physode.optional_imports import needs

__all__ = ["in_processes", "in_turn", "on_cluster"]

Outcomes = Iterator[tuple[Cell, Outcome]]

_CONNECT = 5.0  # seconds to reach a scheduler
_FETCH = 30.0  # seconds to hand over an outcome
_LOOK = 1.0  # seconds between two looks at whether the cluster has workers
_PATIENCE = 60.0  # seconds without any worker after which the rest is given up

_KILLED = Outcome(failure="its worker died, and so did those that it was sent to then")


def in_turn(cells: Sequence[Cell]) -> Outcomes:
    """Compute cells in this process, one after the other."""
    for cell in cells:
        yield cell, outcome_of(perform(*cell.call))


def in_processes(cells: Sequence[Cell], *, jobs: int) -> Outcomes:
    """Compute `jobs` cells at a time in fresh processes.

    A process that dies fails its cell alone: each has a pool of its own, so that it is known whose it was.
    """
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)

    def pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_worker, initargs=(theirs,))

    waiting, idle = deque(cells), [pool() for _ in range(min(jobs, len(cells)))]
    running: dict[Future[str], tuple[Cell, ProcessPoolExecutor]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                cell, worker = waiting.popleft(), idle.pop()
                running[worker.submit(perform, *cell.call)] = cell, worker
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, worker = running.pop(future)
                outcome = _awaited(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    worker.shutdown()
                    worker = pool()
                idle.append(worker)
                yield cell, outcome
    finally:
        ours.close()  # ends the workers at once
        for worker in (*idle, *(worker for _, worker in running.values())):
            worker.shutdown(cancel_futures=True)
        theirs.close()


def _prepare_worker(parent: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it closes its end of the pipe, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(OSError):
        parent.poll(None)
    os._exit(1)


def _awaited(future: Future[str]) -> Outcome:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return Outcome(failure="its process died; it may have been killed for want of memory")
    return Outcome(failure=one_line(error)) if error is not None else outcome_of(future.result())


def on_cluster(cells: Sequence[Cell], *, address: str) -> Outcomes:
    """Send cells to a Dask cluster, whose workers have this version of physode.

    A cell whose workers die fails. Without any worker for a minute, all that remain do. A cell that a worker has begun
    cannot be stopped: its outcome is dropped.

    Raises
    ------
    ConfigError
        If Dask is not installed, or no scheduler answers at `address`.
    """
    distributed = needs("distributed", extra="cluster", purpose="`scheduler`")
    client = _connect(distributed, address)
    suspects = []
    try:
        for cell, outcome in _sent(distributed, client, cells, address):
            if outcome == _KILLED:
                suspects.append(cell)
            else:
                yield cell, outcome
        if len(suspects) == 1:
            yield suspects[0], _KILLED
            return
        # Dask blames every cell that a dying worker held; alone, each shows whether it was the cause.
        for cell in suspects:
            yield from _sent(distributed, client, [cell], address)
    finally:
        client.close()


def _connect(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = one_line(error)
    # The client that failed is closed when it is collected. Now: later, it might be while another one starts, and wait
    # for its lock.
    gc.collect()
    raise ConfigError(
        f"`scheduler` {address!r} does not answer ({reason}); start one with: dask scheduler, and give the address "
        "that it shows, such as tcp://127.0.0.1:8786"
    )


def _sent(distributed: Any, client: Any, cells: Sequence[Cell], address: str) -> Outcomes:
    waiting = {client.submit(perform, *cell.call, pure=False): cell for cell in cells}
    served = time.monotonic()
    lost = f"the cluster at {address} has had no worker for {_PATIENCE:g} s"
    try:
        while waiting and time.monotonic() - served < _PATIENCE:
            done: set[Any] = set()
            try:
                with suppress(TimeoutError), client.as_current():
                    done = distributed.wait(list(waiting), timeout=_LOOK, return_when="FIRST_COMPLETED").done
                if client.nthreads():
                    served = time.monotonic()
            except (OSError, CancelledError) as error:
                lost, served = f"the scheduler at {address} was lost: {one_line(error)}", -math.inf
            for future in done:
                outcome = _received(distributed, future)
                if outcome is not None:
                    yield waiting.pop(future), outcome
        yield from ((cell, Outcome(failure=lost)) for cell in waiting.values())
    finally:
        with suppress(OSError, CancelledError):
            client.cancel(list(waiting))


def _received(distributed: Any, future: Any) -> Outcome | None:
    """Return a finished cell's outcome; None where its worker died before handing it over, and it is computed again."""
    try:
        return outcome_of(future.result(timeout=_FETCH))
    except TimeoutError:
        return None
    except distributed.KilledWorker:
        return _KILLED
    except Exception as error:  # noqa: BLE001 - what a worker cannot even begin fails that cell alone
        return Outcome(failure=one_line(error))
