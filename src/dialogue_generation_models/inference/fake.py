"""An engine without a model: for tests, here and in programs that use this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakSet

import torch
from torch import Tensor

from .engine import Session

NextLogits = Callable[[tuple[int, ...]], Sequence[float]]
"""(prompt and reply so far) → the logits of what may follow."""


class FakeEngine:
    """Answers with what a function says, and notes how it was used.

    Args:
        next_logits: what the model is to say after these tokens.
    """

    def __init__(self, next_logits: NextLogits) -> None:
        self.next_logits = next_logits
        self.prefills: list[int] = []
        """Rows of each prefill."""
        self.steps: list[int] = []
        """Rows of each step."""
        self.sessions: WeakSet[_FakeSession] = WeakSet()
        """Those that somebody still holds."""

    def prefill(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> tuple[Session, Tensor]:
        """Start a session; see `Engine.prefill`."""
        self.prefills.append(len(prompts))
        session = _FakeSession(self, [tuple(prompt) for prompt in prompts], max_tokens)
        self.sessions.add(session)
        return session, session.logits()

    def step_together(self, sessions: Sequence[Session], ids: Tensor) -> Tensor:
        """Append one token to each row of several sessions; see `JoiningEngine.step_together`."""
        own = [session for session in sessions if isinstance(session, _FakeSession)]
        self.steps.append(len(ids))
        pieces = ids.split_with_sizes([session.rows for session in own])
        logits = [session.push(piece) for session, piece in zip(own, pieces, strict=True)]
        return torch.cat(logits)


class _FakeSession:
    def __init__(self, engine: FakeEngine, rows: list[tuple[int, ...]], steps_left: int) -> None:
        self._engine = engine
        self._rows = rows
        self._steps_left = steps_left

    def logits(self) -> Tensor:
        return torch.tensor([self._engine.next_logits(row) for row in self._rows])

    @property
    def rows(self) -> int:
        return len(self._rows)

    def step(self, ids: Tensor) -> Tensor:
        return self._engine.step_together([self], ids)

    def push(self, ids: Tensor) -> Tensor:
        if not self._steps_left:
            raise RuntimeError("more steps than prefill was told")
        self._steps_left -= 1
        self._rows = [(*row, token) for row, token in zip(self._rows, ids.tolist(), strict=True)]
        return self.logits()

    def reorder(self, rows: Tensor) -> None:
        self._rows = [self._rows[row] for row in rows.tolist()]
