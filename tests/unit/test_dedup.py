"""Copies of dialogues and replies: how many stay, and what counts as a copy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.data.dedup import (
    hash_key,
    surplus,
    text_key,
)


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


@given(st.lists(st.integers(0, 5)), st.integers(1, 3))
def test_marking_copies_equals_counting_them(values: list[int], keep: int) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for value in values:
        expected.append(value != 0 and seen[value] >= keep)
        seen[value] += 1
    assert surplus(np.array(values, dtype=np.uint64), keep).tolist() == expected
