"""All figures of one model in one record, which is also the file `evaluation.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..config.decoding import DecodingConfig
from ..config.evaluation import EvaluationConfig
from ..errors import DataError
from ..files import write_whole
from .diversity import Diversity
from .perplexity import Perplexity
from .ranking import Ranking


@dataclass(frozen=True)
class Sample:
    """A context and the first reply that the model gave, unedited."""

    context: tuple[str, ...]
    reply: str


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one set of dialogues."""

    model: str
    data: tuple[str, ...]
    """Names of the files."""
    options: EvaluationConfig
    decoding: DecodingConfig
    """How replies were generated."""
    version: str
    """Version of this package."""
    exchanges: int
    """Exchanges that were scored."""
    cut: int
    """Of these, replies that were cut to the model's positions."""
    left_out: int
    """Exchanges whose newest turn did not fit the model."""
    perplexity: Perplexity
    trigram: Perplexity | None
    ranking: Ranking | None
    diversity: Diversity | None
    samples: tuple[Sample, ...]

    def to_json(self) -> str:
        """Return the text of `evaluation.json`."""
        return TypeAdapter(Evaluation).dump_json(self, indent=2).decode() + "\n"

    def write(self, path: Path) -> None:
        """Write `evaluation.json` in one piece.

        Raises:
            DataError: the file cannot be written.
        """
        try:
            write_whole(path, self.to_json())
        except OSError as error:
            raise DataError(f"Cannot write {path}: {error.strerror}.") from None

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read an `evaluation.json`.

        Raises:
            DataError: the file cannot be read or is something else.
        """
        try:
            return TypeAdapter(Evaluation).validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror}.") from None
        except ValidationError:
            raise DataError(f"{path} is no evaluation; write it with: dgm evaluate.") from None


def figures(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return names and values of the figures, rounded for people."""
    model, trigram = evaluation.perplexity, evaluation.trigram
    rows = [
        ("replies", f"{evaluation.exchanges:,}"),
        ("tokens", f"{model.tokens:,}"),
        ("perplexity per token", f"{model.per_token:.2f}"),
        ("perplexity per character", f"{model.per_character:.3f}"),
    ]
    if trigram:
        rows.append(("trigram's perplexity per token", f"{trigram.per_token:.2f}"))
        rows.append(("trigram's perplexity per character", f"{trigram.per_character:.3f}"))
    if ranking := evaluation.ranking:
        value = f"{ranking.recall:.3f} ({ranking.low:.3f}-{ranking.high:.3f})"
        rows.append((f"recall@1 of {ranking.candidates}, 95 % interval", value))
        rows.append(("mean reciprocal rank", f"{ranking.mrr:.3f}"))
    if seen := evaluation.diversity:
        rows.append(("distinct-1", f"{seen.distinct_1:.3f}"))
        rows.append(("distinct-2", f"{seen.distinct_2:.3f}"))
        rows.append(("replies that repeat three tokens", f"{seen.repetition:.3f}"))
        rows.append(("share of the commonest reply", f"{seen.most_common:.3f}"))
        rows.append(("tokens a generated reply", f"{seen.mean_tokens:.1f}"))
    return rows
