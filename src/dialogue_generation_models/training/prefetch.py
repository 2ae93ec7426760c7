"""Batches that are made while the one before is learnt, so that the device does not wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from ..data.dataset import Batch, Batches


class _Prefetched:
    """Hands out batches, and has the next one made meanwhile."""

    def __init__(self, batches: Batches, worker: ThreadPoolExecutor) -> None:
        self.batches_per_epoch = batches.batches_per_epoch
        self._batches = batches
        self._worker = worker
        self._next: tuple[int, Future[Batch]] | None = None

    def batch(self, number: int) -> Batch:
        if self._next is not None and self._next[0] == number:
            made = self._next[1]
        else:
            made = self._worker.submit(self._batches.batch, number)
        result = made.result()
        self._next = number + 1, self._worker.submit(self._batches.batch, number + 1)
        return result


@contextmanager
def prefetched(batches: Batches) -> Iterator[Batches]:
    """Give the same batches, the next of which a thread makes ahead of time."""
    with ThreadPoolExecutor(1) as worker:
        yield _Prefetched(batches, worker)
