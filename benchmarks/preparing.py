"""Time and memory of `dgm prepare`, and what its rules touch in corpora.

    python benchmarks/preparing.py --export-mb 100 --corpora DATA --out benchmarks/results/preparing.json

`--export-mb` prepares an export of invented talk; `--corpora` all files of dialogues and texts in `DATA/ko` and
`DATA/ja`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEOPLE = ("김가람", "이나래", "박다온")
WORDS = [
    "오늘",
    "내일",
    "저녁",
    "점심",
    "영화",
    "카페",
    "진짜",
    "근데",
    "그래서",
    "밥",
    "먹자",
    "먹었어",
    "볼래",
    "갈까",
    "회사",
    "학교",
    "시험",
    "너무",
    "피곤해",
    "졸려",
    "좋아",
    "싫어",
    "언제",
    "어디",
    "뭐해",
    "집에",
    "버스",
    "지하철",
    "비온다",
    "날씨",
    "추워",
    "더워",
    "재밌다",
    "웃겨",
    "대박",
    "미안",
    "고마워",
    "알았어",
    "그러게",
    "아니",
    "맞아",
    "나중에",
    "지금",
    "주말에",
    "여행",
    "커피",
    "고양이",
    "강아지",
    "노래",
    "게임",
    "운동",
    "다이어트",
    "야식",
    "치킨",
    "떡볶이",
]
SHORT = ("응", "네", "ㅋㅋ", "ㅋㅋㅋㅋ", "ㅠㅠ", "아니", "왜?", "그래", "오", "ㅇㅇ", "헐")
LICENCE = '[[sources]]\npath = "*"\nlicense = "as the corpus says"\n'


def write_export(path: Path, megabytes: float) -> None:
    """Write a KakaoTalk export (Windows) of invented talk, with a number or a name now and then."""
    chooser = random.Random(0)
    day, minute, size = datetime.date(2020, 1, 1), 540, 0
    with path.open("w", encoding="utf-8", newline="\r\n") as file:
        file.write("이나래 님과 카카오톡 대화\n저장한 날짜 : 2022-11-03 10:44:52\n\n")
        lines = [f"--------------- {day.year}년 {day.month}월 {day.day}일 월요일 ---------------\n"]
        while size < megabytes * 1e6:
            minute += chooser.choice([0, 0, 0, 1, 1, 2, 5, 60])
            if minute >= 1430:
                day, minute = day + datetime.timedelta(days=1), 540
                lines.append(
                    f"--------------- {day.year}년 {day.month}월 {day.day}일 월요일 ---------------\n"
                )
            hour, rest = divmod(minute, 60)
            clock = f"{'오전' if hour < 12 else '오후'} {(hour - 1) % 12 + 1}:{rest:02d}"
            lines.append(f"[{chooser.choice(PEOPLE)}] [{clock}] {_say(chooser)}\n")
            if len(lines) > 10_000:
                size += file.write("".join(lines)) and sum(len(line.encode()) for line in lines)
                lines = []


def _say(chooser: random.Random) -> str:
    dice = chooser.random()
    if dice < 0.35:
        return chooser.choice(SHORT)
    text = " ".join(chooser.choices(WORDS, k=chooser.randint(1, 7)))
    if dice > 0.99:
        text += f" 010-{chooser.randint(1000, 9999)}-{chooser.randint(1000, 9999)}"
    elif dice > 0.98:
        text = f"{chooser.choice(PEOPLE)[1:]}아 {text}"
    return text + chooser.choice(["", "", "?", "!", "ㅋㅋ"])


def prepare(inputs: list[Path], folder: Path, tokenizer: str, workers: int) -> dict[str, Any]:
    """Run the command in a process of its own; return its manifest, and what it cost, workers included."""
    settings = folder / "prep.toml"
    settings.write_text(LICENCE, encoding="utf-8")
    output = folder / "set"
    command = [sys.executable, "-m", "dialogue_generation_models", "prepare", *map(str, inputs)]
    command += ["-o", str(output), "--tokenizer", tokenizer, "--config", str(settings), "--json"]
    command += ["--overwrite", "--i-have-consent", "--workers", str(workers)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    manifest = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    # Of the process itself and of its largest worker.
    peak = max(usage.ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return {
        "manifest": manifest,
        "cost": {
            "seconds": round(time.perf_counter() - started, 1),
            "peak_mb": round(peak / 1000),
        },
    }


def touched(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each source how many turns each rule touched."""
    return [
        {
            "source": source["name"],
            "dialogues": source["read"]["dialogues"],
            "turns": source["read"]["turns"],
            "filters": source["filters"]["by_rule"],
            "built_on_dropped": source["filters"]["built_on_dropped"],
            "left_alone": source["filters"]["left_alone"],
            "personal_data": source["scrub"]["counts"],
            "scrubbed_turns": source["scrub"]["touched"],
            **source["copies"],
            "kept_turns": sum(row["turns"] for row in source["kept"].values()),
        }
        for source in manifest["sources"]
    ]


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export-mb", type=float, default=0)
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--tokenizer", default="gpt-mini-ko")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"workers": options.workers, "processors": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.export_mb:
            export = folder / "export.txt"
            write_export(export, options.export_mb)
            made = prepare([export], folder, options.tokenizer, options.workers)
            results["export"] = {
                "megabytes": export.stat().st_size / 1e6,
                "messages": made["manifest"]["sources"][0]["read"]["files"][0]["message"],
                **made["cost"],
                "counts": made["manifest"]["counts"],
            }
        if options.corpora:
            languages = [options.corpora / language for language in ("ko", "ja")]
            inputs = sorted(path for place in languages for path in place.rglob("*.jsonl.zst"))
            made = prepare(inputs, folder, options.tokenizer, options.workers)
            results["corpora"] = {
                **made["cost"],
                "characters": sum(s["read"]["characters"] for s in made["manifest"]["sources"]),
                "counts": made["manifest"]["counts"],
                "sources": touched(made["manifest"]),
            }
    text = json.dumps(results, ensure_ascii=False, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
