"""Corpora as chat lines, LINE's desktop save, and several exports of one room. All people are invented."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.chats import Chat, Message, read_chats
from dialogue_generation_models.data.importers.account import Account
from dialogue_generation_models.data.importers.corpora import (
    read_array,
    read_csv,
    read_jsonl,
    read_tsv,
)
from dialogue_generation_models.data.importers.encodings import read_lines
from dialogue_generation_models.data.importers.jsonl import read_dialogues, read_texts
from dialogue_generation_models.data.importers.sniff import import_files, sniff_file
from dialogue_generation_models.errors import DataError

TURNS = (
    '{"turns": [{"speaker": "미루", "text": "안녕"}, {"speaker": "보라", "text": "응"}], "id": "x"}'
)
ROLES = (
    '{"messages": [{"role": "user", "content": "안녕"}, {"role": "assistant", "content": "응"}]}'
)
SHARED = '{"conversations": [{"from": "human", "value": "안녕"}, {"from": "gpt", "value": "응"}]}'


def load(path: Path, content: str | bytes) -> tuple[list[Chat], Account]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    accounts: list[Account] = []
    chats = list(import_files([path], accounts))
    assert accounts[0].problem == ""
    assert accounts[0].lines == sum(1 for _ in read_lines(path))
    return chats, accounts[0]


@pytest.mark.parametrize("content", ["question\tanswer\n안녕\t응\n", "안녕\t응\n" * 9])
def test_a_damaged_pair_is_told_and_the_others_are_read(tmp_path: Path, content: str) -> None:
    chats, account = load(tmp_path / "pairs.tsv", content + "반\t쪽\t셋\n")
    assert len(chats) == account.counts["message"] == content.count("응")
    assert account.counts["unparsed"] == 1


@pytest.mark.parametrize(
    ("content", "source", "speakers"),
    [
        (TURNS, "jsonl", ("미루", "보라")),
        (ROLES, "jsonl", ("user", "assistant")),
        (SHARED, "jsonl", ("human", "gpt")),
        ("안녕\t응", "tsv", ("A", "B")),
        ("context\tresponse\n안녕\t응", "tsv", ("A", "B")),
        ("질문\t답변\n안녕\t응", "tsv", ("A", "B")),
        ("質問\t回答\n안녕\t응", "tsv", ("A", "B")),
        ("label,Q,A\n0,안녕,응", "csv", ("A", "B")),
        ('question,answer\n"안녕","응"', "csv", ("A", "B")),
    ],
)
@pytest.mark.parametrize("name", ["data.bin", "KakaoTalk_Chat.csv"])
def test_each_dialogue_is_a_chat_without_times(
    tmp_path: Path, content: str, source: str, speakers: tuple[str, str], name: str
) -> None:
    (chat,), account = load(tmp_path / name, content + "\n")
    assert chat.messages == (Message(None, speakers[0], "안녕"), Message(None, speakers[1], "응"))
    assert (account.source, account.counts["message"]) == (source, 1)
    assert account.counts["header"] == content.count("\n")


def test_what_is_no_dialogue_is_unparsed_and_told_by_number(tmp_path: Path) -> None:
    bad = ["{", "[1]", '{"text": "혼자"}', '{"turns": []}', "[" * 100_000, "5"]
    bad += ['{"turns": [{"speaker": "a", "text": "\\ud800"}]}', TURNS[:-20]]
    chats, account = load(tmp_path / "a", "\n".join([TURNS, "", *bad, ROLES]))
    assert len(chats) == 2
    assert account.unparsed_lines == list(range(3, 3 + len(bad)))
    assert account.counts["blank"] == 1


def shared(*texts: str) -> dict[str, object]:
    return {
        "id": texts[0],
        "conversations": [{"from": "human", "value": text} for text in texts],
    }


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_an_array_is_read_entry_by_entry(tmp_path: Path, indent: int | None, packed: bool) -> None:
    records = [shared(f"말 {n} ]}}, {{", "응" * (n % 50)) for n in range(9)]
    path, content = tmp_path / "a", json.dumps(records, ensure_ascii=False, indent=indent).encode()
    path.write_bytes(zstandard.compress(content) if packed else content)
    accounts: list[Account] = []
    chats = list(import_files([path], accounts))
    assert [[m.text for m in chat.messages] for chat in chats] == [
        [turn["value"] for turn in record["conversations"]]  # type: ignore[attr-defined]
        for record in records
    ]
    assert chats[0].id == records[0]["id"]
    assert (accounts[0].source, accounts[0].unit, accounts[0].problem) == ("json", "entry", "")
    assert accounts[0].lines == accounts[0].counts["message"] == 9


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "damage",
    [
        ('"human"', "human"),
        ("{", ""),
        ('"conversations": [', '"conversations": '),
        ('"value": "셋"', '"value": "셋'),
        ('"셋"', '"\\ud800"'),
        ('"셋"', "5"),
    ],
)
def test_a_damaged_entry_of_an_array_is_told_by_its_number(
    tmp_path: Path, indent: int | None, damage: tuple[str, str]
) -> None:
    entries = [
        json.dumps(shared(text), ensure_ascii=False, indent=indent)
        for text in ("하나", "둘", "셋", "넷", "셋")
    ]
    for place in (2, 4):
        entries[place] = entries[place].replace(*damage)
    chats, account = load_array(tmp_path / "a", "[" + ",\n".join(entries) + "]\n")
    assert [chat.messages[0].text for chat in chats] == ["하나", "둘", "넷"]
    assert account.unparsed_lines == [3, 5]
    assert account.problem == ""


def load_array(path: Path, content: str) -> tuple[list[Chat], Account]:
    path.write_text(content, encoding="utf-8")
    accounts: list[Account] = []
    return list(import_files([path], accounts)), accounts[0]


def test_odd_entries_and_ends_of_arrays(tmp_path: Path) -> None:
    whole = json.dumps(shared("하나"), ensure_ascii=False)
    path = tmp_path / "a"
    chats, account = load_array(path, f"[{whole}, 5, null, [1], {'[' * 100_000}, {whole} {whole}]")
    assert (len(chats), account.unparsed_lines) == (3, [2, 3, 4, 5])
    chats, account = load_array(path, f"[{whole}, {whole[:-5]}")
    assert (len(chats), account.unparsed_lines) == (1, [2])
    assert account.problem == "It is cut off; get a complete copy."
    chats, account = load_array(path, f"[{whole},")
    assert account.problem == "It is cut off; get a complete copy."
    chats, account = load_array(path, f"[{whole}] 비밀")
    assert (len(chats), account.unparsed_lines, account.problem) == (1, [2], "")
    chats, account = load_array(path, '[{"other": 1}]')
    assert "format is unknown" in account.problem


def test_memory_is_that_of_an_entry_however_large_the_array(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    entry = json.dumps(shared("말" * 300), ensure_ascii=False)
    with path.open("w", encoding="utf-8") as file:
        file.write("[" + entry)
        for _ in range(20_000):
            file.write(", " + entry)
        # The search for an entry behind a damaged one is bounded, too.
        file.write(', {"id": ' + '"끝' * 700_000 + "]")
    tracemalloc.start()
    count = sum(1 for _ in import_files([path], []))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_001
    assert most < 32_000_000 < path.stat().st_size


def test_our_own_chat_lines_go_through(tmp_path: Path) -> None:
    export, once, twice = (tmp_path / name for name in ("e.txt", "1.jsonl", "2.jsonl"))
    export.write_text(
        "[LINE] 部屋のトーク履歴\n\n2026/01/06(火)\n10:00\t葵\tやあ\n10:01\t健\tうん\n",
        encoding="utf-8",
    )
    assert main(["import", str(export), "-o", str(once)]) == 0
    assert main(["import", str(once), "-o", str(twice)]) == 0
    assert list(read_chats(once)) == list(read_chats(twice))


def test_compressed_corpora_are_read_and_a_cut_one_is_told(tmp_path: Path) -> None:
    packed = zstandard.ZstdCompressor().compress(f"{TURNS}\n{ROLES}\n".encode())
    chats, _ = load(tmp_path / "a.jsonl.zst", packed)
    assert len(chats) == 2
    path = tmp_path / "비밀.zst"
    path.write_bytes(packed[:-3])
    accounts: list[Account] = []
    list(import_files([path], accounts))
    assert "cut off" in accounts[0].problem
    assert "비밀" not in accounts[0].problem


def test_neighbours_never_share_an_id_they_would_be_one_room(tmp_path: Path) -> None:
    chats, _ = load(tmp_path / "a", f"{TURNS}\n{TURNS}\n{ROLES}\n{ROLES}\n")
    ids = [chat.id for chat in chats]
    assert ids[0] == "x"
    assert len(set(ids)) == 4


def test_quoted_fields_and_a_cut_csv(tmp_path: Path) -> None:
    text = 'Q,A,label\n"둘\n줄, ""인용""",응,0\n하나만\n질문,"끝이'
    chats, account = load(tmp_path / "a", text)
    assert [m.text for chat in chats for m in chat.messages] == ['둘\n줄, "인용"', "응"]
    assert (account.counts["continuation"], account.unparsed_lines) == (1, [4, 5])


def test_training_reads_the_same_forms(tmp_path: Path) -> None:
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.tsv"
    lines.write_text(SHARED + "\n", encoding="utf-8")
    table.write_text("context\tresponse\r\n안녕\t응\r\n\r\n", encoding="utf-8")
    for path in (lines, table):
        (dialogue,) = read_dialogues(path)
        assert [turn.text for turn in dialogue.turns] == ["안녕", "응"]
        assert list(read_texts(path)) == ["안녕", "응"]
    table.write_text("안녕\t응\n비밀\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.tsv, line 2"):
        list(read_dialogues(table))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4), st.integers(1, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_array_may_be_cut_into_pieces_anywhere(
    texts: list[str], size: int, is_pretty: bool
) -> None:
    whole = json.dumps([shared(f"말{text}") for text in texts], indent=2 if is_pretty else None)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    account = Account()
    chats = list(read_array(iter(pieces), account))
    assert [chat.messages[0].text for chat in chats] == [f"말{text}" for text in texts]
    assert (account.counts["message"], account.lines, account.problem) == (
        len(texts),
        len(texts),
        "",
    )


WORDS = st.text("안녕a1 ,\"'[]{}", min_size=1, max_size=12).map(lambda text: f"말{text}")


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_round_trip(pairs: list[tuple[str, str]]) -> None:
    dialogues = [[{"speaker": "가", "text": a}, {"speaker": "나", "text": b}] for a, b in pairs]
    quoted = [",".join('"' + text.replace('"', '""') + '"' for text in pair) for pair in pairs]
    for read, lines in (
        (read_jsonl, [json.dumps({"turns": turns}) for turns in dialogues]),
        (read_tsv, ["\t".join(pair) for pair in pairs]),
        (read_csv, ["Q,A", *quoted]),
    ):
        account = Account()
        chats = list(read(iter(lines), account))
        assert [tuple(m.text for m in chat.messages) for chat in chats] == pairs
        assert account.lines == len(lines)
        assert not account.unparsed_lines


@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from([TURNS, '"', "Q,A", "a\tb", ""]))))
@settings(max_examples=200, deadline=None)
def test_classes_sum_to_the_lines(lines: list[str]) -> None:
    for read in (read_jsonl, read_tsv, read_csv):
        account = Account()
        assert len(list(read(iter(lines), account))) == account.counts["message"]
        assert account.lines == len(lines)
        assert len(account.unparsed_lines) == account.counts["unparsed"]


@pytest.mark.parametrize("character", ["\t", "1", "-", '"', "{", "[", ",", "\\"])
def test_hostile_lines_are_read(tmp_path: Path, character: str) -> None:
    path = tmp_path / "a"
    path.write_text("Q,A\n" + f"{character * 3_000_000}\n" * 2, encoding="utf-8")
    for name in ("kakaotalk", "line", "jsonl", "tsv", "csv"):
        accounts: list[Account] = []
        assert sum(len(c.messages) for c in import_files([path], accounts, format=name)) == 0
        assert accounts[0].lines == 3


DESKTOP_DAY = "2026.01.15 Thursday\n"


def test_desktop_save_of_line(tmp_path: Path) -> None:
    said = [f"10:0{n} 山田 {name} 話{n}です よ" for n in range(6) for name in ("太郎", "花子")]
    lines = [
        *said,
        "10:10 健 やあ",
        "二行目",
        "10:11 健 [スタンプ]",
        "10:12 健 Photos",
        "10:13 山田 太郎が退出しました。",
        "10:14 健 昨日 会社を 退会しました",
        "10:15 Message unsent.",
    ]
    (chat,), account = load(tmp_path / "a.txt", DESKTOP_DAY + "\n".join(lines) + "\n")
    assert {m.speaker for m in chat.messages} == {"山田 太郎", "山田 花子", "健"}
    assert chat.messages[0] == Message("2026-01-15T10:00:00", "山田 太郎", "話0です よ")
    assert [m.text for m in chat.messages[-2:]] == ["やあ\n二行目", "昨日 会社を 退会しました"]
    counts = account.counts
    assert (counts["placeholder"], counts["notice"], counts["date"]) == (2, 2, 1)


def test_desktop_names_are_one_word_without_evidence(tmp_path: Path) -> None:
    text = f"{DESKTOP_DAY}10:00 葵 おは よう\n10:01 健 うん そうだね\n"
    (chat,), _ = load(tmp_path / "a.txt", text)
    assert [tuple(m)[1:] for m in chat.messages] == [("葵", "おは よう"), ("健", "うん そうだね")]


def test_desktop_names_of_two_words_with_little_evidence(tmp_path: Path) -> None:
    said = [
        *(
            "山田 花子 おはよう",
            "健 おは よう",
            "佐藤 ひかり🌸 今日 ひま?",
            "김 민수 안녕 하세요",
            "Hanako Mori hi there",
        ),
        *("緑 色 紙 が 好き", "緑 色 紙 も 好き", "緑 色 紙 は?"),
    ]
    text = DESKTOP_DAY + "".join(f"10:0{n} {line}\n" for n, line in enumerate(said))
    (chat,), _ = load(tmp_path / "a.txt", text)
    assert [tuple(m)[1:] for m in chat.messages][:6] == [
        ("山田 花子", "おはよう"),
        ("健", "おは よう"),
        ("佐藤 ひかり🌸", "今日 ひま?"),
        ("김 민수", "안녕 하세요"),
        ("Hanako Mori", "hi there"),
        ("緑 色 紙", "が 好き"),
    ]


def android(first: int, last: int, *, room: str = "방", left_out: int = -1) -> str:
    """Write the messages of some minutes, two a minute, one of them said twice."""
    lines = [f"{room} 님과 카카오톡 대화", "저장한 날짜 : 2022년 11월 3일 오전 11:29", "", ""]
    for number in range(first, last):
        stamp = f"2020년 11월 {2 + number // 60}일 오후 1:{number % 60:02}"
        said = [f"{stamp}, 미루 : ㅋㅋ", f"{stamp}, 보라 : 말{number}", f"{stamp}, 미루 : ㅋㅋ"]
        lines += [] if number == left_out else said
    return "\n".join(lines) + "\n"


def import_texts(folder: Path, *texts: str) -> tuple[list[Chat], list[Account]]:
    paths = []
    for number, text in enumerate(texts):
        paths.append(folder / f"{'abc'[number]}.txt")
        paths[-1].write_text(text, encoding="utf-8")
    accounts: list[Account] = []
    return list(import_files(paths, accounts)), accounts


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_copies_of_a_room_become_one(tmp_path: Path, order: tuple[int, int, int]) -> None:
    texts = [android(0, 200), android(100, 300, left_out=150), android(0, 90)]
    chats, accounts = import_texts(tmp_path, *(texts[place] for place in order))
    whole, _ = import_texts(tmp_path, android(0, 300))
    assert [chat.messages for chat in chats] == [chat.messages for chat in whole]
    assert sum(a.repeated for a in accounts) == 3 * (90 + 99)
    assert sum(a.counts["message"] - a.repeated for a in accounts) == 900


def test_a_title_alone_makes_no_copy(tmp_path: Path) -> None:
    other = android(0, 200).replace("말", "글")
    chats, accounts = import_texts(tmp_path, android(0, 200), other, android(200, 300))
    assert len({chat.id for chat in chats}) == 3
    assert [a.repeated for a in accounts] == [0, 0, 0]
    assert len(import_texts(tmp_path, android(0, 9), android(0, 9, room="곳"))[0]) == 2


def test_the_account_tells_numbers_and_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.jsonl")]
    for path, text in zip(
        paths, (android(0, 9), android(0, 9), f"{ROLES}\n" + "{\n" * 20), strict=True
    ):
        path.write_text(text, encoding="utf-8")
    command = ["import", *map(str, paths), "-o", str(tmp_path / "o.jsonl"), "--overwrite"]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "Export 2: 27 messages stand in another export" in told
    assert "Export 3: unparsed: line 2, 3, 4, 5, 6, 7, 8, 9, ..." in told
    assert max(map(len, told.splitlines())) <= 100
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[2]["unparsed_lines"] == list(range(2, 22))
    assert rows[1]["repeated"] == 27


def test_stopping_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialogue_generation_models.cli import import_ as command

    path, output = tmp_path / "a.txt", tmp_path / "o.jsonl"
    path.write_text(android(0, 9), encoding="utf-8")
    output.write_text("before", encoding="utf-8")

    def stop(*_: object, **__: object) -> object:
        yield Chat("r", "", "", (Message(None, "a", "b"),))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_files", stop)
    assert main(["import", str(path), "-o", str(output), "--overwrite"]) == 130
    assert output.read_text(encoding="utf-8") == "before"
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "o.jsonl"}


def test_a_picture_with_a_tab_in_each_line_is_no_table(tmp_path: Path) -> None:
    chooser = random.Random(3)
    blob = tmp_path / "blob"
    lines = []
    for _ in range(60):
        halves = [
            bytes(b for b in chooser.randbytes(40) if b not in b"\t\n\r\x00") for _ in range(2)
        ]
        lines.append(b"\t".join(halves))
    blob.write_bytes(b"\x89PNG\n".replace(b"\n", b"\t\n") + b"\n".join(lines))
    assert sniff_file(blob) == ""
    blob.write_bytes("안녕\t응\n".encode() * 50 + "뭐해 \x07\t밥\n".encode())
    assert sniff_file(blob) == "tsv", "one odd letter does no harm"
