"""Chat lines: read whole, refused by line number, and never quoted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.data.chats import Message, parse_chat, read_chats
from dialogue_generation_models.errors import DataError

LINE: dict[str, Any] = {
    "id": "room-1",
    "source": "kakaotalk",
    "title": "등산 모임",
    "messages": [
        {"at": "2020-11-03T11:29:00", "speaker": "가람", "text": "안녕"},
        {"at": None, "speaker": "나래", "text": "응"},
    ],
}


def test_a_chat_line_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(LINE, ensure_ascii=False) + "\n\n", encoding="utf-8")
    (chat,) = read_chats(path)
    assert (chat.id, chat.source, chat.title, chat.meta) == (
        "room-1",
        "kakaotalk",
        "등산 모임",
        {},
    )
    assert chat.messages == (
        Message("2020-11-03T11:29:00", "가람", "안녕"),
        Message(None, "나래", "응"),
    )


def test_labels_may_be_missing() -> None:
    chat = parse_chat({"messages": []}, "here")
    assert (chat.id, chat.source, chat.title, chat.messages) == ("", "", "", ())


@pytest.mark.parametrize(
    "change",
    [
        {"messages": None},
        {"messages": {"speaker": "비밀"}},
        {"messages": ["비밀"]},
        {"messages": [{"speaker": "비밀", "text": 3}]},
        {"messages": [{"text": "비밀"}]},
        {"messages": [{"at": 5, "speaker": "비밀", "text": "비밀"}]},
        {"title": ["비밀"]},
        {"meta": "비밀"},
    ],
)
def test_what_is_no_chat_line_is_refused_by_its_place_and_not_quoted(
    change: dict[str, Any],
) -> None:
    with pytest.raises(DataError, match=r"^chats\.jsonl, line 3") as caught:
        parse_chat({**LINE, **change}, "chats.jsonl, line 3")
    assert "비밀" not in str(caught.value)
