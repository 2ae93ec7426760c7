"""Files that nobody should import, beside one that somebody should: each is told of, the good one is read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.importers.account import Account
from dialogue_generation_models.data.importers.sniff import import_files

HEAD = "미루 님과 카카오톡 대화\n저장한 날짜 : 2020년 11월 3일 오전 11:29\n\n"
STAMP = "2020년 11월 2일 오전 11:0{}, 미루 : {}"
GOOD = HEAD + STAMP.format(1, "안녕") + "\n" + STAMP.format(2, "응")
HOSTILE = {
    "empty": (b"", "empty"),
    "blank": (b"\n\r\n \r\n", "format is unknown"),
    "one line": ("비밀 이야기".encode(), "format is unknown"),
    "packed with gzip": (gzip.compress(GOOD.encode()), "format is unknown"),
    "cut off": (zstandard.compress(os.urandom(5000))[:-300], "cut off"),
}
"""Name → (content, what is told)."""
ODD = {
    "no message": (HEAD, []),
    "a long line": (
        HEAD + STAMP.format(1, "가" * 10_000_000),
        [(1 << 20) - len(STAMP.format(1, ""))],
    ),
    "mixed ends": (GOOD.replace("\n", "\r\n", 2) + "\r" + STAMP.format(3, "끝"), [2, 1, 1]),
    "NUL and BOM": (GOOD.replace("안녕", "안\0\ufeff녕"), [2, 1]),
}
"""Name → (content, lengths of its messages)."""


READ_WITHIN = """
import sys
from pathlib import Path
from dialogue_generation_models.data.importers.sniff import import_files

def peak():
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])

def messages(name):
    return sum(1 for chat in import_files([Path(name)], []) for _ in chat.messages)

before = peak()
count = messages(sys.argv[1])
grown = peak() - before
print(count, "messages;", grown, "KiB more")
sys.exit(grown > int(sys.argv[2]))
"""
"""Reads a file in a process of its own; exits with 0 if memory grew by no more than so many KiB."""


def texts(paths: list[Path]) -> tuple[list[str], list[Account]]:
    accounts: list[Account] = []
    found = [message.text for chat in import_files(paths, accounts) for message in chat.messages]
    return found, accounts


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_of_no_use_is_told_of_and_the_others_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "비밀.txt"
    good.write_text(GOOD, encoding="utf-8")
    bad.write_bytes(content)
    out = tmp_path / "chats.jsonl"
    assert main(["import", str(bad), str(good), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert "Export 1" in error
    assert told in error
    assert "비밀" not in error
    assert [m["text"] for m in json.loads(out.read_text("utf-8"))["messages"]] == ["안녕", "응"]


@pytest.mark.parametrize(("content", "lengths"), ODD.values(), ids=ODD.keys())
def test_odd_files_are_read_and_every_line_is_accounted_for(
    tmp_path: Path, content: str, lengths: list[int]
) -> None:
    path = tmp_path / "chat.txt"
    path.write_bytes(content.encode())
    found, (account,) = texts([path])
    assert [len(text) for text in found] == lengths
    assert sum(account.counts.values()) == account.lines


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs there")
def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    good, pipe, link = tmp_path / "good.txt", tmp_path / "pipe", tmp_path / "link"
    good.write_text(GOOD, encoding="utf-8")
    os.mkfifo(pipe)
    link.symlink_to(good)
    found, accounts = texts([pipe, tmp_path, tmp_path / "none.txt", link])
    assert found == ["안녕", "응"]
    assert [bool(account.problem) for account in accounts] == [True, True, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_bomb_is_read_in_bounded_memory(tmp_path: Path) -> None:
    bomb, size = tmp_path / "bomb.zst", 1 << 29
    packer = zstandard.ZstdCompressor().compressobj()
    with bomb.open("wb") as file:
        file.write(packer.compress((HEAD + STAMP.format(1, "가")).encode()))
        for _ in range(size >> 20):
            file.write(packer.compress(b"a" * (1 << 20)))
        file.write(packer.flush())
    assert bomb.stat().st_size < size / 1000
    reading = [sys.executable, "-c", READ_WITHIN, str(bomb), str(size // 2 >> 10)]
    done = subprocess.run(reading, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
