"""The one loop, and the search of rows that do not know each other: greedy and sampling.

The loop asks a search which rows go on and with which tokens, and the engine for what may follow.
It knows no options. Rows that have ended leave the batch; a prompt is read once, and the first choice
spreads it over as many rows as the search wants. (`scheduler.py` has the loop for many requests.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
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


Choice: TypeAlias = tuple[list[int], list[int]]
"""The rows that go on (repeated or left out), and the token that each goes on with; empty when all is over."""


class Search(Protocol):
    """Decides how replies go on."""

    def choose(self, logits: Tensor) -> Choice:
        """Take the scores of each row's next token, float32 [B, V], and say how to go on."""
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
            raise not_a_number()
        rows, tokens = search.choose(logits)
        yield
        if not rows:
            return
        if not is_identity(rows, len(logits)):
            session.reorder(torch.tensor(rows, device=logits.device))
        logits = session.step(torch.tensor(tokens, device=logits.device))


def not_a_number() -> CheckpointError:
    """Explain logits that are NaN or infinite."""
    return CheckpointError(
        "The model's output is not a number; its weights are damaged, or need another precision."
    )


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


@dataclass(frozen=True)
class Proposal:
    """What a search needs its next tokens for: one for each draft that is not finished."""

    rows: Sequence[int]
    """Their rows of the batch, [B]."""
    batch: int
    """Rows that the batch has."""
    keys: NDArray[np.uint64]
    """What their draws depend on, [B]."""
    lengths: NDArray[np.int64]
    """Their tokens so far, [B]."""
    history: NDArray[np.int64]
    """[B, W]."""


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
        self.rules = rules
        self.pick = pick
        self._live = self.drafts
        self._rows = [draft.prompt for draft in drafts]  # their rows of the batch
        self._batch = max(self._rows, default=-1) + 1
        self._history = pad_history(before).numpy()  # [B, W]
        self._eos_id = eos_id

    @property
    def live(self) -> int:
        """Drafts that are not finished."""
        return len(self._live)

    def choose(self, logits: Tensor) -> Choice:
        """Pick each draft's next token; see `Search.choose`."""
        [choice] = choose_together([self], logits)
        return choice

    def propose(self) -> Proposal:
        """Say what the next tokens are to be picked for."""
        keys = np.array([draft.key for draft in self._live], dtype=np.uint64)
        lengths = np.array([len(draft.ids) for draft in self._live], dtype=np.int64)
        return Proposal(self._rows, self._batch, keys, lengths, self._history)

    def accept(self, tokens: Sequence[int], logp: Sequence[float]) -> Choice:
        """Put the next token on each draft that is not finished."""
        for draft, token, its_logp in zip(self._live, tokens, logp, strict=True):
            draft.append(token, its_logp, self._eos_id)
        alive = [place for place, draft in enumerate(self._live) if draft.finish_reason is None]
        rows = [self._rows[place] for place in alive]
        kept = [tokens[place] for place in alive]
        self._live = [self._live[place] for place in alive]
        column = np.array(kept, dtype=np.int64)[:, None]
        self._history = np.concatenate([self._history[alive], column], axis=1)
        self._rows, self._batch = list(range(len(alive))), len(alive)
        return rows, kept

    def found(self, prompt: int) -> list[Candidate]:
        """Return a prompt's replies once the search is over, scored with log P / tokens."""
        return [
            Candidate(draft.ids, draft.logp, draft.logp / scored_length(draft), reason)
            for draft in self.drafts
            if draft.prompt == prompt and (reason := draft.finish_reason) is not None
        ]


def choose_together(searches: Sequence[IndependentSearch], logits: Tensor) -> list[Choice]:
    """Let searches with the same rules and the same pick choose at once, each as it would alone.

    Args:
        searches: their rules and pick must be made of the same options, the seed and counts aside; either all
            or none before their first choice, so that all have a history or none has.
        logits: float32 [B, V], the rows of the first search, then those of the second, and so on.
    """
    proposals = [search.propose() for search in searches]
    rows: list[int] = []
    first = 0
    for proposal in proposals:
        rows += [first + row for row in proposal.rows]
        first += proposal.batch
    if not is_identity(rows, len(logits)):
        logits = logits.index_select(0, torch.tensor(rows, device=logits.device))
    history = torch.from_numpy(join_histories([p.history for p in proposals])).to(logits.device)
    keys = np.concatenate([proposal.keys for proposal in proposals])
    lengths = np.concatenate([proposal.lengths for proposal in proposals])
    rules, pick = searches[0].rules, searches[0].pick
    picked = pick(rules(logits, history, lengths), keys, lengths)  # [B]
    tokens, logp = picked.tolist(), token_logp(logits, picked).tolist()
    choices = []
    first = 0
    for search, proposal in zip(searches, proposals, strict=True):
        own = slice(first, first + len(proposal.rows))
        choices.append(search.accept(tokens[own], logp[own]))
        first = own.stop
    return choices


def is_identity(rows: Sequence[int], count: int) -> bool:
    """Whether rows are all of a batch of `count`, in order."""
    return len(rows) == count and all(row == place for place, row in enumerate(rows))


def join_histories(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Put histories of several widths under each other, each [B, W]."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.shape[1] for part in parts)
    joined = np.full((sum(map(len, parts)), width), NO_TOKEN, dtype=np.int64)
    first = 0
    for part in parts:
        joined[first : first + len(part), width - part.shape[1] :] = part
        first += len(part)
    return joined


def pad_history(rows: Sequence[Sequence[int]]) -> Tensor:
    """Make a history of rows of any lengths, [B, W]."""
    width = max(map(len, rows))
    return torch.tensor(
        [[*[NO_TOKEN] * (width - len(row)), *row] for row in rows], dtype=torch.long
    )


def scored_length(reply: Draft | Candidate) -> int:
    """Count the tokens whose probabilities a reply's `logp` holds: its own and the end token."""
    return len(reply.ids) + (reply.finish_reason == "end")
