"""What was written as an export is read back word for word, and every line is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue_generation_models.data.chats import Message
from dialogue_generation_models.data.importers.account import Account, Assembler
from dialogue_generation_models.data.importers.encodings import read_lines
from dialogue_generation_models.data.importers.kakaotalk import read_kakaotalk
from dialogue_generation_models.data.importers.line import read_line
from dialogue_generation_models.data.importers.sniff import READERS

NAMES = st.text("미루보라美健ab:]. ", min_size=1, max_size=8).map(str.strip)
NAMES = NAMES.filter(lambda name: f"{name} : ".find(" : ") == len(name) > 0)
WORDS = st.text("안녕ㅋ元気a1 :,.?![]()-'", min_size=1, max_size=30).map(lambda t: f"말{t}".strip())
BODIES = st.lists(WORDS, min_size=1, max_size=3).map("\n".join)
LETTERS = st.characters(exclude_categories=["Cc", "Cs"])
# Whatever people write; a body's line that has the form of a message itself cannot be told from one.
ANYTHING = st.text(LETTERS, max_size=30).map(lambda text: f"말{text}".strip())
ANY_BODIES = st.lists(ANYTHING, min_size=1, max_size=3).map("\n".join)
Row = tuple[datetime, str, str]
Writer = Callable[[list[Row]], list[str]]
Reader = Callable[[Iterator[str], Assembler], Iterator[Message]]
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
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


def english_clock(at: datetime, space: str = " ") -> str:
    return f"{at.hour % 12 or 12}:{at.minute:02}{space}{'AM' if at.hour < 12 else 'PM'}"


def english_day(at: datetime) -> str:
    return f"{MONTHS[at.month - 1]} {at.day}, {at.year}"


def short_day(at: datetime) -> str:
    return f"{MONTHS[at.month - 1][:3]} {at.day}, {at.year}"


def render(
    head: list[str],
    rows: list[Row],
    day: Callable[[datetime], str],
    message: Callable[[datetime, str, str], str],
) -> list[str]:
    """Write an export: its head, a line for each new day, and the messages."""
    lines, today = head, ""
    for at, name, body in rows:
        if day(at) != today:
            today = day(at)
            lines.append(today)
        lines.append(message(at, name, body))
    return "\n".join(lines).split("\n")


def write_ios_korean(rows: list[Row]) -> list[str]:
    return render(
        ["방 (4명)과 카카오톡 대화-1.txt", "저장한 날짜 : 2022. 8. 3. 오전 12:15", ""],
        rows,
        lambda at: f"\n{at.year}년 {at.month}월 {at.day}일 {'월화수목금토일'[at.weekday()]}요일",
        lambda at, name, body: (
            f"{at.year}. {at.month}. {at.day}. {korean_clock(at)}, {name} : {body}"
        ),
    )


def write_ios_korean_times(rows: list[Row]) -> list[str]:
    return render(
        ["방 님과 카카오톡 대화", "저장한 날짜 : 2022년 12월 18일 오후 7:17", "", ""],
        rows,
        lambda at: f"{at.year}년 {at.month}월 {at.day}일 {'월화수목금토일'[at.weekday()]}요일",
        lambda at, name, body: f"{korean_clock(at)}, {name} : {body}",
    )


def write_ios_english(rows: list[Row]) -> list[str]:
    return render(
        ["KakaoTalk Chats with 방 (4 people)-1.txt", "Date Saved : Aug 3, 2022, 12:20 AM", ""],
        rows,
        lambda at: f"\n{WEEKDAYS[at.weekday()]}, {english_day(at)}",
        lambda at, name, body: (
            f"{short_day(at)}, {english_clock(at, chr(0x202F))}, {name} : {body}"
        ),
    )


def write_ios_english_24h(rows: list[Row]) -> list[str]:
    return render(
        ["Talk_2022.4.25 10:20-1.txt", "Date Saved : Apr 25, 2022 at 10:38", ""],
        rows,
        lambda at: f"\n{WEEKDAYS[at.weekday()]}, {english_day(at)}",
        lambda at, name, body: f"{short_day(at)} at {at.hour}:{at.minute:02}, {name} : {body}",
    )


def write_android_english(rows: list[Row]) -> list[str]:
    return render(
        ["KakaoTalk Chats with 방", "Date Saved : November 3, 2022, 1:08 PM", ""],
        rows,
        lambda at: f"\n{english_day(at)}, 12:01 AM",
        lambda at, name, body: f"{english_day(at)}, {english_clock(at)}, {name} : {body}",
    )


def write_android_english_2015(rows: list[Row]) -> list[str]:
    return render(
        ["KakaoTalk Chats with 방,길 (4)", "Date Saved : 1:01am, August 3, 2022", ""],
        rows,
        lambda at: f"\n12:01am, {english_day(at)}",
        lambda at, name, body: (
            f"{english_clock(at, '').lower()}, {english_day(at)}, {name} : {body}"
        ),
    )


def write_windows_english(rows: list[Row]) -> list[str]:
    return render(
        ["방 with KakaoTalk Chats", "Date Saved : 2022-08-03 00:47:14", ""],
        rows,
        lambda at: f"{'-' * 15} {WEEKDAYS[at.weekday()]}, {english_day(at)} {'-' * 15}",
        lambda at, name, body: f"[{name}] [{english_clock(at)}] {body}",
    )


def quoted(body: str) -> str:
    return '"' + body.replace('"', '""') + '"' if "\n" in body else body


def write_line_english(rows: list[Row]) -> list[str]:
    return render(
        ["[LINE] Chat history with 방", "Saved on: 2022/12/31 23:59", ""],
        rows,
        lambda at: f"{at:%Y/%m/%d}({WEEKDAYS[at.weekday()][:3]})",
        lambda at, name, body: f"{english_clock(at)}\t{name}\t{quoted(body)}",
    )


def write_line_english_months_first(rows: list[Row]) -> list[str]:
    return render(
        ["Chat history in 방", "Saved on: 9/26/2022, 11:00", ""],
        rows,
        lambda at: f"{WEEKDAYS[at.weekday()][:3]}, {at.month}/{at.day}/{at.year}",
        lambda at, name, body: f"{at:%H:%M}\t{name}\t{quoted(body)}",
    )


def write_line_chinese(rows: list[Row]) -> list[str]:
    return render(
        ["[LINE] 與方的聊天記錄", "儲存日期：2022/10/01 11:59", ""],
        rows,
        lambda at: f"{at:%Y/%m/%d}（{'一二三四五六日'[at.weekday()]}）",
        lambda at, name, body: (
            f"{'上午' if at.hour < 12 else '下午'}{at.hour % 12 or 12:02}:{at.minute:02}"
            f"\t{name}\t{quoted(body)}"
        ),
    )


def write_line_desktop(rows: list[Row]) -> list[str]:
    return render(
        [],
        rows,
        lambda at: f"{at:%Y.%m.%d} {'月火水木金土日'[at.weekday()]}曜日",
        lambda at, name, body: f"{at:%H:%M} {name} {quoted(body)}",
    )


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_ios_korean, read_kakaotalk),
        (write_ios_korean_times, read_kakaotalk),
        (write_ios_english, read_kakaotalk),
        (write_ios_english_24h, read_kakaotalk),
        (write_android_english, read_kakaotalk),
        (write_android_english_2015, read_kakaotalk),
        (write_windows_english, read_kakaotalk),
        (write_line_english, read_line),
        (write_line_english_months_first, read_line),
        (write_line_chinese, read_line),
    ],
)
@given(rows=st.lists(st.tuples(st.integers(0, 5000), NAMES, ANY_BODIES), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_text_comes_back(write: Writer, read: Reader, rows: list[tuple[int, str, str]]) -> None:
    check_round_trip(write, read, rows)


@pytest.mark.parametrize("names", [("미루", "健"), ("미루 김", "健 佐藤 (会社)")])
@given(rows=st.lists(st.tuples(st.integers(0, 5000), st.booleans(), ANY_BODIES), max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_text_comes_back_from_the_desktop(
    names: tuple[str, str], rows: list[tuple[int, bool, str]]
) -> None:
    # A name with a space is known by standing before many bodies, none of which begins like another.
    known = [(1, names[n % 2], f"{n}번째 인사") for n in range(12)]
    said = [
        (wait, names[is_second], f"{n}째 {body}") for n, (wait, is_second, body) in enumerate(rows)
    ]
    check_round_trip(write_line_desktop, read_line, known + said)


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
def test_round_trip(write: Writer, read: Reader, rows: list[tuple[int, str, str]]) -> None:
    check_round_trip(write, read, rows)


def check_round_trip(write: Writer, read: Reader, rows: list[tuple[int, str, str]]) -> None:
    settled = settle(rows)
    lines = write(settled)
    account = Account()
    messages = list(read(iter(lines), Assembler(account)))
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
