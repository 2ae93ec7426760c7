"""Full names of third persons in Japanese that no honorific follows: 結城凛花, 百瀬ひなの, マエダユウト.

- A family name is known or the model's; what follows it must be made of what given names are made of.
- In katakana both parts must be known readings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from re import Pattern
from typing import Protocol

from . import japanese_lexicon as lexicon
from .windows import matches_near
from .word_lists import words

_K, _H, _T = lexicon.KANJI, lexicon.HIRAGANA, lexicon.KATAKANA
_OF_GIVEN = (
    "翔颯湊蓮向悠陽葵結愛莉凛凜咲彩花奈菜希真大輝斗太也樹生琉瑠璃緒音羽乃叶夢望朔奏響律蒼碧唯柚杏桃梨紗沙里穂帆琴詩歌和佳華"
    "香芽萌依紬心春夏秋海月光朝暁優悟慎健康仁智信勇剛武英哲隆博誠美子恵衣絵江代実明彦吾司史士之弘裕行幸志紀貴基雄男夫朗亮"
    "郎一二平哉介輔人千早直尚晴遥澪怜玲涼良諒遼龍竜虎鷹岳昴晃昇進勝利孝考敬圭恭純淳順俊駿隼晶舞麻茉万由友有祐佑雅理晋"
)
"""Kanji that given names are made of."""
_ENDS_GIVEN = (
    "向太斗真也介輔人樹希奈菜美子香花衣乃郎一二平哉音羽里沙紗佳恵江代絵実海月咲莉愛心春夏秋生明彦吾悟司史士之弘裕行幸志紀"
    "貴輝基雄男夫朗亮翔穂帆緒凛葵陽依織翼雅理"
)
ENDS_FAMILY = "口川田山村本野原井島嶋崎橋木林沢澤藤谷瀬岡坂津浦尾塚辺宮森池倉堀科渕"
"""Kanji that family names end in."""
_NO_FAMILY = frozenset(
    (
        "農林",
        "窓口",
        "人口",
        "入口",
        "出口",
        "悪口",
        "裏口",
        "森林",
        "河川",
        "土木",
        "日本",
        "基本",
        "資本",
        "見本",
        "山林",
        "樹木",
        "植木",
        "荒野",
        "分野",
        "視野",
        "高原",
    )
)
_KATAKANA = re.compile(rf"(?<![{_T}])(?:[{_T}]{{4,10}}|[{_T}]{{2,6}}[ ・][{_T}]{{2,6}})(?![{_T}])")
_TOLD = re.compile(
    rf"(?:予約名|宛名|宛先|差出人|受取人|名義人?|氏名|フリガナ|お名前)[はが: ]{{0,3}}"
    rf"([{_T}]{{2,8}}(?:[ ・][{_T}]{{2,8}})?|[{_K}]{{2,6}}(?: [{_K}]{{1,3}})?)(?=[ でにをとのは、。\n]|\Z)"
)
_BOOKED = re.compile(rf"予約(?:名|者)?[はも] ?([{_T}]{{2,8}})(?=[でのと])")
_BOOKED_SIGN = re.compile("予約")
_TOLD_SIGN = re.compile("予約名|宛名|宛先|差出人|受取人|名義|氏名|フリガナ|お名前")
_SAYS_NAME = re.compile(
    rf"(?<![{_K}])([{_K}]{{1,4}})(?=と申し|といいます|と言います)|(?<=[部課店室科組社]の)([{_K}]{{2,4}})(?=です)"
)
_SAYS_SIGN = re.compile(f"と申し|といいます|と言います|です(?<=[{_K}]です)")


class JapaneseModel(Protocol):
    """What the rules ask a name model."""

    def find(self, text: str) -> tuple[tuple[int, int, str], ...]:
        """Start, end and kind (`family`, `given`, `name`) of the persons' names in a text."""


def find_told(text: str, model: JapaneseModel | None) -> Iterator[tuple[int, int]]:
    """Yield the places of names that are told to be somebody's, and of full names in katakana."""
    for match in matches_near(text, _TOLD_SIGN, 2, _TOLD, 24):
        yield match.span(1)
    for match in matches_near(text, _BOOKED_SIGN, 2, _BOOKED, 12):
        if is_katakana_reading(match[1]):
            yield match.span(1)
    for match in matches_near(text, _SAYS_SIGN, 8, _SAYS_NAME, 2):
        group = match.lastindex or 1
        if is_family(match[group], model) or (model and model.find(match[group])):
            yield match.span(group)
    for match in _KATAKANA.finditer(text):
        if is_katakana_name(match.group()):
            yield match.span()
    for match in matches_near(text, _MEETS_SIGN, 14, _meets()):
        yield match.span(1)


_MEETS_SIGN = re.compile(
    "喧嘩|けんか|付き合|別れ|結婚|告白|振られ|会っ|会う|飲み|飲ん|遊び|遊ん|遅刻|寝坊|熱出|熱が|早退|欠席|事故|入院|倒れ|骨折|引っ越|合格|泣い|怒っ"
)


@lru_cache(maxsize=1)
def _meets() -> Pattern[str]:
    names = words("japanese_given_readings") - lexicon.ordinary_words()
    given = "|".join(sorted((name for name in names if len(name) > 2), key=len, reverse=True))
    return re.compile(
        rf"(?<![{_H}{_K}])({given})(?=[とにが]{_MEETS_SIGN.pattern.join(('(?:', ')'))})"
    )


def is_family(word: str, model: JapaneseModel | None) -> bool:
    """Whether a word is a family name."""
    found = () if model is None else model.find(word)
    return word in lexicon.surnames() or found == ((0, len(word), "family"),)


def looks_like_family(word: str) -> bool:
    """Whether a word that nobody knows may be a family name before a title: 鷹野橋課長."""
    return 2 <= len(word) <= 4 and word[-1] in ENDS_FAMILY and word not in _NO_FAMILY


def full_name_length(run: str, after: str, model: JapaneseModel | None) -> int:
    """Return how many letters of a run of Kanji and what follows it are a full name."""
    if len(run) == 2 and after[:2] not in _kana_beginnings():
        return 0
    for length in (3, 2):
        family, given = run[:length], run[length:]
        if len(family) < length or not is_family(family, model):
            continue
        if not given:
            kana = _kana_given(after)
            return length + kana if kana else 0
        if given in ("博士", "豪") or (len(given) == 1 and family in lexicon.things()):
            continue  # 大島紬 is cloth
        if is_made_as_given(given) or (len(given) == 1 and given in lexicon.given_names()):
            return len(run)
    return 0


def is_made_as_given(word: str) -> bool:
    """Whether two or three Kanji are such as given names are made of."""
    made_of = 2 <= len(word) <= 3 and all(letter in _OF_GIVEN for letter in word)
    return made_of and (word in lexicon.given_names() or word[-1] in _ENDS_GIVEN)


def japanese_full_name(word: str, model: JapaneseModel | None) -> int:
    """Return how many letters of a word are a full name, or a family name before an honorific."""
    kanji = re.match(f"[{_K}]+", word)
    if kanji is None:
        return len(word) if is_katakana_name(word) else 0
    run, after = kanji.group(), word[kanji.end() :]
    if after and not lexicon.AFTER_NAME.match(after):
        return 0
    split = lexicon.split_full_name(run)
    if split and split[1] in lexicon.given_names():
        return len(run)
    honoured = re.match(lexicon.HONORIFIC, after)
    return len(run) if honoured and is_family(run, model) else full_name_length(run, after, model)


@lru_cache(maxsize=1)
def _kana_beginnings() -> frozenset[str]:
    return frozenset(reading[:2] for reading in words("japanese_given_readings"))


def _kana_given(after: str) -> int:
    """How many letters after a family name are a given name in hiragana."""
    for length in (4, 3, 2):
        if len(after) >= length and after[:length] in words("japanese_given_readings"):
            rest = after[length:]
            if not re.match(f"[{_H}]", rest) or lexicon.AFTER_NAME.match(rest):
                return length
    return 0


def is_katakana_reading(text: str) -> bool:
    """Whether a word in katakana is a family name's reading."""
    return _hiragana(text) in words("japanese_surname_readings")


def _hiragana(text: str) -> str:
    return "".join(chr(ord(c) - 0x60) if "ァ" <= c <= "ヶ" else c for c in text)


@lru_cache(maxsize=1 << 14)
def is_katakana_name(text: str) -> bool:
    """Whether a word in katakana is a family name's reading and a given name's."""
    hiragana = _hiragana(text)
    families, given = words("japanese_surname_readings"), words("japanese_given_readings")
    family, sign, rest = hiragana.replace("・", " ").partition(" ")
    if sign:
        return family in families and rest in given
    return any(
        hiragana[:i] in families and hiragana[i:] in given for i in range(2, len(hiragana) - 1)
    )
