"""The steps of a preparation that read and write dialogues: read, count, clean.

Each step is a function of the job and a task's number; it writes its files whole, so a task that was killed is
done again. Dialogues go into parts by a hash of their ids: parts, not workers, decide the result. Everything
here lies in the work folder, which is private and goes away in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pydantic import TypeAdapter

from ..config.preparation import PreparationConfig
from ..dialogue import Dialogue, Turn
from ..errors import DataError
from ..files import replacing
from .chats import Chat
from .dedup import hash_key
from .filters import FilterReport, count_turns, filter_dialogues
from .importers.account import Account
from .lettering import identify, with_letters, with_roster
from .privacy.roster import Roster, RosterCollector, collect_rosters
from .privacy.scrub import ScrubReport, scrub_dialogues
from .sessions import cut_sessions, plain_name
from .shards import write_array
from .sources import Source

_META = ("room", "reply_speaker", "bot_speakers", "speakers")
_RANGES = 16  # of hashes, counted one after the other to bound memory


@dataclass(frozen=True)
class Job:
    """Everything that the tasks of a preparation need to know."""

    work: Path
    config: PreparationConfig
    sources: tuple[Source, ...]
    key: bytes
    """Makes pseudonyms of names."""
    tokenizer: Path
    output: Path
    """Where the finished data set goes."""
    has_consent: bool
    """Whether the user vouches for all inputs."""
    tool: str
    """What makes the data set, with its version."""

    @property
    def parts(self) -> int:
        """Tasks of the steps that go by part."""
        return self.config.parts

    def file(self, step: str, name: str) -> Path:
        """Return where a step keeps a file."""
        folder = self.work / step
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name


def read_source(job: Job, rank: int) -> None:
    """Read source `rank`: chats are cut into sessions, everything goes into the parts."""
    source = job.sources[rank]
    report: dict[str, Any] = {"messages": 0, "dialogues": 0, "turns": 0, "characters": 0}
    with _open_parts(job, rank) as files:
        for dialogue in _dialogues(job, source, report):
            report["dialogues"] += 1
            report["turns"] += len(dialogue.turns)
            report["characters"] += sum(len(turn.text) for turn in dialogue.turns)
            name = dialogue.id or "\n".join(turn.text for turn in dialogue.turns)
            write_record(files[hash_key(name) % job.parts], source.number, dialogue)
    if any(file.path.stat().st_size != file.bytes for file in source.files):
        raise DataError(f"A file of {source.label} changed while it was read; prepare it again.")
    write_json(job.file("read", f"{rank:05d}.json"), report)


def check_owner(job: Job, rank: int) -> None:
    """Say that nobody is called as `me` is before all other steps are done for nothing.

    Raises:
        DataError: in no room of no source somebody has the name.
    """
    reports = [read_json(job.file("read", f"{s.number:05d}.json")) for s in job.sources]
    if all(r["rooms_without_me"] == r["rooms"] for r in reports if "rooms_without_me" in r):
        raise DataError(
            "Nobody in the chats has a name of --me (sessions.me); write it as it stands in the export."
        )


def count_part(job: Job, rank: int) -> None:
    """Count how often each turn of a part is said."""
    counts = count_turns(
        (dialogue for number, dialogue in _read_part(job, rank) if not _is_text(job, number)),
        job.config.filters.repeatable_characters,
    )
    keys = np.array(sorted(counts), dtype=np.uint64)
    write_array(job.file("count", f"{rank:05d}.keys.npy"), keys)
    values = np.array([counts[key] for key in keys.tolist()], dtype=np.int64)
    write_array(job.file("count", f"{rank:05d}.counts.npy"), values)


def find_frequent(job: Job, rank: int) -> None:
    """Find the turns that are said too often in all parts together."""
    frequent = [np.zeros(0, dtype=np.uint64)]
    parts = [
        tuple(
            np.load(job.file("count", f"{part:05d}.{name}.npy"), mmap_mode="r", allow_pickle=False)
            for name in ("keys", "counts")
        )
        for part in range(job.parts)
    ]
    edges = [number << 60 for number in range(_RANGES)]
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        pieces = [_between(keys, counts, low, high) for keys, counts in parts]
        keys, places = np.unique(np.concatenate([k for k, _ in pieces]), return_inverse=True)
        totals = np.bincount(places, np.concatenate([c for _, c in pieces]), len(keys))
        frequent.append(keys[totals > job.config.filters.max_repeats])
    write_array(job.file("count", "frequent.npy"), np.concatenate(frequent))


def clean_part(job: Job, rank: int) -> None:
    """Filter and scrub the dialogues of a part; texts are scrubbed alone."""
    config = job.config
    counts: dict[int, int] = {}
    if config.filters.max_repeats:
        frequent = np.load(job.file("count", "frequent.npy"), allow_pickle=False)
        counts = dict.fromkeys(frequent.tolist(), config.filters.max_repeats + 1)
    reports: dict[str, Any] = {}
    path = job.file("clean", f"{rank:05d}.jsonl")
    with _writing(path) as file:
        for source in job.sources:
            dialogues: Iterator[Dialogue] = (
                d for _, d in read_records_of(_part_file(job, rank, source.number))
            )
            filtered, scrubbed = FilterReport(), ScrubReport()
            if source.kind != "texts":
                dialogues = filter_dialogues(dialogues, config.filters, filtered, counts)
            rosters = {} if source.kind == "texts" else _read_rosters(job, source.number)
            least = 1 if source.kind == "texts" else 2
            for dialogue in scrub_dialogues(dialogues, rosters, config.scrub, scrubbed):
                merged = dialogue.merge_speakers()  # neighbours of a message that was dropped
                if len(merged.turns) >= least:
                    write_record(file, source.number, merged)
            reports[str(source.number)] = {"filters": _counts(filtered), "scrub": _counts(scrubbed)}
    write_json(job.file("clean", f"{rank:05d}.json"), reports)


def read_clean(job: Job, rank: int) -> Iterator[tuple[int, Dialogue]]:
    """Yield source numbers and the cleaned dialogues of a part."""
    return read_records_of(job.file("clean", f"{rank:05d}.jsonl"))


def write_record(file: TextIO, source: int, dialogue: Dialogue) -> None:
    """Write a dialogue as a line of a work file."""
    turns = [(turn.speaker, turn.text) for turn in dialogue.turns]
    meta = {name: dialogue.meta[name] for name in _META if name in dialogue.meta}
    if "roster" in dialogue.meta:
        meta["roster"] = _roster_type().dump_python(dialogue.meta["roster"], mode="json")
    file.write(json.dumps([source, dialogue.id, turns, meta], ensure_ascii=False) + "\n")


def read_records_of(path: Path) -> Iterator[tuple[int, Dialogue]]:
    """Yield source numbers and dialogues of a work file."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            source, name, turns, meta = json.loads(line)
            if "roster" in meta:
                meta["roster"] = _roster_type().validate_python(meta["roster"])
            yield source, Dialogue(tuple(Turn(*turn) for turn in turns), name, meta)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file of the work folder."""
    with _writing(path) as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of the work folder."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears when the block ends well, though a task may run twice at once."""
    with (
        replacing(path, is_contested=True) as partial,
        partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        yield file


def _dialogues(job: Job, source: Source, report: dict[str, Any]) -> Iterator[Dialogue]:
    """Yield the dialogues of a source as they go into the parts."""
    accounts: list[Account] = []
    if source.is_private:
        rosters = collect_rosters(source.chats([]))
        _write_rosters(job, source.number, rosters)
        report["rooms"] = len(rosters)
        if job.config.sessions.me:
            report["rooms_without_me"] = _count_without(job.config.sessions.me, rosters)

        def name(speaker: str) -> str:
            return identify(speaker, job.key)

        def counted() -> Iterator[Chat]:
            for chat in source.chats(accounts):
                report["messages"] += len(chat.messages)
                yield chat

        yield from cut_sessions(counted(), job.config.sessions, name)
    else:
        speaker = source.statements[0].reply_speaker
        rooms = RosterCollector()
        for dialogue in source.dialogues(accounts):
            report["messages"] += len(dialogue.turns)
            lettered = with_letters(dialogue.merge_speakers(), source.label, speaker, job.key)
            is_talk = source.kind != "texts"
            yield with_roster(lettered, dialogue, rooms) if is_talk else lettered
        _write_rosters(job, source.number, rooms.finish())
    report["files"] = [
        {
            "format": a.source,
            "problem": a.problem,
            "lines": a.lines,
            **a.counts,
            "unparsed_lines": a.unparsed_lines,
        }
        for a in accounts
    ]


def _count_without(names: Sequence[str], rosters: Mapping[str, Roster]) -> int:
    """Return how many rooms have no message of a person."""
    wanted = set(map(plain_name, names))
    return sum(wanted.isdisjoint(map(plain_name, r.speakers)) for r in rosters.values())


def _counts(report: FilterReport | ScrubReport) -> dict[str, Any]:
    # Not asdict: before Python 3.12 it breaks Counters.
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}


@contextmanager
def _open_parts(job: Job, rank: int) -> Iterator[list[TextIO]]:
    with ExitStack() as stack:
        paths = [_part_file(job, part, rank) for part in range(job.parts)]
        yield [stack.enter_context(_writing(path)) for path in paths]


def _part_file(job: Job, part: int, source: int) -> Path:
    return job.file(f"read/{part:05d}", f"{source:05d}.jsonl")


def _read_part(job: Job, rank: int) -> Iterator[tuple[int, Dialogue]]:
    for source in job.sources:
        yield from read_records_of(_part_file(job, rank, source.number))


def _is_text(job: Job, number: int) -> bool:
    return job.sources[number].kind == "texts"


def _between(keys: Any, counts: Any, low: int, high: int | None) -> tuple[Any, Any]:
    """Cut sorted keys, and what belongs to them, to those from `low` to before `high`."""
    start = np.searchsorted(keys, np.uint64(low))
    end = len(keys) if high is None else np.searchsorted(keys, np.uint64(high))
    return keys[start:end], counts[start:end]


@cache
def _roster_type() -> TypeAdapter[Roster]:
    return TypeAdapter(Roster)


def _write_rosters(job: Job, number: int, rosters: dict[str, Roster]) -> None:
    content = TypeAdapter(dict[str, Roster]).dump_json(rosters).decode()
    with _writing(job.file("read", f"{number:05d}.rosters.json")) as file:
        file.write(content)


def _read_rosters(job: Job, number: int) -> dict[str, Roster]:
    content = job.file("read", f"{number:05d}.rosters.json").read_bytes()
    return TypeAdapter(dict[str, Roster]).validate_json(content)
