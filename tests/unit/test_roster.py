"""The names of a room, out of senders and titles."""

from __future__ import annotations

import pytest

from dialogue_generation_models.data.chats import Chat, Message
from dialogue_generation_models.data.privacy.roster import (
    Form,
    Roster,
    collect_rosters,
    split_sender,
)


def chat(messages: list[tuple[str, str]], title: str = "", room: str = "r") -> Chat:
    return Chat(room, "test", title, tuple(Message(None, *message) for message in messages))


@pytest.mark.parametrize(
    ("sender", "family", "given"),
    [
        ("김철수", "김", "철수"),
        ("철수", "", "철수"),
        ("철수♥", "", "철수"),
        ("🌸민지🌸", "", "민지"),
        ("김 철수", "김", "철수"),
        ("박민지 대리", "박", "민지"),
        ("박민지대리님", "박", "민지"),
        ("영업팀 박민지", "박", "민지"),
        ("박민지/영업팀", "박", "민지"),
        ("남궁민수", "남궁", "민수"),
        ("제갈현", "제갈", "현"),
        ("[회사]이대리님", "이", ""),
        ("김철수(철이)", "김", "철수"),
        ("철\u200b수", "", "철수"),
        ("山田花子", "山田", "花子"),
        ("山田 花子", "山田", "花子"),
        ("花子🌸", "", "花子"),
        ("はなこ", "", "はなこ"),
        ("ハナコ", "", "ハナコ"),
        ("佐々木さん", "佐々木", ""),
        ("久保田", "久保田", ""),
        ("長谷川", "長谷川", ""),
        ("Minsu Kim", "Kim", "Minsu"),
        ("Ｍｉｎｓｕ", "", "Minsu"),
        ("쭈니", "", "쭈니"),
    ],
)
def test_a_sender_is_taken_apart(sender: str, family: str, given: str) -> None:
    form, *_ = split_sender(sender)
    assert (form.family, form.given) == (family, given)


@pytest.mark.parametrize(
    "sender", ["엄마", "나", "여보", "회원님", "User", "A", "先生", "ママ", "무명", "", "♥", "123"]
)
def test_roles_and_words_name_nobody(sender: str) -> None:
    assert all(form.is_word for form in split_sender(sender))


@pytest.mark.parametrize("sender", ["행복", "하늘", "봄", "さくら", "고양이"])
def test_a_word_is_a_name_only_when_called(sender: str) -> None:
    assert [form.is_word for form in split_sender(sender)] == [True]


def test_parts_of_a_name_are_forms() -> None:
    roster = Roster()
    roster.add_sender("김철수(철이)")
    assert set(roster.forms) == {"김철수", "철수", "철이"}


def test_titles() -> None:
    roster = collect_rosters([chat([("A", "x")], "철수, 민지 외 3명")])["r"]
    assert {"철수", "민지"} <= set(roster.forms)
    assert not roster.titles
    assert collect_rosters([chat([("A", "x")], "토요일 등산 모임")])["r"].titles == {
        "토요일 등산 모임"
    }
    assert not collect_rosters([chat([("A", "x")], "가족")])["r"].titles


def test_nicknames_that_are_called_twice() -> None:
    once = chat([("김철수", "응"), ("B", "철이야 뭐해")])
    twice = chat([("김철수", "응"), ("B", "철이야 뭐해"), ("B", "철이야!")])
    assert "철이" not in collect_rosters([once])["r"].forms
    assert collect_rosters([twice])["r"].forms["철이"] == Form("", "철이")
    assert "진짜" not in collect_rosters([chat([("A", "진짜야?"), ("B", "진짜야?")])])["r"].forms


def test_rooms_are_apart_and_hold_no_messages() -> None:
    rosters = collect_rosters(
        [chat([("김철수", "x")], room="1"), chat([("박민지", "y")], room="2")]
    )
    assert [roster.number for roster in rosters.values()] == [0, 1]
    assert "민지" not in rosters["1"].forms
