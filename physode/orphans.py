"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import threading
import time

__all__ = ["end_with_torchrun"]

_LOOK = 0.5  # seconds between two looks
_watching = threading.Lock()


def end_with_torchrun() -> None:
    """End this process when torchrun, which has started it, is no more.

    An agent that is killed leaves its ranks behind: they would go on, or wait for each other for ever, and keep the
    run's folder to themselves. Nothing is done where torchrun has not started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and _watching.acquire(blocking=False):  # not given back: one is enough
        threading.Thread(target=_end_without, args=(os.getppid(),), name="torchrun watch", daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
