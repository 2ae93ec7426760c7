"""Who is in a room: the names that an export itself tells, taken apart.

- A sender's name may be a full name, a given name, a nickname, a role (엄마) or a word (행복), and decorated:
  ♥, [회사], 대리, (철이). Roles name nobody; words are names only where somebody is called by them.
- The title of a room often lists its people; any other title is replaced as a whole.
- A nickname made of a syllable of somebody's name (철이 for 철수) counts once it was called out twice.
- Only names are kept, never a message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from re import Pattern

from ..chats import Chat
from . import japanese_lexicon as japanese
from . import korean_lexicon as korean
from .normalize import Conversation
from .pseudonym_pools import is_pseudonym, split_pseudonym
from .word_lists import words

PLACEHOLDER = re.compile(r"<[A-Z_]{3,20}>")
_LONGEST_NAME = 40
_MOST_NICKNAMES = 500
_LETTERS = r"A-Za-z가-힣" + japanese.KANJI + japanese.HIRAGANA + japanese.KATAKANA + "À-ÿ"
_SEGMENT = re.compile(rf"[{_LETTERS}][{_LETTERS}'’ ]*")
_SENDER_ENDS = re.compile(
    r" ?외 ?[0-9]+ ?명| ?님과 .*$|のトーク.*$|とのトーク.*$|[0-9]+ ?(?:명|人|people)"
)
_COUNTED = re.compile(r"(?:[ _-]|(?<=[^\x00-\x7f]))[a-z]$")
"""The letter of 화자 A and speaker_b."""
_CALLED_OUT = re.compile(
    r"([가-힣]{2,3})[아야](?![가-힣])"
    rf"|([{japanese.KANJI}{japanese.HIRAGANA}{japanese.KATAKANA}]{{1,5}}?)(?:ちゃん|くん|さん)"
)
_ENGLISH_WORDS = frozenset(
    ("go", "oh", "an", "ha", "im", "son", "song", "park", "you", "sun", "young", "long")
)
"""Family names that begin English sentences."""


@dataclass(frozen=True)
class Form:
    """One way of writing somebody's name, and its parts; no parts: the title of the room."""

    family: str = ""
    given: str = ""
    is_word: bool = False
    """It is also a word: a name only where somebody is called by it."""


@dataclass
class Roster:
    """The names of one room."""

    number: int = 0
    """Which room of the collection it is, from 0."""
    forms: dict[str, Form] = field(default_factory=dict)
    """Names as they may be written, without spaces; in the order in which they were met."""
    speakers: dict[str, Form | None] = field(default_factory=dict)
    """Sender → main name; None for a role or a letter, which stays."""
    titles: set[str] = field(default_factory=set)

    @cached_property
    def pattern(self) -> Pattern[str] | None:
        """Finds any form but Latin ones; None if there is none."""
        return _any_of([form for form in self._surfaces if not form[0].isascii()])

    @cached_property
    def latin_pattern(self) -> Pattern[str] | None:
        """Finds Latin forms, in any case; None if there is none."""
        return _any_of([form for form in self._surfaces if form[0].isascii()], re.IGNORECASE)

    @cached_property
    def latin_forms(self) -> dict[str, Form]:
        """Latin forms in small letters."""
        return {text.lower(): form for text, form in self.forms.items() if text.isascii()}

    @property
    def _surfaces(self) -> Iterator[str]:
        for text, form in self.forms.items():
            yield text
            if form.family and form.given and not text.isascii():
                yield f"{form.family} {form.given}"
        yield from (title for title in self.titles if title)

    def add_sender(self, name: str) -> None:
        """Learn the names in a sender's name."""
        if name in self.speakers:
            return
        forms = split_sender(name)
        self.speakers[name] = forms[0] if forms else None
        for form in forms:
            self.add(form)

    def add(self, form: Form) -> None:
        """Learn the ways of writing one name."""
        if form.family.isascii() and form.family:
            self.forms.setdefault(f"{form.given} {form.family}", form)
            self.forms.setdefault(f"{form.family} {form.given}", form)
            self.forms.setdefault(form.given, Form("", form.given))
            is_word = form.family.lower() in words("latin_words") | _ENGLISH_WORDS
            self.forms.setdefault(form.family, Form(form.family, "", is_word))
            return
        whole = (form.family + form.given).replace(" ", "")
        if whole:
            is_noun = whole in korean.nouns() or whole in korean.ordinary_words()
            self.forms.setdefault(whole, replace(form, is_word=form.is_word or is_noun))
        if form.family and (len(form.given) >= 2 or "가" <= form.given <= "힣"):
            word = (
                len(form.given) == 1
                or form.given in korean.ordinary_words()
                or form.given in japanese.ordinary_words()
            )
            self.forms.setdefault(form.given, Form("", form.given, word))
        elif form.family and form.given:
            self.forms.setdefault(form.given, Form("", form.given, True))
        if form.family and (form.family in japanese.surnames() and len(form.family) > 1):
            self.forms.setdefault(
                form.family, Form(form.family, "", form.family in japanese.places())
            )

    def add_title(self, title: str) -> None:
        """Learn the names in a room's title, or the title itself."""
        if title in self.titles or title in self.speakers:
            return
        plain = _SENDER_ENDS.sub("", PLACEHOLDER.sub("", title)).strip()
        pieces = [piece.strip() for piece in re.split(r"[,、&/·]", plain) if piece.strip()]
        forms = [split_sender(piece) for piece in pieces]
        known = [
            piece in self.speakers or _is_sure(found)
            for piece, found in zip(pieces, forms, strict=True)
        ]
        alone = len(pieces) == 1 and " " not in plain and len(plain) <= 6
        for piece_forms, is_known in zip(forms, known, strict=True):
            if is_known or alone:
                for form in piece_forms:
                    self.add(form)
        if not all(known) and not alone and len(re.findall(rf"[{_LETTERS}]", plain)) >= 4:
            self.titles.add(title)


class RosterCollector:
    """Learns the names of each room, chat by chat. Keeps names only, whatever the length of the chats."""

    def __init__(self) -> None:
        self._rosters: dict[str, Roster] = {}
        self._called: dict[str, Counter[str]] = {}

    def add(self, chat: Chat) -> None:
        """Learn the names in a chat line."""
        roster = self._rosters.setdefault(chat.id, Roster(len(self._rosters)))
        counts = self._called.setdefault(chat.id, Counter())
        for message in chat.messages:
            if message.speaker not in roster.speakers:
                roster.add_sender(message.speaker)
            found = _CALLED_OUT.match(message.text)
            if found:
                name = found[1] or found[2]
                if name in counts or len(counts) < _MOST_NICKNAMES:
                    counts[name] += 1
        roster.add_title(chat.title)

    def finish(self) -> dict[str, Roster]:
        """Return the names of each room by its id, once all chats were added."""
        for room, roster in self._rosters.items():
            for name, count in self._called.pop(room).items():
                if count >= 2 and _is_nickname(name, roster):
                    roster.add(Form("", name))
        return self._rosters


def collect_rosters(chats: Iterable[Chat]) -> dict[str, Roster]:
    """Return the names of each room by its id."""
    rosters = RosterCollector()
    for chat in chats:
        rosters.add(chat)
    return rosters.finish()


@lru_cache(maxsize=1 << 12)
def split_sender(name: str) -> tuple[Form, ...]:
    """Return the names in a sender's name, the main one first; nothing for a role."""
    return tuple(_names_of(name))


@lru_cache(maxsize=1 << 12)
def is_role(name: str) -> bool:
    """Whether a sender's name says what somebody is, and not who: 엄마, in corpora 상담사 2 or speaker_a."""
    role = _plain(name).strip()
    bare = _COUNTED.sub("", role.lower()).rstrip(" _-0123456789")
    return role in korean.roles() or role in japanese.roles() or bare in words("corpus_roles")


def _plain(name: str) -> str:
    return Conversation.from_texts([PLACEHOLDER.sub(" ", name)]).folded


def _names_of(name: str) -> Iterator[Form]:
    if is_role(name):
        return
    text = _plain(name)
    segments = [s.strip() for s in _SEGMENT.findall(text) if s.strip()]
    found = [form for segment in segments for form in _split_segment(segment[:_LONGEST_NAME])]
    sure = [form for form in found if form.family or _is_sure([form])]
    aside = set(re.findall(r"[(（]([^()（）]{1,20})[)）]", text))
    for form in found:
        if not sure or form in sure:
            yield form
        elif form.given in aside:
            yield Form("", form.given, True)


def _split_segment(segment: str) -> Iterator[Form]:
    if segment[0].isascii() or segment[0] in "ÀÉÖÜ":
        yield from _split_latin(segment)
    elif "가" <= segment[0] <= "힣":
        yield from _split_korean(segment)
    else:
        yield from _split_japanese(segment)


def _split_korean(segment: str) -> Iterator[Form]:
    parts = [part for part in (_without_title(word) for word in segment.split()) if part]
    if len(parts) == 2 and parts[0] in korean.surnames() and len(parts[1]) == 2:
        yield Form(parts[0], parts[1])
        return
    names = [form for form in map(_korean_name, parts) if form]
    sure = [form for form in names if _is_sure([form])]
    if len(parts) > 1 and not sure:
        yield Form("", " ".join(parts), all(part in korean.ordinary_words() for part in parts))
    else:
        yield from sure or names


def _without_title(word: str) -> str:
    """The name before a title: 이 of 이대리님; nothing of a word that is a title or a role."""
    if word in korean.roles() or re.fullmatch(korean.HONORIFIC, word):
        return ""
    split = korean.split_full_name(word)
    if split and len(word) == 3 and split[1] in korean.ordinary_words():
        return word  # 김태양 is no Miss Kim Tae
    match = re.fullmatch(rf"([가-힣]{{1,4}}?){korean.HONORIFIC}", word)
    if match is None or (len(match[1]) == 1 and match[1] not in korean.surnames()):
        return word
    return match[1]


def _korean_name(word: str) -> Form | None:
    if len(word) == 1:
        return Form(word, "", True) if word in korean.surnames() else Form("", word, True)
    known = split_pseudonym(word)
    if known:
        return Form(*known)
    if word[-1] in "이야아" and len(word) == 3 and word[:2] in korean.given_names():
        word = word[:2]
    split = korean.split_full_name(word)
    if split and len(word) >= 3 and word not in korean.ordinary_words():
        family, given = split
        listed = given in korean.given_names() or given in korean.ordinary_words()
        if len(family) == 2 or listed or korean.may_be_given(given):
            return Form(family, given)
    if word in korean.roles():
        return None
    if len(word) == 2 and word[0] in words("korean_frequent_surnames") and not _is_known(word):
        return Form(word[0], word[1])
    return Form("", word, word in korean.ordinary_words())


def _split_japanese(segment: str) -> Iterator[Form]:
    parts = [re.sub(rf"{japanese.HONORIFIC}$", "", w) or w for w in segment.split()]
    if len(parts) == 2 and all(len(word) <= 5 for word in parts):
        yield Form(parts[0], parts[1])
        return
    for word in parts:
        split = split_pseudonym(word)
        split = (
            split or japanese.split_full_name(word)
            if split or re.match(f"[{japanese.KANJI}]", word)
            else None
        )
        if word in japanese.ordinary_words():
            yield Form("", word, True)
        elif split:
            yield Form(*split)
        elif re.fullmatch(f"[{japanese.KANJI}]{{4}}", word):
            yield Form(word[:2], word[2:])
        elif word in japanese.surnames():
            yield Form(word, "", word in japanese.places())
        else:
            yield Form("", word, len(word) == 1)


def _split_latin(segment: str) -> Iterator[Form]:
    parts = [word.strip("'’") for word in segment.split()]
    parts = [word for word in parts if len(word) > 1]
    plain = [word for word in parts if word.lower() not in words("latin_words")]
    if len(parts) in (2, 3) and plain == parts:
        family = next(
            (w for w in (parts[-1], parts[0]) if w.lower() in words("latin_surnames")), ""
        )
        rest = [word for word in parts if word != family]
        if (family and rest) or is_pseudonym(parts[0]):
            yield Form(family or parts[0], rest[0] if family else parts[1])
            return
    yield from (Form("", word) for word in plain)


def _is_known(word: str) -> bool:
    return word in korean.given_names() or word in korean.ordinary_words()


def _is_sure(forms: Iterable[Form]) -> bool:
    """Whether the names are known or have the shape of a full name."""
    return any(
        (form.family and form.given)
        or is_pseudonym(form.given)
        or form.given in korean.given_names()
        or form.given in japanese.given_names()
        or form.family in japanese.surnames()
        for form in forms
    )


def _is_nickname(name: str, roster: Roster) -> bool:
    if name in roster.forms or name in korean.ordinary_words() or name in korean.roles():
        return False
    if name in korean.given_names() or name in japanese.given_names():
        return True
    syllables = {s for form in roster.forms.values() for s in form.given if "가" <= s <= "힣"}
    return len(name) == 2 and name[1] == "이" and name[0] in syllables


def _any_of(names: list[str], flags: int = 0) -> Pattern[str] | None:
    """A pattern that finds the longest of many words in one look at each place."""
    trie: dict[str, dict[str, object]] = {}
    for word in names:
        node = trie
        for letter in word[:_LONGEST_NAME]:
            node = node.setdefault(letter, {})  # type: ignore[assignment]
        node[""] = {}
    return re.compile(_trie_source(trie), flags) if trie else None


def _trie_source(node: dict[str, dict[str, object]]) -> str:
    branches = [
        re.escape(letter) + _trie_source(child)  # type: ignore[arg-type]
        for letter, child in sorted(node.items())
        if letter
    ]
    if not branches:
        return ""
    joined = f"(?:{'|'.join(branches)})"
    return f"{joined}?" if "" in node else joined
