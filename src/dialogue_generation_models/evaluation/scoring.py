"""Scoring many replies fast: batches of similar length, in an order that nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError
from ..inference.scoring import score_replies

if TYPE_CHECKING:
    from ..models import Model

Scores: TypeAlias = npt.NDArray[np.float64]
Progress: TypeAlias = Callable[[int], None]
"""Called with the number of items that were just finished."""

BATCH_TOKENS = 4096


def score_in_batches(
    model: Model,
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> list[Scores]:
    """Return log P of each reply's tokens, in the order given.

    Args:
        model: any of the package's models.
        prompts: as `build_context` lays them out.
        replies: token ids, with the end token where it is to be scored.
        batch_tokens: the most tokens of one forward pass, padding included.
        progress: told how many replies were just scored.

    Raises:
        CheckpointError: the model gives NaN or infinity.
    """
    lengths = [len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)]
    scores: list[Scores] = [np.empty(0)] * len(replies)
    for rows in _batches(lengths, batch_tokens):
        with _without_dropout(model):
            batch = score_replies(model, [prompts[i] for i in rows], [replies[i] for i in rows])
        for i, logp in zip(rows, batch, strict=True):
            scores[i] = logp.double().cpu().numpy()
            if not np.isfinite(scores[i]).all():
                raise CheckpointError(
                    "The model's probabilities are not finite numbers; its weights are damaged, "
                    "use another model folder."
                )
        if progress:
            progress(len(rows))
    return scores


@contextmanager
def _without_dropout(model: Model) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group the longest first, so that a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
