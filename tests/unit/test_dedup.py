"""Copies of dialogues and replies: how many stay, and what counts as a copy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.data.dedup import (
    ends_before_copies,
    hash_key,
    surplus,
    text_key,
)

DIALOGUES = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), max_size=8)


def ends(dialogues: list[list[int]], keep: int) -> list[int]:
    keys = np.array([key for turns in dialogues for key in turns], dtype=np.uint64)
    n_turns = np.array([len(turns) for turns in dialogues], dtype=np.int64)
    return ends_before_copies(keys, n_turns, keep).tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "ｈｅｌｌｏ world"),
        ("뭐 해?", "뭐해"),
        ("ｶﾞｽ", "ガス"),
        ("가", "\u1100\u1161"),
        ("３시", "3시!"),
    ],
)
def test_case_width_spacing_and_punctuation_do_not_count(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


def test_digits_count() -> None:
    assert text_key("내일 3시에 봐") != text_key("내일 4시에 봐")


def test_texts_without_letters_and_digits_are_compared_whole() -> None:
    assert len({text_key(text) for text in ("??", "!!", "100", "200", "")}) == 5


def test_a_hash_is_the_same_in_every_run_and_takes_any_text() -> None:
    assert hash_key("안녕") == 3344428376484356375
    assert 0 < hash_key("\ud800") < 2**64


def test_first_copies_stay_in_their_order() -> None:
    keys = np.array([5, 7, 5, 5, 7, 9], dtype=np.uint64)
    assert surplus(keys, 1).tolist() == [False, False, True, True, True, False]
    assert surplus(keys, 2).tolist() == [False, False, False, True, False, False]
    assert not surplus(keys, 0).any()
    assert surplus(keys[:0], 1).tolist() == []


def test_what_has_no_key_is_never_a_copy() -> None:
    assert not surplus(np.zeros(4, dtype=np.uint64), 1).any()
    assert ends([[1, 0, 0], [1, 0, 0]], keep=1) == [3, 3]


def test_a_dialogue_is_cut_before_a_reply_too_many() -> None:
    assert ends([[9, 1, 2], [8, 3, 1, 4]], keep=1) == [3, 2]
    assert ends([[9, 1, 2], [8, 3, 1, 4]], keep=2) == [3, 4]
    assert ends([[9, 1, 2], [8, 3, 1, 4]], keep=0) == [3, 4]


def test_openings_are_no_replies() -> None:
    assert ends([[1, 2], [1, 3]], keep=1) == [2, 2]


def test_replies_after_the_end_do_not_count() -> None:
    assert ends([[9, 1], [8, 1, 2], [7, 2]], keep=1) == [2, 1, 2]


@given(DIALOGUES, st.integers(1, 3))
def test_no_more_copies_stay_than_asked_and_again_changes_nothing(
    dialogues: list[list[int]], keep: int
) -> None:
    once = [turns[:end] for turns, end in zip(dialogues, ends(dialogues, keep), strict=True)]
    counts = Counter(key for turns in once for key in turns[1:] if key)
    assert all(count <= keep for count in counts.values())
    assert ends(once, keep) == [len(turns) for turns in once]


@given(st.lists(st.integers(0, 5)), st.integers(1, 3))
def test_marking_copies_equals_counting_them(values: list[int], keep: int) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for value in values:
        expected.append(value != 0 and seen[value] >= keep)
        seen[value] += 1
    assert surplus(np.array(values, dtype=np.uint64), keep).tolist() == expected
