"""Finds the person whose messages are to be learnt, however the command line spells the name."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError, UsageError
from .sessions import plain_name
from .sources import Source


def find_owner(sources: Sequence[Source], name: str) -> str:
    """Return a speaker's name as the chats spell it; Unicode forms and spaces around it do not count.

    Raises:
        UsageError: no source is a private chat, and corpora name nobody.
        DataError: nobody has this name; the message says how many speakers there are, and no name.
    """
    private = [source for source in sources if source.is_private]
    if not private:
        raise UsageError(
            "--me is for chats, and the inputs are corpora; leave it out, or state a reply_speaker "
            "(docs/preparing.md)."
        )
    speakers = {
        message.speaker
        for source in private
        for chat in source.chats([])
        for message in chat.messages
    }
    wanted = plain_name(name)
    found = sorted(speaker for speaker in speakers if plain_name(speaker) == wanted)
    if not found:
        raise DataError(
            f"None of the {len(speakers)} speakers of the chats has the name of --me; "
            "write it as it stands in the export."
        )
    return name if name in found else found[0]
