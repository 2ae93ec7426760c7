"""What is known of Japanese names: family names, given names, honorifics, and the words that take them too.

The lists are in `lists/`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .word_lists import words

KANJI = "一-龥々〆ヶ"
HIRAGANA = "ぁ-ゖ"
KATAKANA = "ァ-ヴー"
HONORIFIC = (
    r"(?:さん|さま|くん|ちゃん|ちん|たん|っち|ぴょん|先輩|せんぱい|パイセン|先生|せんせい|氏|君|様|殿|嬢"
    r"|兄さん|姉さん|にい|ねえ)"
)
AFTER_NAME = re.compile(
    rf"{HONORIFIC}|(?:が|は|を|に|の|と|も|へ|で|や|から|まで|より|って|だ|です|とか|なら|しか|だけ|ばかり|み?たい|、|。|!|\?|…)"
)

PERSON_DOES = re.compile(
    rf"(?:[にがはもと]|から|って)[{HIRAGANA}{KANJI}]{{0,4}}?(?:聞[いかけ]|言[っわい]|怒[っら]|話[しす]|連絡|頼[まむん]|借り|貸し"
    r"|泣い|笑っ|電話|メール|結婚|付き合|喧嘩|けんか|別れ|振られ|謝[っり]|告白|寝て|呼ばれ|会った|遅刻|辞め|異動|転職|退職|熱を?出|早退|潰れ|酔[っい]|キレ|吐い|休ん|入院)"
    r"|の(?:やつ|携帯|連絡先|番号|誕生日|彼氏|彼女|旦那|奥さん|お母さん|お父さん)"
)
"""What tells that a place or a thing before it is somebody: 山口に聞いて."""
COMPANY = (
    "電機",
    "製薬",
    "製菓",
    "製パン",
    "自動車",
    "建設",
    "工業",
    "証券",
    "商事",
    "製作所",
    "重工",
    "不動産",
    "食品",
    "酒造",
    "乳業",
)
"""What makes a company of the name before it: 山田電機."""


def surnames() -> frozenset[str]:
    """Frequent family names."""
    return words("japanese_surnames")


def given_names() -> frozenset[str]:
    """Frequent given names in Kanji."""
    return words("japanese_given")


def ordinary_words() -> frozenset[str]:
    """Words that serve as profile names."""
    return words("japanese_words")


def roles() -> frozenset[str]:
    """What somebody is to somebody, or no name at all."""
    return words("japanese_roles")


def places() -> frozenset[str]:
    """Family names that are first of all places or things."""
    return words("japanese_places")


@lru_cache(maxsize=1)
def things() -> frozenset[str]:
    """Names that without an honorific are mostly places or things."""
    return places() | words("japanese_things") | ordinary_words()


def split_full_name(text: str) -> tuple[str, str] | None:
    """Return family name and given name of a name in Kanji, or None if no known family name begins it."""
    if text in surnames():  # 久保田 is no 久保
        return None
    for length in (3, 2, 1):
        if text[:length] in surnames() and len(text) > length:
            given = text[length:]
            if length > 1 or given in given_names():
                return text[:length], given
    return None
