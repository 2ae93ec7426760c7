"""Chats become dialogues: cut at silences, across lines, without names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.config.cleaning import SessionConfig
from dialogue_generation_models.data.chats import Chat, Message
from dialogue_generation_models.data.sessions import cut_sessions
from dialogue_generation_models.dialogue import Dialogue
from dialogue_generation_models.errors import ConfigError, DataError

START = datetime(2024, 5, 1, 23, 50)


def say(minute: float | None, speaker: str, text: str) -> Message:
    at = None if minute is None else (START + timedelta(minutes=minute)).isoformat()
    return Message(at, speaker, text)


def cut(*messages: Message, room: str = "r", **config: object) -> list[Dialogue]:
    return list(cut_sessions([Chat(room, "", "", messages)], SessionConfig(**config)))


def texts(dialogues: list[Dialogue]) -> list[list[tuple[str, str]]]:
    return [[(turn.speaker, turn.text) for turn in dialogue.turns] for dialogue in dialogues]


def test_a_silence_longer_than_the_gap_cuts_also_over_midnight() -> None:
    messages = [
        say(0, "가람", "안녕"),
        say(30, "나래", "응"),
        say(60.1, "나래", "자?"),
        say(61, "가람", "아니"),
    ]
    assert texts(cut(*messages)) == [
        [("A", "안녕"), ("B", "응")],
        [("A", "자?"), ("B", "아니")],
    ]
    assert len(cut(*messages, gap_minutes=31)) == 1


def test_messages_in_a_row_are_one_turn_and_groups_keep_who_said_what() -> None:
    dialogues = cut(
        say(0, "가람", "어디?"),
        say(0, "가람", "다들"),
        say(1, "나래", "집"),
        say(2, "다온", "회사"),
        say(3, "가람", "그래"),
    )
    assert texts(dialogues) == [[("A", "어디? 다들"), ("B", "집"), ("C", "회사"), ("A", "그래")]]


def test_no_time_and_a_clock_that_goes_back_are_no_silence() -> None:
    messages = [say(0, "가람", "a"), say(None, "나래", "b"), say(-90, "가람", "c")]
    assert len(cut(*messages)) == 1
    assert len(cut(*messages, say(20, "나래", "d"), say(20, "가람", "e"))) == 2


def test_a_dialogue_goes_on_from_one_line_of_a_room_to_the_next_but_not_into_another() -> None:
    one, two = say(0, "가람", "하나"), say(1, "나래", "둘")
    config = SessionConfig()
    same = [Chat("r", "", "", (one,)), Chat("r", "", "", (two,))]
    other = [Chat("r", "", "", (one,)), Chat("s", "", "", (two,))]
    assert texts(list(cut_sessions(same, config))) == [[("A", "하나"), ("B", "둘")]]
    assert list(cut_sessions(other, config)) == []


def test_me_names_the_side_that_replies() -> None:
    messages = [
        say(0, "가람", "밥?"),
        say(1, "나", "응"),
        say(90, "나", "뭐 해"),
        say(91, "가람", "일"),
        say(200, "가람", "자?"),
        say(201, "나래", "아니"),
    ]
    (only,) = cut(*messages, me="나")
    assert only.meta == {"room": "r", "reply_speaker": "B"}
    assert len(cut(*messages)) == 3


def test_all_names_of_me_are_one_person_who_does_not_answer_herself() -> None:
    messages = [
        say(0, "나래", "밥 먹었어?"),
        say(1, "나", "나는 아직"),
        say(2, "가람", "응"),
        say(3, "나래", "그래"),
    ]
    (dialogue,) = cut(*messages, me=["나", "나래"])
    assert texts([dialogue]) == [[("A", "밥 먹었어? 나는 아직"), ("B", "응"), ("A", "그래")]]
    assert dialogue.meta["reply_speaker"] == "A"
    assert cut(*messages[:2], me=["나", "나래"]) == []
    assert cut(*messages, me="나래") == cut(*messages, me=["나래"])
    for name in ("", [" "], 3):
        with pytest.raises(ConfigError, match="me"):
            SessionConfig(me=name)


def test_blank_messages_and_monologues_are_left_out() -> None:
    assert cut(say(0, "가람", "나 왔어"), say(1, "나래", " \n"), say(2, "가람", "없네")) == []


def test_ids_are_of_the_room_and_names_are_gone() -> None:
    (dialogue,) = cut(say(0, "가람", "안녕"), say(1, "나래", "응"), room="7f3a")
    assert (dialogue.id, dialogue.meta) == ("7f3a-000001", {"room": "7f3a"})
    assert "가람" not in repr(dialogue)


def test_bots_are_marked_by_their_letter() -> None:
    (dialogue,) = cut(say(0, "가람", "날씨?"), say(1, "날씨봇", "맑음"))
    assert dialogue.meta == {"room": "r", "bot_speakers": ["B"]}


def test_more_than_26_speakers_keep_apart() -> None:
    (dialogue,) = cut(*(say(0, f"사람{i}", "응") for i in range(60)))
    assert len({turn.speaker for turn in dialogue.turns}) == 60


def test_a_time_that_is_none_and_an_illegal_gap_are_refused() -> None:
    with pytest.raises(DataError, match="no time of the form"):
        cut(Message("어제", "가람", "비밀"))
    for gap in (0.0, 1e300):
        with pytest.raises(ConfigError, match="gap_minutes"):
            SessionConfig(gap_minutes=gap)
    with pytest.raises(ConfigError, match="max_messages"):
        SessionConfig(max_messages=1)


def test_a_room_without_times_is_never_held_whole() -> None:
    read = 0

    def endless() -> Iterator[Chat]:
        nonlocal read
        while True:
            read += 1
            yield Chat("r", "", "", (say(None, "가람", "응"), say(None, "나래", "그래")))

    first = next(cut_sessions(endless(), SessionConfig(max_messages=100)))
    assert len(first.turns) == 100
    assert read == 51


@given(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from("가나다"), st.text(min_size=1))),
    st.integers(1, 5),
)
def test_where_a_room_is_cut_into_lines_changes_nothing(
    spoken: list[tuple[int, str, str]], size: int
) -> None:
    minute = 0
    messages = []
    for wait, speaker, text in spoken:
        minute += wait
        messages.append(say(minute, speaker, text))
    lines = [
        Chat("r", "", "", tuple(messages[i : i + size])) for i in range(0, len(messages), size)
    ]
    assert list(cut_sessions(lines, SessionConfig())) == cut(*messages)


def test_names_become_pseudonyms_where_they_are_asked_for() -> None:
    chat = Chat("r", "test", "", (say(0, "가람", "뭐 해"), say(1, "나래", "일")))
    (dialogue,) = cut_sessions([chat], SessionConfig(), lambda name: f"<{len(name)}{name[0]}>")
    assert dialogue.meta["speakers"] == {"A": "<2가>", "B": "<2나>"}


@pytest.mark.parametrize("name", ["김나래", "がく", "ガブリエル"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("spelt", ["NFC", "NFD"])
def test_me_is_found_in_any_spelling(
    name: str, form: Literal["NFC"], spelt: Literal["NFC"]
) -> None:
    speaker = unicodedata.normalize(spelt, name)
    (only,) = cut(
        say(0, "가람", "안녕"), say(1, speaker, "응"), me=f" {unicodedata.normalize(form, name)}"
    )
    assert only.meta["reply_speaker"] == "B"


def test_two_spellings_are_one_person() -> None:
    names = [unicodedata.normalize(form, "나래") for form in ("NFC", "NFD")]
    (only,) = cut(say(0, names[0], "안녕"), say(1, "가람", "응"), say(2, names[1], "뭐해"))
    assert [turn.speaker for turn in only.turns] == ["A", "B", "A"]
