"""The cells of a sweep or a study computed: here in turn, in processes of this machine, or on a Dask cluster.

Each outcome is kept as soon as it is there, so that an interrupted study goes on. What computes cells is a generator of
cells with their outcomes, in the order in which they finish. To stop, close it: what is not finished is dropped.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from physode.datasets.atomic_write import write_text
from physode.datasets.provenance import provenance
from physode.errors import ConfigError
from physode.json_values import read_json
from physode.optional_imports import needs
from physode.sweeps.cells import Cell, Outcome, one_line, outcome_of, perform
from physode.training.folder import discard

CellProgress = Callable[[int, int, str], object]
"""Told how many cells are done, of how many, and the name of the last."""

Outcomes = Generator[tuple[Cell, Outcome], None, None]

_log = logging.getLogger(__name__)
_LARGEST = 64 * 2**20  # bytes of a cell's file
_CONNECT = 5.0  # seconds to reach a scheduler
_FETCH = 30.0  # seconds to hand over an outcome
_LOOK = 1.0  # seconds between two looks at whether the cluster has workers
_PATIENCE = 60.0  # seconds without any worker after which the rest is given up
_KILLED = Outcome(failure="its worker died, and so did those that it was sent to then", lost=True)


def run_cells(
    cells: Sequence[Cell],
    *,
    folder: Path | None,
    jobs: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    progress: CellProgress | None = None,
) -> dict[str, Outcome]:
    """Compute the cells of a study that are not there yet, and return all outcomes by name, in the order of `cells`.

    Each outcome is written to ``folder/cells/NAME.json`` at once. A later call takes it from there if it was made by
    the same function with the same arguments and version of physode; failed cells are tried again. What a cell has kept
    in a folder of its own to go on from, its argument ``run``, is removed when its result is kept, never before.

    Parameters
    ----------
    cells
        The study, with a name of its own for each cell.
    folder
        The study's folder, made where it is missing; None where nothing is to be kept.
    jobs
        How many cells are computed at a time, each on one thread: 1 in this process, more in processes of their own.
    scheduler
        Address of a Dask scheduler that the cells are sent to instead.
    force
        Whether to forget what was kept, and start anew.
    progress
        Told of kept cells at the start, and of every cell that ends.

    Raises
    ------
    ValueError
        If two cells have one name, or `jobs` is below 1.
    ConfigError
        If `scheduler` is given together with `jobs`, does not answer, or Dask is not installed.
    """
    _check(cells, jobs, scheduler)
    home = None if folder is None else folder / "cells"
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
    if force and folder is not None:
        forget_cells(cells, folder=folder)
    found = {} if home is None else _kept_of(home, cells)
    missing = [cell for cell in cells if cell.name not in found]
    for cell in cells:
        if cell.name in found:
            _forget_run(cell)  # killed between the two
    if progress is not None:
        progress(len(found), len(cells), "")
    made = {} if home is None else provenance()
    with closing(_outcomes(missing, jobs, scheduler)) as outcomes:
        for cell, outcome in outcomes:
            if home is not None:
                _keep(home / cell.file, cell, outcome, made)
            if outcome.failure is None:
                _forget_run(cell)
            _log.info("cell %s %s", cell.name, outcome.failure or "done")
            found[cell.name] = outcome
            if progress is not None:
                progress(len(found), len(cells), cell.name if outcome.failure is None else f"{cell.name} failed")
    return {cell.name: found[cell.name] for cell in cells}


def forget_cells(cells: Sequence[Cell], *, folder: Path) -> None:
    """Remove the files of cells that were kept in a study's folder, and what they have kept to go on from."""
    for cell in cells:
        (folder / "cells" / cell.file).unlink(missing_ok=True)
        _forget_run(cell)


def _forget_run(cell: Cell) -> None:
    if "run" in cell.also:
        discard(Path(cell.also["run"]))


def _check(cells: Sequence[Cell], jobs: int, scheduler: str | None) -> None:
    counts = Counter(cell.file for cell in cells)
    twice = sorted(file for file, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"`cells` must have different names; {twice[0]} would be the file of two")
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}")
    if scheduler is not None and jobs > 1:
        raise ConfigError(f"`jobs` {jobs} has no part beside `scheduler`, whose cluster has its own workers; drop one")


def _outcomes(cells: Sequence[Cell], jobs: int, scheduler: str | None) -> Outcomes:
    if not cells or (scheduler is None and jobs == 1):
        return in_turn(cells)
    return in_processes(cells, jobs=jobs) if scheduler is None else on_cluster(cells, address=scheduler)


def _keep(path: Path, cell: Cell, outcome: Outcome, made: Mapping[str, Any]) -> None:
    record = {
        "cell": cell.name,
        "function": cell.function,
        "arguments": dict(cell.arguments),
        "fingerprint": cell.fingerprint,
        **vars(outcome),
        "made": {**made, "created": datetime.now(UTC).isoformat(timespec="seconds")},
    }
    write_text(path, json.dumps(record, indent=1) + "\n", overwrite=True)


def _kept_of(home: Path, cells: Sequence[Cell]) -> dict[str, Outcome]:
    return {cell.name: outcome for cell in cells if (outcome := _kept(home / cell.file, cell)) is not None}


def _kept(path: Path, cell: Cell) -> Outcome | None:
    """Return what a cell's file holds, if it is whole, of this cell, and no failure."""
    try:
        if not path.exists():
            return None
        record = read_json(path, largest=_LARGEST)
        if record["fingerprint"] != cell.fingerprint or record["failure"] is not None:
            return None
        return Outcome(result=record["result"], seconds=float(record["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("%s is damaged (%r): the cell is computed again", path, error)
        return None


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
                with _interrupts_held():
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


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process is started: it inherits that, and is not interrupted before it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(parent: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it closes its end of the pipe, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(OSError):
        parent.poll(None)
    os._exit(1)


def _awaited(future: Future[str]) -> Outcome:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return Outcome(failure="its process died; it may have been killed for want of memory", lost=True)
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
        yield from ((cell, Outcome(failure=lost, lost=True)) for cell in waiting.values())
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
