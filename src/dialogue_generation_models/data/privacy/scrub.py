"""Chats and dialogues without the personal data in them.

- All messages of a line are read together with the last ones of the line before and the first of the next, and
  each speaker's messages once more without what others said in between: data is split over messages.
- What was replaced is read again until nothing changes, so a scrubbed text scrubbed again stays as it is.
- Placeholders are never read: they are hidden from the detectors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import NamedTuple, get_args

from ...config.privacy import ScrubConfig
from ...dialogue import Dialogue, Turn
from ...errors import OptionError
from ..chats import Chat, Message
from .changes import Change, apply_changes, without_overlaps
from .detect import find_personal_data
from .finding import Finding, Kind, merge_findings
from .names import NameModels, find_names
from .normalize import Conversation
from .pseudonyms import Pseudonyms
from .reading_order import CONTEXT, is_nod, neighbours, of_one_speaker
from .roster import PLACEHOLDER, Roster

_MOST_ROUNDS = 5
_BARRIER = "\n\n" + "\ue001" * 64 + "\n\n"
"""Longer than any detector looks back for a cue; line breaks, so that no word goes on in it."""
_IMPORTED = re.compile(r"[a-z]{2,20}-[0-9a-f]{16}(?:-[0-9]{1,6})?")


@dataclass
class ScrubReport:
    """What was replaced, in numbers."""

    counts: Counter[str] = field(default_factory=Counter)
    """Places by kind."""
    messages: int = 0
    """Messages read."""
    touched: int = 0
    """Messages changed or dropped."""
    dropped: int = 0
    """Messages dropped."""


class Edited(NamedTuple):
    """A chat line's new texts, in the order of its messages; None for one that is dropped."""

    id: str
    title: str
    messages: list[tuple[str, str] | None]
    has_personal_data: Callable[[str], bool]
    """Whether another text of the line, such as an id, tells a name or a number."""


def scrub_chats(
    chats: Iterable[Chat], rosters: dict[str, Roster], config: ScrubConfig, report: ScrubReport
) -> Iterator[Chat]:
    """Yield chats without personal data; senders and titles included.

    Args:
        chats: chat lines; the lines of one room follow each other.
        rosters: the names of the rooms, of `collect_rosters`.
        config: what takes the place of personal data.
        report: is counted up.

    Raises:
        MissingExtraError: name models are wanted and not installed.
    """
    kept: list[Chat] = []

    def remember() -> Iterator[Chat]:
        for chat in chats:
            kept.append(chat)
            yield chat

    for edited in edit_chats(remember(), rosters, config, report):
        chat = kept.pop(0)
        messages = tuple(
            Message(old.at, *new)
            for old, new in zip(chat.messages, edited.messages, strict=True)
            if new is not None
        )
        yield replace(chat, id=edited.id, title=edited.title, messages=messages)


def scrub_dialogues(
    dialogues: Iterable[Dialogue],
    rosters: dict[str, Roster],
    config: ScrubConfig,
    report: ScrubReport,
) -> Iterator[Dialogue]:
    """Yield dialogues without personal data; what a dialogue becomes depends on it and its roster alone.

    Args:
        dialogues: `meta["roster"]` is one of the dialogue's own, which does not come out again; else
            `meta["room"]` says whose is used; without both, its speakers are all that is known.
        rosters: the names of the rooms, of `collect_rosters`; may be empty.
        config: what takes the place of personal data.
        report: is counted up.

    Raises:
        MissingExtraError: name models are wanted and not installed.
    """
    scrubber = _Scrubber(config, report)
    for dialogue in dialogues:
        meta = dict(dialogue.meta)
        roster = meta.pop("roster", None) or rosters.get(str(meta.get("room")))
        if roster is None:
            roster = Roster(sum(len(turn.text) for turn in dialogue.turns))
            for turn in dialogue.turns:
                roster.add_sender(turn.speaker)
        room = _Room(roster, Pseudonyms(roster), {})
        messages = [(turn.speaker, turn.text) for turn in dialogue.turns]
        turns = scrubber.edit(messages, room, [], [])
        kept = tuple(Turn(*turn) for turn in turns if turn is not None)
        yield replace(dialogue, turns=kept, meta=meta)


def edit_chats(
    chats: Iterable[Chat], rosters: dict[str, Roster], config: ScrubConfig, report: ScrubReport
) -> Iterator[Edited]:
    """Yield the new texts of each chat line; one line is read ahead. See `scrub_chats`."""
    scrubber = _Scrubber(config, report)
    for name, lines in groupby(chats, key=lambda chat: chat.id):
        roster = rosters.get(name) or Roster(len(rosters))
        room = _Room(roster, Pseudonyms(roster), {})
        room_id = scrubber.room_id(name, room, rosters)
        before: list[tuple[str, str]] = []
        for chat, following in _with_next(lines):
            messages = [(message.speaker, message.text) for message in chat.messages]
            after = [(m.speaker, m.text) for m in (following.messages if following else ())]
            edited = scrubber.edit(messages, room, before, after[:CONTEXT])
            tells = partial(scrubber.tells, room=room)
            yield Edited(room_id, scrubber.title(chat.title, room), edited, tells)
            before = (before + messages)[-CONTEXT:]


def is_imported_id(name: str) -> bool:
    """Whether a room's id was made by an import, of a hash; others may tell a name."""
    return _IMPORTED.fullmatch(name) is not None


def _with_next(lines: Iterable[Chat]) -> Iterator[tuple[Chat, Chat | None]]:
    held: Chat | None = None
    for line in lines:
        if held is not None:
            yield held, line
        held = line
    if held is not None:
        yield held, None


class _Room(NamedTuple):
    roster: Roster
    pseudonyms: Pseudonyms
    speakers: dict[str, str]
    """What each sender is called from now on."""


class _Scrubber:
    """Applies a configuration to the messages of a room."""

    def __init__(self, config: ScrubConfig, report: ScrubReport) -> None:
        unknown = sorted(set(config.keep) - set(get_args(Kind)))
        if unknown:
            raise OptionError(
                f"There is no kind '{unknown[0]}'; known are {', '.join(get_args(Kind))}."
            )
        self._config = config
        self._report = report
        self._models = NameModels.load() if config.name_models else None

    def edit(
        self,
        messages: Sequence[tuple[str, str]],
        room: _Room,
        before: Sequence[tuple[str, str]],
        after: Sequence[tuple[str, str]],
    ) -> list[tuple[str, str] | None]:
        """Return speaker and text of each message, None for a dropped one."""
        everything = [*before, *messages, *after]
        speakers = [speaker for speaker, _ in everything]
        texts: list[str | None] = [text for _, text in everything]
        own = range(len(before), len(before) + len(messages))
        pending: Iterable[int] = range(len(texts))
        counts: Counter[str] = Counter()
        for _ in range(_MOST_ROUNDS):
            changes = self._changes(texts, speakers, pending, room)
            for number, found in changes.items():
                texts[number] = self._apply(texts[number] or "", found)
                if number in own:
                    counts.update(change.kind for change in found if change.is_first)
            if not changes:
                break
            pending = neighbours(changes, len(texts))
        edited: list[tuple[str, str] | None] = []
        for number in own:
            text = texts[number]
            edited.append(None if text is None else (self._speaker(speakers[number], room), text))
            self._report.touched += text != everything[number][1]
            self._report.dropped += text is None
        self._report.messages += len(messages)
        self._report.counts += counts
        return edited

    def title(self, title: str, room: _Room) -> str:
        """Return a room's title with its names and numbers replaced."""
        if title in room.roster.speakers:
            return self._speaker(title, room)
        return self._scrub_label(title, room)

    def room_id(self, name: str, room: _Room, rosters: dict[str, Roster]) -> str:
        """Return the id of a room; one that holds personal data becomes a number."""
        if not self.tells(name, room):
            return name
        number = room.roster.number
        while (made := f"room-{number:06d}") in rosters:
            number += len(rosters)
        return made

    def tells(self, name: str, room: _Room) -> bool:
        """Whether an id holds personal data; one that an import made of a hash holds none."""
        return not is_imported_id(name) and self._scrub_label(name, room) != name

    def _speaker(self, name: str, room: _Room) -> str:
        if name not in room.speakers:
            given = room.pseudonyms.speaker(name)
            is_role = given == name and len(name) > 1
            room.speakers[name] = self._scrub_label(given, room) if is_role else given
        return room.speakers[name]

    def _scrub_label(self, text: str, room: _Room) -> str:
        """Scrub a text that is no message; it is never dropped."""
        for _ in range(_MOST_ROUNDS):
            changes = self._changes([text], [""], [0], room)
            if not changes:
                break
            text = apply_changes(text, changes[0])
        return text

    def _apply(self, text: str, changes: Sequence[Change]) -> str | None:
        if self._config.mode == "drop":
            return None
        return apply_changes(text, changes) or None

    def _changes(
        self,
        texts: Sequence[str | None],
        speakers: Sequence[str],
        pending: Iterable[int],
        room: _Room,
    ) -> dict[int, list[Change]]:
        """Read messages and say what changes in which of them."""
        order = [n for n in pending if n < 0 or texts[n] is not None]
        found: dict[int, list[Change]] = {}
        for numbers in (order, of_one_speaker(texts, speakers, set(order))):
            for number, change in self._read(texts, numbers, room):
                found.setdefault(number, []).append(change)
        return {number: without_overlaps(changes) for number, changes in found.items()}

    def _read(
        self, texts: Sequence[str | None], order: Sequence[int], room: _Room
    ) -> Iterator[tuple[int, Change]]:
        """Yield message numbers and changes for messages read one after the other; -1 parts them."""
        if not order:
            return
        parts = [_hide(texts[n] or "") if n >= 0 else _BARRIER for n in order]
        conversation = Conversation.from_texts(parts)
        starts, at = [], 0
        for part in parts:
            starts.append(at)
            at += len(part) + 1
        place = 0
        for finding in self._find(conversation, room.roster):
            while place + 1 < len(starts) and starts[place + 1] <= finding.start:
                place += 1
            pieces = []
            for p in range(place, len(parts)):
                if starts[p] >= finding.end:
                    break
                start, end = (
                    max(finding.start - starts[p], 0),
                    min(finding.end - starts[p], len(parts[p])),
                )
                whole = (start, end) == (0, len(parts[p]))
                if start < end and order[p] >= 0 and not (whole and is_nod(parts[p])):
                    pieces.append((order[p], start, end))
            originals = [(texts[n] or "")[start:end] for n, start, end in pieces]
            written = self._write(finding.kind, originals, room)
            for (n, start, end), old, new in zip(pieces, originals, written, strict=True):
                if old != new:
                    yield n, Change(start, end, new, finding.kind, n == pieces[0][0])

    def _find(self, conversation: Conversation, roster: Roster) -> list[Finding]:
        found = [
            *find_personal_data(conversation),
            *find_names(conversation, roster, self._models),
        ]
        return merge_findings(f for f in found if f.kind not in self._config.keep)

    def _write(self, kind: str, originals: Sequence[str], room: _Room) -> list[str]:
        """Return what takes the place of the pieces of one finding."""
        if kind != "name":
            return [f"<{kind.upper()}>"] * len(originals)
        pseudonym = room.pseudonyms.replace("".join(originals))
        if pseudonym == "".join(originals):
            return list(originals)
        if self._config.mode != "pseudonym":
            return ["<NAME>"] * len(originals)
        written = []
        for old in originals[:-1]:
            written.append(pseudonym[: len(old)])
            pseudonym = pseudonym[len(old) :]
        return [*written, pseudonym]


def _hide(text: str) -> str:
    return (
        PLACEHOLDER.sub(lambda match: "\ue000" * len(match.group()), text) if "<" in text else text
    )
