"""Names of third persons in Korean words, by rules: full names, honorifics, vocatives, particles of persons.

A word is judged alone, so its judgement is remembered: a chat's words repeat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias, get_args

from . import korean_lexicon as lexicon
from .korean_model import KoreanModel, may_be_unknown
from .word_lists import words

_RUN = re.compile(r"[가-힣]+")
_LONGEST_WORD = 14
_ENDINGS_TOO = "은나인진하자선아도로율예이라지원"
"""Second syllables of given names that are particles, too: 고정은, 이유나, 고민하고."""
_SAID_OF_WORD = re.compile(" (?:말|단어|뜻|것|게|건|노래|영화|책|드라마|곡|의미)")
"""What is called by a word: 다솜이라는 말."""
_NUMBER = re.compile("[일이삼사오육칠팔구]{3}")
"""A day that is called by its figures: 육이오."""
_DETERMINERS = frozenset("이한전주모여우하오나어국여지문양차현원")
_SINGLE = "산준솔빈현훈윤율결설찬건혁호철웅석환람봄린슬견탁겸"
"""Given names of one syllable: 허준, 김산."""
_TITLE = re.compile(
    rf"{lexicon.TITLE}(?:이|은|는|가|을|를|한테|께|께서|랑|이랑|도|의|께도|만|하고|과|와|이야|인데)?"
)
_NEXT_TITLE = re.compile(rf" (?:{lexicon.TITLE}|학생|어린이|환자분?|고객님)")
_FAMILY_ADDRESS = re.compile(r"씨(?:가|는|를|한테|랑|도|네|아저씨|아줌마)?")


_NOUN_AND_PARTICLE = re.compile(
    r"(?P<closed>[은이과을의]|이(?:나|라|라고|라는|라도|랑)|일(?:까|지)?|인(?:가요?|데요?|지)?|의)"
    r"|(?P<open>나|라(?:고|는|도|면|며|서|니|지)?|니(?:까)?|지(?:만)?|도|로(?:는|도|서|만)?|의)"
    r"|(?P<either>도|의|하[가-힣]{0,4}|해[가-힣]{0,3})"
)
"""What follows a noun that ends in a consonant, in a vowel, in either; it looks like the end of a name."""
_OF_VERBS = frozenset(("해진", "하진", "해선", "아라", "하나", "보나", "다해"))
"""Given names that verbs end in, too: 정해진, 위해선, 변하나."""
_NOUN_ENDS = "성자선석서수식인아열원지"
"""What makes a longer noun of one: 모호성, 승인서."""
Need: TypeAlias = Literal["", "word", "either", "honorific", "office", "title", "doubt", "model"]
"""What has to be asked before a word is taken for a name, the most certain first.

`honorific`: only if one is the next word; `office`: only if that is an office; `title`: if one is and the name
model knows the name; `model`: if the name model says so; `either`: one of the first and this; `doubt`: unless
the model says that the word is another one; `word`: the same, but a name without a model, too.
"""
_CERTAINTY = {need: place for place, need in enumerate(get_args(Need))}


class Judgement(NamedTuple):
    """Where the name of a word is, and what still has to be asked."""

    start: int
    end: int
    needs: Need = ""


def find_korean(text: str, model: KoreanModel | None) -> Iterator[tuple[int, int]]:
    """Yield the places of names.

    Args:
        text: a folded conversation.
        model: is asked about what the rules are not sure of; None takes sure ones only.
    """
    found = dict.fromkeys(_RUN.findall(text))
    judged = [(word, j) for word in found if len(word) <= _LONGEST_WORD and (j := judge(word))]
    if model is not None:
        model.read(word for word, judgement in judged if judgement.needs)
    for word, judgement in judged:
        agrees = _agrees(model, word, judgement)
        if not agrees and (model is None or judgement.needs != "model"):
            continue
        for at in _places(text, word):
            if not agrees and not _is_name_before_title(model, word, judgement, text, at):
                continue
            if lexicon.COMPANY.match(text, at + judgement.end):
                continue
            if word.endswith("라는") and _SAID_OF_WORD.match(text, at + len(word)):
                continue
            if (
                judgement.needs in ("honorific", "either", "title", "office")
                and not _is_told(model, word, judgement)
                and not _next_honorific(word, judgement.needs).match(text, at + len(word))
            ):
                continue
            yield at + judgement.start, at + judgement.end


def korean_spaced_name(letters: str, model: KoreanModel | None) -> int:
    """As `korean_full_name`, of letters that stand alone, whatever other ones follow: 백 도 진 그 사람."""
    if letters[0] not in lexicon.surnames() and letters[:2] not in lexicon.surnames():
        return 0
    given = letters[1:3]
    listed = given in lexicon.given_names() and given not in lexicon.ordinary_words()
    if listed and letters[0] in words("korean_frequent_surnames"):
        return 3
    return korean_full_name(letters, model)


def korean_full_name(word: str, model: KoreanModel | None) -> int:
    """Return how many letters of a word are a full name that it begins with, with its family name."""
    judgement = _full_name(word)
    if judgement is None or judgement.end < 3:
        return 0
    listed = word[judgement.end - 2 : judgement.end] in lexicon.given_names()
    if judgement.needs in ("honorific", "either"):
        return judgement.end if listed else 0
    is_likely = listed or word[0] in words("korean_frequent_surnames")
    return judgement.end if is_likely and _agrees(model, word, judgement) else 0


def _next_honorific(word: str, needs: Need) -> re.Pattern[str]:
    is_unsure = word in lexicon.DETERMINERS or needs == "office"
    return lexicon.NEXT_OFFICE if is_unsure else lexicon.NEXT_HONORIFIC


def _agrees(model: KoreanModel | None, word: str, judgement: Judgement) -> bool:
    if judgement.needs == "model":
        name = word[judgement.start : judgement.end]
        return model is not None and (
            model.is_name(word, name) or (may_be_unknown(name) and model.is_unknown(word, name))
        )
    if judgement.needs == "title":
        return model is not None and model.is_name(word, word)
    if judgement.needs == "doubt":
        return model is not None and not model.is_inflected(word)
    if judgement.needs == "word":
        return model is None or not model.is_compound(word[judgement.start :], judgement.end)
    return True


def _is_name_before_title(
    model: KoreanModel | None, word: str, judgement: Judgement, text: str, at: int
) -> bool:
    """Whether the model knows a name once it sees the honorific or title that stands after it."""
    title = _NEXT_TITLE.match(text, at + len(word))
    if title is None or model is None:
        return False
    return model.is_name(word + title.group(), word[judgement.start : judgement.end])


def _is_told(model: KoreanModel | None, word: str, judgement: Judgement) -> bool:
    """Whether the model knows a full name, or a given name with 이, that no honorific follows."""
    name = word[judgement.start : judgement.end]
    listed = judgement.needs == "either" or name[-2:] in lexicon.given_names()
    if model is None or not listed or len(word) < 3:
        return False
    return model.is_name(word, name) or (len(name) > 2 and model.is_unknown(word, name))


def _places(text: str, word: str) -> Iterator[int]:
    """Where a word stands by itself; after a digit it is a unit (2호선)."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before = text[at - 1 : at] if at else ""
        if not (_is_hangul(before) or before.isdigit() or _is_hangul(text[end : end + 1])):
            yield at
        at = text.find(word, end)


def _is_hangul(letter: str) -> bool:
    return "가" <= letter <= "힣"


@lru_cache(maxsize=1 << 17)
def judge(word: str) -> Judgement | None:
    """Return where a word holds a name, or None."""
    for prefix in ("", "우리", "울"):
        if word.startswith(prefix):
            rest = word[len(prefix) :]
            judged = [j for j in (_full_name(rest), _given_name(rest), _family_name(rest)) if j]
            if judged:
                found = min(judged, key=lambda judgement: _CERTAINTY[judgement.needs])
                return Judgement(len(prefix), len(prefix) + found.end, found.needs)
    return None


@lru_cache(maxsize=1 << 14)
def _full_name(word: str) -> Judgement | None:
    if {word[:3], word[:4]} & words("korean_no_full_names") or _NUMBER.match(word):
        return None
    judged = [
        _with_family(word, length) for length in (2, 1) if word[:length] in lexicon.surnames()
    ]
    return min((j for j in judged if j), key=lambda j: _CERTAINTY[j.needs], default=None)


def _with_family(word: str, length: int) -> Judgement | None:
    """Judge a word whose first letters are a family name."""
    family, given, after = word[:length], word[length : length + 2], word[length + 2 :]
    if len(given) < 2:
        if length == 2:
            return Judgement(0, len(word), "either") if given else None
        is_frequent = family in words("korean_frequent_surnames") and given in _SINGLE
        return Judgement(0, 2, "title") if is_frequent else None
    end = length + 2
    listed = given in lexicon.given_names()
    if not listed and not lexicon.may_be_given(given):
        return None
    if _is_honorific(after) and (listed or family in words("korean_frequent_surnames")):
        return Judgement(0, end)
    if length == 2 and lexicon.AFTER_NAME.match(after):
        return Judgement(0, end)
    is_action = given[1] in "하해" and word[:2] in lexicon.nouns()
    if lexicon.CALLED.match(after) and not is_action:
        return Judgement(0, end) if listed else Judgement(0, end, "model")
    if _is_of_noun(word):
        return None
    if listed and _is_plain_end(family, given, after):
        return Judgement(0, end, _doubt(word, given, after))
    is_place = given[1] in "도구동로리역주산"
    if not after:
        return Judgement(0, end, "honorific" if listed or is_place else "model")
    if (not listed or family in _DETERMINERS) and not is_place and _is_particle(given, after):
        return Judgement(0, end, "model")
    return None


def _doubt(word: str, given: str, after: str) -> Need:
    """What has to be asked before a frequent given name after a family name is one."""
    of_noun = given[1] in _ENDINGS_TOO and word[:2] in lexicon.nouns()
    if given[1] == "하" or (not after and (of_noun or given in _OF_VERBS)):
        return "doubt"
    return "word" if given[1] in _ENDINGS_TOO + _NOUN_ENDS else ""


def _is_of_noun(word: str) -> bool:
    """Whether a word is a frequent noun and what follows nouns: 금성은, 차이나, 정보라는, 모호성."""
    noun, after = word[:2], word[2:]
    if noun not in lexicon.nouns():
        return False
    if after[0] in _NOUN_ENDS and word[0] not in words("korean_frequent_surnames") | {"이"}:
        return True
    match = _NOUN_AND_PARTICLE.fullmatch(after)
    if match is None:
        return False
    closed = lexicon.has_final(noun)
    return bool(
        match["either"]
        or (match["closed"] and closed)
        or (match["open"] and (not closed or (after[0] == "로" and _ends_in_l(noun))))
    )


def _ends_in_l(text: str) -> bool:
    return (ord(text[-1]) - 0xAC00) % 28 == 8


def _is_plain_end(family: str, given: str, after: str) -> bool:
    """Whether a family name and a frequent given name are followed by nothing or by particles."""
    if not _is_particle(given, after) or (given in lexicon.ACTIONS and after[:1] == "하"):
        return False
    if given not in lexicon.ordinary_words():
        return True
    if family in _DETERMINERS:
        return False
    is_frequent = family in words("korean_frequent_surnames")
    return bool(after) or (is_frequent and family + given[0] not in lexicon.nouns())


def _is_particle(name: str, after: str) -> bool:
    return bool(lexicon.AFTER_NAME.match(after)) and not _is_ending(name, after)


def _is_ending(name: str, after: str) -> bool:
    return f"{name[-1]}{after}".startswith(lexicon.ENDINGS)


def _is_honorific(after: str) -> bool:
    match = _HONORIFIC_START.match(after)
    return bool(match and lexicon.AFTER_NAME.match(after))


_HONORIFIC_START = re.compile(lexicon.HONORIFIC)
_PLAIN_AFTER = re.compile(
    r"(?:이?[가는를도만네랑의]|[은을과와]|이?(?:한테|에게)(?:서|는|도)?|께서?|이?(?:하고|보고|말고|처럼|보다|같이|꺼|거)|야|아"
    r"|이?(?:랑은|랑도|라고|라는|라서|인데|예요|에요|이에요|래|이야|이다|네는|네가|네랑))(?![가-힣])"
)
_OTHER_PARTICLE = (re.compile("[은을과](?![가-힣])"), re.compile("[가는를와](?![가-힣])"))
"""What never follows a vowel, and a consonant: 채원가 is no 채원."""
_PERSONAL = re.compile(
    r"(?:이[가는를랑네]|이한테|이에게|한테|한테서|한테는|에게|에게서|께서?|보고)(?![가-힣])"
)
_STRONG_ADDRESS = re.compile(
    rf"(?:씨|언니|오빠|누나|형|쌤|선배)(?:{'이|가|는|은|를|을|한테|랑|이랑|도|네|야'})?(?![가-힣])"
)


def _given_name(word: str) -> Judgement | None:
    given, after = word[:2], word[2:]
    if len(given) < 2 or word in words("korean_no_given_names"):
        return None
    listed, ordinary = given in lexicon.given_names(), given in lexicon.ordinary_words()
    if listed and not ordinary:
        if given in lexicon.ACTIONS and after in ("을", "를"):
            return Judgement(0, 2, "doubt")
        verb = given in lexicon.VERB_STEMS or (given in lexicon.ACTIONS and after[:1] == "하")
        plain = not after or (_PLAIN_AFTER.match(after) and not _is_ending(given, after))
        plain = plain and not _OTHER_PARTICLE[lexicon.has_final(given)].match(after)
        if _is_honorific(after) or (plain and not verb):
            return Judgement(0, 2)
        if after == "이":
            return Judgement(0, 2, "honorific")
        if verb and re.match(r"(?:[가랑를야]|한테|에게)(?![가-힣])", after):
            return Judgement(0, 2)
    if listed and ordinary:
        if _STRONG_ADDRESS.match(after) or _is_called(given, after):
            return Judgement(0, 2)
        return Judgement(0, 2, "honorific") if not after else None
    if lexicon.may_be_given(given) and not ordinary and not listed:
        if re.match(r"씨(?:가|는|를|한테|랑|도|네)?(?![가-힣])", after):
            return Judgement(0, 2)
        if _PERSONAL.match(after) or (after == "아" and lexicon.has_final(given)):
            return Judgement(0, 2, "model")
    return None


def _is_called(given: str, after: str) -> bool:
    """Whether an ordinary word is used as a name: 하늘아, 지원이가."""
    if lexicon.has_final(given):
        return after == "아" or bool(re.match(r"이(?:[가는를]|한테|에게)(?![가-힣])", after))
    return bool(re.match(r"(?:한테|에게)(?:서|는|도)?(?![가-힣])", after))


def _family_name(word: str) -> Judgement | None:
    """A family name with a title: 김과장님, 박쌤, 최씨."""
    family, after = word[:1], word[1:]
    if family not in words("korean_frequent_surnames") and family not in "이오유":
        is_rare = not after and family in lexicon.surnames() and family not in lexicon.DETERMINERS
        return Judgement(0, 1, "office") if is_rare else None
    if {word[:3], word[:4]} & words("korean_no_titles"):
        return None
    if not after and word in words("korean_frequent_surnames"):
        return Judgement(0, 1, "honorific")
    if _TITLE.fullmatch(after) or (
        family in words("korean_frequent_surnames") and _FAMILY_ADDRESS.fullmatch(after)
    ):
        return Judgement(0, 1)
    return None
