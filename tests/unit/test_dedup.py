"""Copies of dialogues and replies: how many stay, and what counts as a copy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.config.cleaning import DedupConfig
from dialogue_generation_models.data.dedup import (
    DedupReport,
    hash_key,
    text_key,
    without_duplicates,
)
from dialogue_generation_models.dialogue import Dialogue

TEXTS = st.lists(st.text(alphabet="가나ab1! ", max_size=3), min_size=2, max_size=4)


def dedup(*dialogues: list[str], **config: int) -> tuple[list[list[str]], DedupReport]:
    report = DedupReport()
    made = [Dialogue.from_texts(texts) for texts in dialogues]
    kept = list(without_duplicates(made, DedupConfig(**config), report))
    return [[turn.text for turn in dialogue.turns] for dialogue in kept], report


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "ｈｅｌｌｏ world"),
        ("뭐 해?", "뭐해"),
        ("ｶﾞｽ", "ガス"),
        ("가", "\u1100\u1161"),
    ],
)
def test_case_width_spacing_and_punctuation_do_not_count(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


def test_texts_without_letters_are_compared_whole() -> None:
    assert len({text_key(text) for text in ("??", "!!", "100", "200", "")}) == 5


def test_a_hash_is_the_same_in_every_run_and_takes_any_text() -> None:
    assert hash_key("안녕") == 3344428376484356375
    assert 0 <= hash_key("\ud800") < 2**64


def test_first_copies_of_a_dialogue_stay() -> None:
    kept, report = dedup(["밥 먹자", "좋아"], ["뭐 해", "일"], ["밥먹자!", "좋아~"])
    assert kept == [["밥 먹자", "좋아"], ["뭐 해", "일"]]
    assert (report.dialogues_in, report.dialogues_out, report.copied_dialogues) == (3, 2, 1)
    assert len(dedup(*[["가", "나"]] * 5, keep_dialogues=3)[0]) == 3
    assert len(dedup(*[["가", "나"]] * 5, keep_dialogues=0)[0]) == 5


def test_a_dialogue_is_cut_before_a_reply_too_many() -> None:
    first, second = ["뭐 해", "응", "밥은"], ["자니", "아니", "응", "그래"]
    kept, report = dedup(first, second, keep_replies=1)
    assert kept == [first, ["자니", "아니"]]
    assert (report.copied_replies, report.turns_in, report.turns_out) == (1, 7, 5)
    assert dedup(first, second, keep_replies=0)[0] == [first, second]


def test_openings_are_no_replies() -> None:
    assert len(dedup(["안녕", "어"], ["안녕", "왜"], keep_replies=1)[0]) == 2


@given(st.lists(TEXTS), st.integers(1, 3))
def test_no_more_copies_stay_than_asked_and_again_changes_nothing(
    dialogues: list[list[str]], keep: int
) -> None:
    once, report = dedup(*dialogues, keep_dialogues=0, keep_replies=keep)
    replies = [text_key(text) for texts in once for text in texts[1:]]
    assert all(replies.count(reply) <= keep for reply in replies)
    assert report.turns_out == sum(map(len, once))
    assert dedup(*once, keep_dialogues=0, keep_replies=keep)[0] == once
