"""Chats without personal data: modes, split data, senders and titles, idempotence, hostile input."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dialogue_generation_models.data.privacy.scrub as scrub_module
from dialogue_generation_models.config.privacy import ScrubConfig
from dialogue_generation_models.data.chats import Chat, Message
from dialogue_generation_models.data.privacy.roster import collect_rosters
from dialogue_generation_models.data.privacy.scrub import ScrubReport, scrub_chats, scrub_dialogues
from dialogue_generation_models.dialogue import Dialogue
from dialogue_generation_models.errors import OptionError

RULES = ScrubConfig(name_models=False)


def chat(messages: list[tuple[str, str]], title: str = "", room: str = "r") -> Chat:
    return Chat(
        room, "test", title, tuple(Message("2020-01-01T00:00:00", *m) for m in messages), {"k": 1}
    )


def scrub(chats: list[Chat], config: ScrubConfig = RULES) -> tuple[list[Chat], ScrubReport]:
    report = ScrubReport()
    return list(scrub_chats(chats, collect_rosters(chats), config, report)), report


def texts(messages: list[tuple[str, str]], mode: str = "placeholder") -> list[str]:
    config = ScrubConfig(mode=mode, name_models=False)  # type: ignore[arg-type]
    (scrubbed,), _ = scrub([chat(messages)], config)
    return [message.text for message in scrubbed.messages]


TALK = [
    ("김철수", "민지야 내 번호 010-1234-5678"),
    ("박민지", "철수야 고마워 ㅋㅋ"),
    ("김철수", "하늘이 참 맑다"),
]


def test_pseudonyms_are_the_same_in_senders_bodies_and_title() -> None:
    (scrubbed,), report = scrub([chat(TALK, "철수, 민지")])
    first, second, third = scrubbed.messages
    chulsoo, minji = first.speaker, second.speaker
    assert first.text == f"{minji[1:]}야 내 번호 <PHONE>"
    assert second.text == f"{chulsoo[1:]}야 고마워 ㅋㅋ"
    assert third == Message("2020-01-01T00:00:00", chulsoo, "하늘이 참 맑다")
    assert scrubbed.title == f"{chulsoo[1:]}, {minji[1:]}"
    assert (scrubbed.id, scrubbed.source, scrubbed.meta) == ("r", "test", {"k": 1})
    assert report.counts == {"name": 2, "phone": 1}
    assert (report.messages, report.touched, report.dropped) == (3, 2, 0)


def test_placeholders() -> None:
    assert texts(TALK)[:2] == ["<NAME>야 내 번호 <PHONE>", "<NAME>야 고마워 ㅋㅋ"]


def test_drop() -> None:
    assert texts(TALK, "drop") == ["하늘이 참 맑다"]


@pytest.mark.parametrize("mode", ["placeholder", "drop", "pseudonym"])
def test_speakers_never_keep_their_names(mode: str) -> None:
    (scrubbed,), _ = scrub([chat(TALK)], ScrubConfig(mode=mode, name_models=False))  # type: ignore[arg-type]
    assert not {"김철수", "박민지"} & {message.speaker for message in scrubbed.messages}


def test_numbers_in_a_sender_and_a_title() -> None:
    (scrubbed,), _ = scrub([chat([("엄마 010-1234-5678", "응")], "우리집 010-1234-5678")])
    assert "1234" not in repr(scrubbed)


def test_a_room_whose_id_tells_a_name_gets_a_number() -> None:
    chats = [chat(TALK, room="김철수 방"), chat(TALK, room="x")]
    assert [c.id for c in scrub(chats)[0]] == ["room-000000", "x"]


def test_the_title_of_a_group_is_replaced_in_bodies() -> None:
    (scrubbed,), _ = scrub([chat([("A", "토요일 등산 모임 언제야")], "토요일 등산 모임")])
    assert (scrubbed.title, scrubbed.messages[0].text) == ("<ROOM>", "<ROOM> 언제야")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("A", "010"), ("A", "1234"), ("A", "5678")], ["<PHONE>"] * 3),
        ([("A", "010"), ("B", "응?"), ("A", "1234-5678")], ["<PHONE>", "응?", "<PHONE>"]),
        ([("김철수", "철"), ("A", "수야")], ["<NAME>", "<NAME>야"]),
        ([("A", "계좌 뭐야"), ("B", "110-123-456789")], ["계좌 뭐야", "<ACCOUNT>"]),
    ],
)
def test_split_over_messages(messages: list[tuple[str, str]], expected: list[str]) -> None:
    assert texts(messages) == expected


def test_split_over_lines_of_a_room() -> None:
    parts = [chat([("A", "번호는"), ("A", "010-1234-")]), chat([("A", "5678이야"), ("B", "응")])]
    scrubbed, _ = scrub(parts)
    assert [m.text for c in scrubbed for m in c.messages] == [
        "번호는",
        "<PHONE>",
        "<PHONE>이야",
        "응",
    ]


def test_a_pseudonym_is_split_as_the_name_was() -> None:
    first, second, third = texts([("김철수", "철"), ("B", "수야"), ("B", "철수야")], "pseudonym")
    assert first + second == third


def test_a_message_of_which_nothing_is_left_goes() -> None:
    written = texts([("A", "남"), ("남궁민수현", "궁"), ("A", "민"), ("A", "수야")], "pseudonym")
    assert all(written)


def test_kept_kinds_stay() -> None:
    kept = ScrubConfig(name_models=False, keep=["phone"])
    (scrubbed,), report = scrub([chat(TALK)], kept)
    assert "010-1234-5678" in scrubbed.messages[0].text
    assert report.counts == {"name": 2}
    with pytest.raises(OptionError, match="no kind 'fax'"):
        scrub([chat(TALK)], ScrubConfig(name_models=False, keep=["fax"]))


def test_dialogues_depend_on_themselves_and_their_roster() -> None:
    rosters = collect_rosters([chat(TALK)])
    known = Dialogue.from_texts(["철수야 010-1234-5678", "서연이가 왔어"])
    known = Dialogue(known.turns, "d", {"room": "r"})
    corpus = Dialogue.from_texts(["박서준 씨 계세요", "네"])
    report = ScrubReport()
    both = list(scrub_dialogues([known, corpus], rosters, RULES, report))
    alone = list(scrub_dialogues([corpus], {}, RULES, ScrubReport()))
    assert both[1] == alone[0]
    assert "철수" not in both[0].turns[0].text
    assert "서연" not in both[0].turns[1].text
    assert "박서준" not in both[1].turns[0].text
    assert [turn.speaker for turn in both[0].turns] == ["A", "B"]
    assert (both[0].id, both[0].meta, report.messages) == ("d", {"room": "r"}, 4)


PIECES = st.sampled_from(
    [
        *(
            "철수야",
            "김철수",
            "민지",
            "010-1234-5678",
            "철",
            "수",
            " ",
            "계좌 110-123-456789",
            "씨",
            "서연이가",
        ),
        *(
            "<PHONE>",
            "<",
            "花子さん",
            "Minsu",
            "이",
            "a@b.com",
            "101동 1203호",
            "카톡 아이디 minsu_99",
            "田中",
        ),
        *("\u200b", "ㅋㅋ", "하늘이 참", "이름은 ", "3학년 2반", "\n"),
    ]
)
TEXTS = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=5).map("".join))
SENDERS = st.sampled_from(["김철수", "박민지♥", "엄마", "A", "花子", "Minsu Kim", "행복", "탁보라"])


@pytest.mark.parametrize("mode", ["pseudonym", "placeholder", "drop"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(SENDERS, TEXTS), min_size=1, max_size=6),
    st.sampled_from(["", "철수, 민지", "모임방 이름"]),
)
def test_scrubbing_again_changes_nothing(
    mode: str, messages: list[tuple[str, str]], title: str
) -> None:
    config = ScrubConfig(mode=mode, name_models=False)  # type: ignore[arg-type]
    once, _ = scrub([chat(messages, title)], config)
    again, report = scrub(once, config)
    assert again == once
    assert report.touched == 0


def test_with_name_models_too() -> None:
    once, report = scrub(
        [chat([*TALK, ("A", "윤탁희한테 물어봐"), ("A", "美咲に聞いて")])], ScrubConfig()
    )
    assert report.counts["name"] >= 3
    assert "美咲" not in once[0].messages[-1].text
    assert scrub(once, ScrubConfig())[0] == once


@pytest.mark.parametrize(
    "text",
    [
        *(
            "\t" * 3_000_000,
            "1" * 1_000_000,
            "-" * 1_000_000,
            "철수야 " * 100_000,
            "철 수 " * 100_000,
        ),
        *("가" * 500_000, "김" * 500_000, "花" * 300_000, "さん" * 200_000, "Aa" * 300_000),
        *("이름은 " * 100_000, "<" * 300_000),
    ],
    ids=lambda text: f"{text[:3]!r}",
)
def test_hostile_messages_end(text: str) -> None:
    scrubbed, _ = scrub([chat([("김철수", text), ("花子", "응")])])
    assert len(scrubbed) == 1


def test_a_room_of_two_thousand_senders_ends() -> None:
    families, firsts, lasts = (
        "김이박최정강조윤장임",
        "민서지현수영은도하준",
        "수지현우아연호진영민훈희경선미숙자철혜란",
    )
    senders = [a + b + c for a in families for b in firsts for c in lasts]
    messages = [(sender, f"{other[1:]}한테 줘") for sender, other in pairwise(senders)]
    (scrubbed,), report = scrub([chat(messages)])
    assert report.touched == len(messages)
    assert len({message.speaker for message in scrubbed.messages}) == len(messages)


def test_a_name_before_messages_that_are_not_read_again_is_found() -> None:
    messages = [("김철수", text) for text in ("카톡00A0中田", "", "", "", "철수")]
    once, _ = scrub([chat(messages)])
    assert once[0].messages[0].text.startswith("카톡<MESSENGER_ID>")
    assert scrub(once)[0] == once


def test_a_name_that_ends_a_message_is_found_whatever_follows() -> None:
    messages = [("김철수", text) for text in ("中田", "", "철수")]
    (scrubbed,), _ = scrub([chat(messages)], ScrubConfig(mode="drop", name_models=False))
    assert [message.text for message in scrubbed.messages] == [""]


def test_a_sender_is_read_once_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    hide = scrub_module._hide
    monkeypatch.setattr(scrub_module, "_hide", lambda text: read.append(text) or hide(text))
    scrub([chat([("선생님", f"네 {number}") for number in range(20)])])
    assert read.count("선생님") == 1
