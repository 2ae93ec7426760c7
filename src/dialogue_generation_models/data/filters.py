"""Turns that are not worth learning from: the rules of Meena and DialoGPT, one predicate each.

Two of Meena's rules are not here: nothing judges what is unsafe but a list of `blocked_words`, and a reply's
context of at most 7 turns is cut when rows are laid out (`dataset.py`).

- When a turn is dropped, so is everything said after it, which was built on it (arXiv 2001.09977 section 3.1).
- Letters are those of all scripts: Hangul, single jamo as in ㅋㅋㅋ and ㅠㅠ, Kana, Kanji, the w of www.
- Cheap rules come first, so that a turn far too long meets no other. The first rule that drops it is counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple, TypeAlias

from ..config.cleaning import FilterConfig
from ..dialogue import Dialogue, Turn
from .dedup import hash_key, text_key

_JAPANESE = "\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_JAPANESE}]{{1,2}}|[^\W{_JAPANESE}]+")
# `www` alone and `www...` are laughter.
_URL = re.compile(
    r"[a-z]://|(?<![a-z0-9])www\.[a-z0-9]|youtu\.be/"
    r"|(?<=[a-z0-9])\.(?:com|net|org|kr|jp|io|gg|ly|app|dev)(?![a-z0-9])"
)
_MARKUP = re.compile(r"[\[\]{}]|<[/!]?[a-z][^<>]{0,200}>")
_BOT = re.compile(
    r"봇|ボット|(?<![A-Za-z])(?:[Bb]ot|BOT)(?![A-Za-z])|[a-z0-9](?:Bot|BOT)(?![A-Za-z])|[A-Z0-9]BOT(?![A-Za-z])"
    r"|(?<![A-Za-z])[a-z0-9]{1,32}bot(?![A-Za-z])"
)
_SOUNDS = re.compile(r"[w\u1100-\u11ff\u3131-\u318e]+")
_QUOTE = re.compile(r"\s*(?:[>＞]+(?=\s*[^\W_])|(?:RT|QT) ?@\w{1,50}:?)(.*)", re.DOTALL)
_IN_MARKS = re.compile(r"\s*[\"“「『](.*)[\"”」』]\s*", re.DOTALL)
_MAY_QUOTE = re.compile(r"^[^\S\n]*(?:[>＞\"“「『]|[RQ]T ?@)", re.MULTILINE)
_LEAST_QUOTED = 2  # letters; >ㅅ< and >3< are faces
_MIN_TRIGRAMS = 4  # shorter replies, such as greetings, may echo


class _Said(NamedTuple):
    text: str
    folded: str
    parent: str | None
    """The turn before, or None for the first."""
    by_bot: bool


_Rule: TypeAlias = Callable[[_Said], bool]


@dataclass
class FilterReport:
    """What was removed and why; counts only.

    `turns_in` is the sum of `turns_out`, `by_rule`, `built_on_dropped` and `left_alone`.
    """

    dialogues_in: int = 0
    dialogues_out: int = 0
    turns_in: int = 0
    turns_out: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    """Turns by the rule that dropped them."""
    built_on_dropped: int = 0
    """Turns after a dropped one."""
    left_alone: int = 0
    """First turns of which nothing else stayed."""
    quotes_removed: int = 0
    """Turns that stayed without what they quoted."""


def filter_dialogues(
    dialogues: Iterable[Dialogue],
    config: FilterConfig,
    report: FilterReport,
    counts: Mapping[int, int] | None = None,
) -> Iterator[Dialogue]:
    """Yield dialogues up to their first dropped turn; those of less than two turns are left out.

    Args:
        dialogues: as said, neighbouring messages of one speaker joined. Their `meta` may list the
            `bot_speakers` where names are gone.
        config: the rules.
        report: counts are added to it.
        counts: the table of `count_turns`; needed while `max_repeats` is not 0.

    Raises:
        ValueError: `max_repeats` is set and there is no table.
    """
    if config.max_repeats and counts is None:
        raise ValueError("The rule max_repeats needs the table of count_turns.")
    rules = _rules(config, counts or {})
    for dialogue in dialogues:
        turns, rule = _keep(dialogue, rules, config)
        end, total = len(turns), len(dialogue.turns)
        report.dialogues_in += 1
        report.turns_in += total
        if rule is not None:
            report.by_rule[rule] += 1
            report.built_on_dropped += total - end - 1
        if end < 2:
            report.left_alone += end
            continue
        report.dialogues_out += 1
        report.turns_out += end
        shortened = sum(a is not b for a, b in zip(turns, dialogue.turns, strict=False))
        report.quotes_removed += shortened
        is_whole = end == total and not shortened
        yield dialogue if is_whole else replace(dialogue, turns=tuple(turns))


def repeat_key(text: str, repeatable_characters: int) -> int:
    """Return by what a turn is counted: a hash of its letters; 0 for one that may be repeated."""
    may_be_repeated = is_short(text, repeatable_characters) or (
        repeatable_characters > 0 and _SOUNDS.fullmatch(fold("".join(text.split())))
    )
    return 0 if may_be_repeated else hash_key(text_key(text))


def is_short(text: str, most: int) -> bool:
    """Say whether a text has at most so many characters, spaces aside."""
    return len("".join(text.split())) <= most


def count_turns(dialogues: Iterable[Dialogue], repeatable_characters: int = 0) -> Counter[int]:
    """Count how often each turn is said, by `repeat_key` and without those of key 0: the first pass."""
    keys = (repeat_key(t.text, repeatable_characters) for d in dialogues for t in d.turns)
    return Counter(filter(None, keys))


def _keep(
    dialogue: Dialogue, rules: Sequence[tuple[str, _Rule]], config: FilterConfig
) -> tuple[list[Turn], str | None]:
    """Return a dialogue's turns up to the first that is dropped, and the rule that drops it."""
    bots = dialogue.meta.get("bot_speakers", ())
    kept: list[Turn] = []
    words = 0
    for place, turn in enumerate(dialogue.turns):
        if config.max_turns and place == config.max_turns:
            return kept, "max_turns"
        text = turn.text
        if config.remove_quotes and kept:
            text = without_quotes(text, dialogue.turns[place - 1].text)
            if not text and turn.text:
                return kept, "remove_quotes"
        by_bot = turn.speaker in bots or is_bot(turn.speaker)
        said = _Said(text, fold(text), kept[-1].text if kept else None, by_bot)
        for name, drops in rules:
            if drops(said):
                return kept, name
        if config.max_words_in_all:
            words += count_words(text)
            if words > config.max_words_in_all:
                return kept, "max_words_in_all"
        kept.append(turn if text is turn.text else replace(turn, text=text))
    return kept, None


def _rules(config: FilterConfig, counts: Mapping[int, int]) -> list[tuple[str, _Rule]]:
    """Return the rules that are switched on, each under the name of its field."""
    blocked = _blocked_pattern(config.blocked_words)
    bland = {text_key(reply) for reply in config.bland_replies}
    needed = {fold(word) for word in config.function_words}
    c = config
    table: list[tuple[str, object, _Rule]] = [
        ("max_characters", c.max_characters, lambda s: len(s.text) > c.max_characters),
        ("min_characters", c.min_characters, lambda s: len(s.text.strip()) < c.min_characters),
        ("drop_bots", c.drop_bots, lambda s: s.by_bot),
        ("max_words", c.max_words, lambda s: count_words(s.text) > c.max_words),
        ("drop_urls", c.drop_urls, lambda s: has_url(s.folded)),
        ("drop_markup", c.drop_markup, lambda s: has_markup(s.folded)),
        (
            "min_letter_share",
            c.min_letter_share,
            lambda s: (
                letter_share(s.folded) < c.min_letter_share
                and not is_short(s.text, c.short_characters)
            ),
        ),
        ("max_word_run", c.max_word_run, lambda s: longest_word_run(s.folded) > c.max_word_run),
        ("blocked_words", blocked, lambda s: bool(blocked and blocked.search(s.folded))),
        ("bland_replies", bland, lambda s: s.parent is not None and text_key(s.text) in bland),
        ("function_words", needed, lambda s: needed.isdisjoint(_WORD.findall(s.folded))),
        (
            "max_parent_overlap",
            c.max_parent_overlap < 1.0,
            lambda s: (
                s.parent is not None
                and not is_short(s.text, c.repeatable_characters)
                and overlap(s.text, s.parent) > c.max_parent_overlap
            ),
        ),
        (
            "max_repeats",
            c.max_repeats,
            lambda s: counts.get(repeat_key(s.text, c.repeatable_characters), 0) > c.max_repeats,
        ),
    ]
    return [(name, drops) for name, on, drops in table if on]


def fold(text: str) -> str:
    """Return a text in one width and case."""
    return unicodedata.normalize("NFKC", text).casefold()


def is_bot(name: str) -> bool:
    """Say whether a speaker's name says bot: 봇, ボット, or in Latin letters bot, WeatherBot, weatherbot.

    Abbott and Botond are people, and so are Talbot and Cabot: capitalised names that end so.
    """
    return _BOT.search(unicodedata.normalize("NFKC", name)) is not None


def has_url(folded: str) -> bool:
    """Say whether a folded text holds a web address."""
    return _URL.search(folded) is not None


def has_markup(folded: str) -> bool:
    """Say whether a folded text holds a tag, a square or a curly bracket."""
    return _MARKUP.search(folded) is not None


def letter_share(text: str) -> float:
    """Return the part of the characters, spaces aside, that are letters of any script; 0 for none."""
    characters = "".join(text.split())
    return sum(map(str.isalpha, characters)) / max(len(characters), 1)


def count_words(text: str) -> int:
    """Count words; as Japanese has no spaces, two Kana or Kanji are taken for one."""
    return sum(1 for _ in _WORD.finditer(text))


def longest_word_run(folded: str) -> int:
    """Return how often a word is said in a row at most; words of jamo or w alone are sounds."""
    words = ("".join(filter(str.isalnum, word)) for word in folded.split())
    spoken = (word for word in words if word and not _SOUNDS.fullmatch(word))
    return max((sum(1 for _ in run) for _, run in groupby(spoken)), default=0)


def overlap(reply: str, parent: str) -> float:
    """Return the part of a reply's letter trigrams that the parent has too; 0 for short replies."""
    own, others = _trigrams(reply), _trigrams(parent)
    return len(own & others) / len(own) if len(own) >= _MIN_TRIGRAMS else 0.0


def without_quotes(text: str, parent: str) -> str:
    """Return a text without the lines that quote the one before; empty if it is nothing else."""
    if not _MAY_QUOTE.search(text):
        return text
    said, lines = text_key(parent), text.split("\n")
    filled = [place for place, line in enumerate(lines) if line.strip()]
    kept = [
        line
        for place, line in enumerate(lines)
        if not (quotes(line, said) or (place < filled[-1] and echoes(line, said)))
    ]
    return text if len(kept) == len(lines) else "\n".join(kept).strip()


def quotes(line: str, said: str) -> bool:
    """Say whether a line is marked as a quote, with > or RT @name, and its letters stand in what was said."""
    found = _QUOTE.fullmatch(line)
    words = text_key(found[1]) if found else ""
    return len(words) >= _LEAST_QUOTED and words in said


def echoes(line: str, said: str) -> bool:
    """Say whether a line is one in quotation marks of which the letters stand in what was said."""
    found = _IN_MARKS.fullmatch(line)
    words = text_key(found[1]) if found else ""
    return len(words) >= _LEAST_QUOTED and words in said


def _trigrams(text: str) -> set[str]:
    key = text_key(text)
    return {key[i : i + 3] for i in range(len(key) - 2)}


def _blocked_pattern(words: Iterable[str]) -> re.Pattern[str] | None:
    """Compile the blocked words: Latin ones whole, as `ass` is no part of `class`; others anywhere."""
    parts = []
    for word in sorted({fold(word) for word in words}):
        escaped = re.escape(word)
        parts.append(rf"(?<![a-z]){escaped}(?![a-z])" if word.isascii() else escaped)
    return re.compile("|".join(parts)) if parts else None
