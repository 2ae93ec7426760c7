import re

import pytest

from dialogue_generation_models.data.privacy import contacts, japanese_rules, normalize, schools
from dialogue_generation_models.data.privacy.windows import matches_near, windows


def test_stretches_that_touch_are_joined() -> None:
    text = "....a....a..............a"
    assert list(windows(text, re.compile("a"), 3)) == [(1, 13), (21, 28)]
    assert list(windows(text, re.compile("a"), 3, 0)) == [(1, 5), (6, 10), (21, 25)]


def test_a_pattern_is_tried_near_its_anchor_only() -> None:
    text = "12 34 x 56 78"
    found = matches_near(text, re.compile("x"), 3, re.compile("[0-9]+"))
    assert [match.group() for match in found] == ["34", "56"]


@pytest.mark.parametrize(
    "sign",
    [normalize._ANY_SIGN, japanese_rules._HONORIFIC_SIGN, schools._ANCHOR, contacts._NEAR],
    ids=["folding", "honorifics", "schools", "messengers"],
)
def test_each_alternative_of_a_sign_begins_with_a_letter(sign: re.Pattern[str]) -> None:
    """Otherwise `re` tries all of them at each letter, which is five times as slow."""
    parser = pytest.importorskip("re._parser")
    ((kind, (_, alternatives)),) = parser.parse(sign.pattern)
    assert kind is parser.BRANCH
    assert all(branch[0][0] is parser.LITERAL for branch in alternatives)
