"""How likely given replies are: one full forward pass, no search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config.model import EncoderDecoderConfig, GPTConfig
from ..errors import InputTextError
from ..models.gpt import GPT

if TYPE_CHECKING:
    from ..models import EncoderDecoder, Model


@torch.inference_mode()
def score_replies(
    model: Model, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> list[Tensor]:
    """Compute log P of each token of each reply, in one padded batch.

    The model is used in the mode it is in; call `model.eval()` first if it may have dropout.

    Args:
        model: any of the package's models.
        prompts: for GPT the whole prompt, for encoder-decoders the context; none is empty.
        replies: as many; the end token counts where it is given.

    Returns:
        For each reply a float32 tensor of its length, on the CPU.

    Raises:
        InputTextError: a prompt is empty, or prompt and reply are longer than the model can read.
    """
    if not prompts:
        return []
    for prompt, reply in zip(prompts, replies, strict=True):
        _check_length(model.config, prompt, reply)
    if isinstance(model, GPT):
        logits = _decoder_logits(model, prompts, replies)
    else:
        logits = _encoder_decoder_logits(model, prompts, replies)  # [N, V], N tokens of all replies
    targets = torch.tensor([token for reply in replies for token in reply], device=logits.device)
    logp = logits.float().log_softmax(dim=1).gather(1, targets.long()[:, None])[:, 0]  # [N]
    return list(torch.split(logp.cpu(), [len(reply) for reply in replies]))


def _check_length(
    config: GPTConfig | EncoderDecoderConfig, prompt: Sequence[int], reply: Sequence[int]
) -> None:
    if isinstance(config, EncoderDecoderConfig):
        longest_reply = config.n_ctx - config.n_encoder_ctx
        fits = len(prompt) <= config.n_encoder_ctx and len(reply) <= longest_reply
    else:
        fits = len(prompt) + len(reply) - 1 <= config.n_ctx
    if not prompt:
        raise InputTextError("The prompt is empty; give at least one token.")
    if not fits:
        raise InputTextError(
            f"A prompt of {len(prompt)} and a reply of {len(reply)} tokens are more than the model "
            "can read; shorten them."
        )


def _decoder_logits(
    model: GPT, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> Tensor:
    # The last token of a reply is only a target, and the last of the prompt scores the reply's first.
    rows = [[*prompt, *reply[:-1]] for prompt, reply in zip(prompts, replies, strict=True)]
    ids, mask = _pad(model, rows)
    wanted = torch.zeros_like(mask)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        wanted[row, len(prompt) - 1 : len(prompt) - 1 + len(reply)] = True
    return model(ids, segment_ids=mask.long(), logits_at=wanted)  # type: ignore[no-any-return]


def _encoder_decoder_logits(
    model: EncoderDecoder, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> Tensor:
    context_ids, context_mask = _pad(model, prompts)
    reply_ids, _ = _pad(model, [[model.config.bos_id, *reply[:-1]] for reply in replies])
    wanted = torch.zeros_like(reply_ids, dtype=torch.bool)
    for row, reply in enumerate(replies):
        wanted[row, : len(reply)] = True
    return model(  # type: ignore[no-any-return]
        context_ids, reply_ids, context_mask=context_mask, logits_at=wanted
    )


def _pad(model: Model, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rectangle of ids, padded on the right, and its mask (True = token), each [B, T]."""
    device = next(model.parameters()).device
    width = max(map(len, rows))
    ids = [[*row, *[model.config.pad_id] * (width - len(row))] for row in rows]
    mask = [[place < len(row) for place in range(width)] for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
