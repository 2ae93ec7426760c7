"""How chats become dialogues, and which of their turns are worth learning from.

The rules of `FilterConfig` are those of Meena (arXiv 2001.09977 section 3.1) and DialoGPT (arXiv 1911.00536
section 2); every rule has a value that switches it off.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .schema import Config

MINUTES_A_YEAR = 366 * 24 * 60
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _as_list(names: object) -> object:
    return [names] if isinstance(names, str) else names


class SessionConfig(Config):
    """Where one dialogue of a chat ends and the next begins."""

    gap_minutes: Annotated[float, Field(gt=0.0, le=MINUTES_A_YEAR)] = 30.0
    """A longer silence begins a new dialogue; at most a year."""
    max_messages: Annotated[int, Field(ge=2)] = 1000
    """A dialogue of so many messages ends there, silence or not: what a room without times is cut by."""
    me: Annotated[list[Annotated[str, Field(pattern=r"\S")]], BeforeValidator(_as_list)] = []
    """Learn only this person's messages as replies; all by default. A name, or a list of all that the person is
    called: 나 in one export, a nickname in another."""


class FilterConfig(Config):
    """Turns to drop, together with everything said after them. The defaults are those of `filtered`."""

    min_characters: Count = 1
    """Shortest turn; 0 for no limit. One Hangul syllable or Kanji is a word (응, 왜, 嫌), which Meena's two
    subwords of English are; two would end half of all Korean chats at their first 응."""
    max_characters: Count = 256
    """Longest turn, about 128 subwords; 0 for no limit."""
    max_words: Count = 30
    """Longest turn in words, two Kana or Kanji being one; 0 for no limit."""
    max_words_in_all: Count = 0
    """Longest dialogue in words; it is cut before the turn that goes over. 0 for no limit. DialoGPT's 200 would
    take half of a usual chat; long dialogues fill several rows here."""
    max_turns: Count = 0
    """Longest dialogue in turns; it is cut there. 0 for no limit. DialoGPT's 10 are of Reddit's threads; a chat
    of half an hour has more, and its later turns are as good. Dialogues of one turn always go."""
    min_letter_share: Share = 0.7
    """Smallest part of a turn's characters, spaces aside, that must be letters of any script; 0 for none."""
    max_parent_overlap: Share = 0.8
    """Largest part of a reply's letter trigrams that the turn before may share; 1 for no limit."""
    max_word_run: Count = 2
    """How often a word may be said in a row, laughter and tears aside; 0 for no limit."""
    max_repeats: Count = 100
    """Drop a turn said more often than this in the whole corpus, every time; 0 for no limit."""
    short_characters: Count = 10
    """Turns of at most this many characters, spaces aside, are spared by `min_letter_share`: the question mark
    of 바빠? is a third of it, and the digit of 6시 half."""
    repeatable_characters: Count = 20
    """Turns of at most this many characters, spaces aside, are spared by `max_repeats`, `max_parent_overlap`,
    and so is laughter: they are the 응, 그러게 and よろしくお願いします of all talk."""
    remove_quotes: bool = True
    """Whether what a turn quotes of the turn before is taken out: lines that begin with > or RT @name and say
    what was said there, and lines in quotation marks that do so before an answer. A turn that is nothing else
    goes. Lines of other words stay: >_< is a face, and 「まじ」って? an echo within a line."""
    drop_urls: bool = True
    """Whether turns with a web address go."""
    drop_markup: bool = True
    """Whether turns with tags, square or curly brackets go."""
    drop_bots: bool = True
    """Whether turns of a speaker whose name contains bot, 봇 or ボット go."""
    blocked_words: list[Annotated[str, Field(min_length=1)]] = []
    """Drop a turn with one of these; in Latin letters as a whole word, else anywhere."""
    bland_replies: list[Annotated[str, Field(min_length=1)]] = [
        "몰라",
        "모르겠어",
        "모르겠어요",
        "잘 모르겠어",
        "글쎄",
        "글쎄요",
        "わからない",
        "わかりません",
        "知らない",
        "さあ",
        "I don't know",
        "idk",
    ]
    """Drop a reply that says just this, whatever its punctuation."""
    function_words: list[Annotated[str, Field(min_length=1)]] = []
    """Drop a turn with none of these words; empty for no rule, as Korean and Japanese join theirs to others."""


FILTER_PROFILES: dict[str, FilterConfig] = {
    "filtered": FilterConfig(),
    "unfiltered": FilterConfig(
        min_characters=0,
        max_characters=0,
        max_words=0,
        max_words_in_all=0,
        max_turns=0,
        min_letter_share=0.0,
        short_characters=0,
        repeatable_characters=0,
        max_parent_overlap=1.0,
        max_word_run=0,
        max_repeats=0,
        remove_quotes=False,
        drop_urls=False,
        drop_markup=False,
        drop_bots=False,
        bland_replies=[],
    ),
}
"""The two kinds of training data by name: by all rules of the papers, and as it was said."""


class DedupConfig(Config):
    """How many copies stay. Near-copies are found by MinHash over the trigrams of letters."""

    keep_dialogues: Count = 1
    """Copies and near-copies of one dialogue to keep; 0 for all."""
    keep_replies: Count = 100
    """Copies and near-copies of one reply to learn; further ones stay as what others answer to. 0 for all."""
    keep_texts: Count = 1
    """Copies of one text to keep, of corpora without dialogue; 0 for all."""
    short_characters: Count = 10
    """Replies of at most this many characters, spaces aside, are never copies; nor is laughter."""
    near: bool = True
    """Whether near-copies count as copies. Texts that differ in their digits alone never do."""
    near_letters: Annotated[int, Field(ge=3)] = 24
    """Shorter dialogues and replies have no near-copies: a word makes them another."""
    near_buckets: Annotated[int, Field(ge=1, le=64)] = 10
    """MinHash buckets: with 10 of 10 hashes, a pair that shares 90 % of its trigrams is found in 99 of 100
    cases, one of 80 % in 68, one of 60 % in 6."""
    near_hashes: Annotated[int, Field(ge=1, le=64)] = 10
    """MinHash hashes in a bucket."""
