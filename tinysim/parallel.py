"""Jobs side by side: the emulator and the compiled pricing both leave the interpreter to others while they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["each"]

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], jobs: Iterable[T]) -> list[R]:
    """The results of all jobs in their order, as many at a time as there are processors. The first error ends it."""
    waiting = list(jobs)
    if len(waiting) < 2:
        return [work(job) for job in waiting]
    with ThreadPoolExecutor(min(len(waiting), os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(work, waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
