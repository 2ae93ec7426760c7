"""The speakers of a corpus: letters in its dialogues, pseudonyms beside them, and the names to scrub."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from ..dialogue import Dialogue, Turn
from .chats import Chat, Message
from .filters import is_bot
from .privacy.roster import RosterCollector, collect_rosters, is_role
from .sessions import letter, plain_name


def identify(name: str, key: bytes) -> str:
    """Return a speaker's pseudonym; without the key nobody can tell whose it is."""
    clean = plain_name(name).encode("utf-8", "surrogatepass")
    return f"speaker-{hashlib.blake2b(clean, key=key, digest_size=8).hexdigest()}"


def with_letters(dialogue: Dialogue, label: str, reply_speaker: str | None, key: bytes) -> Dialogue:
    """Call the speakers of a corpus A, B, C; keep of its `meta` what decides on replies, bots and people.

    Args:
        dialogue: as it stands in the corpus.
        label: the corpus; the numbers that it has for people are its own.
        reply_speaker: whose turns alone are learnt.
        key: makes pseudonyms.
    """
    names = dict.fromkeys(turn.speaker for turn in dialogue.turns)
    letters = {name: letter(number) for number, name in enumerate(names)}
    room = dialogue.meta.get("room")
    meta: dict[str, Any] = {"room": room} if isinstance(room, str) else {}
    marked = dialogue.meta.get("bot_speakers", ())
    meta["bot_speakers"] = [letters[name] for name in names if name in marked or is_bot(name)]
    if reply_speaker is not None:
        meta["reply_speaker"] = letters.get(reply_speaker, "")
    people = dialogue.meta.get("interlocutors")
    if isinstance(people, list):
        meta["speakers"] = {
            letters[name]: identify(f"{label}/{person}", key)
            for name, person in zip(names, people, strict=False)
        }
    else:  # whoever is called by a name can be forgotten by it
        meta["speakers"] = {
            letters[name]: identify(name, key) for name in names if names_somebody(name)
        }
    turns = tuple(Turn(letters[turn.speaker], turn.text) for turn in dialogue.turns)
    return Dialogue(turns, dialogue.id, meta)


def names_somebody(speaker: str) -> bool:
    """Whether a corpus calls a speaker by a name, not by a role (user, 상담사 2), a letter or a number."""
    return not is_role(speaker) and sum(map(str.isalpha, speaker)) > 1


def with_roster(lettered: Dialogue, spoken: Dialogue, rooms: RosterCollector) -> Dialogue:
    """Keep who speaks: names go from texts only where they are known, and letters hide them.

    Those of a room are learnt into `rooms`; a dialogue without one takes its own along.
    """
    room = spoken.meta.get("room")
    messages = tuple(Message(None, turn.speaker, turn.text) for turn in spoken.turns)
    chat = Chat(room if isinstance(room, str) else "", "", "", messages)
    if isinstance(room, str):
        rooms.add(chat)
        return lettered
    roster = collect_rosters([chat])[""]
    if not roster.forms:
        return lettered
    # As in `scrub_dialogues`: what the pseudonyms are depends on the dialogue alone.
    roster.number = sum(len(turn.text) for turn in lettered.turns)
    return replace(lettered, meta={**lettered.meta, "roster": roster})
