"""How a dialogue's turns become a prompt, and which turns fit.

- GPT reads `bos u1 sept u2 sept … un sept` and goes on with the reply, which ends with `eos`.
- Encoder-decoders read `u1 sept … un sept` on the encoder's side; the reply starts from `bos`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config.model import EncoderDecoderConfig, GPTConfig, ModelConfig
from ..errors import InputTextError


def prompt_limit(config: GPTConfig | EncoderDecoderConfig, reply_tokens: int) -> int:
    """Return how many tokens a prompt may have if the reply may have `reply_tokens` (and its end)."""
    if isinstance(config, EncoderDecoderConfig):
        return config.n_encoder_ctx
    return config.n_ctx - reply_tokens


def build_prompt(config: ModelConfig, turns: Sequence[Sequence[int]], limit: int) -> list[int]:
    """Lay out the newest turns that fit in `limit` tokens; older ones are left out whole.

    Args:
        config: says which layout and which special ids.
        turns: token ids of each turn, oldest first, without special ids; not empty.
        limit: the most tokens of the prompt, see `prompt_limit`.

    Raises:
        InputTextError: the newest turn alone does not fit.
    """
    opening = [config.bos_id] if isinstance(config, GPTConfig) else []
    kept: list[int] = []
    for turn in reversed(turns):
        if len(opening) + len(turn) + 1 + len(kept) > limit:
            break
        kept = [*turn, config.sept_id, *kept]
    if not kept:
        raise InputTextError(
            f"The message has {len(turns[-1])} tokens, but the model can read only "
            f"{max(0, limit - len(opening) - 1)}; shorten it."
        )
    return opening + kept
