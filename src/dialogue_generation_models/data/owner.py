"""Finds the person whose messages are to be learnt, however the command line spells the names."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError, UsageError
from .sessions import plain_name
from .sources import Source


def find_owner(sources: Sequence[Source], names: Sequence[str]) -> list[str]:
    """Return a speaker's names as the chats spell them; Unicode forms and spaces around them do not count.

    Raises:
        UsageError: no source is a private chat, and corpora name nobody.
        DataError: nobody has any of them; the message says how many speakers there are, and no name.
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
    spelled: dict[str, str] = {}
    for speaker in sorted(speakers):
        spelled.setdefault(plain_name(speaker), speaker)
    if spelled.keys().isdisjoint(map(plain_name, names)):
        raise DataError(
            f"None of the {len(speakers)} speakers of the chats has a name of --me; "
            "write it as it stands in the export."
        )
    return [name if name in speakers else spelled.get(plain_name(name), name) for name in names]
