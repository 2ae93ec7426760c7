"""Continuous batching: requests of any lengths and options join and leave between the steps of one batch.

It stands above the engine and not in it, because a step ends with a choice of tokens: the engine multiplies the
rows of all requests at once (`JoiningEngine`), then each request's own search says how its rows go on. So every
strategy joins, beams too, and a prompt is kept once for all its candidates.

- A request's replies do not depend on what it was batched with. Its prompt is read by itself, its rows look at
  its own cache, its draws have its own keys. What rows share is the multiplication by the weights: in 8 bits a
  row's result is the same to the last bit whatever else is there. In float32 the last bits vary with the
  number of rows, so a draw that falls that close to an edge may differ.
- First come, first served: the oldest waiting request is the next to join; none overtakes it, so none starves.
- Bounded: rows, cached tokens and waiting requests have limits, and so has what is read between two steps.
- Finished rows leave at once, and their memory with them; a cancelled request leaves before the next step.

`Scheduler` is a plain object that works when it is told to. `worker.py` runs one in a thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.decoding import DecodingConfig
from ..config.model import EncoderDecoderConfig, GPTConfig
from ..errors import BusyError, OptionError
from ..inference.engine import JoiningEngine
from .search import Candidate, not_a_number
from .task import OnToken, Request, Task, choose

__all__ = ["Limits", "OnToken", "Request", "Scheduler"]


@dataclass(frozen=True)
class Limits:
    """How much a scheduler takes on."""

    max_rows: int = 64
    """Candidates that are written at once, of all requests together."""
    max_waiting: int = 256
    """Requests that wait; one more is refused."""
    max_cached_tokens: int = 16_384
    """Tokens that the cache may come to hold: of each prompt, and of each candidate at its longest. One takes
    8 * layers * width bytes in float32: 74 kB for GPT base."""
    max_read_tokens: int = 256
    """Prompt tokens that are read between two steps, unless one prompt alone is longer: it bounds how long new
    requests hold up those that are being answered."""


class Scheduler:
    """Answers many requests in one batch. Any thread may submit and cancel; one at a time may step.

    Args:
        engine: runs the model.
        config: the model's.
        limits: how much is taken on at once.
    """

    def __init__(
        self,
        engine: JoiningEngine,
        config: GPTConfig | EncoderDecoderConfig,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._engine = engine
        self._config = config
        self._lock = threading.Lock()  # of the next three, and never held while the model works
        self._waiting: deque[Task] = deque()
        self._cancelled: set[Request] = set()
        self._is_closed = False
        self._running: list[Task] = []

    @property
    def waiting(self) -> int:
        """Requests that have not begun."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being answered."""
        return not self._waiting and not self._running

    @property
    def rows(self) -> int:
        """Rows that the requests being answered may have."""
        return sum(task.rows for task in self._running)

    @property
    def cached_tokens(self) -> int:
        """Tokens that the cache may come to hold for the requests being answered."""
        return sum(task.cached_tokens for task in self._running)

    def submit(
        self, prompt: Sequence[int], options: DecodingConfig, on_token: OnToken | None = None
    ) -> Request:
        """Put a request at the end of the queue.

        Args:
            prompt: token ids as `tokenizer.layout.build_prompt` lays them out.
            options: how to search.
            on_token: hears of tokens as they are chosen, of greedy search and samples; a beam has none until
                it is done. An error that it raises ends this request.

        Raises:
            BusyError: too many requests wait.
            OptionError: an option does not fit the model, or asks for more than the limits allow.
            InputTextError: the prompt is empty or too long for the model.
            RuntimeError: the scheduler is closed.
        """
        task = Task(Request(prompt, options), self._config, on_token)
        limits = self.limits
        if task.rows > limits.max_rows or task.cached_tokens > limits.max_cached_tokens:
            raise OptionError(
                f"The request needs {task.rows} rows and {task.cached_tokens:,} cached tokens, but there are "
                f"{limits.max_rows} and {limits.max_cached_tokens:,}; "
                "ask for fewer candidates or shorter replies."
            )
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the scheduler is closed")
            if len(self._waiting) >= limits.max_waiting:
                raise BusyError(f"{len(self._waiting)} requests wait already; try again later.")
            self._waiting.append(task)
        return task.request

    def cancel(self, request: Request) -> None:
        """Let a request leave: at once if it waits, before the next step if it is being answered."""
        with self._lock:
            waiting = [task for task in self._waiting if task.request is request]
            for task in waiting:
                self._waiting.remove(task)
            if not waiting and not request.future.done():
                self._cancelled.add(request)
        request.future.cancel()  # does nothing to one that is being answered

    def run_until_idle(self) -> None:
        """Step until all requests are answered."""
        while not self.is_idle:
            self.step()

    def answer_each(
        self, prompts: Iterable[Sequence[int]], options: DecodingConfig
    ) -> Iterator[list[Candidate]]:
        """Answer prompts and yield their replies in order; takes no more prompts than may wait.

        Raises:
            As `submit`, and what a request ended with; the replies to all prompts before come first.
        """
        coming, pending = iter(prompts), deque[Request]()
        is_over, failure = False, None
        while pending or not is_over:
            while not is_over and self.waiting < self.limits.max_waiting:
                try:
                    pending.append(self.submit(next(coming), options))
                except StopIteration:
                    is_over = True
                except Exception as error:  # what came before it is answered first
                    is_over, failure = True, error
            while pending and pending[0].future.done():
                yield pending.popleft().future.result()
            if not self.is_idle:
                self.step()
        if failure is not None:
            raise failure

    @torch.inference_mode()
    def step(self) -> None:
        """Let cancelled requests leave and waiting ones join, then write a token to each row.

        A request's error is raised by its future, and does not concern the others.
        """
        self._drop_cancelled()
        try:
            self._join()
            if self._running:
                sessions = [task.session for task in self._running]
                ids = torch.tensor([token for task in self._running for token in task.tokens])
                logits = self._engine.step_together(sessions, ids)
                self._go_on(list(self._running), logits)
        except BaseException as error:
            # The sessions may have taken half a step, so none of them can go on.
            self._end(list(self._running), error)
            if not isinstance(error, Exception):
                raise

    def close(self) -> None:
        """Cancel everything and take no more; for the thread that steps."""
        with self._lock:
            self._is_closed = True
            waiting = list(self._waiting)
        for task in [*waiting, *self._running]:
            self.cancel(task.request)
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
        if cancelled:
            left = [task for task in self._running if task.request in cancelled]
            self._end(left, CancelledError())

    def _join(self) -> None:
        """Read the prompts of the requests whose turn it is, and let them make their first choice."""
        fresh: list[Task] = []
        first: list[Tensor] = []
        read = 0
        while task := self._next(read):
            read += len(task.request.prompt)
            self._running.append(task)
            try:
                task.session, logits = self._engine.prefill([task.request.prompt], task.limit)
            except Exception as error:
                self._end([task], error)
                continue
            fresh.append(task)
            first.append(logits)
        if fresh:
            self._go_on(fresh, torch.cat(first))
            self._running.sort(key=lambda task: task.kind)  # those of one kind choose at once

    def _next(self, read: int) -> Task | None:
        """Take the oldest waiting request out of the queue if there is room for it.

        Args:
            read: prompt tokens that were read since the last step.
        """
        limits, rows, cached = self.limits, self.rows, self.cached_tokens
        with self._lock:
            while self._waiting:
                task = self._waiting[0]
                has_room = (
                    rows + task.rows <= limits.max_rows
                    and cached + task.cached_tokens <= limits.max_cached_tokens
                )
                is_too_much = read + len(task.request.prompt) > limits.max_read_tokens
                if not has_room or (read and is_too_much):
                    return None
                self._waiting.popleft()
                if task.request.future.set_running_or_notify_cancel():
                    return task
        return None

    def _go_on(self, tasks: list[Task], logits: Tensor) -> None:
        """Let requests choose their next tokens; those that have found all replies leave."""
        logits = logits.float()
        is_number = logits.amax(dim=1).isfinite()
        if not is_number.all():
            tasks, logits = self._drop_broken(tasks, logits, is_number)
        for task, choice in list(choose(tasks, logits)):
            try:
                if task.take(choice):
                    replies = task.replies()
                    self._running.remove(task)
                    task.request.future.set_result(replies)
            except Exception as error:
                self._end([task], error)

    def _drop_broken(
        self, tasks: list[Task], logits: Tensor, is_number: Tensor
    ) -> tuple[list[Task], Tensor]:
        """End the requests with a row whose logits are not numbers; return the others and theirs."""
        counts = [task.batch for task in tasks]
        is_whole = [bool(rows.all()) for rows in is_number.split_with_sizes(counts)]
        whole = [task for task, keep in zip(tasks, is_whole, strict=True) if keep]
        self._end([task for task in tasks if task not in whole], not_a_number())
        keep = torch.tensor(is_whole).repeat_interleave(torch.tensor(counts))
        return whole, logits[keep.to(logits.device)]

    def _end(self, tasks: Iterable[Task], error: BaseException) -> None:
        for task in tasks:
            self._running.remove(task)
            task.request.future.set_exception(error)
