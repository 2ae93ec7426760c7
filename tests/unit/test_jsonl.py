"""JSON Lines, plain and compressed: what is no dialogue is refused by file and line, and never quoted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from dialogue_generation_models.data.importers.jsonl import read_dialogues, read_texts
from dialogue_generation_models.errors import DataError

SECRET = "비밀이야"
LINE = json.dumps({"turns": [{"speaker": "A", "text": SECRET}]}, ensure_ascii=False) + "\n"


def compress(text: str) -> bytes:
    return zstandard.ZstdCompressor().compress(text.encode())


def refuse(path: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        list(read_dialogues(path))
    assert path.name in str(caught.value)
    assert SECRET not in str(caught.value)


def test_compressed_files_may_have_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl.zst"
    path.write_bytes(compress(LINE * 3000) + compress("") + compress(LINE * 2))
    assert len(list(read_dialogues(path))) == 3002
    path.write_bytes(b"")
    assert list(read_texts(path)) == []


@pytest.mark.parametrize("lines", [1, 3000])
def test_a_compressed_file_that_is_cut_off_is_not_a_shorter_one(tmp_path: Path, lines: int) -> None:
    whole = compress("".join(LINE.replace("A", str(i)) for i in range(lines)))
    path = tmp_path / "talk.jsonl.zst"
    for size in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refuse(path, "cut off|not valid")


@pytest.mark.parametrize(
    "content", [LINE.encode(), gzip.compress(LINE.encode())], ids=["plain", "gzip"]
)
def test_other_files_with_the_suffix_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.jsonl.zst"
    path.write_bytes(content)
    refuse(path, "no zstd file")


@pytest.mark.parametrize(
    "line",
    [
        f'{{"turns": [{{"speaker": "A", "text": "{SECRET}\\ud800"}}]}}',
        f'{{"id": "\\uDFFF", "turns": [{{"speaker": "A", "text": "{SECRET}"}}]}}',
        f'{{"text": "{SECRET}',
        "[" * 100_000,
        f'["{SECRET}"]',
    ],
    ids=["half a pair", "in the id", "cut off", "deep", "list"],
)
def test_bad_lines_are_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(LINE + line + "\n", encoding="utf-8")
    refuse(path, "line 2")


def test_escaped_pairs_are_characters(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n', encoding="utf-8")
    assert list(read_texts(path)) == ["😀"]
