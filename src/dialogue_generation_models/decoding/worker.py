"""A scheduler in a thread of its own: what a server holds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from typing_extensions import Self

from ..config.decoding import DecodingConfig
from .scheduler import OnToken, Request, Scheduler


class Worker:
    """Steps a scheduler whenever there is work, until it is closed. Use it in a `with` block.

    Any thread may call it. A request's future is set, and its `on_token` called, in the worker's thread.

    Args:
        scheduler: used by nobody else from now on.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_closed = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dgm-worker", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def submit(
        self, prompt: Sequence[int], options: DecodingConfig, on_token: OnToken | None = None
    ) -> Request:
        """Put a request at the end of the queue; see `Scheduler.submit`."""
        request = self._scheduler.submit(prompt, options, on_token)
        self._woken.set()
        return request

    def cancel(self, request: Request) -> None:
        """Let a request leave before the next step; see `Scheduler.cancel`."""
        self._scheduler.cancel(request)

    def close(self) -> None:
        """Cancel what is not answered yet, and wait for the thread to end."""
        self._is_closed = True
        self._woken.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._is_closed:
                self._woken.clear()
                if self._scheduler.is_idle and not self._is_closed:
                    self._woken.wait()
                self._scheduler.step()
        finally:
            self._is_closed = True
            self._scheduler.close()
