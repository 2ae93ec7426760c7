"""Pseudonyms: one a person, of the right sound, nobody's in the room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.data.privacy.korean_lexicon import given_names, has_final, surnames
from dialogue_generation_models.data.privacy.pseudonym_pools import pools
from dialogue_generation_models.data.privacy.pseudonyms import Pseudonyms
from dialogue_generation_models.data.privacy.roster import Roster, split_sender


def room(*senders: str, number: int = 0) -> Pseudonyms:
    roster = Roster(number)
    for sender in senders:
        roster.add_sender(sender)
    return Pseudonyms(roster)


def test_pools_have_the_final_that_they_say() -> None:
    for name, pool in pools().items():
        assert len(set(pool)) == len(pool) >= 3, name
        if name.startswith("korean"):
            assert all(has_final(word) == ("open" not in name) for word in pool), name
        if name.endswith("ㄹ"):
            assert all((ord(word[-1]) - 0xAC00) % 28 == 8 for word in pool)
    assert not given_names() & {word for pool in pools().values() for word in pool}


@pytest.mark.parametrize("name", ["철수", "서연", "한별", "민지", "준", "은지"])
def test_the_final_stays(name: str) -> None:
    before, after = name[-1], room().replace(name)[-1]
    final = [(ord(syllable) - 0xAC00) % 28 for syllable in (before, after)]
    assert (final[0] > 0) == (final[1] > 0)
    assert (final[0] == 8) == (final[1] == 8)


def test_full_name_and_given_name_stay_one_person() -> None:
    names = room("김철수", "박민지")
    assert names.replace("김철수") == names.speaker("김철수")
    assert names.speaker("김철수").endswith(names.replace("철수"))
    assert names.replace("철 수") == names.replace("철수") == names.replace("철\u200b수")
    assert names.replace("김민지").endswith(names.replace("민지"))
    assert names.replace("철수") != names.replace("민지")


def test_scripts_stay() -> None:
    names = room("山田花子", "はなこ", "ハナコ", "Minsu Kim")
    assert names.replace("山田") + names.replace("花子") == names.replace("山田花子")
    assert all("ぁ" <= letter <= "ん" for letter in names.replace("はなこ"))
    assert all("ァ" <= letter <= "ヶ" for letter in names.replace("ハナコ"))
    assert names.replace("minsu") == names.replace("Minsu").lower()
    assert names.replace("MINSU").isupper()


def test_rooms_differ_and_repeat() -> None:
    assert room("김철수", number=0).speaker("김철수") == room("김철수", number=0).speaker("김철수")
    assert room("김철수", number=0).speaker("김철수") != room("김철수", number=1).speaker("김철수")


def test_pseudonyms_hold_nothing_of_the_name() -> None:
    assert room("김철수").speaker("김철수") == room("박영호").speaker("박영호")


def test_roles_and_letters_stay() -> None:
    names = room("엄마", "A", "User")
    assert [names.speaker(name) for name in ("엄마", "A", "User")] == ["엄마", "A", "User"]


def test_no_two_senders_become_one() -> None:
    senders = [
        f"{family}{given}" for family in sorted(surnames()) for given in sorted(given_names())
    ]
    names = room(*senders[::20][:2000])
    written = [names.speaker(sender) for sender in senders[::20][:2000]]
    assert len(set(written)) == len(written)


@given(st.integers(0, 500), st.sampled_from(sorted(given_names())))
def test_a_pseudonym_stands_for_itself_and_is_nobodys(number: int, given_name: str) -> None:
    written = room(f"김{given_name}", number=number).speaker(f"김{given_name}")
    again = room(written, number=number + 1)
    assert again.speaker(written) == written
    assert again.replace(written) == written
    # Somebody else in the room who bears it keeps it for himself.
    both = room(f"김{given_name}", written, number=number)
    assert both.speaker(f"김{given_name}") != written == both.speaker(written)


def test_a_pseudonym_is_read_as_family_name_and_given_name() -> None:
    form, *_ = split_sender(room("김철수").speaker("김철수"))
    assert form.family
    assert form.given
