"""A request on its way through a batch: its search, its session, and what its rows are given next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from ..config.decoding import DecodingConfig
from ..config.model import EncoderDecoderConfig, GPTConfig
from ..inference.engine import Session
from .beam import BeamSearch
from .generate import build_search, count_rows
from .rank import rank
from .rules import reply_limit
from .search import Candidate, Choice, IndependentSearch, choose_together, is_identity

OnToken: TypeAlias = Callable[[int, int], None]
"""(number of the sample, token): called in the thread that steps, as soon as a token is chosen."""

_NO_MATTER = {"seed", "num_return", "num_samples", "max_tokens", "max_turn_overlap", "mmi_weight"}
"""Options that neither rules nor picks depend on."""


@dataclass(eq=False)
class Request:
    """A prompt that is to be answered, or has been."""

    prompt: Sequence[int]
    options: DecodingConfig
    future: Future[list[Candidate]] = field(default_factory=Future)
    """Its replies, best first, as `generate` returns them. Raises `CancelledError` if it was cancelled."""


class Task:
    """A request on its way through the batch.

    Raises:
        OptionError: an option does not fit the model.
        InputTextError: the prompt is empty or too long for the model.
    """

    session: Session
    """Set once the prompt is read."""

    def __init__(
        self,
        request: Request,
        config: GPTConfig | EncoderDecoderConfig,
        on_token: OnToken | None = None,
    ) -> None:
        self.request = request
        self.limit = reply_limit(config, request.prompt, request.options.max_tokens)
        self.search = build_search(config, [request.prompt], [self.limit], request.options)
        self.kind = request.options.model_dump_json(exclude=_NO_MATTER)
        """Tasks of one kind may choose together."""
        self.tokens: list[int] = []
        """What its rows are given in the next step; none before the first choice."""
        self._config = config
        self._on_token = on_token
        self._told = [0] * count_rows(request.options)

    @property
    def batch(self) -> int:
        """Rows that it has in the batch now: one for the prompt, then one for each live candidate."""
        return max(1, len(self.tokens))

    @property
    def rows(self) -> int:
        """The most rows that it will have from now on: candidates only end, but a beam may grow again."""
        if isinstance(self.search, IndependentSearch):
            return self.search.live
        return count_rows(self.request.options)

    @property
    def cached_tokens(self) -> int:
        """Tokens that the cache may come to hold: the prompt, and the live candidates at their longest."""
        return len(self.request.prompt) + self.rows * self.limit

    def take(self, choice: Choice) -> bool:
        """Go on as was chosen; return whether all replies are found."""
        rows, tokens = choice
        before, self.tokens = self.batch, tokens
        if rows and not is_identity(rows, before):
            self.session.reorder(torch.tensor(rows))
        if self._on_token is not None and isinstance(self.search, IndependentSearch):
            for number, draft in enumerate(self.search.drafts):
                for token in draft.ids[self._told[number] :]:
                    self._on_token(number, token)
                self._told[number] = len(draft.ids)
        return not rows

    def replies(self) -> list[Candidate]:
        """Return what was found, best first."""
        request = self.request
        return rank(self.search.found(0), request.prompt, request.options, self._config)


def choose(tasks: Sequence[Task], logits: Tensor) -> Iterator[tuple[Task, Choice]]:
    """Let every task choose; those of one kind that stand side by side do so at once.

    Args:
        tasks: either all before their first choice or none.
        logits: float32 [B, V], the rows of the first task, then those of the second, and so on.
    """
    first = 0
    for group in _neighbours(tasks):
        count = sum(task.batch for task in group)
        own = logits[first : first + count]
        first += count
        searches = [task.search for task in group if isinstance(task.search, IndependentSearch)]
        if searches:
            yield from zip(group, choose_together(searches, own), strict=True)
        else:
            yield group[0], group[0].search.choose(own)


def _neighbours(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Cut a batch into runs of one kind; a beam stands alone."""
    group: list[Task] = []
    for task in tasks:
        if group and (task.kind != group[0].kind or isinstance(task.search, BeamSearch)):
            yield group
            group = []
        group.append(task)
    if group:
        yield group
