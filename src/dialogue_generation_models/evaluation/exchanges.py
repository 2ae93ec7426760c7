"""What is evaluated: a reply that a person gave, and the turns before it.

All measures score the same tokens, laid out as in chat:
- Neighbouring messages of one speaker are one turn, and every turn from the second on is a reply.
- The context loses whole turns from the oldest until prompt and reply fit the model's positions.
- A reply longer than `reply_limit` is cut there and has no end token; any other reply has one.
- An exchange whose newest context turn does not fit beside the longest reply is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..config.model import AnyModelConfig, GPTConfig
from ..dialogue import Dialogue
from ..tokenizer.layout import build_prompt, prompt_limit
from ..tokenizer.tokenizer import Tokenizer, normalize


@dataclass(frozen=True)
class Exchange:
    """Turns, oldest first, and the reply that followed them."""

    context: tuple[str, ...]
    reply: str


@dataclass(frozen=True)
class EncodedExchange:
    """An exchange as ids: the newest turns that could fit, and the reply with its end token."""

    turns: tuple[list[int], ...]
    reply: list[int]
    text: str
    """The whole reply, normalised."""
    characters: int
    """Characters of the scored part of the reply, and one for the end token if it has one."""
    is_cut: bool
    """Whether the reply was longer than the model's limit."""


def exchanges(dialogue: Dialogue, speaker: str | None = None) -> Iterator[Exchange]:
    """Give each turn from the second on, with all turns before it.

    Args:
        dialogue: turns without any letter are left out; neighbours of one speaker are joined.
        speaker: take only this speaker's turns as replies; by default everybody's.
    """
    spoken = tuple(turn for turn in dialogue.turns if turn.text.strip())
    turns = Dialogue(spoken).merge_speakers().turns
    for i in range(1, len(turns)):
        if speaker in (None, turns[i].speaker):
            yield Exchange(tuple(turn.text for turn in turns[:i]), turns[i].text)


def reply_limit(config: AnyModelConfig) -> int:
    """Return the most reply tokens that are scored, without the end token.

    GPT: half the positions, so that as much context fits. Encoder-decoders: all the decoder has.
    """
    if isinstance(config, GPTConfig):
        return config.n_ctx // 2
    return config.n_ctx - config.n_encoder_ctx - 1


def encode_exchanges(
    config: AnyModelConfig, tokenizer: Tokenizer, items: Iterable[Exchange]
) -> list[EncodedExchange]:
    """Tokenise exchanges; those whose newest turn is too long for the model are left out."""
    most = reply_limit(config)
    room = prompt_limit(config, most) - 1  # for the newest turn and its separator
    encoded = []
    for item in items:
        turns = _newest_turns(tokenizer, item.context, config.n_ctx)
        if len(turns[-1]) + 1 > room:
            continue
        text = normalize(item.reply)
        ids = tokenizer.encode(text)
        is_cut = len(ids) > most
        characters = len(tokenizer.decode(ids[:most])) if is_cut else len(text) + 1
        reply = ids[:most] if is_cut else [*ids, config.eos_id]
        encoded.append(EncodedExchange(turns, reply, text, characters, is_cut))
    return encoded


def build_context(config: AnyModelConfig, item: EncodedExchange, reply_tokens: int) -> list[int]:
    """Lay out the context so that the model can score `reply_tokens` tokens after it."""
    # The last scored token is predicted but never read, so it needs no position.
    return build_prompt(config, item.turns, prompt_limit(config, reply_tokens - 1))


def _newest_turns(
    tokenizer: Tokenizer, context: tuple[str, ...], n_ctx: int
) -> tuple[list[int], ...]:
    """Tokenise from the newest turn back, as long as another turn may still fit."""
    turns: list[list[int]] = []
    total = 0
    for text in reversed(context):
        turns.append(tokenizer.encode(text))
        total += len(turns[-1]) + 1
        if total > n_ctx:
            break
    return tuple(reversed(turns))
