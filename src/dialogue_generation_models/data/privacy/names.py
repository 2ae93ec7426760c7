"""Names in a conversation: those that the room's roster knows, and those of third persons.

- A roster's name stands at the beginning of a word and is followed by nothing, particles, an honorific or a
  vocative; what is a word too (하늘, さくら) counts only where somebody is called by it.
- Spaced (철 수 야) and split (철 / 수야) names are read from the text without the gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from . import japanese_lexicon as japanese
from . import korean_lexicon as korean
from .addressed import is_addressed
from .finding import Finding, merge_findings
from .japanese_full_names import is_made_as_given, japanese_full_name
from .japanese_names import JapaneseNames
from .japanese_rules import find_japanese
from .korean_names import KoreanNames
from .korean_rules import find_korean, korean_spaced_name
from .normalize import Conversation
from .romanised_names import find_romanised
from .roster import Roster
from .windows import matches_near

_JAPANESE = f"{japanese.KANJI}{japanese.HIRAGANA}{japanese.KATAKANA}"
_HANGUL = re.compile("[가-힣]")
_KANA_OR_KANJI = re.compile(f"[{_JAPANESE}]")
_HANGUL_BEFORE = re.compile(r"[가-힣]{1,8}\Z")
_LETTER = f"[가-힣{_JAPANESE}]"
_MARK = r"[ .·・_*~\-/]"
_SPACED = re.compile(
    rf"{_MARK}(?<={_LETTER}.)(?<!{_LETTER}{{2}}.)(?:{_MARK}?{_LETTER}{_MARK}){{0,8}}{_LETTER}(?!{_LETTER})"
)
"""What follows the first of some letters that each stand alone."""
_SPLIT = re.compile(rf"\n{_LETTER}{{1,4}}(?:\n{_LETTER}{{1,3}}(?=\n)){{0,4}}\n{_LETTER}{{1,10}}")
"""Messages of a few letters, and the word after them."""
_GOES_ON = re.compile(rf"{_MARK}({_LETTER}{{2,16}})(?!{_LETTER})")
"""The word after them, whose first letter may be the name's last: 강 도 윤이."""
_REACH = 40
_GAP = re.compile(r"[ .·・_*~\-/\n]+")
_LATIN_BEFORE = re.compile(r"[A-Za-zÀ-ÿ0-9@._\-]\Z")
_LATIN_AFTER = re.compile(r"(?![A-Za-zÀ-ÿ0-9@]|[._\-][A-Za-z0-9])")
_LATIN_CALLED = re.compile(r" ?(?:씨|님|야|형|누나|언니|오빠|さん|くん|ちゃん|様)")
_LATIN_HONOURED = re.compile(
    r"[A-Z](?<![A-Za-z].)[a-z]{1,15}(?: [A-Z][a-z]{1,15})?(?= ?(?:씨|님|형|누나|언니|오빠)(?![가-힣]{2}))"
)
_LATIN_WORDS = re.compile(r" (?<=[A-Za-z] )[A-Za-z]{2}")
_LATIN_TITLED = re.compile(r"M(?:r|rs|s)\.? ([A-Z][a-z]{1,15}(?: [A-Z][a-z]{1,15})?)")
_INTRODUCED = (
    re.compile(
        r"이름(?:[은이]|(?= )) ?(?:요 )?([가-힣]{2,4}?)(?=입니다|이에요|예요|이야|야|임|인데"
        r"|이라고|라고|이래|래|[ .!?,\n]|$)"
    ),
    re.compile(
        r"(?:본명|성함|예명)[은이] ?([가-힣]{2,4}?)(?=입니다|이에요|예요|이야|야|임|이라고|라고"
        r"|이래|래|[ .!?,\n]|$)"
    ),
    re.compile(
        rf"名前は([{_JAPANESE}]{{2,6}}?)(?=です|だよ|っていう|といいます|と言います|[。、\n ]|$)"
    ),
    re.compile(
        rf"[私僕俺]は([{_JAPANESE}]{{2,6}}?)(?=といいます|と言います|と申します|っていいます|って言います)"
    ),
)
_CALL_ME = re.compile(r"(?:[저나]는|난) ([가-힣]{2,4}?)(?=이?라고 (?:해|합니다|불러))")
_CALL_ME_SIGN = re.compile("라고 [해합불]")


@dataclass(frozen=True)
class NameModels:
    """The name models, loaded.

    Raises:
        MissingExtraError: a package of the `data` extra is not installed.
    """

    korean: KoreanNames
    japanese: JapaneseNames

    @classmethod
    def load(cls) -> NameModels:
        """Return both; the first time takes some seconds."""
        return _load_models()


@lru_cache(maxsize=1)
def _load_models() -> NameModels:
    return NameModels(KoreanNames(), JapaneseNames())


def find_names(
    conversation: Conversation, roster: Roster, models: NameModels | None = None
) -> list[Finding]:
    """Find names, without honorific and particle; ordered, no two overlap.

    Args:
        conversation: messages of one room.
        roster: the names of the room; an empty one if nothing is known.
        models: for third persons that rules alone do not see.
    """
    text = conversation.folded
    spans = [*_of_roster(text, roster), *_without_gaps(text, roster)]
    # 솔 + 아 is not the given name 솔아 where somebody is called 솔.
    starts = {start for start, _ in spans}
    spans += (span for span in _third_persons(text, models) if span[0] not in starts)
    return merge_findings(conversation.find("name", start, end) for start, end in spans)


def _of_roster(text: str, roster: Roster) -> Iterator[tuple[int, int]]:
    if roster.pattern is not None:
        for match in roster.pattern.finditer(text):
            start, end = match.span()
            if match.group() in roster.titles or _stands_as_name(text, start, end, roster):
                yield start, end
    if roster.latin_pattern is not None:
        for match in roster.latin_pattern.finditer(text):
            start, end = match.span()
            form = roster.latin_forms.get(match.group().lower())
            inside = _LATIN_BEFORE.search(text[max(0, start - 1) : start])
            if inside or not _LATIN_AFTER.match(text, end):
                continue
            if form is None or _LATIN_CALLED.match(text, end):
                yield start, end
            elif not form.is_word and (form.given or match.group()[0].isupper()):
                yield start, end  # a surname alone may be a word in small letters: park, song


def _stands_as_name(text: str, start: int, end: int, roster: Roster) -> bool:
    name = text[start:end]
    form = roster.forms.get(name) or roster.forms.get(name.replace(" ", ""))
    is_word = form is not None and form.is_word
    if is_word and is_addressed(text, start, end, frozenset(roster.forms)):
        return True
    if "가" <= name[-1] <= "힣":
        return _stands_korean(text, start, end, is_word)
    if text.startswith(japanese.COMPANY, end):
        return False
    if not is_word and len(name) > 1:
        return not _continues(text, start, end, name)
    does = len(name) > 1 and japanese.PERSON_DOES.match(text, end)
    return bool(does or re.compile(rf" ?{japanese.HONORIFIC}").match(text, end))


def _stands_korean(text: str, start: int, end: int, is_word: bool) -> bool:
    name = text[start:end]
    before = _HANGUL_BEFORE.search(text[max(0, start - 8) : start])
    if before and not (
        before.group() in korean.surnames() or korean.BEFORE_NAME.fullmatch(before.group())
    ):
        return False
    if korean.COMPANY.match(text, end):
        return False
    if is_word or len(name) == 1:
        if before and before.group() not in korean.surnames():
            return False
        if korean.NEXT_HONORIFIC.match(text, end):
            return len(name) > 1 or name in korean.surnames()
        return _is_called(text, end, name)
    if name in korean.VERB_STEMS:
        return bool(
            korean.CALLED.match(text, end) or re.compile(r"[가를]?(?![가-힣])").match(text, end)
        )
    return bool(korean.AFTER_NAME.match(text, end) or korean.GLUED.match(text, end))


def _is_called(text: str, end: int, name: str) -> bool:
    match = korean.CALLED.match(text, end)
    if match is None:
        return False
    after, closed = match.group(), korean.has_final(name)
    if after[0] == "이":
        return closed
    if after[0] not in "아야":
        return True
    if (after[0] == "아") != closed:
        return False
    # One syllable and 아 is mostly a verb: 살아, 알아.
    alone = text[end - 2 : end - 1] in ("", "\n", " ", ",")
    return len(name) > 1 or (alone and name not in _VERBS)


_VERBS = "살알돌남찾참담달말맑앉않많작막낫날닫받밟볶안좋잡깎높낮같싫맞녹"


def _continues(text: str, start: int, end: int, name: str) -> bool:
    """Whether a Japanese name is a part of a longer word of its script."""
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    kanji, kana = f"[{japanese.KANJI}]", f"[{japanese.KATAKANA}]"
    if (
        re.match(kanji, name[0])
        and re.match(kanji, before)
        and text[max(0, start - 2) : start] not in japanese.surnames()
    ):
        return True
    # 花子来た is 花子; 健太郎 is not 健太, and 花子供 are children.
    goes_on = re.match(kanji if len(name) == 1 else "[郎朗美香奈恵代供]", after)
    if re.match(kanji, name[-1]) and goes_on:
        return not japanese.AFTER_NAME.match(text, end)
    if re.match(kana, name[0]):
        return bool(re.match(kana, before) or re.match(kana, after))
    if re.match(f"[{japanese.HIRAGANA}]", name[0]):
        joined = re.match(f"[{japanese.HIRAGANA}]", before) and before not in "のとはがをにもで"
        return bool(joined) or not (
            japanese.AFTER_NAME.match(text, end) or not re.match(f"[{japanese.HIRAGANA}]", after)
        )
    return False


def _without_gaps(text: str, roster: Roster) -> Iterator[tuple[int, int]]:
    """Names of the roster in stretches of single syllables and in messages of a syllable or two."""
    if roster.pattern is None:
        return
    led = f"\n{text}"
    stretches = [(match.start() - 2, match.end() - 1) for match in _SPACED.finditer(led)]
    stretches += [(match.start(), match.end() - 1) for match in _SPLIT.finditer(led)]
    for first, last in stretches:
        joined = _GAP.sub("", text[first:last])
        places: list[int] = []
        for match in roster.pattern.finditer(joined):
            places = places or [i for i in range(first, last) if not _GAP.match(text[i])]
            start, end = match.span()
            if end - start < 2 or places[end - 1] - places[start] == end - 1 - start:
                continue
            first, last = places[start], places[end - 1] + 1
            before, after = text[max(0, first - 8) : first], text[last : last + _REACH]
            around = before + match.group() + after
            if _stands_as_name(around, len(before), len(before) + end - start, roster):
                yield first, last


def _spaced_third_persons(text: str, models: NameModels | None) -> Iterator[tuple[int, int]]:
    """Full names of which each letter stands alone: 김 민 수, 홍.길.동, 山 田 花 子."""
    for match in _SPACED.finditer(f"\n{text}"):
        first, last = match.start() - 2, match.end() - 1
        goes_on = _GOES_ON.match(text, last)
        for end in (last, goes_on.end()) if goes_on else (last,):
            places = [i for i in range(first, end) if not _GAP.match(text[i])]
            span = _full_name_of(text, places, sum(i < last for i in places) + 1, models)
            if span:
                yield span
                break


def _full_name_of(
    text: str, places: list[int], most: int, models: NameModels | None
) -> tuple[int, int] | None:
    """Return the place of a name made of letters at some places, one of the first three its first."""
    joined = "".join(text[i] for i in places)
    if set(joined) <= set("이가은는을를와과의도"):  # 이/가, 은/는
        return None
    for skipped in range(min(3, len(places) - 1)):
        rest = joined[skipped:]
        if _HANGUL.match(rest):
            length = korean_spaced_name(rest, models.korean if models else None)
        else:
            length = japanese_full_name(rest, models.japanese if models else None)
        if 2 <= length <= most - skipped:
            return places[skipped], places[skipped + length - 1] + 1
    return None


def _third_persons(text: str, models: NameModels | None) -> Iterator[tuple[int, int]]:
    yield from _spaced_third_persons(text, models)
    if _HANGUL.search(text):
        yield from find_korean(text, models.korean if models else None)
    if _KANA_OR_KANJI.search(text):
        yield from find_japanese(text, models.japanese if models else None)
    if _LATIN_WORDS.search(text):
        yield from find_romanised(text)
    for match in _LATIN_HONOURED.finditer(text):
        yield match.span()
    for match in _LATIN_TITLED.finditer(text):
        yield match.span(1)
    introduced = (pattern.finditer(text) for pattern in _INTRODUCED)
    for match in (*chain(*introduced), *matches_near(text, _CALL_ME_SIGN, 10, _CALL_ME)):
        if _may_be_name(match[1], models):
            yield match.span(1)


def _may_be_name(word: str, models: NameModels | None) -> bool:
    """Whether a word that is said to be a name looks like a person's."""
    if "가" <= word[0] <= "힣":
        split = korean.split_full_name(word)
        given = split[1] if split and len(word) > 2 else word
        if given in korean.given_names():
            return True
        if split and len(word) > 2 and given in korean.ordinary_words():
            return True
        return (
            models is not None
            and korean.may_be_given(given)
            and (models.korean.is_name(word, word) or models.korean.is_unknown(word, word))
        )
    known = word in japanese.surnames() or word in japanese.given_names() or is_made_as_given(word)
    if known or japanese.split_full_name(word):
        return True
    return models is not None and models.japanese.find(word)[-1:] == ((0, len(word), "name"),)
