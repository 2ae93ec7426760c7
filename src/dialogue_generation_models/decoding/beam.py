"""Beam search, and diverse beam search (Vijayakumar et al. 2018, arXiv 1610.02424).

- A beam adds up log-probabilities after the rules, as `transformers` does; they are not normalised
  again. Temperature and the sampling filters have no part in it.
- Each step weighs twice as many continuations as the beam is wide, so that enough go on when the best
  ones end; an end counts only among the best `width`.
- A finished reply is worth sum / length ** length_penalty. The beam is done when it has `width` finished
  replies and its best live one, at its present length, is worth no more than the worst of them.
- Groups choose one after the other. A token costs `diversity_penalty` for each time that an earlier
  group of the same prompt chose it at this step (Hamming diversity, section 4); the cost steers the
  choice and is not kept in the sum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .logits import all_logp, largest
from .rules import Rules
from .search import Candidate, Choice, FinishReason, is_identity, pad_history


@dataclass(frozen=True)
class Hypothesis:
    """A reply that a beam follows."""

    ids: list[int]
    total: float
    """Sum of the scores after the rules: what the beam compares."""
    logp: float
    """Sum of the log-probabilities of the unmodified model."""


@dataclass(frozen=True)
class Move:
    """One way to go on."""

    parent: int
    """Place of the live hypothesis that it continues."""
    token: int
    score: float
    """The token's score after the rules."""
    logp: float
    """Its log-probability under the unmodified model."""


@dataclass
class Beam:
    """The hypotheses of one prompt, or of one group of a prompt."""

    prompt: int
    """Number of its prompt in the batch."""
    width: int
    limit: int
    """The most tokens of a reply."""
    length_penalty: float
    counted_prompt: int | None = None
    """Tokens of the prompt that the length counts, instead of the end token; none for no prompt."""
    live: list[Hypothesis] = field(default_factory=lambda: [Hypothesis([], 0.0, 0.0)])
    finished: list[Candidate] = field(default_factory=list)
    """At most `width`, best first."""

    def advance(self, moves: Sequence[Move], eos_id: int) -> list[Move]:
        """Make the moves, best first; return those that do not end a reply.

        They lead to the new live hypotheses, unless the beam is over and none is live any more.
        """
        before, self.live = self.live, []
        kept: list[Move] = []
        for rank, move in enumerate(moves):
            old = before[move.parent]
            total, logp = old.total + move.score, old.logp + move.logp
            if move.token == eos_id:
                if rank < self.width:
                    self._finish(Hypothesis(old.ids, total, logp), "end")
            elif len(kept) < self.width:
                self.live.append(Hypothesis([*old.ids, move.token], total, logp))
                kept.append(move)
        if self.live and len(self.live[0].ids) == self.limit:
            for hypothesis in self.live:
                self._finish(hypothesis, "length")
            self.live = []
        elif self.live and self._is_done():
            self.live = []
        return kept

    def _finish(self, hypothesis: Hypothesis, reason: FinishReason) -> None:
        score = self._worth(hypothesis, reason == "end")
        self.finished.append(Candidate(hypothesis.ids, hypothesis.logp, score, reason))
        self.finished.sort(key=lambda candidate: -candidate.score)
        del self.finished[self.width :]

    def _is_done(self) -> bool:
        if len(self.finished) < self.width:
            return False
        return self._worth(max(self.live, key=lambda h: h.total), False) <= self.finished[-1].score

    def _worth(self, hypothesis: Hypothesis, has_ended: bool) -> float:
        length = len(hypothesis.ids)
        length += has_ended if self.counted_prompt is None else self.counted_prompt
        return hypothesis.total / math.pow(length, self.length_penalty)


class BeamSearch:
    """Drives the beams of all prompts through one batch.

    Args:
        beams: ordered by prompt; those of one prompt are groups that avoid each other.
        before: for each beam, the tokens before the reply that count as repeated.
        rules: what may be chosen.
        eos_id: ends a reply.
        diversity_penalty: cost of a token for each time that an earlier group chose it.
    """

    def __init__(
        self,
        beams: Sequence[Beam],
        before: Sequence[Sequence[int]],
        rules: Rules,
        eos_id: int,
        diversity_penalty: float = 0.0,
    ) -> None:
        self.beams = list(beams)
        self._rows = [beam.prompt for beam in beams]  # of the engine's batch
        self._history = pad_history(before)  # [B, W], a row for each live hypothesis
        self._rules = rules
        self._eos_id = eos_id
        self._diversity_penalty = diversity_penalty
        self._length = 0

    def choose(self, logits: Tensor) -> Choice:
        """Move every beam one token on; see `Search.choose`."""
        history = self._history.to(logits.device)
        logp = all_logp(logits)
        if not is_identity(self._rows, len(logits)):
            logp = logp[torch.tensor(self._rows, device=logits.device)]  # [B, V]
        scores = self._rules(logp, history, self._length)
        self._length += 1
        places: list[int] = []
        tokens: list[int] = []
        chosen: dict[int, Counter[int]] = {}
        first = 0
        for beam in self.beams:
            own = slice(first, first + len(beam.live))
            if own.start == own.stop:
                continue
            costs = chosen.setdefault(beam.prompt, Counter())
            moves = self._best_moves(beam, scores[own], logp[own], costs)
            made = beam.advance(moves, self._eos_id)
            costs.update(move.token for move in made)
            if beam.live:
                places += [own.start + move.parent for move in made]
                tokens += [move.token for move in made]
            first = own.stop
        keep = torch.tensor(places, dtype=torch.long, device=logits.device)
        next_ids = torch.tensor(tokens, dtype=torch.long, device=logits.device)
        self._history = torch.cat([history[keep], next_ids[:, None]], dim=1)
        chosen_rows = [self._rows[place] for place in places]
        self._rows = list(range(len(places)))
        return chosen_rows, tokens

    def _best_moves(
        self, beam: Beam, scores: Tensor, logp: Tensor, costs: Counter[int]
    ) -> list[Move]:
        """Find the best `2 * width` ways to continue a beam's n live hypotheses; scores are [n, V]."""
        steered = scores
        if costs and self._diversity_penalty:
            ids = list(costs)
            cost = scores.new_tensor([costs[token] for token in ids]) * self._diversity_penalty
            steered = scores.clone()
            steered[:, ids] -= cost
        width = min(2 * beam.width, scores.shape[1])
        best, ids_of_best = largest(steered, width)  # [n, width]; then the best of the best
        best = best + best.new_tensor([[h.total] for h in beam.live])
        best, flat = best.flatten().topk(min(2 * beam.width, best.numel()))  # [2 * beam.width]
        parents, tokens = flat // width, ids_of_best.flatten()[flat]
        columns = (best, parents, tokens, scores[parents, tokens], logp[parents, tokens])
        return [
            Move(parent, token, score, token_logp)
            for total, parent, token, score, token_logp in zip(
                *(column.tolist() for column in columns), strict=True
            )
            if total > -math.inf
        ]

    def found(self, prompt: int) -> list[Candidate]:
        """Return a prompt's finished replies."""
        return [c for beam in self.beams if beam.prompt == prompt for c in beam.finished]
