"""Names of third persons in Japanese, by rules: what stands before an honorific, and known full names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from . import japanese_lexicon as lexicon

_K, _H, _T = lexicon.KANJI, lexicon.HIRAGANA, lexicon.KATAKANA
_HONOURED = re.compile(
    rf"(?P<name>(?<![{_K}])[{_K}]{{1,5}}|(?<![{_T}])[{_T}]{{2,8}}|(?<![A-Za-z])[A-Z][a-z]{{1,14}}"
    rf"|(?:(?<![{_H}])|(?<=[のとはがをにもで]))[{_H}]{{2,5}}?)"
    rf"[ ]?(?P<honorific>さん|さま|ちゃん(?![とこ])|くん|たん(?![{_H}{_T}])|っち(?![{_H}])|先輩|先生|氏(?![名一-龥])|君|様)"
)
_KANJI_RUN = re.compile(rf"[{_K}]{{2,6}}")
_ENDINGS = frozenset(
    "員者師家屋手士生主人長方母父兄姉妹弟娘嫁旦那客神仏王様猫犬豚熊象鳥馬牛魚親氏女達婦子供皆奥婿孫甥姪爺婆僧侶医敵番役係民族"
    "営団社店部課校園院国星客蛙亀兎猿狐狸虫蛇鼠羊鶏男姫殿官察妻夫叔伯従祖徒隣当君貴各何"
)
_NOT_NAMED = frozenset(
    "おかあ おとう おにい おねえ おばあ おじい おば おじ みな おく わん にゃん あか たく ちゃん くん もう どれ これ それ あれ まだ など おっ "
    "ばあ じい にい ねえ かあ とう ひい おじょう おきゃく おまわり おいしゃ おすもう おぼう おひめ おむこ およめ さん いちょ なま むす じょう "
    "はな おとなり とな おてつだい サンタ オッ ママ パパ ワン ニャン アレ コレ ソレ オバ オジ バア ジイ ネエ ニイ カア トウ "
    "たぶ ちょっ きち しっか かわい おもし すご どう こう そう ああ ほん ぜん ぜんぶ ひと ふた だれ みん なん おくさ しまじろう"
    " 赤 客 坊 奥 皆 母 父 兄 姉 嬢 孫 皆々 神 王 殿 姫 仏 貴 諸 暴 主 細 若 同 多 異 模 仕 一 有 何 他人 疲 苦労 馳走 陰 王子 旦那 "
    "彼 摂 華 両 店 大家 隣 相手 両親 先 担任 数学 英語 国語 理科 社会 音楽 美術 体育 保健 家庭教師 教育実習 塾 部活 大学 高校 学校 中学 "
    "小学校 幼稚園 保育園 医者 歯医者 新任 女 男 若手 会社 職場 同僚 僕 俺 私 自分 今 前 後 次 本当 全部 一番 全然 毎日 最近 今日 昨日 明日 "
    "今度 今回 時 上 下 外 中 方 人 子供 動物 亀 鳥 魚 豚 牛 馬 熊 猿 狐 狸 犬 猫 兎 羊 象 虎 龍 竜 鬼 鶴 蟻 蝶 蜂".split()
)


def find_japanese(
    text: str, ask_model: Callable[[str], tuple[tuple[int, int, str], ...]] | None
) -> Iterator[tuple[int, int]]:
    """Yield the places of names.

    Args:
        text: a folded conversation.
        ask_model: the names that a name model sees in a run of Kanji or Kana; None without a model.
    """
    for match in _HONOURED.finditer(text):
        name = match["name"]
        if _is_honoured(name, match["honorific"], ask_model):
            yield match.span("name")
    for match in _KANJI_RUN.finditer(text):
        run, after = match.group(), text[match.end() : match.end() + 3]
        for start, end in _kanji_names(run, ask_model, bool(lexicon.AFTER_NAME.match(after)) or not after.strip()):
            yield match.start() + start, match.start() + end


def _is_honoured(name: str, honorific: str, ask_model: Callable[[str], tuple[tuple[int, int, str], ...]] | None) -> bool:
    """Whether the word before an honorific names a person."""
    if name in lexicon.surnames() or name in lexicon.given_names():
        return True
    if name in _NOT_NAMED or any(name.startswith(("お", "ご")) and name[1:] in _NOT_NAMED for _ in "."):
        return False
    if lexicon.split_full_name(name):
        return True
    is_kanji = bool(re.fullmatch(f"[{_K}]+", name))
    if ask_model is not None and is_kanji:
        found = ask_model(name)
        if found:
            return found[-1][1] == len(name)
    if honorific in ("先生", "先輩", "氏", "様", "君", "さま"):
        return not is_kanji and not re.match(f"[{_H}]", name)
    if not is_kanji:
        return not re.match(f"[{_H}]", name) or name[-1] not in "のはがをにでともかなね"
    return 2 <= len(name) <= 3 and name[-1] not in _ENDINGS and ask_model is None


def _kanji_names(
    run: str, ask_model: Callable[[str], tuple[tuple[int, int, str], ...]] | None, stands_alone: bool
) -> Iterator[tuple[int, int]]:
    if not stands_alone:
        return
    known = _known_names(run)
    if known or ask_model is None:
        yield from known
        return
    for start, end, kind in ask_model(run):
        if end - start >= 2 and (kind != "family" or run[start:end] not in lexicon.PLACES):
            yield start, end


@lru_cache(maxsize=1 << 16)
def _known_names(run: str) -> tuple[tuple[int, int], ...]:
    if run in lexicon.given_names() and len(run) >= 2:
        return ((0, len(run)),)
    if run in lexicon.surnames() and len(run) >= 2 and run not in lexicon.PLACES:
        return ((0, len(run)),)
    split = lexicon.split_full_name(run)
    return ((0, len(run)),) if split and split[1] in lexicon.given_names() else ()
