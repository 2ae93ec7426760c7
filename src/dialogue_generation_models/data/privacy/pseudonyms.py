"""Names for the people of a room that nobody in it bears.

- Pseudonyms are handed out in the order in which the names are met, so they hold nothing of the name but its
  script and whether it ends in a consonant (이/가, 아/야 stay right). Nothing can be looked up.
- Family names and given names are replaced each by one of its own: 김철수, 철수 and 철수야 stay one person.
- A pseudonym stands for itself, so scrubbing again changes nothing.
"""

from __future__ import annotations

import re
from itertools import count

from . import japanese_lexicon as japanese
from . import korean_lexicon as korean
from .pseudonym_pools import POOL_STEP, is_pseudonym, pools
from .roster import Form, Roster


class Pseudonyms:
    """The pseudonyms of one room; names that are met later are added."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._given: dict[tuple[str, str], str] = {}
        real = {
            part.lower() for form in roster.forms.values() for part in (form.family, form.given)
        }
        self._used = {part for part in real if is_pseudonym(part)}
        self._speakers: dict[str, str] = {}
        for form in roster.forms.values():
            self._write(form)
        self._name_speakers()

    def _name_speakers(self) -> None:
        taken = {name for name, form in self._roster.speakers.items() if form is None}
        for name, form in self._roster.speakers.items():
            base = name if form is None else self._write(form)
            written = base
            if form is not None:
                written = next(
                    w for n in count(1) if (w := base if n == 1 else f"{base} {n}") not in taken
                )
            taken.add(written)
            self._speakers[name] = written

    def speaker(self, name: str) -> str:
        """Return what stands for a sender; a role or a letter stands for itself."""
        return self._speakers.get(name, name)

    def replace(self, found: str) -> str:
        """Return what stands for a name as it was found in a text."""
        compact = re.sub(
            rf"[^A-Za-zÀ-ÿ가-힣{japanese.KANJI}{japanese.HIRAGANA}{japanese.KATAKANA} ]", "", found
        )
        if compact in self._roster.titles or found in self._roster.titles:
            return "<ROOM>"
        whole = compact.replace(" ", "")
        forms, latin = self._roster.forms, self._roster.latin_forms
        form = (
            forms.get(compact) or forms.get(whole) or latin.get(compact.lower()) or _split(compact)
        )
        between = " " if " " in compact.strip() and form.family and form.given else ""
        written = self._write(form, between)
        if not found.isascii():
            return written
        if found.isupper():
            return written.upper()
        return written.lower() if found.islower() else written

    def _write(self, form: Form, between: str = "") -> str:
        family = self._part("family", form.family) if form.family else ""
        given = self._part("given", form.given) if form.given else ""
        if form.family.isascii() and form.family and given:
            between = between or " "
        return f"{family}{between}{given}"

    def _part(self, part: str, name: str) -> str:
        if is_pseudonym(name):
            return name
        key = (part, name.lower())
        if key not in self._given:
            self._given[key] = self._choose(_pool(part, name))
        return self._given[key]

    def _choose(self, pool: tuple[str, ...]) -> str:
        """The next free one of a pool, from a place that the room's number says; a used one if none is free."""
        first = self._roster.number * POOL_STEP
        for turn in range(len(pool)):
            word = pool[(first + turn) % len(pool)]
            if word.lower() not in self._used:
                self._used.add(word.lower())
                return word
        return pool[first % len(pool)]


def _pool(part: str, name: str) -> tuple[str, ...]:
    last = name[-1]
    if "가" <= last <= "힣":
        coda = (ord(last) - 0xAC00) % 28
        if part == "family":
            return pools()[f"korean family {'final' if coda else 'open'}"]
        return pools()[f"korean given {'open' if not coda else 'ㄹ' if coda == 8 else 'final'}"]
    if part == "family" and not re.match("[A-Za-zÀ-ÿ]", last):
        return pools()["kanji family"]
    script = "latin"
    for known, letters in (
        ("kanji", japanese.KANJI),
        ("hiragana", japanese.HIRAGANA),
        ("katakana", japanese.KATAKANA),
    ):
        if re.match(f"[{letters}]", last):
            script = known
            break
    return pools()[f"{script} {part}"]


def _split(name: str) -> Form:
    """Take a third person's name apart."""
    words = name.split()
    if len(words) == 2 and "가" <= name[-1] <= "힣" and words[0] in korean.surnames():
        return Form(words[0], words[1])
    whole = name.replace(" ", "") if not name.isascii() else name
    if "가" <= whole[:1] <= "힣":
        if len(whole) == 1:
            return Form(whole, "")
        split = korean.split_full_name(whole) if len(whole) >= 3 else None
        return Form(*split) if split else Form("", whole)
    japanese_split = japanese.split_full_name(whole)
    if japanese_split:
        return Form(*japanese_split)
    if whole in japanese.surnames():
        return Form(whole, "")
    return Form("", whole)
