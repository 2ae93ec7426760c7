"""From a recipe's sources to its tokenizer, its stages' batches and its validation batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from ..config.model import EncoderDecoderConfig, GPTConfig
from ..config.training import Recipe, SourceConfig, StageConfig
from ..data.dataset import (
    Batch,
    Batches,
    PackedRows,
    ReplyPairs,
    Sample,
    TokenizedDialogue,
    dialogue_samples,
    text_samples,
    tokenize_dialogues,
)
from ..data.importers.jsonl import open_text, read_dialogues, read_texts
from ..data.split import is_held_out, without_copies
from ..data.stored import (
    PreparedDataset,
    StoredDialogues,
    StoredRows,
    StoredSamples,
    is_prepared,
)
from ..dialogue import Dialogue
from ..errors import DataError
from ..tokenizer.tokenizer import Tokenizer
from ..tokenizer.train import train_tokenizer
from .loop import Stage
from .private import private_stage

_MAX_VALIDATION_BATCHES = 60
_WHOLE = 1 << 30  # tokens: texts are cut into rows, not as turns


@dataclass(frozen=True)
class SourceFacts:
    """What the record of a run says of one source."""

    path: str
    license: str
    sha256: str
    lines: int


def told_path(path: str, root: str) -> str:
    """Return a path as records and cards tell it; a whole path, which tells of people, is shortened.

    What lies below the folder `root` keeps its path from there, all else its last name.
    """
    whole, above = Path(path), Path(root).absolute()
    if not whole.is_absolute():
        return path
    return whole.relative_to(above).as_posix() if whole.is_relative_to(above) else whole.name


def source_paths(recipe: Recipe) -> list[Path]:
    """Return the sources of all stages, each once, in the recipe's order."""
    sources = (source for stage in recipe.stages for source in stage.sources)
    return list(dict.fromkeys(Path(recipe.data_root) / source.path for source in sources))


class Corpus:
    """Reads a recipe's sources.

    Args:
        recipe: whose sources they are.
        own: the data set that the recipe's `preparation` made of them; None to read them as they are.

    Raises:
        DataError: a source is missing.
    """

    def __init__(self, recipe: Recipe, own: PreparedDataset | None = None) -> None:
        self._recipe = recipe
        self._own = own
        self._root = Path(recipe.data_root)
        names = {source.path for stage in recipe.stages for source in stage.sources}
        self._prepared = {
            name: PreparedDataset(self._root / name)
            for name in names
            if is_prepared(self._root / name)
        }
        files = names - self._prepared.keys()
        for name in sorted(files | set(recipe.tokenizer.sources if recipe.tokenizer else ())):
            if not (self._root / name).is_file():
                raise DataError(
                    f"The recipe's source {name} is not in {self._root}; "
                    "give the folder with --set data_root=FOLDER."
                )

    def facts(self) -> list[SourceFacts]:
        """Return each source's name, licence, hash and length, in the recipe's order."""
        sources = {s.path: s for stage in self._recipe.stages for s in stage.sources}
        return [self._facts(source) for source in sources.values()]

    def train_tokenizer(self) -> Tokenizer:
        """Train the recipe's tokenizer, or take that of its data sets.

        Raises:
            DataError: the data sets have several tokenizers, or there is none.
        """
        config = self._recipe.tokenizer
        prepared = {d.manifest["tokenizer"]["sha256"]: d.tokenizer for d in self._prepared.values()}
        if len(prepared) > 1 or (prepared and config is not None):
            raise DataError(
                "Data sets bring their tokenizer: use data sets of one, and leave [tokenizer] out."
            )
        if prepared:
            return Tokenizer.from_file(*prepared.values())
        if config is None:
            raise DataError("The recipe has no tokenizer; add [tokenizer] with its sources.")
        texts = chain.from_iterable(
            islice(read_texts(self._root / name), config.max_lines) for name in config.sources
        )
        return train_tokenizer(texts, self._recipe.model.vocab_size)

    def held_out(self) -> list[Dialogue]:
        """Return the dialogues of all stages' files that are held out for validation."""
        return [
            dialogue
            for source in self._recipe.dialogue_sources
            if self._own is None and source.path not in self._prepared
            for dialogue in self._dialogues(source)
            if self._is_held_out(dialogue)
        ]

    def training_dialogues(
        self, source: SourceConfig, held_out: Sequence[Dialogue]
    ) -> Iterator[Dialogue]:
        """Yield a source's dialogues that are not held out, nor copies of any that is."""
        learnt = (d for d in self._dialogues(source) if not self._is_held_out(d))
        return without_copies(learnt, held_out)

    def stage(
        self, config: StageConfig, tokenizer: Tokenizer, held_out: Sequence[Dialogue]
    ) -> Stage:
        """Make a stage's batches.

        Raises:
            DataError: there is nothing to learn, or files and data sets are mixed.
        """
        if self._own is not None:
            return Stage(config, self._stored_batches(config))
        prepared = [source for source in config.sources if source.path in self._prepared]
        if prepared:
            if len(config.sources) > 1:
                raise DataError(
                    f"The stage '{config.name}' mixes a data set with other sources; prepare them as one."
                )
            if self._recipe.privacy is not None:
                return self._private_stage(prepared[0], config)
            return Stage(config, self._stored_batches(config))
        if self._recipe.privacy is not None:
            raise DataError("A private training learns from a data set; prepare the files first.")
        if config.objective == "text":
            return Stage(config, self._text_batches(config, tokenizer))
        dialogues: list[TokenizedDialogue] = []
        for source in config.sources:
            learnt = self.training_dialogues(source, held_out)
            learns_first = config.learnt == "turns"
            tokenized = self._tokenize(learnt, source, tokenizer, learns_first=learns_first)
            dialogues += list(tokenized) * source.repeat
        if not dialogues:
            raise DataError(
                f"The stage '{config.name}' has no dialogue to learn from; add sources."
            )
        return Stage(config, self._batches(dialogues, config.batch_size))

    def validation(self, tokenizer: Tokenizer) -> list[Batch]:
        """Make the validation batches, with all context and the same in every run."""
        dialogues: list[TokenizedDialogue] = []
        for source in self._recipe.dialogue_sources:
            if self._own is not None or source.path in self._prepared:
                dialogues += self._stored([source], "valid")
                continue
            held_out = filter(self._is_held_out, self._dialogues(source))
            dialogues += self._tokenize(held_out, source, tokenizer)
        if not dialogues:
            raise DataError("No dialogue is held out for validation; raise validation_percent.")
        batch_size = self._recipe.stages[-1].batch_size
        batches = self._batches(dialogues, batch_size, vary_context=False)
        count = min(batches.batches_per_epoch, _MAX_VALIDATION_BATCHES)
        return [batches.batch(number) for number in range(count)]

    def note_use(self, run: Path) -> None:
        """Write into the data sets that this run learns from them."""
        own = [] if self._own is None else [self._own]
        for dataset in [*self._prepared.values(), *own]:
            dataset.note_use(self._recipe.name, run)

    def _stored(
        self, sources: Sequence[SourceConfig], split: str, *, learns_all: bool = False
    ) -> StoredDialogues:
        """Return a split of sources that were prepared as one data set."""
        most = max_turn_tokens(self._recipe.model) if split != "text" else _WHOLE
        repeats = {s.path: 1 if split == "valid" else s.repeat for s in sources}
        if self._own is None:
            ((path, repeat),) = repeats.items()
            return self._prepared[path].dialogues(split, most, repeat, learns_all=learns_all)
        numbers = {path: number for number, path in enumerate(source_paths(self._recipe))}
        times = {numbers[self._root / path]: repeat for path, repeat in repeats.items()}
        return self._own.dialogues(split, most, times, learns_all=learns_all)

    def _stored_batches(self, config: StageConfig) -> Batches:
        """Make the batches of a stage that learns from a data set."""
        recipe, model = self._recipe, self._recipe.model
        is_text = config.objective == "text"
        learns_all = config.learnt == "turns"
        split = "text" if is_text else "train"
        stored = self._stored(config.sources, split, learns_all=learns_all)
        if not len(stored):
            raise DataError(f"The data set of stage '{config.name}' has no {config.objective}.")
        if isinstance(model, EncoderDecoderConfig):
            return ReplyPairs(
                stored, model, config.batch_size, recipe.seed, recipe.max_context_turns
            )
        samples = StoredSamples(stored, model, is_text=is_text)
        return StoredRows(samples, model, config.batch_size, recipe.seed)

    def _private_stage(self, source: SourceConfig, config: StageConfig) -> Stage:
        stored = self._stored([source], "train")
        manifest = self._prepared[source.path].manifest
        if len(stored) != manifest["counts"]["train"]["dialogues"]:
            raise DataError("A private training reads each dialogue once; remove the repeats.")
        return private_stage(stored, config, self._recipe)

    def _text_batches(self, config: StageConfig, tokenizer: Tokenizer) -> Batches:
        recipe, model = self._recipe, self._recipe.model
        assert isinstance(model, GPTConfig), "the recipe's validator keeps text for GPT"
        samples: list[Sample] = []
        for source in config.sources:
            samples += list(text_samples(self._texts(source), tokenizer, model)) * source.repeat
        if not samples:
            raise DataError(f"The stage '{config.name}' has no text to learn from; add sources.")
        return PackedRows(samples, model, config.batch_size, recipe.seed)

    def _tokenize(
        self,
        dialogues: Iterable[Dialogue],
        source: SourceConfig,
        tokenizer: Tokenizer,
        *,
        learns_first: bool = False,
    ) -> Iterator[TokenizedDialogue]:
        return tokenize_dialogues(
            dialogues,
            tokenizer,
            max_turn_tokens=max_turn_tokens(self._recipe.model),
            reply_speaker=source.reply_speaker,
            learns_first=learns_first,
        )

    def _batches(
        self, dialogues: Sequence[TokenizedDialogue], batch_size: int, *, vary_context: bool = True
    ) -> Batches:
        recipe, model = self._recipe, self._recipe.model
        if isinstance(model, EncoderDecoderConfig):
            turns = recipe.max_context_turns
            return ReplyPairs(dialogues, model, batch_size, recipe.seed, turns, vary_context)
        samples: list[Sample] = list(dialogue_samples(dialogues, model))
        return PackedRows(samples, model, batch_size, recipe.seed)

    def _facts(self, source: SourceConfig) -> SourceFacts:
        told = told_path(source.path, self._recipe.data_root)
        if source.path in self._prepared:
            dataset = self._prepared[source.path]
            dataset.verify()
            counts = dataset.manifest["counts"].values()
            lines = sum(row["dialogues"] for row in counts)
            return SourceFacts(told, source.license, dataset.sha256, lines)
        path = self._root / source.path
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with open_text(path) as lines:
            return SourceFacts(told, source.license, digest, sum(1 for _ in lines))

    def _dialogues(self, source: SourceConfig) -> Iterator[Dialogue]:
        return islice(read_dialogues(self._root / source.path), source.limit)

    def _texts(self, source: SourceConfig) -> Iterator[str]:
        return islice(read_texts(self._root / source.path), source.limit)

    def _is_held_out(self, dialogue: Dialogue) -> bool:
        return is_held_out(dialogue, self._recipe.validation_percent)


def max_turn_tokens(model: GPTConfig | EncoderDecoderConfig) -> int:
    """Return how long a turn may be so that it fits as context and as reply."""
    if isinstance(model, EncoderDecoderConfig):
        return min(model.n_encoder_ctx, model.n_ctx - model.n_encoder_ctx) - 1
    return model.n_ctx // 2 - 2
