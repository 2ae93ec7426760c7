"""A prepared data set as training sees it: sequences of dialogues and samples that lie on disk.

They give exactly what `dataset.py` makes of the same dialogues in memory, so batches are equal too. Only
lengths are held in memory; ids are read when a batch needs them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import overload

import numpy as np

from ..config.model import GPTConfig
from ..errors import DataError
from ..tokenizer.tokenizer import Tokenizer
from .dataset import (
    Batch,
    Sample,
    TokenizedDialogue,
    cut_stretches,
    fill_rows,
    lay_out,
    pack,
    text_stretch,
)
from .manifest import MANIFEST, TOKENIZER, read_manifest
from .shards import Array, hash_file, open_shard

USES = "trained.jsonl"
"""In the data set: which trainings learnt from it, a line each."""


class PreparedDataset:
    """A data set folder.

    Raises:
        DataError: it is no data set, or a file is not what the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.sha256 = hash_file(folder / MANIFEST)
        self.tokenizer = folder / TOKENIZER

    def verify(self) -> None:
        """Compare every file with its hash in the manifest.

        Raises:
            DataError: naming the first that differs.
        """
        for name, expected in self.manifest["files"].items():
            if hash_file(self.folder / name) != expected:
                raise DataError(
                    f"{self.folder / name} is not what the manifest says; prepare the data set again."
                )

    def dialogues(
        self,
        split: str,
        most_tokens: int,
        repeat: int | Mapping[int, int] = 1,
        *,
        learns_all: bool = False,
    ) -> StoredDialogues:
        """Return the dialogues of `train` or `valid`, or the texts of `text`, in the order of the shards.

        Args:
            split: train, valid or text.
            most_tokens: longer turns are cut there, and not learnt as replies.
            repeat: how many times each stands there, or how many times those of the sources with these
                numbers, and no others; a source's own `repeat` comes on top, in training.
            learns_all: learn all turns, not only those that the data set marks as replies.
        """
        return StoredDialogues(self, split, most_tokens, repeat, learns_all)

    def note_use(self, name: str, run: Path) -> None:
        """Write down that a training learns from this data set, so that a person's removal finds it.

        Raises:
            DataError: the folder cannot be written.
        """
        record = {
            "model": name,
            "run": str(run.resolve()),
            "manifest_sha256": self.sha256,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        known = read_uses(self.folder)
        if any({**use, "at": ""} == {**record, "at": ""} for use in known):
            return
        try:
            with (self.folder / USES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError:
            raise DataError(
                f"Cannot write {self.folder / USES}, which records who learns from the data; "
                "make the folder writable."
            ) from None


def read_uses(folder: Path) -> list[dict[str, str]]:
    """Return which trainings learnt from a data set."""
    path = folder / USES
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def is_prepared(path: Path) -> bool:
    """Say whether a path is a prepared data set."""
    return (path / MANIFEST).is_file()


class StoredDialogues(Sequence[TokenizedDialogue]):
    """Dialogues of a data set's shards."""

    def __init__(
        self,
        dataset: PreparedDataset,
        split: str,
        most_tokens: int,
        repeat: int | Mapping[int, int] = 1,
        learns_all: bool = False,
    ) -> None:
        names = sorted(
            path.name.partition(".")[0]
            for path in (dataset.folder / split).glob("*.dialogue_turns.npy")
        )
        self._shards = [open_shard(dataset.folder / split, name) for name in names]
        self._dialogue_ends = [shard.dialogue_ends for shard in self._shards]
        self._turn_ends = [shard.turn_ends for shard in self._shards]
        self._firsts = np.cumsum([0, *(len(shard.dialogue_turns) for shard in self._shards)])
        self._most_tokens = most_tokens
        self._learns_all = learns_all
        times = _times(dataset, split, repeat)
        by_dialogue = [times[shard.sources] for shard in self._shards]
        self._order = np.repeat(
            np.arange(self._firsts[-1]), np.concatenate([[], *by_dialogue]).astype(int)
        )

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> TokenizedDialogue: ...
    @overload
    def __getitem__(self, place: slice) -> list[TokenizedDialogue]: ...
    def __getitem__(self, place: int | slice) -> TokenizedDialogue | list[TokenizedDialogue]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        number, turns = self._find(int(self._order[place]))
        shard, ends = self._shards[number], self._turn_ends[number]
        ids = [
            shard.input_ids[ends[t] : ends[t] + min(length, self._most_tokens)].tolist()
            for t, length in zip(
                range(turns.start, turns.stop), self._lengths(number, turns), strict=True
            )
        ]
        lengths = shard.turn_lengths[turns]
        is_learnt = lengths > 0 if self._learns_all else shard.loss_mask[turns]
        mask = is_learnt & (lengths <= self._most_tokens)
        return TokenizedDialogue(tuple(ids), tuple(mask.tolist()))

    def turn_lengths(self, place: int) -> list[int]:
        """Return the tokens of each turn, as cut, without reading them."""
        number, turns = self._find(int(self._order[place]))
        return [min(length, self._most_tokens) for length in self._lengths(number, turns)]

    def _lengths(self, number: int, turns: slice) -> list[int]:
        lengths: list[int] = self._shards[number].turn_lengths[turns].tolist()
        return lengths

    def _find(self, dialogue: int) -> tuple[int, slice]:
        number = bisect_right(self._firsts, dialogue) - 1
        ends = self._dialogue_ends[number]
        place = dialogue - int(self._firsts[number])
        return number, slice(int(ends[place]), int(ends[place + 1]))


def _times(dataset: PreparedDataset, split: str, repeat: int | Mapping[int, int]) -> Array:
    """Return how many times the dialogues of each source stand in a split."""
    sources = dataset.manifest["sources"]
    asked = [repeat if isinstance(repeat, int) else repeat.get(s["number"], 0) for s in sources]
    own = [source["files"][0].get("repeat", 1) if split == "train" else 1 for source in sources]
    return np.array(asked, dtype=np.int64) * np.array(own, dtype=np.int64)


class StoredSamples(Sequence[Sample]):
    """Stretches of stored dialogues, or of stored texts, for a decoder-only model."""

    def __init__(self, stored: StoredDialogues, config: GPTConfig, *, is_text: bool) -> None:
        self._stored = stored
        self._config = config
        self._is_text = is_text
        plan: list[tuple[int, ...]] = []
        sizes: list[int] = []
        for d in range(len(stored)):
            lengths = stored.turn_lengths(d)
            if is_text:
                total = lengths[0] + 1
                for start in range(0, total, config.n_ctx):
                    plan.append((d, start, 0, 0))
                    sizes.append(min(config.n_ctx, total - start))
            else:
                for start, first_new, end in cut_stretches(lengths, config.n_ctx):
                    plan.append((d, start, first_new, end))
                    sizes.append(1 + sum(lengths[start:end]) + end - start)
        self._plan = np.array(plan, dtype=np.int64).reshape(-1, 4)
        self.lengths = np.array(sizes, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._plan)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        dialogue, start, first_new, end = self._plan[place].tolist()
        made = self._stored[dialogue]
        if self._is_text:
            return text_stretch(made.turns[0], start, self._config)
        return lay_out(made, start, first_new, end, self._config)


class StoredRows:
    """Batches of packed rows, laid out when they are asked for; those of `PackedRows` on the same samples."""

    def __init__(
        self, samples: StoredSamples, config: GPTConfig, batch_size: int, seed: int
    ) -> None:
        order = np.random.default_rng([seed, len(samples)]).permutation(len(samples))
        rows = list(pack(samples.lengths[order].tolist(), config.n_ctx))
        self._members = order[np.concatenate([np.array(row, dtype=np.int64) for row in rows])]
        self._ends = np.cumsum([0, *map(len, rows)])
        self._samples = samples
        self._config = config
        self._batch_size = batch_size
        self._seed = seed
        self.batches_per_epoch = -(-len(rows) // batch_size)

    def batch(self, number: int) -> Batch:
        """Return batch `number`; an epoch's last batch may be smaller."""
        epoch, place = divmod(number, self.batches_per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._ends) - 1)
        rows = order[place * self._batch_size : (place + 1) * self._batch_size]
        filled = [
            [self._samples[int(i)] for i in self._members[self._ends[row] : self._ends[row + 1]]]
            for row in rows
        ]
        input_ids, labels, segment_ids = fill_rows(filled, self._config)
        inputs = {
            "input_ids": input_ids.astype(np.int64),
            "segment_ids": segment_ids.astype(np.int64),
        }
        return Batch(inputs, labels.astype(np.int64))


def decode_dialogues(
    dataset: PreparedDataset, split: str
) -> Iterator[tuple[tuple[str, ...], tuple[bool, ...]]]:
    """Yield of each dialogue of a split the texts of its turns, and which of them are learnt as replies."""
    tokenizer = Tokenizer.from_file(dataset.tokenizer)
    for made in StoredDialogues(dataset, split, 1 << 30):
        yield tuple(tokenizer.decode(list(ids)) for ids in made.turns), made.is_reply
