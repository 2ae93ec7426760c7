"""Tokenised dialogues and texts, and the batches made of them.

- Each turn is learnt as a reply: its last token is labelled `eos`, while the next input is `sept`. One pass
  over a dialogue so trains all its replies, on the labels that answering will meet.
- GPT rows are packed: several dialogues share a row, told apart by `segment_ids`, and only the rest of a
  row that no dialogue fits in is padding.
- What batch number n holds depends on the seed and n alone, so a run can go on from any step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..config.model import EncoderDecoderConfig, GPTConfig
from ..dialogue import Dialogue
from ..tokenizer.layout import build_prompt
from ..tokenizer.tokenizer import Tokenizer

Ids: TypeAlias = npt.NDArray[np.int64]
IGNORED = -100  # the label that cross-entropy skips
_OPEN_ROWS = 32  # rows that packing tries to fill before it closes the oldest
_LENGTH_STEP = 16  # rows of pairs are filled up to a multiple of this
_BUCKET_BATCHES = 50  # batches whose pairs are sorted by length together


@dataclass(frozen=True)
class TokenizedDialogue:
    """A dialogue's turns as ids, and which of them are learnt as replies."""

    turns: tuple[list[int], ...]
    is_reply: tuple[bool, ...]


@dataclass(frozen=True)
class Batch:
    """What a model is called with, and what it should have said."""

    inputs: dict[str, Ids]
    """Keyword arguments of the model's forward, each [B, T]."""
    labels: Ids
    """Next tokens, [B, T]; `IGNORED` where nothing is learnt."""

    @property
    def tokens(self) -> int:
        """How many tokens are learnt."""
        return int((self.labels != IGNORED).sum())

    def part(self, index: int, count: int) -> Batch:
        """Return one of `count` parts: every `count`-th row, from row `index` on.

        A part without rows is a row that teaches nothing, so that parts can be learnt in step.
        """
        if count == 1:
            return self
        rows = slice(index, None, count)
        if index < len(self.labels):
            inputs = {name: ids[rows] for name, ids in self.inputs.items()}
            return Batch(inputs, self.labels[rows])
        inputs = {name: ids[:1] for name, ids in self.inputs.items()}
        return Batch(inputs, np.full_like(self.labels[:1], IGNORED))


class Batches(Protocol):
    """An endless, repeatable supply of batches."""

    batches_per_epoch: int

    def batch(self, number: int) -> Batch:
        """Return batch `number`, counted from 0 over all epochs."""
        ...


def tokenize_dialogues(
    dialogues: Iterable[Dialogue],
    tokenizer: Tokenizer,
    *,
    max_turn_tokens: int,
    reply_speaker: str | None = None,
    learns_first: bool = False,
) -> Iterator[TokenizedDialogue]:
    """Tokenise dialogues; dialogues without a reply to learn are left out.

    Args:
        dialogues: as read; neighbouring messages of one speaker become one turn.
        tokenizer: turns text into ids.
        max_turn_tokens: longer turns are cut there, and not learnt as replies.
        reply_speaker: learn only this speaker's turns; by default all after the first.
        learns_first: learn the first turn too, which answers none.
    """
    for dialogue in dialogues:
        turns = dialogue.merge_speakers().turns
        encoded = [tokenizer.encode(turn.text) for turn in turns]
        is_reply = tuple(
            (i > 0 or learns_first)
            and reply_speaker in (None, turn.speaker)
            and turn.text.strip() != ""
            and 0 < len(ids) <= max_turn_tokens
            for i, (turn, ids) in enumerate(zip(turns, encoded, strict=True))
        )
        if any(is_reply):
            yield TokenizedDialogue(tuple(ids[:max_turn_tokens] for ids in encoded), is_reply)


@dataclass(frozen=True)
class Sample:
    """A stretch of tokens for a decoder-only model, at most `n_ctx` long."""

    input_ids: list[int]
    labels: list[int]


def text_samples(texts: Iterable[str], tokenizer: Tokenizer, config: GPTConfig) -> Iterator[Sample]:
    """Cut each text into stretches of `n_ctx` tokens, every token learnt: `bos text eos`."""
    for text in texts:
        if not text.strip():
            continue
        ids = tokenizer.encode(text)
        for start in range(0, len(ids) + 1, config.n_ctx):
            yield text_stretch(ids, start, config)


def text_stretch(ids: Sequence[int], start: int, config: GPTConfig) -> Sample:
    """Return the stretch of a text that begins at place `start` of `bos text eos`."""
    stretch = [config.bos_id, *ids, config.eos_id][start : start + config.n_ctx + 1]
    return Sample(stretch[:-1], stretch[1:])


def dialogue_samples(
    dialogues: Iterable[TokenizedDialogue], config: GPTConfig, overlap_turns: int = 3
) -> Iterator[Sample]:
    """Lay out dialogues as `bos u1 sept … un sept`, replies learnt.

    A dialogue that is longer than `n_ctx` becomes several samples; each after the first opens with
    the last `overlap_turns` turns before it, as context that is not learnt again.
    """
    for dialogue in dialogues:
        lengths = [len(turn) for turn in dialogue.turns]
        for start, first_new, end in cut_stretches(lengths, config.n_ctx, overlap_turns):
            yield lay_out(dialogue, start, first_new, end, config)


def cut_stretches(
    turn_lengths: Sequence[int], n_ctx: int, overlap_turns: int = 3
) -> Iterator[tuple[int, int, int]]:
    """Yield for each sample of a dialogue its first turn, the first that is new in it, and its end."""
    start = 0
    first_new = 0
    while first_new < len(turn_lengths):
        used = 1
        end = start
        while end < len(turn_lengths) and used + turn_lengths[end] + 1 <= n_ctx:
            used += turn_lengths[end] + 1
            end += 1
        if end > first_new:
            yield start, first_new, end
            first_new = end
            start = max(start + 1, end - overlap_turns)
        else:
            start += 1  # the overlap leaves no room for the next turn


def lay_out(
    dialogue: TokenizedDialogue, start: int, first_new: int, end: int, config: GPTConfig
) -> Sample:
    """Lay out a stretch of a dialogue; turns before `first_new` are context."""
    sample = Sample([config.bos_id], [IGNORED])
    for place in range(start, end):
        is_learnt = dialogue.is_reply[place] and place >= first_new
        _append_turn(sample, dialogue.turns[place], is_learnt, config)
    return sample


def _append_turn(sample: Sample, turn: Sequence[int], is_learnt: bool, config: GPTConfig) -> None:
    """Append `turn sept`; the label of the token before the turn becomes the turn's first token."""
    if is_learnt:
        sample.labels[-1] = turn[0]
        sample.labels.extend([*turn[1:], config.eos_id, IGNORED])
    else:
        sample.labels.extend([IGNORED] * (len(turn) + 1))
    sample.input_ids.extend([*turn, config.sept_id])


class PackedRows:
    """Batches of rows of `n_ctx` tokens in which samples stand one after the other (GPT)."""

    def __init__(
        self, samples: Sequence[Sample], config: GPTConfig, batch_size: int, seed: int
    ) -> None:
        order = np.random.default_rng([seed, len(samples)]).permutation(len(samples)).tolist()
        packed = pack([len(samples[i].input_ids) for i in order], config.n_ctx)
        rows = [[samples[order[place]] for place in row] for row in packed]
        self.input_ids, self.labels, self.segment_ids = fill_rows(rows, config)
        self._batch_size = batch_size
        self._seed = seed
        self.batches_per_epoch = -(-len(rows) // batch_size)

    def batch(self, number: int) -> Batch:
        """Return batch `number`; an epoch's last batch may be smaller."""
        epoch, place = divmod(number, self.batches_per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self.input_ids))
        rows = order[place * self._batch_size : (place + 1) * self._batch_size]
        inputs = {
            "input_ids": self.input_ids[rows].astype(np.int64),
            "segment_ids": self.segment_ids[rows].astype(np.int64),
        }
        return Batch(inputs, self.labels[rows].astype(np.int64))


def pack(lengths: Iterable[int], n_ctx: int) -> Iterator[list[int]]:
    """Yield rows of the places of samples with these lengths, filled first-fit with a few open."""
    open_rows: list[tuple[list[int], list[int]]] = []  # places, and [tokens used]
    for place, length in enumerate(lengths):
        row = next((row for row in open_rows if row[1][0] + length <= n_ctx), None)
        if row is None:
            row = ([], [0])
            open_rows.append(row)
        row[0].append(place)
        row[1][0] += length
        if len(open_rows) > _OPEN_ROWS:
            yield open_rows.pop(0)[0]
    yield from (row[0] for row in open_rows)


def fill_rows(
    rows: Sequence[Sequence[Sample]], config: GPTConfig
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int16]]:
    """Return `input_ids`, `labels` and `segment_ids` of packed rows, each [rows, n_ctx]."""
    shape = (len(rows), config.n_ctx)
    input_ids = np.full(shape, config.pad_id, dtype=np.int32)
    labels = np.full(shape, IGNORED, dtype=np.int32)
    segment_ids = np.zeros(shape, dtype=np.int16)
    for r, row in enumerate(rows):
        start = 0
        for number, sample in enumerate(row, start=1):
            end = start + len(sample.input_ids)
            input_ids[r, start:end] = sample.input_ids
            labels[r, start:end] = sample.labels
            segment_ids[r, start:end] = number
            start = end
    return input_ids, labels, segment_ids


@dataclass(frozen=True)
class _EpochPlan:
    epoch: int
    pairs: npt.NDArray[np.int64]  # [N, 3]: dialogue, turn of the reply, first turn of the context
    starts: npt.NDArray[np.int64]  # first pair of each batch


@dataclass
class ReplyPairs:
    """Batches of context-reply pairs, alike in length (encoder-decoders).

    While training (`vary_context`), each pair sees a random number of its context turns each epoch, so
    that the model also learns to answer when little has been said.
    """

    dialogues: Sequence[TokenizedDialogue]
    config: EncoderDecoderConfig
    batch_size: int
    seed: int
    max_context_turns: int = 7
    vary_context: bool = True
    batches_per_epoch: int = field(init=False)
    _plan: _EpochPlan | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._replies = np.array(
            [
                (d, t)
                for d, dialogue in enumerate(self.dialogues)
                for t, is_reply in enumerate(dialogue.is_reply)
                if is_reply
            ],
            dtype=np.int64,
        ).reshape(-1, 2)  # [N, 2]
        lengths = [[len(turn) + 1 for turn in d.turns] for d in self.dialogues]
        self._starts = np.cumsum([0, *(len(turns) for turns in lengths)])[:-1]
        self._ends = np.cumsum([0, *(length for turns in lengths for length in turns)])
        self.batches_per_epoch = -(-len(self._replies) // self.batch_size)

    def batch(self, number: int) -> Batch:
        """Return batch `number`; an epoch's last batch may be smaller."""
        epoch, place = divmod(number, self.batches_per_epoch)
        if self._plan is None or self._plan.epoch != epoch:
            self._plan = self._make_plan(epoch)
        start = self._plan.starts[place]
        return self._collate(self._plan.pairs[start : start + self.batch_size])

    def _make_plan(self, epoch: int) -> _EpochPlan:
        """Shuffle the pairs, choose their contexts, and sort them by length within buckets."""
        generator = np.random.default_rng([self.seed, epoch])
        replies = generator.permutation(self._replies)
        n_turns = np.full(len(replies), self.max_context_turns)
        if self.vary_context:
            n_turns = generator.integers(1, self.max_context_turns + 1, len(replies))
        firsts = np.maximum(0, replies[:, 1] - n_turns)
        pairs = np.column_stack([replies, firsts])
        starts = self._starts[pairs[:, 0]]
        lengths = self._ends[starts + pairs[:, 1]] - self._ends[starts + pairs[:, 2]]
        bucket = np.arange(len(pairs)) // (self.batch_size * _BUCKET_BATCHES)
        pairs = pairs[np.lexsort((np.minimum(lengths, self.config.n_encoder_ctx), bucket))]
        starts = generator.permutation(np.arange(0, len(pairs), self.batch_size))
        return _EpochPlan(epoch, pairs, starts)

    def _collate(self, pairs: npt.NDArray[np.int64]) -> Batch:
        found = []
        for d, turn, first in pairs:
            turns = self.dialogues[d].turns
            found.append((turns[first:turn], turns[turn]))
        return collate_pairs(found, self.config)


def collate_pairs(
    pairs: Sequence[tuple[Sequence[list[int]], list[int]]], config: EncoderDecoderConfig
) -> Batch:
    """Make a batch of contexts, oldest turn first, and the replies to them."""
    contexts = [build_prompt(config, turns, config.n_encoder_ctx) for turns, _ in pairs]
    inputs = [[config.bos_id, *reply] for _, reply in pairs]
    labels = [[*reply, config.eos_id] for _, reply in pairs]
    room = config.n_ctx - config.n_encoder_ctx
    return Batch(
        {
            "context_ids": _rectangle(contexts, config.pad_id, config.n_encoder_ctx),
            "reply_ids": _rectangle(inputs, config.pad_id, room),
        },
        _rectangle(labels, IGNORED, room),
    )


def _rectangle(rows: Sequence[Sequence[int]], fill: int, most: int) -> Ids:
    """[B] rows of any lengths → [B, T], filled on the right, T at most `most`.

    Lengths are few on purpose: processors compile a kernel for each new shape and keep it.
    """
    longest = max(map(len, rows), default=0)
    rounded = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    result = np.full((len(rows), min(rounded, most)), fill, dtype=np.int64)
    for r, row in enumerate(rows):
        result[r, : len(row)] = row
    return result
