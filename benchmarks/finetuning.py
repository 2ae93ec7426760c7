"""Time of `dgm finetune`, and what it does to the perplexity of one speaker's held-out messages.

    python benchmarks/finetuning.py --corpora DATA --runs full lora --out benchmarks/results/finetuning.json

An export of about 5,000 messages is made of an openly licensed corpus that `gpt-mini-ko` never saw (hgtods:
people ask, a music player and a phone manual answer). It is written as KakaoTalk writes it, and the answering
side is the person to learn. It is no real person's chat: its subjects are narrow, so perplexity falls further
than it would on everyday talk. The whole command is timed: import, preparation, measures and training.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dialogue_generation_models.data.importers.jsonl import read_dialogues
from dialogue_generation_models.dialogue import Dialogue

CORPUS = "ko/dialogue/hgtods.jsonl.zst"
ME, OTHER = "나래", "가람"
HOURS = (9, 13, 20)
OPTIONS = {"full": [], "lora": ["--lora"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--model", default="gpt-mini-ko")
    parser.add_argument("--runs", nargs="+", choices=OPTIONS, default=["full"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        export = folder / "KakaoTalkChats.txt"
        messages = write_export(export, options.corpora / CORPUS, options.messages)
        print(f"{messages} messages of {CORPUS}", flush=True)
        results = [
            {"run": name, "messages": messages, **measure(export, folder / name, name, options)}
            for name in options.runs
        ]
    for row in results:
        print(json.dumps(row))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def measure(
    export: Path, output: Path, name: str, options: argparse.Namespace
) -> dict[str, float | list[float]]:
    """Fine-tune once; return minutes, those of all processors, the load, and the perplexities on the card."""
    command = [
        *(sys.executable, "-m", "dialogue_generation_models", "finetune", str(export)),
        *("--me", ME, "--model", options.model, "-o", str(output), "--i-have-consent"),
        *("--overwrite", "--threads", str(options.threads), *OPTIONS[name]),
    ]
    load, used = os.getloadavg()[0], _processor_seconds()
    started = time.perf_counter()
    subprocess.run(command, check=True)
    minutes = (time.perf_counter() - started) / 60
    card = (output / "README.md").read_text(encoding="utf-8")
    row = re.search(r"\| perplexity per token \| ([\d.]+) \| ([\d.]+) \|", card)
    assert row is not None, "the card has no figures"
    before, after = map(float, row.groups())
    return {
        "minutes": round(minutes, 2),
        "processor_minutes": round((_processor_seconds() - used) / 60, 2),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "perplexity_before": before,
        "perplexity_after": after,
        "fall_percent": round(100 * (1 - after / before), 1),
    }


def write_export(path: Path, corpus: Path, most: int) -> int:
    """Write dialogues of two people as an export of KakaoTalk for Windows; return how many messages."""
    written = 0
    day = datetime.date(2024, 3, 1)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{OTHER} 님과 카카오톡 대화\n저장한 날짜 : 2026-01-01 10:00:00\n")
        dialogues = _two_sided(corpus)
        while written < most and (group := list(islice(dialogues, len(HOURS)))):
            file.write(
                f"\n--------------- {day.year}년 {day.month}월 {day.day}일 일요일 ---------------\n"
            )
            for hour, dialogue in zip(HOURS, group, strict=False):
                for minute, turn in enumerate(dialogue.turns):
                    half, clock = ("오전", hour) if hour < 12 else ("오후", hour - 12)
                    who = OTHER if turn.speaker == dialogue.turns[0].speaker else ME
                    text = " ".join(turn.text.split())
                    file.write(f"[{who}] [{half} {clock}:{minute:02d}] {text}\n")
                    written += 1
            day += datetime.timedelta(days=1)
    return written


def _processor_seconds() -> float:
    """Return what all finished children computed; on a busy machine it says more than the clock."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _two_sided(corpus: Path) -> Iterator[Dialogue]:
    for dialogue in read_dialogues(corpus):
        if len({turn.speaker for turn in dialogue.turns}) == 2:
            yield dialogue


if __name__ == "__main__":
    main()
