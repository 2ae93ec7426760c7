"""What was written as an export is read back word for word, and every line is accounted for."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue_generation_models.data.importers.account import Account, Assembler
from dialogue_generation_models.data.importers.encodings import read_lines
from dialogue_generation_models.data.importers.kakaotalk import read_kakaotalk
from dialogue_generation_models.data.importers.line import read_line
from dialogue_generation_models.data.importers.sniff import READERS

NAMES = st.text("미루보라美健ab:]. ", min_size=1, max_size=8).map(str.strip)
NAMES = NAMES.filter(lambda name: f"{name} : ".find(" : ") == len(name) > 0)
WORDS = st.text("안녕ㅋ元気a1 :,.?![]()-'", min_size=1, max_size=30).map(lambda t: f"말{t}".strip())
BODIES = st.lists(WORDS, min_size=1, max_size=3).map("\n".join)
ROWS = st.lists(st.tuples(st.integers(0, 5000), NAMES, BODIES), min_size=1, max_size=12)


def settle(rows: list[tuple[int, str, str]]) -> list[tuple[datetime, str, str]]:
    """Turn waits in minutes into times."""
    at, settled = datetime(2020, 2, 28, 23, 50), []
    for minutes, name, body in rows:
        at += timedelta(minutes=minutes)
        settled.append((at, name, body))
    return settled


def korean_clock(at: datetime) -> str:
    return f"{'오전' if at.hour < 12 else '오후'} {at.hour % 12 or 12}:{at.minute:02}"


def write_android(rows: list[tuple[datetime, str, str]]) -> list[str]:
    lines = ["방 카카오톡 대화", "저장한 날짜 : 2022년 11월 3일 오전 11:29", "", ""]
    for at, name, body in rows:
        stamp = f"{at.year}년 {at.month}월 {at.day}일 {korean_clock(at)}"
        lines += [f"{stamp}, {name} : {body}"]
    return "\n".join(lines).split("\n")


def write_windows(rows: list[tuple[datetime, str, str]]) -> list[str]:
    lines, day = ["방 카카오톡 대화", "저장한 날짜 : 2022-11-03 10:44:52", ""], ""
    for at, name, body in rows:
        today = f"{at.year}년 {at.month}월 {at.day}일 {'월화수목금토일'[at.weekday()]}요일"
        lines += [] if today == day else [f"--------------- {today} ---------------"]
        lines += [f"[{name}] [{korean_clock(at)}] {body}"]
        day = today
    return "\n".join(lines).split("\n")


def write_csv(rows: list[tuple[datetime, str, str]]) -> list[str]:
    lines = ["Date,User,Message"]
    for at, name, body in rows:
        lines.append(f'{at:%Y-%m-%d %H:%M}:00,"{name}","{body}"')
    return "\n".join(lines).split("\n")


def write_line(rows: list[tuple[datetime, str, str]]) -> list[str]:
    lines, day = ["[LINE] 部屋のトーク履歴", "保存日時：2022/08/21 11:59", ""], ""
    for at, name, body in rows:
        today = f"{at:%Y/%m/%d}({'月火水木金土日'[at.weekday()]})"
        lines += [] if today == day else [today]
        lines += [
            f'{at:%H:%M}\t{name}\t"{body}"' if "\n" in body else f"{at:%H:%M}\t{name}\t{body}"
        ]
        day = today
    return "\n".join(lines).split("\n")


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_android, read_kakaotalk),
        (write_windows, read_kakaotalk),
        (write_csv, read_kakaotalk),
        (write_line, read_line),
    ],
)
@given(rows=ROWS)
@settings(max_examples=100, deadline=None)
def test_round_trip(write: object, read: object, rows: list[tuple[int, str, str]]) -> None:
    settled = settle(rows)
    lines = write(settled)  # type: ignore[operator]
    account = Account()
    messages = list(read(iter(lines), Assembler(account)))  # type: ignore[operator]
    assert [tuple(m) for m in messages] == [
        (f"{at:%Y-%m-%dT%H:%M}:00", *row) for at, *row in settled
    ]
    assert account.lines == len(lines)
    assert account.counts["unparsed"] == 0


FRAGMENTS = st.sampled_from(
    [
        *[
            "[a] [1:02] b",
            "--------------- 2020년 11월 2일 월요일 ---------------",
            "",
            " ",
            '"',
            '""',
        ],
        *["2020년 11월 2일 오전 1:02, a : b", "오전 1:02, a : b", '2020-11-02 12:05:00,"a","b"'],
        *["10:00\ta\tb", '10:00\ta\t"b', 'c"', "10:00\t\tx", "2020/01/01(水)", "Tue, 06/01/2026"],
        *[
            "Date,User,Message",
            "a님이 나갔습니다.",
            "[LINE] x",
            "저장한 날짜 : x",
            "99:99\ta\tb",
            ',"",""',
        ],
    ]
)


@given(
    st.lists(
        st.one_of(FRAGMENTS, st.text(max_size=20).map(lambda t: t.replace("\n", ""))), max_size=30
    )
)
@settings(max_examples=300, deadline=None)
def test_classes_sum_to_the_lines(lines: list[str]) -> None:
    for _, read in READERS.values():
        account = Account()
        messages = list(read(iter(lines), Assembler(account)))
        assert account.lines == len(lines)
        assert account.counts["message"] == len(messages)


@pytest.mark.parametrize("character", ["\t", "1", "-", " ", '"', "[", ":", "님", "[1:1] "])
def test_hostile_lines_are_read(tmp_path: Path, character: str) -> None:
    path = tmp_path / "export.txt"
    heads = ["[a] [1:02] ", "2020년 11월 2일 오전 1:02, a : ", "10:00\ta\t", "", "[", "10:00\t"]
    path.write_text("\n".join(head + character * 1_000_000 for head in heads), encoding="utf-8")
    for _, read in READERS.values():
        account = Account()
        list(read(read_lines(path), Assembler(account)))
        assert account.lines == len(heads)
