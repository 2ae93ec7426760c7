"""Names of third persons in Japanese, by rules: what stands before an honorific, and known full names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from . import japanese_lexicon as lexicon

_K, _H, _T = lexicon.KANJI, lexicon.HIRAGANA, lexicon.KATAKANA
_HONORIFIC = rf"(?:さん|さま|ちゃん(?![とこ])|くん|たん(?![{_H}{_T}])|先輩|先生|氏(?![{_K}])|君|様)"
_HONOURED = re.compile(
    rf"(?P<kanji>[{_K}]{{1,5}}) ?(?={_HONORIFIC})"
    rf"|(?P<katakana>[{_T}]{{2,8}}) ?(?=(?:っち)?{_HONORIFIC})"
    rf"|(?P<hiragana>(?:(?<![{_H}])|(?<=[のとは]))[{_H}]{{2,4}}?)(?={_HONORIFIC})"
    rf"|(?P<latin>[A-Z][a-z]{{1,14}}) ?(?={_HONORIFIC})"
)
_LEARNED = ("先生", "先輩", "氏", "様", "君", "さま")
"""Said to people in general, too."""
_KANJI_RUN = re.compile(rf"[{_K}]{{2,6}}")
_REACH = 12
_ENDINGS = frozenset(
    "員者師家屋手士生主人長方母父兄姉妹弟娘嫁旦那客神仏王様猫犬豚熊象鳥馬牛魚親氏女達婦子供皆奥婿孫甥姪爺婆僧侶医敵番役係民族営団"
    "社店部課校園院国星蛙亀兎猿狐狸虫蛇鼠羊鶏男姫殿官察妻夫叔伯従祖徒隣当君貴各何優所連務際御輩荷肉魚花草木米茶寺宮社"
)
_NOT_NAMED = frozenset(
    "おかあ おとう おにい おねえ おばあ おじい おば おじ みな おく わん にゃん あか たく もう どれ これ それ あれ まだ など おっ ばあ じい "
    "にい ねえ かあ とう ひい おじょう おきゃく おまわり おいしゃ おすもう おぼう おひめ おむこ およめ いちょ なま むす じょう おとなり とな "
    "おてつだい サンタ オッ ママ パパ ワン ニャン オバ オジ バア ジイ ネエ ニイ カア トウ たぶ ちょっ きち しっか かわい すご どう こう "
    "そう ああ ほん ぜん ひと ふた だれ みん なん おくさ とこ お客 お嬢 坊 奥 皆 母 父 兄 姉 嬢 孫 神 王 殿 姫 仏 貴 諸 暴 主 細 若 "
    "同 多 異 模 仕 一 有 何 他人 疲 苦労 馳走 陰 王子 旦那 彼 摂 華 両 店 大家 隣 相手 両親 先 担任 数学 英語 国語 理科 社会 音楽 美術 "
    "体育 保健 家庭教師 教育実習 塾 部活 大学 高校 学校 中学 小学校 幼稚園 保育園 新任 女 男 若手 会社 職場 同僚 僕 俺 私 自分 今 前 後 "
    "次 本当 全部 一番 全然 毎日 最近 今日 昨日 明日 今度 今回 時 上 下 外 中 方 人 赤 客 お 亀 鳥 魚 豚 牛 馬 熊 猿 狐 狸 犬 猫 兎 羊 "
    "象 虎 龍 竜 鬼 鶴 蟻 蝶 蜂 行 書 聞 歩 働 動 続 着 置 泣 描 咲 引 履 磨 弾 吐 焼 抜 開 届 効 空 巻 突 解 説 砕 驚 築 叩".split()
)
_NOT_NAMED_ENDS = re.compile(
    r"(?:かあ|とう|にい|ねえ|ばあ|じい|おば|おじ|わん|にゃん|たく|おっ|みな|だれ|スト|[タマラナバダサカガ]ー|スタッフ|シェフ|モデル|アイドル|ペット"
    r"|ウサギ|ネコ|イヌ|ワンコ|ゾウ|クマ|パンダ|キリン|ライオン|ペンギン|ネット|ガリガリ|ココア|ポテト|ヤクルト|アリ|カエル|サンタ|ママ|パパ|クジラ)$"
)


class JapaneseModel(Protocol):
    """What the rules ask a name model."""

    def find(self, text: str) -> tuple[tuple[int, int, str], ...]:
        """Start, end and kind (`family`, `given`, `name`) of the persons' names in a text."""


def find_japanese(text: str, model: JapaneseModel | None) -> Iterator[tuple[int, int]]:
    """Yield the places of names.

    Args:
        text: a folded conversation.
        model: is asked about what the rules are not sure of; None takes sure ones only.
    """
    for match in _HONOURED.finditer(text):
        script = match.lastgroup or ""
        if _is_honoured(match[script], script, text[match.end() : match.end() + 4], model):
            yield match.span(script)
    for match in _KANJI_RUN.finditer(text):
        if text[match.start() - 1 : match.start()].isdigit():
            continue
        after = text[match.end() : match.end() + 3]
        if after.strip() and not lexicon.AFTER_NAME.match(after):
            continue
        start, end = match.span()
        if _is_known(match.group()):
            yield start, end
        elif model is not None and model.find(match.group()):
            yield from _seen_in_context(text, start, end, model)


def _is_honoured(name: str, script: str, after: str, model: JapaneseModel | None) -> bool:
    """Whether the word before an honorific names a person."""
    if name in lexicon.surnames() or name in lexicon.given_names() or lexicon.split_full_name(name):
        return True
    if name in _NOT_NAMED or _NOT_NAMED_ENDS.search(name):
        return False
    learned = after.startswith(_LEARNED)
    if script == "hiragana":
        verb = after.startswith("くん") and (after[2:3] in "だでのじか" or name[-1] in "てっいに")
        return not learned and not verb and name[-1] not in "のはがをにでも"
    if script != "kanji":
        return True
    found = model.find(name) if model else ()
    if found:
        return found[-1][1] == len(name)
    return not learned and model is None and 2 <= len(name) <= 3 and name[-1] not in _ENDINGS


def _seen_in_context(
    text: str, start: int, end: int, model: JapaneseModel
) -> Iterator[tuple[int, int]]:
    """Full names and given names that the model also sees with the words around them."""
    first = max(0, start - _REACH)
    around = text[first : end + _REACH].replace("\n", "。")
    for a, b, kind in model.find(around):
        a, b = a + first, b + first
        known = kind != "family" or text[a:b] in lexicon.surnames() - lexicon.PLACES
        if start <= a and b <= end and b - a >= 2 and known:
            yield a, b


@lru_cache(maxsize=1 << 16)
def _is_known(run: str) -> bool:
    """Whether a run of Kanji is a frequent given name, family name or both."""
    if run in lexicon.given_names() or run in lexicon.surnames() - lexicon.PLACES:
        return True
    split = lexicon.split_full_name(run)
    return split is not None and split[1] in lexicon.given_names()
