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
    for split, source, dialogue, room, speakers in _kept(job, rank):
        made = _tokenise(job, tokenizer, split, source, dialogue, room, speakers)
        if made is None:
            continue
        stored[split].append(made)
        row = counts["sources"].setdefault(str(source), {}).setdefault(split, Counter())
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


def _kept(job: Job, rank: int) -> Iterator[tuple[str, int, Dialogue, int, list[int]]]:
    """Yield the split, source, dialogue, room and speakers of what stays."""

    def load(name: str) -> Any:
        return np.load(job.file("select", f"{rank:05d}.{name}.npy"), allow_pickle=False)

    ends, is_valid, rooms, speakers = map(load, ("ends", "is_valid", "room", "speaker"))
    start = 0
    for place, (source, dialogue) in enumerate(read_clean(job, rank)):
        end, n_turns = int(ends[place]), len(dialogue.turns)
        if end:
            is_text = job.sources[source].kind == "texts"
            split = "text" if is_text else "valid" if is_valid[place] else "train"
            short = replace(dialogue, turns=dialogue.turns[:end])
            yield split, source, short, int(rooms[place]), speakers[start : start + end].tolist()
        start += n_turns


def _tokenise(
    job: Job,
    tokenizer: Tokenizer,
    split: str,
    source: int,
    dialogue: Dialogue,
    room: int,
    speakers: list[int],
) -> StoredDialogue | None:
    """Make a dialogue's ids; None if nothing of it is to be learnt."""
    if split == "text":
        ids = tokenizer.encode(dialogue.turns[0].text)
        return StoredDialogue([ids], [True], [0], room, source) if ids else None
    made = next(
        tokenize_dialogues(
            [dialogue],
            tokenizer,
            max_turn_tokens=job.config.max_turn_tokens,
            reply_speaker=dialogue.meta.get("reply_speaker"),
        ),
        None,
    )
    if made is None:
        return None
    return StoredDialogue(made.turns, made.is_reply, speakers, room, source)
