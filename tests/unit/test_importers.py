"""Exports of KakaoTalk and LINE: messages, times, and an account of every line. All people are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.chats import Chat, Message, read_chats
from dialogue_generation_models.data.importers import encodings
from dialogue_generation_models.data.importers.account import Account
from dialogue_generation_models.data.importers.encodings import read_lines
from dialogue_generation_models.data.importers.rooms import cut
from dialogue_generation_models.data.importers.sniff import import_files

Rows = list[tuple[str | None, str, str]]


def load(
    folder: Path, *texts: str | bytes, name: str = "export.txt"
) -> tuple[list[Chat], list[Account]]:
    """Import files of these contents."""
    paths = []
    for number, text in enumerate(texts):
        paths.append(folder / name.replace(".", f"{number or ''}.", 1))
        paths[-1].write_bytes(text.encode() if isinstance(text, str) else text)
    accounts: list[Account] = []
    chats = list(import_files(paths, accounts))
    for path, account in zip(paths, accounts, strict=True):
        if not account.problem:
            assert account.lines == sum(1 for _ in read_lines(path))
    return chats, accounts


def read(folder: Path, text: str | bytes) -> tuple[Rows, Account]:
    """Import one file of one room."""
    chats, accounts = load(folder, text)
    return [tuple(m) for chat in chats for m in chat.messages], accounts[0]  # type: ignore[misc]


HEADS = "미루 님과 카카오톡 대화\r\n저장한 날짜 : 2020년 11월 3일 오전 11:29\n\r\n\r\n"

VARIANTS = {
    "android-ko": (
        "미루 님과 카카오톡 대화\r\n"
        "저장한 날짜 : 2020년 11월 3일 오전 11:29\n"
        "\r\n"
        "\r\n"
        "2020년 11월 2일 오후 12:05\r\n"
        "2020년 11월 2일 오후 12:05, 미루 : 안녕\n"
        "둘째 줄\r\n"
        "2020년 11월 2일 오전 12:06, 회원님 : 응 : 그래\r\n"
        "2020년 11월 2일 오후 12:07, 보라님이 나갔습니다.\r\n"
    ),
    "ios-ko-dots": (
        "방 (4명)과 카카오톡 대화-1.txt\r\n"
        "저장한 날짜 : 2020. 11. 3. 오전 12:15\r\n"
        "\r\n"
        "\r\n"
        "2020년 11월 2일 월요일\r\n"
        "2020. 11. 2. 오후 12:05, 미루 : 안녕\r\n"
        "둘째 줄\r\n"
        "2020. 11. 2. 오전 12:06, 회원님 : 응 : 그래\r\n"
        "2020. 11. 2. 오후 12:07: 보라님이 나갔습니다.\r\n"
    ),
    "ios-ko-timed": (
        "미루 님과 카카오톡 대화\r\n"
        "저장한 날짜 : 2020년 11월 3일 오전 11:29\n"
        "\r\n"
        "\r\n"
        "2020년 11월 2일 월요일\n"
        "오후 12:05, 미루 : 안녕\n"
        "둘째 줄\n"
        "오전 12:06, 회원님 : 응 : 그래\n"
        "오후 12:07, 보라님이 나갔습니다.\n"
    ),
    "ios-ko-24h": (
        "미루 님과 카카오톡 대화\r\n"
        "저장한 날짜 : 2020년 11월 3일 20:36\n"
        "\r\n"
        "\r\n"
        "2020년 11월 2일 월요일\n"
        "12:05, 미루 : 안녕\n"
        "둘째 줄\n"
        "0:06, 회원님 : 응 : 그래\n"
        "12:07, 보라님이 나갔습니다.\n"
    ),
    "ios-en-timed": (
        "KakaoTalk Chats with Miru\n"
        "Date Saved : Nov 3, 2020, 8:36 PM\n"
        "\n"
        "\n"
        "Monday, November 2, 2020\n"
        "12:05 PM, 미루 : 안녕\n"
        "둘째 줄\n"
        "12:06\u202fAM, 회원님 : 응 : 그래\n"
        "12:07 PM, A invited B and C.\n"
    ),
    "windows-ko": (
        "미루 님과 카카오톡 대화\r\n"
        "저장한 날짜 : 2020-11-03 10:44:52\r\n"
        "\r\n"
        "--------------- 2020년 11월 2일 월요일 ---------------\r\n"
        "[미루] [오후 12:05] 안녕\r\n"
        "둘째 줄\r\n"
        "[회원님] [오전 12:06] 응 : 그래\r\n"
        "보라님이 나갔습니다.\r\n"
    ),
    "windows-en": (
        "Room with KakaoTalk Chats\n"
        "Date Saved : 2020-11-03 00:47:14\n"
        "\n"
        "--------------- Monday, November 2, 2020 ---------------\n"
        "[미루] [12:05 PM] 안녕\n"
        "둘째 줄\n"
        "[회원님] [12:06 AM] 응 : 그래\n"
        "Bora left this chatroom.\n"
    ),
    "windows-24h": (
        "Date Saved : 2020-11-03 00:47:14\n"
        "Room with KakaoTalk Chats\n"
        "\n"
        "--------------- Monday, November 2, 2020 ---------------\n"
        "[미루] [12:05] 안녕\n"
        "둘째 줄\n"
        "[회원님] [0:06] 응 : 그래\n"
        "Bora has been removed from this chatroom.\n"
    ),
    "android-en-2020": (
        "KakaoTalk Chats with Miru\n"
        "Date Saved : November 3, 2020, 1:08 PM\n"
        "\n"
        "\n"
        "November 2, 2020, 12:05 PM\n"
        "November 2, 2020, 12:05 PM, 미루 : 안녕\n"
        "둘째 줄\n"
        "November 2, 2020, 12:06 AM, 회원님 : 응 : 그래\n"
        "November 2, 2020, 12:07 PM, A invited B and C.\n"
    ),
    "android-en-2015": (
        "KakaoTalk Chats with A,B (4)\n"
        "Date Saved : 1:01am, November 3, 2020\n"
        "\n"
        "\n"
        "12:05pm, November 2, 2020\n"
        "12:05pm, November 2, 2020, 미루 : 안녕\n"
        "둘째 줄\n"
        "12:06am, November 2, 2020, 회원님 : 응 : 그래\n"
        "12:07pm, November 2, 2020, A invited B and C.\n"
    ),
    "ios-en": (
        "KakaoTalk Chats with Room (4 people)-1.txt\n"
        "Date Saved : Nov 3, 2020, 12:20 AM\n"
        "\n"
        "\n"
        "Monday, November 2, 2020\n"
        "Nov 2, 2020, 12:05 PM, 미루 : 안녕\n"
        "둘째 줄\n"
        "Nov 2, 2020, 12:06 AM, 회원님 : 응 : 그래\n"
        "Nov 2, 2020, 12:07 PM: A invited B and C.\n"
    ),
    "ios-en-at": (
        "Talk_2020.11.3 10:20-1.txt\n"
        "Date Saved : Nov 3, 2020 at 10:38\n"
        "\n"
        "\n"
        "Monday, November 2, 2020\n"
        "Nov 2, 2020 at 12:05\u202fp.m., 미루 : 안녕\n"
        "둘째 줄\n"
        "Nov 2, 2020 at 0:06, 회원님 : 응 : 그래\n"
        "Nov 2, 2020 at 12:07: X left this chatroom.\n"
    ),
    "mac": (
        "Date,User,Message\n"
        '2020-11-02 12:05:00,"미루","안녕\n'
        '둘째 줄"\n'
        '2020-11-02 00:06:00,회원님,"응 : 그래"\n'
        '2020-11-02 12:07:00,"B","B invited C and."\n'
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp949"])
def test_kakaotalk_variants(tmp_path: Path, variant: str, encoding: str) -> None:
    text = VARIANTS[variant]
    if encoding == "cp949":
        text = text.replace("\u202f", " ")
    rows, account = read(tmp_path, text.encode(encoding))
    assert rows == [
        ("2020-11-02T12:05:00", "미루", "안녕\n둘째 줄"),
        ("2020-11-02T00:06:00", "회원님", "응 : 그래"),
    ]
    counts = account.counts
    assert (account.source, account.problem) == ("kakaotalk", "")
    assert (counts["message"], counts["continuation"], counts["notice"]) == (2, 1, 1)
    assert counts["unparsed"] == 0


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings(tmp_path: Path, ending: str) -> None:
    text = VARIANTS["android-ko"].replace("\r\n", "\n").replace("\n", ending)
    assert len(read(tmp_path, text)[0]) == 2


def expectations(shared: Path) -> list[tuple[Path, dict[str, Any]]]:
    rows = []
    for file in sorted((shared / "samples" / "kakao").glob("*.expected.json")):
        stem = file.name.removesuffix(".expected.json")
        export = next(
            file.parent / (stem + end)
            for end in (".txt", ".csv")
            if (file.parent / (stem + end)).exists()
        )
        rows.append((export, json.loads(file.read_text(encoding="utf-8"))))
    return rows


def test_shared_samples(shared: Path) -> None:
    samples = expectations(shared)
    if not samples:
        pytest.skip("no samples of exports")
    for export, expected in samples:
        accounts: list[Account] = []
        chats = list(import_files([export], accounts))
        rows = [(m.at, m.speaker, m.text) for chat in chats for m in chat.messages]
        entries = expected["messages"]
        wanted = [
            (e["at"] if len(e["at"]) == 19 else e["at"] + ":00", e["sender"], e["text"])
            for e in entries
            if e["kind"] == "text"
        ]
        assert rows == wanted, export.name
        assert accounts[0].counts["notice"] == sum(e["kind"] == "notice" for e in entries)
        assert accounts[0].counts["placeholder"] == sum(e["kind"] == "media" for e in entries)
        assert accounts[0].lines == sum(1 for _ in read_lines(export))
        assert chats[0].title == expected.get("room", chats[0].title)


def test_shared_malformed_samples(shared: Path) -> None:
    for export in sorted((shared / "samples" / "kakao").glob("*malformed*.csv")):
        accounts: list[Account] = []
        list(import_files([export], accounts))
        assert accounts[0].lines == sum(1 for _ in read_lines(export))


def android(*lines: str) -> str:
    return HEADS + "".join(f"{line}\n" for line in lines)


P = "2020년 11월 2일 오후 1:33, "


@pytest.mark.parametrize(
    "word",
    [
        *[
            "사진",
            "<사진>",
            "(사진)",
            "사진 3장",
            "동영상",
            "이모티콘",
            "파일: x.pdf",
            "보이스톡 0:17",
        ],
        "보이스톡 해요",
        "샵검색: #계산기",
        "톡게시판 '투표': 저녁",
        "30,400원을 받으세요.",
        "Photo",
        "",
    ],
)
def test_placeholders_are_no_messages(tmp_path: Path, word: str) -> None:
    rows, account = read(tmp_path, android(f"{P}미루 : {word}", f"{P}미루 : 끝"))
    assert [text for _, _, text in rows] == ["끝"]
    assert account.counts["placeholder"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "사진 보냈어요",
        "사진\n예쁘지",
        "사진 3장 보냈어",
        "엄마 벌써 나갔습니다",
        "[보라] [오전 9:11] 복사",
        "a : b : http://x.y/z",
        "앞\n\n뒤",
        "앞\n2019년 1월 1일 화요일\n뒤",
        "앞\n--------------- 2019년 1월 1일 화요일 ---------------\n뒤",
    ],
)
def test_words_stay_words(tmp_path: Path, text: str) -> None:
    rows, _ = read(tmp_path, android(f"{P}미루 : {text}", f"{P}보라 : 끝"))
    assert [row[2] for row in rows] == [text, "끝"]


def windows(*lines: str) -> str:
    return "".join(
        f"{line}\n"
        for line in ("저장한 날짜 : 2020-11-03 10:44:52", "방 카카오톡 대화", "", *lines)
    )


DAY = "--------------- 2020년 11월 2일 월요일 ---------------"


def test_sender_with_bracket_and_a_copied_message(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, windows(DAY, "[a] b: c] [오전 1:01] [x] [오전 9:11] 복사"))
    assert rows == [("2020-11-02T01:01:00", "a] b: c", "[x] [오전 9:11] 복사")]


@pytest.mark.parametrize("variant", ["ios-ko-timed", "ios-ko-24h", "ios-en-timed"])
@pytest.mark.parametrize("line", ["17:00, 강남역", "17:00: 강남역"])
def test_a_time_that_somebody_wrote_is_text(tmp_path: Path, variant: str, line: str) -> None:
    rows, account = read(tmp_path, VARIANTS[variant].replace("둘째 줄", line))
    assert rows[0][2] == f"안녕\n{line}"
    assert (len(rows), account.counts["notice"]) == (2, 1)


def test_message_before_any_date_has_no_time(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, windows("[a] [오전 1:01] 하나", DAY, "[a] [오전 1:02] 둘"))
    assert [row[0] for row in rows] == [None, "2020-11-02T01:02:00"]


def test_past_date_inside_a_body_changes_no_day(tmp_path: Path) -> None:
    past = "--------------- 2019년 1월 1일 화요일 ---------------"
    rows, _ = read(tmp_path, windows(DAY, "[a] [1:01] 앞", past, "[a] [1:02] 뒤"))
    assert rows[0][2] == f"앞\n{past}"
    assert rows[1][0] == "2020-11-02T01:02:00"


def test_cut_csv_loses_only_the_cut_record(tmp_path: Path) -> None:
    rows = [
        '2020-11-02 12:05:00,"a","열린',
        '2020-11-02 12:06:00,"b","닫힌"',
        '2020-11-02 12:07:00,"c","끝',
    ]
    messages, account = read(tmp_path, "\n".join(["Date,User,Message", *rows]))
    assert [m[2] for m in messages] == ["닫힌"]
    assert account.counts["unparsed"] == 2


def test_huge_continuation_is_bounded(tmp_path: Path) -> None:
    rows, account = read(tmp_path, android(f"{P}미루 : 앞", *["가" * 1000] * 2000, f"{P}보라 : 끝"))
    assert len(rows[0][2]) < 1_100_000
    assert rows[1][2] == "끝"
    assert account.counts["unparsed"] > 900


LINE_HEAD = "[LINE] 美々とのトーク履歴\n保存日時：2026/08/21 11:59\n\n"


@pytest.mark.parametrize(
    ("head", "day", "clock"),
    [
        (LINE_HEAD, "2026/01/06(火)", "15:04"),
        (LINE_HEAD, "2026年1月6日(火)", "午後3:04"),
        (LINE_HEAD, "2026.01.06 火曜日", "15:04"),
        (
            "[LINE] Chat history with Mimi\nSaved on: 2026/12/31 23:59\n\n",
            "2026/01/06(Tue)",
            "3:04\u202fPM",
        ),
        ("Chat history in Mimi\nSaved on: 9/26/2026, 11:00\n\n", "Tue, 1/6/2026", "03:04pm"),
        ("Chat history in Mimi\nSaved on: 9/26/2026, 11:00\n\n", "Tue, 06/01/2026", "15:04"),
        (
            "[LINE] 與美美的聊天記錄\n儲存日期：2026/12/31 23:59\n\n",
            "2026/01/06（二）",
            "下午03:04",
        ),
        ("[LINE] 與美美的聊天記錄\n儲存日期：2026/12/31 23:59\n\n", "2026/1/6週二", "下午3:04"),
    ],
)
def test_line_variants(tmp_path: Path, head: str, day: str, clock: str) -> None:
    body = (
        f'{clock}\t美々\t"やあ\n""引用""\n{clock}\tだれか\t写し"\n{clock}\t\t美々が退出しました。\n'
    )
    body += f"{clock}\t健 太\t[写真]\n{clock}\t健 太\tうん\n続き\n{clock}\t☎ 不在着信\n"
    rows, account = read(tmp_path, f"{head}{day}\n{body}")
    assert rows == [
        ("2026-01-06T15:04:00", "美々", f'やあ\n"引用"\n{clock}\tだれか\t写し'),
        ("2026-01-06T15:04:00", "健 太", "うん\n続き"),
    ]
    counts = account.counts
    assert (counts["message"], counts["continuation"], counts["notice"]) == (2, 3, 2)
    assert (counts["placeholder"], counts["header"], counts["date"]) == (1, 2, 1)


def test_line_in_cp932(tmp_path: Path) -> None:
    text = f"{LINE_HEAD}2026/01/06(火)\n10:00\t美々\tこんにちは、元気ですか\n"
    assert read(tmp_path, text.encode("cp932"))[0][0][2] == "こんにちは、元気ですか"


def test_open_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = ['10:00\ta\t"開いた', '10:01\tb\t"二行', 'の文"', "10:02\ta\t終わり"]
    rows, _ = read(tmp_path, f"{LINE_HEAD}2026/01/06(火)\n" + "\n".join(lines))
    assert [row[2] for row in rows] == ['"開いた', "二行\nの文", "終わり"]


def test_line_place_is_a_placeholder(tmp_path: Path) -> None:
    text = f"{LINE_HEAD}2026/01/06(火)\n10:00\ta\t[位置情報] どこか\n10:01\ta\tここ\n"
    assert [row[2] for row in read(tmp_path, text)[0]] == ["ここ"]


def test_parts_of_one_chat_are_joined_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"talk-{number}.txt" for number in (10, 2)]
    for path, word in zip(paths, ("나중", "먼저"), strict=True):
        path.write_text(android(f"{P}미루 : {word}"), encoding="utf-8")
    chats = list(import_files(paths, []))
    assert [m.text for chat in chats for m in chat.messages] == ["먼저", "나중"]
    assert len({chat.id for chat in chats}) == 1


def test_numbered_exports_of_one_room_that_overlap_are_merged(tmp_path: Path) -> None:
    lines = [f"{P}미루 : {word}" for word in ("하나", "둘", "셋", "넷")]
    for number, said in ((1, lines[:3]), (2, lines)):
        (tmp_path / f"talk-{number}.txt").write_text(android(*said), encoding="utf-8")
    chats = list(import_files(sorted(tmp_path.iterdir()), []))
    assert [m.text for chat in chats for m in chat.messages] == ["하나", "둘", "셋", "넷"]


def test_numbered_files_of_different_rooms_stay_apart(tmp_path: Path) -> None:
    for number, room in ((1, "가"), (2, "나")):
        text = android(f"{P}미루 : 말").replace("미루 님과", f"{room} 님과")
        (tmp_path / f"talk-{number}.txt").write_text(text, encoding="utf-8")
    chats = list(import_files(sorted(tmp_path.iterdir()), []))
    assert [chat.title for chat in chats] == ["가", "나"]
    assert len({chat.id for chat in chats}) == 2


def test_long_rooms_are_cut_at_a_silence() -> None:
    times = [f"2020-11-02T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(3000)]
    messages = [Message(at, "a", "b") for at in times]
    messages += [Message(f"2020-11-03{at[10:]}", "a", "b") for at in times]
    lines = list(cut(messages))
    assert [len(line) for line in lines] == [3000, 3000]
    assert [len(line) for line in cut([Message(None, "a", "b")] * 6000)] == [5000, 1000]


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0\0", b"hello\nworld\n", b"\xff\xfe", "안녕".encode("cp949")]
)
def test_what_is_no_export_is_told_and_others_are_read(tmp_path: Path, content: bytes) -> None:
    chats, accounts = load(tmp_path, content, VARIANTS["windows-ko"])
    assert accounts[0].problem
    assert sum(len(chat.messages) for chat in chats) == 2


def test_a_very_long_line_is_kept_bounded(tmp_path: Path) -> None:
    path = tmp_path / "export.txt"
    path.write_text(android(f"{P}미루 : " + "가" * 5_000_000, f"{P}보라 : 끝"), encoding="utf-8")
    lines = list(read_lines(path))
    assert max(map(len, lines)) <= encodings.LONGEST_LINE
    assert lines[-1].endswith("끝")


def test_damaged_bytes_do_not_change_the_encoding(tmp_path: Path) -> None:
    data = android(f"{P}미루 : 안녕하세요 반갑습니다", f"{P}보라 : 네").encode() + b"\xff\n"
    rows, _ = read(tmp_path, data)
    assert rows[0][1:] == ("미루", "안녕하세요 반갑습니다")


def test_command_writes_chat_lines_and_an_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, output = tmp_path / "비밀방.txt", tmp_path / "chats.jsonl"
    export.write_text(VARIANTS["ios-ko-timed"], encoding="utf-8")
    command = ["import", str(export), "-o", str(output)]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    row = json.loads(captured.out)[0]
    assert (row["format"], row["message"], row["notice"]) == ("kakaotalk", 2, 1)
    assert [chat.title for chat in read_chats(output)] == ["미루"]
    assert main(command) == 2
    capsys.readouterr()
    assert main([*command, "--overwrite"]) == 0
    captured = capsys.readouterr()
    assert not any(
        word in captured.out + captured.err for word in ("미루", "보라", "비밀방", "안녕")
    )
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("head", [HEADS, "[LINE] 美々\n保存日時：2026/08/21 11:59\n"])
def test_lines_of_an_unknown_variant_are_unparsed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str
) -> None:
    other, good = tmp_path / "other.txt", tmp_path / "good.txt"
    other.write_text(f"{head}(20h36) 미루 > 안녕\n(20h37) 보라 > 응\n", encoding="utf-8")
    good.write_text(VARIANTS["mac"], encoding="utf-8")
    assert main(["import", str(good), str(other), "-o", str(tmp_path / "out.jsonl")]) == 0
    told = capsys.readouterr().err
    first = len(head.splitlines()) + 1
    assert f"Export 2: unparsed: line {first}, {first + 1}\n" in told
    assert "Export 2: no message was read" in told
    assert "Export 1: " not in told
    assert "미루" not in told
    accounts: list[Account] = []
    list(import_files([other], accounts))
    assert (accounts[0].counts["header"], accounts[0].counts["unparsed"]) == (2, 2)


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_command_reports_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    good = tmp_path / "good.txt"
    good.write_text(VARIANTS["mac"], encoding="utf-8")
    output = tmp_path / "chats.jsonl"
    assert main(["import", str(tmp_path / name), str(good), "-o", str(output)]) == 1
    assert "could not be read: 1" in capsys.readouterr().err
    assert len(list(read_chats(output))) == 1
    other = tmp_path / "other.jsonl"
    assert main(["import", str(good), "-o", str(other), "--format", "icq"]) == 2
    assert main(["import", str(tmp_path / name), "-o", str(other)]) == 1
    assert not other.exists()
