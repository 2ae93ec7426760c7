"""Chats cut into dialogues by silence.

- The lines of one room stand together and in order, so a dialogue may go on from one line to the next.
- A message without a time belongs to the dialogue before it; a clock that goes back is no silence.
- A dialogue never has more than `max_messages`, so a room without any times is never held whole.
- Speakers become A, B, C in the order in which they first speak in a dialogue; no name goes on.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from ..config.cleaning import SessionConfig
from ..dialogue import Dialogue, Turn
from ..errors import DataError
from .chats import Chat, Message
from .filters import is_bot


def cut_sessions(
    chats: Iterable[Chat], config: SessionConfig, identify: Callable[[str], str] | None = None
) -> Iterator[Dialogue]:
    """Yield the dialogues of chats, neighbouring messages of one speaker joined by a space.

    Dialogues of one speaker alone, and with `me` those without an answer of `me`, are left out.
    `meta` holds the room, with `me` the letter of the `reply_speaker`, the letters of `bot_speakers`, and
    with `identify` the pseudonym of each letter as `speakers`.

    Args:
        chats: chat lines; the lines of one room follow each other.
        config: the silence that ends a dialogue, and whose messages are replies.
        identify: makes a pseudonym of a name that is the same in all dialogues.

    Raises:
        DataError: a time is not of the form 2020-11-03T11:29:00.
    """
    for room, lines in groupby(chats, key=lambda chat: chat.id):
        messages = (message for chat in lines for message in chat.messages)
        kept = 0
        # All names of one person stand for the first.
        me = (
            dict.fromkeys(map(plain_name, config.me), plain_name(config.me[0])) if config.me else {}
        )
        for session in _split(messages, config):
            dialogue = _dialogue(session, room, f"{room}-{kept + 1:06d}", me, identify)
            if dialogue is not None:
                kept += 1
                yield dialogue


def _split(messages: Iterable[Message], config: SessionConfig) -> Iterator[list[Message]]:
    gap = timedelta(minutes=config.gap_minutes)
    session: list[Message] = []
    latest: datetime | None = None
    for message in messages:
        at = parse_time(message.at) if message.at else None
        is_silence = at and latest and at - latest > gap
        if session and (is_silence or len(session) >= config.max_messages):
            yield session
            session = []
        session.append(message)
        latest = at or latest
    if session:
        yield session


def parse_time(text: str) -> datetime:
    """Read the time of a message.

    Raises:
        DataError: it is not of the form 2020-11-03T11:29:00.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise DataError(
            "A message's 'at' is no time of the form 2020-11-03T11:29:00; mend it or make it null."
        ) from None


def _dialogue(
    messages: list[Message],
    room: str,
    name: str,
    me: Mapping[str, str],
    identify: Callable[[str], str] | None,
) -> Dialogue | None:
    spoken = [message for message in messages if message.text.strip()]
    letters: dict[str, str] = {}
    names: dict[str, str] = {}
    """Letter → the first name that the person has here."""
    turns = []
    for message in spoken:
        plain = plain_name(message.speaker)
        speaker = letters.setdefault(me.get(plain, plain), letter(len(letters)))
        names.setdefault(speaker, plain)
        turns.append(Turn(speaker, message.text))
    meta: dict[str, Any] = {"room": room}
    mine = letters.get(next(iter(me.values()))) if me else None
    if me:
        meta["reply_speaker"] = mine
    bots = [speaker for speaker, plain in names.items() if is_bot(plain)]
    if bots:
        meta["bot_speakers"] = bots
    if identify is not None:
        meta["speakers"] = {speaker: identify(plain) for speaker, plain in names.items()}
    dialogue = Dialogue(tuple(turns), name, meta).merge_speakers()
    replies = [turn for turn in dialogue.turns[1:] if not me or turn.speaker == mine]
    return dialogue if replies else None


def plain_name(name: str) -> str:
    """Return a speaker's name as all its spellings are known; a Mac's export spells it decomposed."""
    return unicodedata.normalize("NFC", name).strip()


def letter(number: int) -> str:
    """Return the letter of a speaker, counted from 0: A to Z, then A2 to Z2 and so on."""
    round_, place = divmod(number, 26)
    return string.ascii_uppercase[place] + (str(round_ + 1) if round_ else "")
