"""What is known of Japanese names: family names, given names, honorifics, and the words that take them too.

The lists are in `lists/`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

KANJI = "一-龥々〆ヶ"
HIRAGANA = "ぁ-ゖ"
KATAKANA = "ァ-ヴー"
HONORIFIC = r"(?:さん|さま|くん|ちゃん|ちん|たん|っち|ぴょん|先輩|せんぱい|パイセン|先生|せんせい|氏|君|様|殿|嬢|兄さん|姉さん|にい|ねえ)"
AFTER_NAME = re.compile(
    rf"{HONORIFIC}|(?:が|は|を|に|の|と|も|へ|で|や|から|まで|より|って|だ|です|とか|なら|しか|だけ|ばかり|み?たい|、|。|!|\?|…)"
)
PLACES = frozenset(
    "千葉 福島 宮崎 石川 山口 中野 上野 川崎 成田 高山 松本 福田 長野 大久保 岡崎 徳島 広島 秋田 富山 大津 三島 福井 横田 岐阜 小山 "
    "池袋 渋谷 品川 目黒 岡山 香川 大分 神田 中川 荒川 旭川 新井 林 森 関 辻 堀 原 柳 泉 畑 港 島 岸 浜 谷 沼 東 西 南 北".split()
)
"""Family names that are first of all places or things."""


def _read(name: str) -> frozenset[str]:
    text = resources.files(__package__).joinpath(f"lists/{name}.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


@lru_cache(maxsize=1)
def surnames() -> frozenset[str]:
    """Frequent family names."""
    return _read("japanese_surnames")


@lru_cache(maxsize=1)
def given_names() -> frozenset[str]:
    """Frequent given names in Kanji."""
    return _read("japanese_given")


@lru_cache(maxsize=1)
def ordinary_words() -> frozenset[str]:
    """Words that serve as profile names, and roles, which name nobody."""
    return _read("japanese_words")


def split_full_name(text: str) -> tuple[str, str] | None:
    """Return family name and given name of a name in Kanji, or None if no known family name begins it."""
    for length in (3, 2, 1):
        if text[:length] in surnames() and len(text) > length:
            given = text[length:]
            if length > 1 or given in given_names():
                return text[:length], given
    return None
