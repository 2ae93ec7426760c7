"""Names of third persons in Japanese, by rules: what stands before an honorific, and known full names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from . import japanese_lexicon as lexicon
from .japanese_full_names import (
    find_told,
    full_name_length,
    is_family,
    is_katakana_name,
    is_made_as_given,
    looks_like_family,
)
from .windows import matches_near
from .word_lists import words

_K, _H, _T = lexicon.KANJI, lexicon.HIRAGANA, lexicon.KATAKANA
_TITLES = "部長|課長|係長|店長|社長|主任|監督|専務|常務|教授|会長|次長|室長|所長|校長|医師|コーチ"
_HONORIFIC = (
    r"(?:さん(?!ま(?:[のがはをとや]|[^ぁ-ん]|\Z)|ぽ|ざん|ぞん|ぶつ|すう|せい|かく|さん)|さま(?!ざま)|ちゃん(?!ぽん)|くん(?!れん|しょう|せい|くん)"
    rf"|たん(?![{_H}{_T}])|先輩|先生|{_TITLES}|氏(?![{_K}])|君|様(?![式々相態子]))"
)
"""Not the beginning of another word: 散歩, 様式."""
_HONOURED = re.compile(
    rf"(?P<kanji>[{_K}]{{1,5}}) ?(?={_HONORIFIC})"
    rf"|(?P<katakana>(?<![{_T}])[{_T}]{{2,12}}) ?(?=(?:っち)?{_HONORIFIC})"
    rf"|(?P<hiragana>(?:(?<![{_H}])|(?<=[のとは]))[{_H}]{{2,4}}?)(?={_HONORIFIC})"
    rf"|(?P<latin>[A-Z][a-z]{{1,14}}) ?(?={_HONORIFIC})"
)
_FAMILY_BEFORE = re.compile(rf"(?<![{_K}])([{_K}]{{1,4}}) \Z")
_FAMILY_AT_KANA = re.compile(rf"(?<![{_K}])([{_K}]{{2,4}}) ?\Z")
_KATAKANA_BEFORE = re.compile(rf"(?<![{_T}])[{_T}]{{2,6}}[ ・]\Z")
_HONORIFIC_SIGN = re.compile(f"さん|さま|ちゃん|くん|たん|先輩|先生|{_TITLES}|氏|君|様")
"""What is searched for first; every alternative begins with a letter, which `re` skips to."""
_LONGEST_HONOURED = 16
_LEARNED = (*_TITLES.split("|"), "先生", "先輩", "氏", "様", "君", "さま")
"""Said to people in general, too."""
_REPEATED = ("くん", "さん", "ちゃん", "たん")
"""What is no name before an honorific: くんくん."""
_PROPERLY = ("ちゃんと", "ちゃんこ")
"""The adverb, mostly; after Hiragana that is no ordinary word it is ちゃん and と."""
_DONE_PROPERLY = re.compile(
    "ちゃんと(?:し[たてなろ]|や[っりる]|洗|焼|煮|切|起き|払|片付|片づ|数え|届|治|直|拭|磨|書|閉|開|消|冷や|測|持っ|着い)"
)
"""What is done properly rather than with somebody."""
_KUN_OF_VERB = re.compile(r"くん(?:です|でし|だ|じゃ|の|か|で)")
"""行くんです is a verb's."""
_KANJI_RUN = re.compile(rf"[{_K}](?:[{_K}]|ノ(?=[{_K}])){{1,6}}")
_FIGURES = "一二三四五六七八九十百千万"
_REACH = 12
_ENDINGS = frozenset(
    "員者師家屋手士生主人長方母父兄姉妹弟娘嫁旦那客神仏王様猫犬豚熊象鳥馬牛魚親氏女達婦子供皆奥婿孫甥姪爺婆僧侶医敵番役係民族営団"
    "社店部課校園院国星蛙亀兎猿狐狸虫蛇鼠羊鶏男姫殿官察妻夫叔伯従祖徒隣当君貴各何優所連務際御輩荷肉魚花草木米茶寺宮社"
)
_NOT_NAMED_ENDS = re.compile(
    r"(?:だく|がり|がりや|物屋|かあ|とう|にい|ねえ|ばあ|じい|おば|おじ|わん|にゃん|たく|おっ|みな|だれ|スト|[タマラナバダサカガ]ー|スタッフ|シェフ|モデル|アイドル|ペット"
    r"|ウサギ|ネコ|イヌ|ワンコ|ゾウ|クマ|パンダ|キリン|ライオン|ペンギン|ネット|ガリガリ|ココア|ポテト|ヤクルト|アリ|カエル|サンタ|ママ|パパ|クジラ)$"
)


class JapaneseModel(Protocol):
    """What the rules ask a name model."""

    def find(self, text: str) -> tuple[tuple[int, int, str], ...]:
        """Start, end and kind (`family`, `given`, `name`) of the persons' names in a text."""

    def is_loanword(self, word: str) -> bool:
        """Whether a word in Katakana is a known noun that is written so: ロボット."""


def find_japanese(text: str, model: JapaneseModel | None) -> Iterator[tuple[int, int]]:
    """Yield the places of names.

    Args:
        text: a folded conversation.
        model: is asked about what the rules are not sure of; None takes sure ones only.
    """
    for match in matches_near(text, _HONORIFIC_SIGN, _LONGEST_HONOURED, _HONOURED, 1):
        script = match.lastgroup or ""
        # ロボット君 is none, イライジャ・ウッドさん is one.
        is_foreign = script == "katakana" and text[match.start() - 1 : match.start()] == "・"
        judge = None if is_foreign else model
        if _is_honoured(match[script], script, text[match.end() : match.end() + 8], judge):
            start, end = match.span(script)
            family = _FAMILY_BEFORE.search(text, max(0, start - 5), start)
            if script == "hiragana":
                family = _FAMILY_AT_KANA.search(text, max(0, start - 6), start)
            if script in ("kanji", "hiragana") and family and is_family(family[1], model):
                start = family.start(1)
            before = _KATAKANA_BEFORE.search(text, max(0, start - 8), start)
            if script == "katakana" and before and is_katakana_name(text[before.start() : end]):
                start = before.start()
            yield start, end
    yield from find_told(text, model)
    for match in _KANJI_RUN.finditer(text):
        start, end = match.span()
        length = full_name_length(match.group(), text[end : end + 8], model)
        if length and _stands_alone(text, start, start + length):
            yield start, start + length
            continue
        is_known = _is_known(match.group()) or _is_somebody(match.group(), text, end)
        if match.group().endswith(lexicon.COMPANY):
            continue
        if not (is_known or model) or not _stands_alone(text, start, end):
            continue
        if is_known:
            yield start, end
        elif model is not None and model.find(match.group()):
            yield from _seen_in_context(text, start, end, model)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a run of Kanji is no count and nothing but a particle or an honorific goes on with it."""
    after = text[end : end + 3]
    return not text[start - 1 : start].isdigit() and bool(
        not after.strip() or after[0] == "\n" or lexicon.AFTER_NAME.match(after)
    )


def _is_honoured(name: str, script: str, after: str, model: JapaneseModel | None) -> bool:
    """Whether the word before an honorific names a person."""
    if name in lexicon.surnames() or name in lexicon.given_names() or lexicon.split_full_name(name):
        return True
    if name in words("japanese_not_named") or _NOT_NAMED_ENDS.search(name):
        return False
    if name.endswith(_REPEATED) or (len(name) == 1 and after.startswith("さま")):  # 高さまで
        return False
    learned = after.startswith(_LEARNED)
    if script == "hiragana":
        verb = after.startswith("くん") and (after[2:3] in "だでのじか" or name[-1] in "てっいに")
        adverb = after.startswith(_PROPERLY) and (
            bool(_DONE_PROPERLY.match(after))
            or (
                name not in lexicon.ordinary_words()
                and name.endswith((*words("japanese_particles"),))
            )
        )
        pause = after.startswith("たん") and name[-1] in "って"  # いったん, してたん
        return not (learned or verb or adverb or pause or name[-1] in "のはがをにでも")
    is_verb = name[-1] in words("japanese_verbs") and not is_made_as_given(name)
    if is_verb and _KUN_OF_VERB.match(after):
        return False
    if after.startswith(_PROPERLY):
        learned = True
    elif script != "kanji":
        return not (script == "katakana" and model and model.is_loanword(name))
    found = model.find(name) if model else ()
    if found:
        begins_with_family = found[0][0] == 0 and found[0][2] == "family"
        return found[-1][1] == len(name) or (begins_with_family and name[-1] not in _ENDINGS)
    if learned and looks_like_family(name):
        return True
    least = 1 if after.startswith(("ちゃん", "くん")) else 2
    return (
        not learned
        and (model is None or least == 1)
        and least <= len(name) <= 3
        and name[-1] not in _ENDINGS
    )


def _seen_in_context(
    text: str, start: int, end: int, model: JapaneseModel
) -> Iterator[tuple[int, int]]:
    """Full names and given names that the model also sees with the words around them."""
    first = max(0, start - _REACH)
    around = text[first : end + _REACH].replace("\n", "。")
    for a, b, kind in model.find(around):
        a, b = a + first, b + first
        known = kind != "family" or text[a:b] in lexicon.surnames()
        known = known or bool(lexicon.PERSON_DOES.match(text, b))
        known = known and text[a:b] not in lexicon.things()
        is_word = a > start and text[a] in _FIGURES  # 一日一善
        is_word = is_word or text[a : b - 1] in lexicon.things()
        if start <= a and b <= end and b - a >= 2 and known and not is_word:
            yield a, b


def _is_somebody(run: str, text: str, end: int) -> bool:
    """Whether a name that is a place or a thing, too, does what persons do."""
    is_name = run in lexicon.surnames() or run in lexicon.given_names()
    return is_name and bool(lexicon.PERSON_DOES.match(text, end))


@lru_cache(maxsize=1 << 16)
def _is_known(run: str) -> bool:
    """Whether a run of Kanji is a frequent given name, family name or both."""
    if run in lexicon.given_names() | lexicon.surnames():
        return run not in lexicon.things()
    split = lexicon.split_full_name(run)
    if split is None or split[1] not in lexicon.given_names():
        return False
    return len(split[1]) > 1 or split[0] not in lexicon.things()  # 大島紬, 大島椿 are cloth and oil
