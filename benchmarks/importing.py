"""Time `dgm import` on made-up exports of a given size, and measure the most memory it held.

    python benchmarks/importing.py --megabytes 100 --out benchmarks/results/importing.json

Each export is imported by the command itself, in a process of its own, so the figures hold what a user
waits for: start, telling the encoding, reading, writing. The speed is that of one core: bytes of the export
through the seconds of processor time, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_KOREAN = "오늘 내일 저녁에 우리 같이 밥 먹자 그래 좋아 어디서 만날까 몇 시에 회사 앞에서 ㅋㅋㅋㅋ 진짜? 영화"
_JAPANESE = "今日は 明日 夜に 一緒に ご飯 食べよう うん いいね どこで 会う？ 何時に 駅前で ほんと？ 映画 面白い"
WORDS = {"ko": _KOREAN.split(), "ja": _JAPANESE.split()}
NAMES = {"ko": ["미루", "보라", "회원님", "가람"], "ja": ["美々", "健太", "葵", "陽向"]}

MEASURE = """
import json, resource, sys, time
from dialogue_generation_models.cli.main import main
code = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
scale = 1 if sys.platform == "darwin" else 1024
print(json.dumps([code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale]), file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="of each export (default 100)")
    parser.add_argument("--rounds", type=int, default=3, help="imports of each (default 3)")
    parser.add_argument(
        "--only", choices=sorted(FORMATS), help="one of the formats; all by default"
    )
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    arguments = parser.parse_args()
    formats = [arguments.only] if arguments.only else sorted(FORMATS)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            name: measure(Path(folder), name, arguments.megabytes, arguments.rounds)
            for name in formats
        }
    text = json.dumps(
        {
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
            "exports": results,
        },
        indent=1,
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


def measure(folder: Path, name: str, megabytes: int, rounds: int) -> dict[str, Any]:
    export, output = folder / f"{name}.txt", folder / "chats.jsonl"
    messages = generate(export, FORMATS[name], megabytes * 1_000_000)
    size = export.stat().st_size
    runs = []
    for _ in range(rounds):
        start = time.perf_counter()
        command = ["import", str(export), "-o", str(output), "--overwrite", "--json"]
        result = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], capture_output=True, check=True
        )
        code, seconds, memory = json.loads(result.stderr.splitlines()[-1])
        (account,) = json.loads(result.stdout)
        assert code == 0
        assert account["message"] == messages, (account, messages)
        runs.append((seconds, time.perf_counter() - start, memory))
    export.unlink()
    seconds, waited, memory = min(runs)
    return {
        "megabytes": round(size / 1e6, 1),
        "messages": messages,
        "megabytes_a_core_second": round(size / 1e6 / seconds, 1),
        "megabytes_a_second_waited": round(size / 1e6 / waited, 1),
        "peak_memory_mb": round(memory / 1e6, 1),
        "rounds": rounds,
    }


def generate(path: Path, write: Callable[[], Iterator[tuple[str, int]]], size: int) -> int:
    """Write an export of about `size` bytes; return its messages."""
    messages = written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for text, count in write():
            file.write(text)
            messages += count
            written += len(text.encode())
            if written >= size:
                return messages
    raise AssertionError("an export has no end")


def android() -> Iterator[tuple[str, int]]:
    """Android, Korean: a date line now and then, every tenth message a photo, some of several lines."""
    draw, at = random.Random(0), datetime(2015, 3, 1, 9, 0)
    yield (
        "미루, 보라, 가람 4 님과 카카오톡 대화\r\n저장한 날짜 : 2020년 11월 3일 오전 11:29\n\r\n",
        0,
    )
    for number in range(10**9):
        at += timedelta(minutes=draw.choice((0, 0, 0, 1, 1, 2, 60)))
        clock = f"{'오전' if at.hour < 12 else '오후'} {at.hour % 12 or 12}:{at.minute:02}"
        stamp = f"{at.year}년 {at.month}월 {at.day}일 {clock}"
        if number % 50 == 0:
            yield f"\r\n\r\n{stamp}\r\n", 0
        text, count = _say(draw, "ko", "사진")
        yield f"{stamp}, {draw.choice(NAMES['ko'])} : {text}\r\n", count


def line() -> Iterator[tuple[str, int]]:
    """LINE of a phone, Japanese: bodies of several lines in quotes."""
    draw, at, day = random.Random(0), datetime(2015, 3, 1, 9, 0), ""
    yield "[LINE] 部屋のトーク履歴\n保存日時：2026/08/21 11:59\n\n", 0
    while True:
        at += timedelta(minutes=draw.choice((0, 0, 0, 1, 1, 2, 60)))
        today = f"{at:%Y/%m/%d}({'月火水木金土日'[at.weekday()]})"
        if today != day:
            yield f"\n{today}\n", 0
            day = today
        text, count = _say(draw, "ja", "[写真]")
        body = f'"{text}"' if "\n" in text else text
        yield f"{at:%H:%M}\t{draw.choice(NAMES['ja'])}\t{body}\n", count


def _say(draw: random.Random, language: str, photo: str) -> tuple[str, int]:
    kind = draw.random()
    if kind < 0.1:
        return photo, 0
    text = " ".join(draw.choices(WORDS[language], k=draw.randint(2, 8)))
    return (f"{text}\n{text}" if kind < 0.15 else text), 1


FORMATS: dict[str, Callable[[], Iterator[tuple[str, int]]]] = {
    "kakaotalk-android": android,
    "line-phone": line,
}

if __name__ == "__main__":
    main()
