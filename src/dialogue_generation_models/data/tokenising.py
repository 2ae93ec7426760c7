"""The step that makes shards of what stays, and counts it for the report."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..dialogue import Dialogue
from ..tokenizer.tokenizer import Tokenizer
from .dataset import tokenize_dialogues
from .dedup import hash_key
from .shards import StoredDialogue, make_shard, write_shard
from .steps import Job, read_clean, write_json

SPLITS = ("train", "valid", "text")
_WIDEST_TURNS = 40
"""Dialogues of more turns are counted together."""
_WIDTH = 5
"""Letters of a bar in the picture of lengths."""
_WIDEST_LETTERS = 200


def shard_part(job: Job, rank: int) -> None:
    """Tokenise what stays of a part."""
    tokenizer = Tokenizer.from_file(job.tokenizer)
    stored: dict[str, list[StoredDialogue]] = {split: [] for split in SPLITS}
    counts: dict[str, Any] = {
        "turns_per_dialogue": Counter(),
        "letters_per_turn": Counter(),
        "sources": {},
    }
    review: list[tuple[int, str]] = []
    for split, dialogue, shell in _kept(job, rank):
        made = _tokenise(job, tokenizer, split, dialogue, shell)
        if made is None:
            continue
        stored[split].append(made)
        row = counts["sources"].setdefault(str(made.source), {}).setdefault(split, Counter())
        row["dialogues"] += 1
        row["turns"] += len(made.turns)
        row["replies"] += sum(made.is_reply)
        row["tokens"] += sum(map(len, made.turns))
        if split != "text":
            counts["turns_per_dialogue"][min(len(made.turns), _WIDEST_TURNS)] += 1
        for turn in dialogue.turns:
            if split != "text":
                letters = min(len(turn.text), _WIDEST_LETTERS)
                counts["letters_per_turn"][letters - letters % _WIDTH] += 1
            review.append((hash_key(f"{dialogue.id}\n{turn.text}"), turn.text))
        if len(review) > 10 * job.config.review + 1000:
            review = heapq.nsmallest(job.config.review, set(review))
    for split, dialogues in stored.items():
        write_shard(
            make_shard(dialogues, tokenizer.vocab_size), job.work / "data" / split, f"{rank:05d}"
        )
    write_json(job.file("shards", f"{rank:05d}.json"), counts)
    chosen = heapq.nsmallest(job.config.review, set(review))
    write_json(job.file("shards", f"{rank:05d}.review.json"), chosen)


def _kept(job: Job, rank: int) -> Iterator[tuple[str, Dialogue, StoredDialogue]]:
    """Yield the split, the dialogue and a shell without ids of what stays."""

    def load(name: str) -> Any:
        return np.load(job.file("select", f"{rank:05d}.{name}.npy"), allow_pickle=False)

    names = ("stays", "is_valid", "room", "speaker", "is_surplus")
    stays, is_valid, rooms, speakers, is_surplus = map(load, names)
    start = 0
    for place, (source, dialogue) in enumerate(read_clean(job, rank)):
        turns = slice(start, start + len(dialogue.turns))
        start = turns.stop
        if stays[place]:
            is_text = job.sources[source].kind == "texts"
            split = "text" if is_text else "valid" if is_valid[place] else "train"
            yield (
                split,
                dialogue,
                StoredDialogue(
                    turns=(),
                    is_reply=(~is_surplus[turns]).tolist(),
                    speakers=speakers[turns].tolist(),
                    room=int(rooms[place]),
                    source=source,
                ),
            )


def _tokenise(
    job: Job, tokenizer: Tokenizer, split: str, dialogue: Dialogue, shell: StoredDialogue
) -> StoredDialogue | None:
    """Fill a shell with ids; None if nothing of it is to be learnt."""
    if split == "text":
        ids = tokenizer.encode(dialogue.turns[0].text)
        return replace(shell, turns=[ids], is_reply=[True]) if ids else None
    speaker = dialogue.meta.get("reply_speaker")
    limit = job.config.max_turn_tokens
    for made in tokenize_dialogues(
        [dialogue], tokenizer, max_turn_tokens=limit, reply_speaker=speaker
    ):
        learnt = [a and b for a, b in zip(made.is_reply, shell.is_reply, strict=True)]
        if any(learnt):
            return replace(shell, turns=made.turns, is_reply=learnt)
    return None
