"""Train a SentencePiece tokenizer with the five special ids in the places of the published models."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import sentencepiece

from ..errors import DataError
from .tokenizer import Tokenizer, normalize

SEPT_PIECE = "<sept>"
_MAX_SENTENCE_BYTES = 4192


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    character_coverage: float = 0.9995,
    threads: int = 2,
) -> Tokenizer:
    """Train a unigram tokenizer with byte fallback (Kudo 2018, arXiv 1804.10959).

    Args:
        texts: training texts; each line is a sentence, longer ones than 4 KB are left out.
        vocab_size: pieces in all, with the 5 special ids and 256 bytes.
        character_coverage: share of characters that get a piece of their own; the rest are bytes.
        threads: worker threads.

    Raises:
        DataError: there is too little text for so many pieces.
    """
    lines = (line for text in texts for line in normalize(text).splitlines() if line.strip())
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=lines,
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            max_sentence_length=_MAX_SENTENCE_BYTES,
            num_threads=threads,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            control_symbols=[SEPT_PIECE],
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(_explain(str(error), vocab_size)) from None
    return Tokenizer(model.getvalue())


def _explain(reason: str, vocab_size: int) -> str:
    if "smaller than required_chars" in reason:
        return f"A vocabulary of {vocab_size} has no room for all characters; raise --vocab-size."
    largest = re.search(r"value <= (\d+)", reason)
    hint = f"lower --vocab-size to {largest[1]}" if largest else "lower --vocab-size"
    return f"Too little text for a vocabulary of {vocab_size}; give more text or {hint}."
