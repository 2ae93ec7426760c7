"""Recall, false hits and speed of the scrub, beside ko-pii and maskingtape on the same list.

    python benchmarks/scrub.py --out benchmarks/results/scrub.json
    python benchmarks/scrub.py --unseen tests/privacy/unseen
    python benchmarks/scrub.py --talk DATA/ko/dialogue/songys_chatbot.jsonl.zst ...

The list is `tests/privacy/cases.tsv` and `harmless.tsv`. Both halves of it have been learnt from, so that its
figures say that nothing is lost; what is found of the unknown is told by a batch that is written first and
measured once. A case counts as found only when every letter and digit of its sensitive parts is covered, under
whatever kind; "touched" is any overlap at all. The libraries read the messages of a case joined by line breaks.
A false hit is a harmless message with any finding.

`--unseen` counts on a list that nothing was learnt from: the one there is an outsider's.

`--talk` prints what is found in about 1,500 messages of each of some public corpora, for a person to judge: the
list's harmless messages are look-alikes, and say little of everyday talk.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dialogue_generation_models.data.chats import Chat, Message
from dialogue_generation_models.data.importers.jsonl import read_dialogues
from dialogue_generation_models.data.privacy.detect import find_personal_data
from dialogue_generation_models.data.privacy.finding import merge_findings
from dialogue_generation_models.data.privacy.names import NameModels, find_names
from dialogue_generation_models.data.privacy.normalize import Conversation
from dialogue_generation_models.data.privacy.roster import collect_rosters

FOLDER = Path(__file__).parent.parent / "tests" / "privacy"
HALVES = ("first half", "second half")
HITS_SHOWN = 40

Spans = list[tuple[int, int]]


class Case(NamedTuple):
    kind: str
    """A kind of finding, or "harmless"."""
    texts: list[str]
    senders: list[str]
    parts: Spans
    """What must be covered, as places in the messages joined by line breaks."""
    half: str


Finder = Callable[[Case], Spans]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=2.0, help="text to time (default 2)")
    parser.add_argument(
        "--misses", action="store_true", help="show what was missed of the first half"
    )
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    parser.add_argument("--unseen", type=Path, help="a folder with another list, to count on alone")
    parser.add_argument("--talk", type=Path, nargs="+", help="public corpora of dialogue lines")
    arguments = parser.parse_args()
    if arguments.talk:
        for path in arguments.talk:
            show_talk(path)
        return
    if arguments.unseen:
        show_unseen(arguments.unseen)
        return
    cases, harmless = read_cases(), read_harmless()
    if arguments.misses:
        show_misses(cases + harmless)
        return
    result = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "harmless_messages": sum(len(case.texts) for case in harmless),
        "engines": {
            name: {**score(find, cases, harmless), "mb_per_second": speed(find, size)}
            for name, find, size in engines(arguments.megabytes)
        },
    }
    print(table(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def engines(megabytes: float) -> Iterator[tuple[str, Finder, float]]:
    """What is measured, and on how much text its speed is."""
    yield "dgm, no names", find_by_rules, megabytes
    yield "dgm, names by rules", names_finder(None), megabytes / 2
    yield "dgm, name models", names_finder(NameModels.load()), megabytes / 4
    yield f"ko-pii {importlib.metadata.version('ko-pii')}", ko_pii_finder(), megabytes / 50
    yield (
        f"maskingtape {importlib.metadata.version('maskingtape')}",
        maskingtape_finder(),
        megabytes / 50,
    )


def find_by_rules(case: Case) -> Spans:
    return [(f.start, f.end) for f in find_personal_data(Conversation.from_texts(case.texts))]


def names_finder(models: NameModels | None) -> Finder:
    """Everything: the rules, the names of the room, third persons."""

    def find(case: Case) -> Spans:
        senders = case.senders or ["A", "B"]
        messages = tuple(
            Message(None, senders[i % len(senders)], text) for i, text in enumerate(case.texts)
        )
        # Who is in a room has written in it before, though a case may be one message.
        before = tuple(Message(None, sender, "") for sender in senders)
        rosters = collect_rosters([Chat("room", "", "", before + messages)])
        conversation = Conversation.from_texts(case.texts)
        found = find_personal_data(conversation)
        found += find_names(conversation, rosters["room"], models)
        return [(f.start, f.end) for f in merge_findings(found)]

    return find


def ko_pii_finder() -> Finder:
    import ko_pii

    return lambda case: [(hit.start, hit.end) for hit in ko_pii.detect_all("\n".join(case.texts))]


def maskingtape_finder() -> Finder:
    from maskingtape import Pipeline

    pipeline = Pipeline()
    return lambda case: [(hit.start, hit.end) for hit in pipeline.scan("\n".join(case.texts))]


def read_cases(folder: Path = FOLDER) -> list[Case]:
    """The sensitive cases; the half alternates within each kind."""
    seen: Counter[str] = Counter()
    cases = []
    for line in _lines(folder / "cases.tsv"):
        kind, messages, parts, *senders = line.split("\t")
        texts = messages.split("|")
        half = HALVES[seen[kind] % 2]
        seen[kind] += 1
        places = _locate("\n".join(texts), parts.replace("|", "\n").split(";;"))
        cases.append(Case(kind, texts, senders[0].split(",") if senders else [], places, half))
    return cases


def read_harmless(folder: Path = FOLDER) -> list[Case]:
    return [
        Case("harmless", line.split("|"), [], [], HALVES[number % 2])
        for number, line in enumerate(_lines(folder / "harmless.tsv"))
    ]


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.replace("\\u200b", "\u200b") for line in lines if line and line[0] != "#"]


def _locate(text: str, parts: Iterable[str]) -> Spans:
    places = []
    end = 0
    for part in parts:
        start = text.index(part, end)
        end = start + len(part)
        places.append((start, end))
    return places


def is_covered(case: Case, spans: Spans) -> bool:
    """Whether every letter and digit of the sensitive parts lies in a span."""
    text = "\n".join(case.texts)
    return all(
        any(start <= at < end for start, end in spans)
        for first, last in case.parts
        for at in range(first, last)
        if text[at].isalnum()
    )


def is_touched(case: Case, spans: Spans) -> bool:
    return any(start < last and first < end for start, end in spans for first, last in case.parts)


def score(find: Finder, cases: Sequence[Case], harmless: Sequence[Case]) -> dict[str, Any]:
    by_half: dict[str, Any] = {}
    for half in HALVES:
        kinds: dict[str, Counter[str]] = defaultdict(Counter)
        for case in cases:
            if case.half == half:
                spans = find(case)
                kinds[case.kind].update(
                    cases=1, found=is_covered(case, spans), touched=is_touched(case, spans)
                )
        quiet = [case for case in harmless if case.half == half]
        by_half[half] = {
            "kinds": {kind: dict(counts) for kind, counts in kinds.items()},
            "false_hits": sum(bool(find(case)) for case in quiet),
            "harmless": sum(len(case.texts) for case in quiet),
        }
    return by_half


def generated_chats(megabytes: float) -> list[Case]:
    """Rooms of 200 messages, Korean and Japanese in turn: 1 in 20 with figures, and a sensitive case."""
    draw = random.Random(0)
    harmless = [text for case in read_harmless() for text in case.texts]
    cases = read_cases()
    chats: list[Case] = []
    size = 0
    while size < megabytes * 1e6:
        letters = "[가-힣]" if len(chats) % 2 else "[ぁ-んァ-ヶ]"
        spoken = [text for text in harmless if re.search(letters, text)]
        figures = [text for text in spoken if re.search("[0-9]", text)]
        plain = [text for text in spoken if text not in figures]
        texts = [
            draw.choice(figures)
            if draw.random() < 0.05
            else " ".join(draw.choices(plain, k=draw.choice((1, 1, 2, 3))))
            for _ in range(200)
        ]
        texts += draw.choice(cases).texts
        chats.append(Case("", texts, ["김가람", "이새솔"], [], ""))
        size += sum(len(text.encode()) + 1 for text in texts)
    return chats


def speed(find: Finder, megabytes: float) -> float:
    """UTF-8 megabytes a second of one core, of processor time."""
    chats = generated_chats(megabytes)
    find(chats[0])
    start = time.process_time()
    for chat in chats:
        find(chat)
    seconds = time.process_time() - start
    return round(sum(len("\n".join(c.texts).encode()) for c in chats) / seconds / 1e6, 3)


def show_misses(cases: Sequence[Case]) -> None:
    """Of the first half only, so that the second one tells whether a mending is general."""
    find = names_finder(NameModels.load())
    for case in cases:
        if case.half == HALVES[0]:
            spans = find(case)
            text = "\n".join(case.texts)
            got = [text[start:end] for start, end in spans]
            if spans if case.kind == "harmless" else not is_covered(case, spans):
                wanted = [text[start:end] for start, end in case.parts]
                print(f"{case.kind}\t{text!r}\twanted {wanted}\tgot {got}")


def show_unseen(folder: Path) -> None:
    """Print how many cases of each kind are found, and how many harmless lines are hit."""
    cases, harmless = read_cases(folder), read_harmless(folder)
    for name, find, _ in engines(0):
        found = Counter(case.kind for case in cases if is_covered(case, find(case)))
        kinds = Counter(case.kind for case in cases)
        counts = ", ".join(f"{kind} {found[kind]}/{total}" for kind, total in kinds.items())
        hits = sum(bool(find(case)) for case in harmless)
        print(f"{name}: {counts}; false hits {hits} of {len(harmless)}")


def show_talk(path: Path, most: int = 1500) -> None:
    """Print every finding in a random part of a corpus, with the letters around it."""
    find = names_finder(NameModels.load())
    dialogues = [[turn.text for turn in dialogue.turns] for dialogue in read_dialogues(path)]
    random.Random(11).shuffle(dialogues)
    messages, lines = 0, []
    for texts in dialogues:
        if messages >= most:
            break
        messages += len(texts)
        text = "\n".join(texts)
        for start, end in find(Case("", texts, [], [], "")):
            parts = (text[max(0, start - 14) : start], text[start:end], text[end : end + 10])
            lines.append("  {}[{}]{}".format(*(part.replace("\n", "/") for part in parts)))
    print(f"{path.name}: {len(lines)} findings in {messages} messages", *lines, sep="\n")


def table(result: dict[str, Any]) -> str:
    """Markdown: found (and touched) of all cases on the second half, a row a kind."""
    scores = {name: engine[HALVES[1]] for name, engine in result["engines"].items()}
    first = next(iter(scores.values()))
    rows = [
        "| kind | cases | " + " | ".join(scores) + " |",
        "|---" + "|---:" * (len(scores) + 1) + "|",
    ]
    for kind, counts in first["kinds"].items():
        cells = (
            f"{s['kinds'][kind]['found']} ({s['kinds'][kind]['touched']})" for s in scores.values()
        )
        rows.append(f"| {kind} | {counts['cases']} | " + " | ".join(cells) + " |")
    cells = (str(s["false_hits"]) for s in scores.values())
    rows.append(f"| false hits | {first['harmless']} | " + " | ".join(cells) + " |")
    cells = (str(e["mb_per_second"]) for e in result["engines"].values())
    rows.append("| MB/s a core | | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
