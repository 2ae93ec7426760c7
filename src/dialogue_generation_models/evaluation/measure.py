"""Takes all measures of one model, in one go."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..checkpoint.folder import find_folder, load_folder
from ..config.decoding import DecodingConfig
from ..config.evaluation import EvaluationConfig
from ..decoding.generate import generate
from ..errors import TokenizerError
from ..inference.engine import TorchEngine
from ..tokenizer.layout import build_prompt, prompt_limit
from ..tokenizer.tokenizer import Tokenizer
from .diversity import Diversity, diversity
from .exchanges import EncodedExchange, Exchange, encode_exchanges, reply_limit
from .material import Material
from .perplexity import Perplexity, score_exchanges, summarize
from .ranking import Ranking, rank_encoded
from .report import Evaluation, Sample
from .scoring import Progress
from .trigram import TrigramModel, trigram_pairs

if TYPE_CHECKING:
    from ..models import Model

Track: TypeAlias = Callable[[str, int], Progress]
"""Called with a measure's name and its number of items when it begins; returns its progress."""

CANDIDATES = 20
_PROMPTS_AT_ONCE = 8


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a model, its tokenizer and the way it replies."""

    name: str
    model: Model
    tokenizer: Tokenizer
    decoding: DecodingConfig

    @classmethod
    def load(cls, name_or_path: str, *, device: str | None = None) -> Subject:
        """Load a model by its name or folder.

        Raises:
            ModelNotFoundError: there is no such model.
            CheckpointError: the folder is damaged.
            TokenizerError: the folder has no tokenizer.
        """
        folder = load_folder(find_folder(name_or_path), device=device)
        if folder.tokenizer is None:
            raise TokenizerError(
                f"{folder.path} has no tokenizer.model, without which text cannot be read; add it."
            )
        return cls(folder.path.resolve().name, folder.model, folder.tokenizer, folder.decoding)


def evaluate(
    subject: Subject, material: Material, options: EvaluationConfig, track: Track
) -> Evaluation:
    """Take all measures that there is material for.

    Ranking is left out where there are fewer than 20 different replies.

    Raises:
        DataError: no exchange can be scored.
        CheckpointError: the model gives NaN or infinity.
        InputTextError: the newest turn of a sample context does not fit the model.
    """
    from .. import __version__

    config = subject.model.config
    drawn = _draw(material.items, options.limit, options.seed)
    encoded = encode_exchanges(config, subject.tokenizer, drawn)
    scores = score_exchanges(subject.model, encoded, track("perplexity", len(encoded)))
    return Evaluation(
        model=subject.name,
        data=material.names,
        options=options,
        decoding=subject.decoding.replace(num_return=1, seed=options.seed),
        version=__version__,
        exchanges=len(encoded),
        cut=sum(item.is_cut for item in encoded),
        left_out=len(drawn) - len(encoded),
        perplexity=summarize(encoded, scores),
        trigram=_measure_trigram(subject, material.trigram_items, encoded, track),
        ranking=_measure_ranking(subject.model, encoded, options, track),
        diversity=_measure_diversity(subject, encoded, options, track),
        samples=_write_samples(subject, material.contexts, options.seed, track),
    )


def _draw(items: Sequence[Exchange], limit: int, seed: int) -> Sequence[Exchange]:
    if not limit or len(items) <= limit:
        return items
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), limit))]


def _measure_trigram(
    subject: Subject,
    items: Iterable[Exchange] | None,
    encoded: Sequence[EncodedExchange],
    track: Track,
) -> Perplexity | None:
    if items is None:
        return None
    track("trigram", 1)
    config = subject.model.config
    training = encode_exchanges(config, subject.tokenizer, items)
    trigram = TrigramModel.fit(
        trigram_pairs(training, config.sept_id), config.vocab_size, start_id=config.bos_id
    )
    return summarize(encoded, trigram.score(trigram_pairs(encoded, config.sept_id)))


def _measure_ranking(
    model: Model, encoded: Sequence[EncodedExchange], options: EvaluationConfig, track: Track
) -> Ranking | None:
    count = min(options.ranked, len(encoded))
    if not count or len({item.text for item in encoded}) < CANDIDATES:
        return None
    # The exchanges stand in the order of the files, so take some from everywhere.
    chosen = random.Random(options.seed).sample(range(len(encoded)), count)
    return rank_encoded(
        model,
        encoded,
        chosen,
        candidates=CANDIDATES,
        seed=options.seed,
        progress=track("ranking", count),
    )


def _measure_diversity(
    subject: Subject,
    encoded: Sequence[EncodedExchange],
    options: EvaluationConfig,
    track: Track,
) -> Diversity | None:
    if not options.generated:
        return None
    count = min(options.generated, len(encoded))
    rows = random.Random(options.seed).sample(range(len(encoded)), count)
    turns = [encoded[i].turns for i in rows]
    return diversity(generate_replies(subject, turns, options.seed, track("replies", count)))


def _write_samples(
    subject: Subject, contexts: Sequence[tuple[str, ...]], seed: int, track: Track
) -> tuple[Sample, ...]:
    if not contexts:
        return ()
    turns = [[subject.tokenizer.encode(text) for text in context] for context in contexts]
    replies = generate_replies(subject, turns, seed, track("samples", len(turns)))
    return tuple(
        Sample(tuple(context), subject.tokenizer.decode(reply))
        for context, reply in zip(contexts, replies, strict=True)
    )


def generate_replies(
    subject: Subject,
    contexts: Sequence[Sequence[Sequence[int]]],
    seed: int,
    progress: Progress,
) -> list[list[int]]:
    """Return the model's first reply to each context, as ids without the end token.

    Args:
        subject: the model and the way it replies.
        contexts: token ids of each context's turns, oldest first.
        seed: makes the replies repeatable.
        progress: told how many replies were just written.

    Raises:
        InputTextError: a context's newest turn does not fit the model.
    """
    config = subject.model.config
    most = min(subject.decoding.max_tokens, reply_limit(config))
    least = min(subject.decoding.min_tokens, most)
    options = subject.decoding.replace(num_return=1, seed=seed, max_tokens=most, min_tokens=least)
    engine = TorchEngine(subject.model)
    limit = prompt_limit(config, most)
    prompts = [build_prompt(config, turns, limit) for turns in contexts]
    replies: list[list[int]] = []
    for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
        batch = prompts[start : start + _PROMPTS_AT_ONCE]
        found = generate(engine, config, batch, options)
        # Rules can forbid every reply; that is an empty one.
        replies += [candidates[0].ids if candidates else [] for candidates in found]
        progress(len(batch))
    return replies
