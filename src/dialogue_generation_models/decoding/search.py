"""The one loop, and the search of rows that do not know each other: greedy and sampling.

The loop asks a search which rows go on and with which tokens, and the engine for what may follow.
It knows no options. Rows that have ended leave the batch; a prompt is read once, and the first choice
spreads it over as many rows as the search wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError
from ..inference.engine import Engine
from .logits import NO_TOKEN, token_logp
from .rules import Pick, Rules

FinishReason: TypeAlias = Literal["end", "length"]


@dataclass(frozen=True)
class Candidate:
    """A reply that was found."""

    ids: list[int]
    """Its tokens, without the end token."""
    logp: float
    """Sum of its tokens' log-probabilities under the unmodified model, the end token included."""
    score: float
    """What it was ranked by."""
    finish_reason: FinishReason
    """end: the model ended it. length: it was cut at the longest reply."""


class Search(Protocol):
    """Decides how replies go on."""

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Take the scores of each row's next token, float32 [B, V].

        Returns:
            The rows that go on (repeated or left out) and the tokens they go on with, each [B'];
            empty when the search is over.
        """
        ...


def run(
    engine: Engine, prompts: Sequence[Sequence[int]], max_tokens: int, search: Search
) -> Iterator[None]:
    """Drive a search to its end; control comes back after each token.

    Raises:
        CheckpointError: the model's output is not a number.
    """
    session, logits = engine.prefill(prompts, max_tokens)
    while True:
        logits = logits.float()
        if not logits.amax().isfinite():
            raise CheckpointError(
                "The model's output is not a number; its weights are damaged, or need another precision."
            )
        rows, tokens = search.choose(logits)
        yield
        if not len(rows):
            return
        if not is_identity(rows, len(logits)):
            session.reorder(rows)
        logits = session.step(tokens)


@dataclass
class Draft:
    """A reply that is being written."""

    prompt: int
    """Number of its prompt in the batch."""
    limit: int
    """Its most tokens, at least 1."""
    key: int
    """What its random draws depend on."""
    ids: list[int] = field(default_factory=list)
    logp: float = 0.0
    finish_reason: FinishReason | None = None

    def append(self, token: int, logp: float, eos_id: int) -> None:
        """Put the next token on it, which may finish it."""
        self.logp += logp
        if token == eos_id:
            self.finish_reason = "end"
            return
        self.ids.append(token)
        if len(self.ids) == self.limit:
            self.finish_reason = "length"


class IndependentSearch:
    """Writes every draft to its end by itself.

    Args:
        drafts: what is to be written; they are changed in place.
        before: for each draft, the tokens before it that count as repeated.
        rules: what may be chosen.
        pick: how it is chosen.
        eos_id: ends a draft.
    """

    def __init__(
        self,
        drafts: Sequence[Draft],
        before: Sequence[Sequence[int]],
        rules: Rules,
        pick: Pick,
        eos_id: int,
    ) -> None:
        self.drafts = list(drafts)
        self._live = self.drafts
        self._rows = torch.tensor([draft.prompt for draft in drafts])  # their rows of the batch
        self._history = pad_history(before)  # [B, W]
        self._rules = rules
        self._pick = pick
        self._eos_id = eos_id
        self._length = 0

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Pick each draft's next token; see `Search.choose`."""
        rows = self._rows.to(logits.device)
        history = self._history.to(logits.device)
        if not is_identity(rows, len(logits)):
            logits = logits.index_select(0, rows)  # [B, V]
        scores = self._rules(logits, history, self._length)
        keys = np.array([draft.key for draft in self._live], dtype=np.uint64)
        tokens = self._pick(scores, keys, self._length)  # [B]
        self._length += 1
        for draft, token, logp in zip(
            self._live, tokens.tolist(), token_logp(logits, tokens).tolist(), strict=True
        ):
            draft.append(token, logp, self._eos_id)
        alive = [place for place, draft in enumerate(self._live) if draft.finish_reason is None]
        self._live = [self._live[place] for place in alive]
        keep = torch.tensor(alive, dtype=torch.long, device=logits.device)
        tokens = tokens[keep]
        self._history = torch.cat([history[keep], tokens[:, None]], dim=1)
        self._rows = torch.arange(len(alive))
        return rows[keep], tokens

    def found(self, prompt: int) -> list[Candidate]:
        """Return a prompt's replies once the search is over, scored with log P / tokens."""
        return [
            Candidate(draft.ids, draft.logp, draft.logp / scored_length(draft), reason)
            for draft in self.drafts
            if draft.prompt == prompt and (reason := draft.finish_reason) is not None
        ]


def is_identity(rows: Tensor, count: int) -> bool:
    """Whether rows are all of a batch of `count`, in order."""
    return torch.equal(rows, torch.arange(count, device=rows.device))


def pad_history(rows: Sequence[Sequence[int]]) -> Tensor:
    """Make a history of rows of any lengths, [B, W]."""
    width = max(map(len, rows))
    return torch.tensor(
        [[*[NO_TOKEN] * (width - len(row)), *row] for row in rows], dtype=torch.long
    )


def scored_length(reply: Draft | Candidate) -> int:
    """Count the tokens whose probabilities a reply's `logp` holds: its own and the end token."""
    return len(reply.ids) + (reply.finish_reason == "end")
